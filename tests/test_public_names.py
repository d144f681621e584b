"""Names and parameters of the drivers that this one takes the place of: each is here, or is listed.

What is listed has its reason, and stands on that driver's page under ``docs/migrating``. A list
that names something which is here fails too, so that it is emptied when that comes.
"""

from __future__ import annotations

import importlib.util
import inspect
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest

import aiolibsql
import aiolibsql.client
import aiolibsql.dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = Path(__file__).resolve().parent.parent / "docs" / "migrating"

# What is being made: a name, and the page that says so.
ON_THEIR_WAY: dict[str, str] = {}
# What comes later.
LATER: dict[str, str] = {}


@dataclass(frozen=True)
class Peer:
    """Another driver.

    Attributes:
        page: Its page of differences.
        names: Its public names, with the signatures of what is called.
        differences: Names, ``name(parameter)`` or ``(parameter)`` for that of every name, each with
            words of the page that tell of it.
    """

    page: str
    names: dict[str, inspect.Signature | None]
    differences: dict[str, str] = field(default_factory=dict)


def signature(parameters: str) -> inspect.Signature:
    """Return the signature of a function with some parameters."""
    function = eval(f"lambda {parameters}: None")
    return inspect.signature(function)


def signature_of(function: Any) -> inspect.Signature | None:
    """Return the signature of something that is called, as far as Python knows it."""
    if not callable(function) or isinstance(function, type):
        return None
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def inspected(module: ModuleType, *classes: str) -> dict[str, inspect.Signature | None]:
    """Return the public names of a module and of classes in it."""
    names: dict[str, inspect.Signature | None] = {
        name: signature_of(value)
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    for class_ in classes:
        of_class = getattr(module, class_, None)
        for name in dir(of_class) if of_class else ():
            if name.startswith("_"):
                continue
            found = signature_of(inspect.getattr_static(of_class, name))
            names[f"{class_}.{name}"] = found and without_self(found)
    return names


def without_self(of_method: inspect.Signature) -> inspect.Signature:
    first, *rest = of_method.parameters.values()
    return of_method.replace(parameters=rest if first.name in {"self", "$self"} else [first, *rest])


def tabled(**classes: dict[str, str | None]) -> dict[str, inspect.Signature | None]:
    """Return names that are written down, since their package is not installed everywhere."""
    names = {}
    for class_, members in classes.items():
        prefix = "" if class_ == "module" else f"{class_}."
        for name, parameters in members.items():
            names[prefix + name] = None if parameters is None else signature(parameters)
    return names


SQL = "sql, parameters=None"
QUERY = "query, parameters=None"

UPSTREAM = tabled(
    module={
        "connect": "database, timeout=5.0, isolation_level='DEFERRED', _check_same_thread=True, "
        "_uri=False, sync_url=None, sync_interval=None, offline=False, auth_token=None, "
        "encryption_key=None, autocommit=-1",
        "create_pool": "database, size=10, timeout=5.0, encryption_key=None",
        "VERSION": None,
        "LEGACY_TRANSACTION_CONTROL": None,
        "paramstyle": None,
        "sqlite_version_info": None,
        "Error": None,
        "DatabaseError": None,
        "OperationalError": None,
        "IntegrityError": None,
        "TimeoutError": None,
        "Connection": None,
        "Cursor": None,
        "ConnectionPool": None,
        "PoolCursor": None,
    },
    Connection={
        "execute": SQL,
        "executemany": SQL,
        "executescript": "script",
        "commit": "",
        "rollback": "",
        "sync": "",
        "close": "",
        "cursor": "",
        "isolation_level": None,
        "in_transaction": None,
        "autocommit": None,
    },
    Cursor={
        "execute": SQL,
        "executemany": SQL,
        "executescript": "script",
        "fetchone": "",
        "fetchmany": "size=None",
        "fetchall": "",
        "close": "",
        "description": None,
        "lastrowid": None,
        "rowcount": None,
        "arraysize": None,
    },
    ConnectionPool={
        "execute": SQL,
        "executemany": SQL,
        "executebatch": "operations",
        "close": "",
        "size": None,
        "reader_count": None,
    },
    PoolCursor={
        "fetchone": "",
        "fetchmany": "size=None",
        "fetchall": "",
        "description": None,
        "lastrowid": None,
        "rowcount": None,
        "arraysize": None,
    },
)

RAPSQLITE = tabled(
    module={
        "connect": "path, *, pragmas=None, timeout=5.0, iter_chunk_size=64, idle_timeout=None, "
        "loop=None, aiosqlite_compat=False, pool_size=None, session_affinity=False",
        "connect_memory": "*, name=None, pragmas=None, timeout=5.0, iter_chunk_size=64, "
        "idle_timeout=None, pool_size=None, session_affinity=False",
        **dict.fromkeys(
            ["Error", "Warning", "InterfaceError", "DatabaseError", "DataError", "ValueError"]
        ),
        **dict.fromkeys(
            ["OperationalError", "ProgrammingError", "IntegrityError", "InternalError"]
        ),
        "NotSupportedError": None,
        "execute_iter": "conn, sql, parameters=None, chunk_size=None",
        "paginate": "conn, sql, parameters=None, page_size=64, offset=0",
        "timed_fetch_all": "conn, sql, parameters=None, on_timing=None",
        "analyze_query_plan": "conn, sql, parameters=None",
        "suggest_indexes": "conn, sql, parameters=None",
        "in_clause_query": "sql, values",
        "rows_to_dicts": "rows, columns=None",
        "transaction_retry": "conn, work, max_retries=5, initial_delay=0.01, max_delay=1.0",
        "transaction_with_timeout": "conn, work, timeout_secs=30.0",
        "pool_metrics_gauges": "conn",
        "PoolMetrics": None,
        "PoolMetricsGauges": None,
        "SQLiteCache": "connection, *, table_name='rapsqlite_cache'",
        "PreparedQuery": None,
        "Row": None,
        "RapRow": None,
        "Connection": None,
        "ConnectionT": None,
        "Cursor": None,
        "CursorT": None,
        "__version__": None,
        "dbapi": None,
        "sqlalchemy": None,
    },
    Connection={
        "close": "",
        "stop": "",
        "path": None,
        "execute": f"{QUERY}, cursor=None",
        "execute_many": "query, parameters",
        "executemany": "query, parameters",
        "fetch_all": QUERY,
        "fetch_one": QUERY,
        "fetch_optional": QUERY,
        "fetch_scalar": QUERY,
        "raw_fetch_scalar": f"{QUERY}, blob=False",
        "fetch_blob": QUERY,
        "execute_fetchall": QUERY,
        "execute_insert": QUERY,
        "execute_iter": f"{SQL}, chunk_size=None",
        "begin": "",
        "commit": "",
        "rollback": "",
        "transaction": "",
        "savepoint": "name=None",
        "in_transaction": None,
        "in_transaction_async": "",
        "isolation_level": None,
        "changes": "",
        "last_insert_rowid": "",
        "total_changes_async": "",
        "total_changes": None,
        "pool_size": None,
        "connection_timeout": None,
        "idle_timeout": None,
        "timeout": None,
        "session_affinity": None,
        "pool_health": "",
        "pool_metrics": "",
        "row_factory": None,
        "text_factory": None,
        "iter_chunk_size": None,
        "register_adapter": "type_, adapter",
        "register_converter": "typename, converter",
        "create_function": "name, nargs, func, deterministic=False",
        "create_aggregate": "name, num_params, aggregate_class",
        "create_collation": "name, callable",
        "set_authorizer": "callback",
        "set_trace_callback": "callback",
        "set_progress_handler": "n, callback",
        "interrupt": "",
        "enable_load_extension": "enabled",
        "load_extension": "name",
        "set_pragma": "name, value",
        "get_tables": "name=None",
        "get_table_info": "table_name",
        "get_table_xinfo": "table_name",
        "get_indexes": "table_name=None",
        "get_index_list": "table_name",
        "get_index_info": "index_name",
        "get_foreign_keys": "table_name",
        "get_views": "name=None",
        "get_schema": "table_name=None",
        "explain_query_plan": SQL,
        "query_usage_tracking": None,
        "query_usage": "",
        "query_usage_dropped": "",
        "clear_query_usage": "",
        "set_slow_query_threshold": "threshold_secs, callback=None",
        "include_query_in_errors": None,
        "iterdump": "",
        "backup": "target, *, pages=0, progress=None, name='main', sleep=0.25",
        "prepare": "query, *, raw=False, blob=False",
        "cursor": "",
    },
    Cursor={
        "execute": QUERY,
        "executemany": "query, parameters",
        "executescript": "script",
        "fetchone": "",
        "fetchmany": "size=None",
        "fetchall": "",
        "close": "",
        **dict.fromkeys(["arraysize", "iter_chunk_size", "connection", "description"]),
        **dict.fromkeys(["lastrowid", "rowcount", "row_factory"]),
    },
    PreparedQuery={
        "query": None,
        "execute": "parameters=None",
        "fetch_all": "parameters=None",
        "fetch_one": "parameters=None",
        "fetch_optional": "parameters=None",
        "fetch_scalar": "parameters=None",
        "fetch_blob": "parameters=None",
    },
    SQLiteCache={
        "initialize": "",
        "get": "key",
        "set": "key, value, *, ttl=None",
        "delete": "key",
        "cleanup_expired": "*, limit=1000",
    },
    Row={"keys": "", "values": "", "items": ""},
)

CLIENT = {
    f"client.{name}": theirs
    for name, theirs in tabled(
        module={
            "create_client": "url, *, auth_token=None, tls=None",
            "create_client_sync": "url, *, auth_token=None, tls=None",
            **dict.fromkeys(["Client", "ClientSync", "Transaction", "TransactionSync"]),
            **dict.fromkeys(["InArgs", "InStatement", "InValue", "Value"]),
            **dict.fromkeys(["LibsqlError", "ResultSet", "Row", "Statement"]),
        },
        **{
            class_: {
                "execute": "stmt, args=None",
                "batch": "stmts",
                "transaction": "",
                "close": "",
                "closed": None,
            }
            for class_ in ("Client", "ClientSync")
        },
        **{
            class_: {
                "execute": "stmt, args=None",
                "commit": "",
                "rollback": "",
                "close": "",
                "closed": None,
            }
            for class_ in ("Transaction", "TransactionSync")
        },
        Statement={"__init__": "self, sql, args=None", "convert": "stmt, args=None"},
        LibsqlError={"__init__": "self, message, code"},
        ResultSet={
            "__init__": "self, columns, rows, rows_affected, last_insert_rowid",
            **dict.fromkeys(["columns", "rows", "rows_affected", "last_insert_rowid"]),
        },
        Row={
            "__init__": "self, column_idxs, values",
            "astuple": "",
            "asdict": "",
            "_asdict": "",
            "_fields": None,
            "index": "value, start=0, stop=None",
            "count": "value",
        },
    ).items()
}
for name in [name for name in CLIENT if name.endswith("__init__")]:
    CLIENT[name] = without_self(CLIENT[name] or signature(""))

# What `inspect` does not know of it before Python 3.12.
SQLITE3 = {
    **inspected(sqlite3, "Connection", "Cursor", "Blob", "Row"),
    "connect": signature(
        "database, timeout=5.0, detect_types=0, isolation_level='', check_same_thread=True, "
        "factory=None, cached_statements=128, uri=False, *, autocommit=-1"
    ),
}

PEERS = {
    "sqlite3": Peer(
        "from-sqlite3",
        SQLITE3,
        {
            "OptimizedUnicode": "`OptimizedUnicode`",
            "enable_shared_cache": "enable_shared_cache",
            "version": "`version`",
            "version_info": "`version_info`",
            "connect(detect_types)": "`connect` by position",
            "connect(isolation_level)": "`connect` by position",
            "connect(check_same_thread)": "`connect` by position",
            "connect(factory)": "`connect` by position",
            "connect(cached_statements)": "`connect` by position",
            "connect(uri)": "`connect` by position",
            "(progress_handler)": "progress_handler=…",
        },
    ),
    "aiosqlite": Peer(
        "from-aiosqlite",
        inspected(aiosqlite, "Connection", "Cursor"),
        {"(num_params)": "num_params=…", "(value)": "value=…", "(handler)": "handler=…"},
    ),
    "rapsqlite": Peer(
        "from-rapsqlite",
        RAPSQLITE,
        {
            "connect(path)": "path=…",
            "(idle_timeout)": "`idle_timeout`",
            "(aiosqlite_compat)": "`aiosqlite_compat`",
            "(pool_size)": "`pool_size`",
            "(session_affinity)": "`session_affinity`",
            "ValueError": "`ValueError`",
            "RapRow": "`RapRow`",
            "ConnectionT": "`ConnectionT`",
            "CursorT": "`CursorT`",
            "pool_metrics_gauges": "`pool_metrics_gauges`",
            "PoolMetrics": "`PoolMetrics`",
            "PoolMetricsGauges": "`PoolMetricsGauges`",
            "Connection.path": "`path`",
            "Connection.timeout": "`timeout`",
            "Connection.connection_timeout": "`connection_timeout`",
            "Connection.idle_timeout": "`idle_timeout`",
            "Connection.pool_size": "`pool_size`",
            "Connection.session_affinity": "`session_affinity`",
            "Connection.pool_health": "`pool_health()`",
            "Connection.pool_metrics": "`pool_metrics()`",
            "Connection.execute(cursor)": "`execute(cursor=…)`",
            "(query)": "`query=`",
            "(script)": "`script=`",
            "(nargs)": "`nargs`",
            "(num_params)": "`num_params`",
            "(callable)": "`callable`",
            "(callback)": "`callback`",
            "(n)": "by position",
            "(name)": "name=…",
        },
    ),
    "libsql-client": Peer("from-libsql-client", CLIENT),
    "upstream": Peer(
        "from-upstream",
        UPSTREAM,
        {
            "connect(_check_same_thread)": "by position",
            "connect(_uri)": "by position",
            "connect(sync_url)": "by position",
            "connect(sync_interval)": "by position",
            "connect(offline)": "by position",
            "connect(auth_token)": "by position",
            "connect(encryption_key)": "by position",
            "connect(autocommit)": "by position",
            "(parameters)": "`executemany` without rows",
            "(script)": "`script=`",
        },
    ),
}


def find(name: str) -> Any:
    """Return what has a name in this package, or raise AttributeError."""
    found: Any = aiolibsql
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    return found


def is_missing(name: str) -> bool:
    try:
        find(name)
    except AttributeError:
        # A module is here although nothing may have imported it yet.
        return "." in name or importlib.util.find_spec(f"aiolibsql.{name}") is None
    return False


def parameters_missing(name: str, theirs: inspect.Signature) -> Iterator[str]:
    """Find the parameters that ours does not take as theirs does: by place, or by name."""
    found = find(name)
    ours = signature_of(found) if not isinstance(found, type) else inspect.signature(found)
    assert ours is not None, name
    if "." in name:
        ours = without_self(ours)
    by_name = {
        parameter.name: parameter
        for parameter in ours.parameters.values()
        if parameter.kind is not parameter.POSITIONAL_ONLY
    }
    by_place = [
        parameter
        for parameter in ours.parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.parameters.values()):
        # What it hands on to `connect`.
        by_name = {**inspect.signature(aiolibsql.connect).parameters, **by_name}
    for place, their in enumerate(theirs.parameters.values()):
        if their.kind in {their.VAR_KEYWORD, their.VAR_POSITIONAL}:
            continue
        our = by_name.get(their.name)
        if their.kind is not their.KEYWORD_ONLY:
            at_place = by_place[place] if place < len(by_place) else None
            if their.kind is their.POSITIONAL_ONLY:
                our = at_place
            elif our is not at_place:
                our = None
        is_optional = their.default is not their.empty
        if our is None or (is_optional and our.default is our.empty):
            yield their.name


def missing(peer: Peer) -> Iterator[tuple[str, ...]]:
    """Find what a driver has and this one has not, each by the names that a table may give it."""
    for name, theirs in peer.names.items():
        if is_missing(name):
            yield (name,)
        elif theirs is not None:
            for parameter in parameters_missing(name, theirs):
                yield f"{name}({parameter})", f"({parameter})"


def known_names(peer: Peer) -> Iterator[str]:
    """Return all that a table of differences may name."""
    for name, theirs in peer.names.items():
        yield name
        for parameter in theirs.parameters if theirs else ():
            yield f"{name}({parameter})"
            yield f"({parameter})"


each_peer = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)


@each_peer
def test_name_of_another_driver_is_here_or_in_a_table(peer: Peer) -> None:
    listed = {*peer.differences, *ON_THEIR_WAY, *LATER}
    assert [names for names in missing(peer) if not listed.intersection(names)] == []


@each_peer
def test_table_of_differences_has_nothing_that_is_here(peer: Peer) -> None:
    found = {name for names in missing(peer) for name in names}
    stale = set(peer.differences) - found
    # What another version of it has is not to be seen here.
    assert stale.intersection(known_names(peer)) == set()


@each_peer
def test_difference_stands_on_the_page_of_the_driver(peer: Peer) -> None:
    page = PAGES.joinpath(f"{peer.page}.md").read_text(encoding="utf-8")
    assert [words for words in peer.differences.values() if words not in page] == []


@pytest.mark.parametrize(("name", "page"), {**ON_THEIR_WAY, **LATER}.items())
def test_name_that_comes_later_is_not_here_and_its_page_says_so(name: str, page: str) -> None:
    function, _, parameter = name.rstrip(")").partition("(")
    if parameter:
        assert parameter not in inspect.signature(find(function)).parameters, "take it off the list"
    else:
        assert is_missing(name), "take it off the list"
    text = PAGES.joinpath(f"{page}.md").read_text(encoding="utf-8")
    not_yet = text[text.index("Not there yet") :] if "Not there yet" in text else text
    word = parameter or name.rpartition(".")[2]
    assert word in not_yet


@each_peer
def test_names_of_another_driver_were_found(peer: Peer) -> None:
    # An inspection that finds nothing would let every test pass.
    assert len(peer.names) > 30
    assert sum(theirs is not None for theirs in peer.names.values()) > 15
