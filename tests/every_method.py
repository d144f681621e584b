"""Every public method and property, with a use of each: the table of ``test_every_method.py``.

A key is a class and a name; what follows a colon tells several uses of one name apart. A new public
name needs a line here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from situations import ENDLESS, ENDLESS_AFTER_100, NUMBERS

import aiolibsql
from aiolibsql import (
    Blob,
    Connection,
    ConnectionClosedError,
    Cursor,
    NotSupportedError,
    OperationalError,
    PreparedQuery,
    ProgrammingError,
    RowChunks,
    SQLiteCache,
    Transaction,
)
from aiolibsql._aiolibsql import RowIterator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SCHEMA = """
PRAGMA synchronous = OFF;
CREATE TABLE t (x);
CREATE INDEX t_x ON t (x);
CREATE VIEW v AS SELECT x FROM t;
CREATE TABLE parent (id PRIMARY KEY);
CREATE TABLE child (parent REFERENCES parent (id));
CREATE TABLE b (data);
INSERT INTO t VALUES (1), (2), (3);
INSERT INTO b VALUES (x'00010203');
"""
INSERT = "INSERT INTO t VALUES (4)"
MARK = "INSERT INTO t VALUES (?)"
RETURNING = "INSERT INTO t VALUES (4) RETURNING x"
BLOB = "INSERT INTO t VALUES (x'04') RETURNING x"
THOUSAND = f"{NUMBERS} SELECT i FROM n LIMIT 1000"
# So many of them are fetched before a use, so that the next ones are not at hand.
TAKEN = 64
TRIGGERS = aiolibsql.SQLITE_DBCONFIG_ENABLE_TRIGGER
PATTERN = aiolibsql.SQLITE_LIMIT_LIKE_PATTERN_LENGTH


def serialized() -> bytes:
    """Return a database as bytes, by the stdlib: from 3.11 on it has a method for that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "serialized.db")
        conn = sqlite3.connect(path)
        conn.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (7);")
        conn.close()
        return path.read_bytes()


class Target(sqlite3.Connection):
    """A connection of the stdlib's that nobody has to close."""

    def __del__(self) -> None:
        self.close()


@dataclass
class World:
    """An open connection with some data, and what its methods have made."""

    # What methods are called on: a connection, or a block of it.
    conn: Any
    base: Any
    path: Path | None
    # What a use's `before` has made.
    made: Any = None
    heard: list[str] = field(default_factory=list)

    def hears(self, name: str, answer: object = 0) -> Callable[..., Any]:
        """Return a callback that notes that it was called."""

        def callback(*_: object) -> object:
            self.heard.append(name)
            return answer

        return callback


class Some:
    """Equal to every object of some classes."""

    def __init__(self, *classes: type) -> None:
        self._classes = classes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self._classes)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Some{self._classes}"


@dataclass(frozen=True)
class Use:
    """One use of a name.

    Attributes:
        make: Calls the method, or takes the property.
        value: What that gives, once it was awaited; a class of exceptions if it raises.
        changes: The probe that sees its effect, if it has one.
        before: What has to be done first.
        closed: What happens when the connection was closed: a class that is raised, or a value.
        unopened: The same for a connection that was not opened yet; `closed` if it is not given.
        ended: The same for a closed cursor, blob or iterator.
        waits: It needs the file's lock.
        long: A use that runs until it is stopped.
        cancelled: Whether it has its effect although its caller was cancelled: "never", "always",
            "once queued", "once begun" (a coroutine of Python's, which asyncio may cancel before it
            begins), or "at once" if it does not wait for the operations before it.
        is_coroutine: False if it can be awaited and is no coroutine.
        is_sync: It is not awaited.
        in_block: What happens inside of a transaction block, if it is something else.
        bad: Uses with bad arguments, and what they raise.
        on_file: It needs a database in a file.
    """

    make: Callable[[World], Any]
    value: Any = None
    changes: str = ""
    before: Callable[[World], Awaitable[Any]] | None = None
    closed: Any = ConnectionClosedError
    unopened: Any = ...
    ended: Any = ...
    waits: bool = False
    long: Callable[[World], Any] | None = None
    cancelled: str = "never"
    is_coroutine: bool = True
    is_sync: bool = False
    in_block: Any = ...
    bad: tuple[tuple[Callable[[World], Any], Any], ...] = ()
    on_file: bool = False


# What can be seen of an effect.


async def rows(w: World) -> Any:
    try:
        return await w.conn.fetch_all("SELECT x FROM t ORDER BY rowid")
    except OperationalError as error:
        return str(error)


async def names(w: World) -> list[Any]:
    """Return the functions and collations of our own."""
    functions = "SELECT name FROM pragma_function_list WHERE name LIKE 'mine%'"
    collations = "SELECT name FROM pragma_collation_list WHERE name LIKE 'mine%'"
    return list(await w.conn.fetch_all(f"{functions} UNION ALL {collations}"))


async def heard(w: World) -> bool:
    """Give every callback a reason to be called, and tell whether one was."""
    change = "INSERT INTO t VALUES (99); DELETE FROM t WHERE x = 99"
    for end in ("ROLLBACK", "COMMIT"):
        await w.conn.executescript(f"BEGIN; {change}; {end}")
    return bool(w.heard)


async def heard_busy(w: World) -> bool:
    """Meet the lock of another connection, and tell whether the busy handler was asked."""
    async with aiolibsql.connect(w.path) as other:
        await other.begin("IMMEDIATE")
        with contextlib.suppress(aiolibsql.TimeoutError):
            await w.conn.execute("BEGIN IMMEDIATE", timeout=0.05)
        await other.rollback()
    return bool(w.heard)


async def extensions(w: World) -> bool:
    try:
        await w.conn.load_extension("/nowhere/at_all")
    except OperationalError as error:
        return "not authorized" not in str(error)
    raise AssertionError


async def refuses(w: World) -> bool:
    """Tell whether the connection is closed, after what it has to do."""
    try:
        await w.base.fetch_all("SELECT 1")
    except ConnectionClosedError:
        return True
    return False


async def usable(w: World) -> bool:
    try:
        await w.made.fetchmany(0)
    except ProgrammingError:
        return False
    return True


PROBES: dict[str, Callable[[World], Any]] = {
    "rows": rows,
    "names": names,
    "heard": heard,
    "busy": heard_busy,
    "extensions": extensions,
    "transaction": lambda w: w.conn.in_transaction_async(),
    "closed": refuses,
    "user_version": lambda w: w.conn.fetch_scalar("PRAGMA user_version"),
    "limit": lambda w: w.conn.getlimit(PATTERN),
    "config": lambda w: w.conn.getconfig(TRIGGERS),
    "encrypted": lambda w: w.path is not None and w.path.read_bytes()[:6] != b"SQLite",
    "blob": lambda w: w.conn.fetch_scalar("SELECT data FROM b"),
    "position": lambda w: w.made.tell(),
    "blob closed": lambda w: closed_blob(w.made),
    "cursor": usable,
    "tables": lambda w: w.conn.get_tables(),
    "cache": lambda w: w.made.get("key"),
    "expired": lambda w: w.conn.fetch_scalar("SELECT count(*) FROM rapsqlite_cache"),
    "usage": lambda w: w.conn.query_usage(),
    "chunks": lambda w: has_more(w.made),
}


async def has_more(chunks: Any) -> bool:
    return await anext(chunks, None) is not None


async def closed_blob(blob: Any) -> bool:
    try:
        await blob.tell()
    except ProgrammingError:
        return True
    return False


# What uses need to be done before.


async def begin(w: World) -> None:
    await w.conn.execute("BEGIN")
    await w.conn.execute(INSERT)


async def cursor(w: World) -> None:
    w.made = await w.conn.execute(THOUSAND)
    assert len(await w.made.fetchmany(TAKEN)) == TAKEN


async def fresh_cursor(w: World) -> None:
    w.made = w.conn.cursor()


async def endless_cursor(w: World) -> None:
    w.made = await w.conn.execute(ENDLESS_AFTER_100)
    await w.made.fetchone()


async def blob(w: World) -> None:
    w.made = await w.conn.blobopen("b", "data", 1)


async def chunks(w: World) -> None:
    w.made = w.conn.execute_iter(THOUSAND, chunk_size=TAKEN)
    await anext(w.made)


async def cache(w: World) -> None:
    w.made = SQLiteCache(w.conn)
    await w.made.set("key", b"value")
    await w.made.set("old", b"value", ttl=0)


async def counted(w: World) -> None:
    w.base.query_usage_tracking = True
    await w.conn.execute("SELECT 6")


async def hooked(w: World) -> None:
    w.made = w.conn.on_query(w.hears("query"))


async def block(w: World) -> None:
    w.made = w.conn.transaction()


async def entered(w: World) -> None:
    await block(w)
    await w.made.__aenter__()
    await w.made.execute(INSERT)


def prepared(sql: str) -> Callable[[World], Awaitable[None]]:
    async def prepare(w: World) -> None:
        w.made = w.conn.prepare(sql)

    return prepare


def endless_rows() -> Iterator[tuple[int]]:
    while True:
        yield (5,)


class Adder:
    """An aggregate, and a window function."""

    def step(self, *_: object) -> None: ...

    def inverse(self, *_: object) -> None: ...

    def value(self) -> int:
        return 1

    def finalize(self) -> int:
        return 1


# What statements are refused for.


def refusals(call: Callable[[World], Callable[..., Any]]) -> Any:
    return (
        (lambda w: call(w)(1), TypeError),
        (lambda w: call(w)(MARK), ProgrammingError),
        (lambda w: call(w)(MARK, (5, 6)), ProgrammingError),
        (lambda w: call(w)(MARK, (object(),)), ProgrammingError),
        (lambda w: call(w)(MARK, (1 << 64,)), OverflowError),
        (lambda w: call(w)(MARK, ("\ud800",)), UnicodeEncodeError),
        (lambda w: call(w)("INSERT INTO t VALUES (5); SELECT 1"), ProgrammingError),
        (lambda w: call(w)("SELECT nothing FROM nowhere"), OperationalError),
    )


def of_prepared(method: str) -> Any:
    """Return what the methods of a prepared INSERT are refused for."""
    return (
        (lambda w: getattr(w.made, method)((5,)), ProgrammingError),
        (lambda w: getattr(w.made, method)(5), (ProgrammingError, TypeError)),
    )


def fetching(method: str, value: Any, sql: str = RETURNING, **more: Any) -> Use:
    """Return a use of a method that executes and fetches."""
    return Use(
        lambda w: getattr(w.conn, method)(sql),
        value,
        changes="rows",
        waits=True,
        long=lambda w: getattr(w.conn, method)(ENDLESS),
        bad=refusals(lambda w: getattr(w.conn, method)),
        **more,
    )


def of_query(method: str, value: Any, sql: str = RETURNING) -> Use:
    """Return a use of a method of PreparedQuery."""
    return Use(
        lambda w: getattr(w.made, method)(),
        value,
        changes="rows",
        before=prepared(sql),
        waits=True,
        long=lambda w: getattr(w.conn.prepare(ENDLESS), method)(),
        bad=of_prepared(method),
    )


def asking(method: str, value: Any, *arguments: str) -> Use:
    """Return a use of a method that asks the schema."""
    return Use(
        lambda w: getattr(w.conn, method)(*arguments),
        value,
        waits=True,
        bad=((lambda w: getattr(w.conn, method)(object()), ProgrammingError),),
    )


def callback(method: str, *arguments: object) -> Use:
    """Return a use of a method that takes a callback."""

    def make(w: World, function: object) -> Any:
        given = [function if argument is ... else argument for argument in arguments]
        return getattr(w.conn, method)(*given)

    is_busy = method == "set_busy_handler"
    return Use(
        lambda w: make(w, w.hears(method)),
        changes="busy" if is_busy else "heard",
        on_file=is_busy,
        bad=((lambda w: make(w, 5), TypeError),),
    )


def attribute(value: Any, name: str, **more: Any) -> Use:
    """Return a use of a property that answers in every state."""
    return Use(lambda w: getattr(w.conn, name), value, is_sync=True, **{"closed": value, **more})


def of_cursor(value: Any, name: str, **more: Any) -> Use:
    """Return a use of a property of Cursor, which answers in every state."""
    return Use(
        lambda w: getattr(w.made, name),
        value,
        is_sync=True,
        **{"before": cursor, "closed": value, "ended": value, **more},
    )


IN_BLOCK = ProgrammingError

TABLE: dict[str, Use] = {
    # Connection: opening and closing.
    "Connection.__await__": Use(
        lambda w: w.base, Some(Connection), unopened=Some(Connection), is_coroutine=False
    ),
    "Connection.__aenter__": Use(
        lambda w: w.base.__aenter__(), Some(Connection), unopened=Some(Connection)
    ),
    "Connection.__aexit__": Use(
        lambda w: w.base.__aexit__(None, None, None), changes="closed", closed=None,
        unopened=ConnectionClosedError, cancelled="always",
    ),
    "Connection.close": Use(
        lambda w: w.conn.close(), changes="closed", closed=None, cancelled="always",
        in_block=IN_BLOCK,
    ),
    "Connection.stop": Use(
        lambda w: w.conn.stop(), changes="closed", closed=None, cancelled="always",
        in_block=IN_BLOCK,
    ),
    "Connection.interrupt": Use(lambda w: w.conn.interrupt(), closed=None, cancelled="at once"),
    # Connection: statements.
    "Connection.cursor": Use(lambda w: w.conn.cursor(), Some(Cursor), unopened=Some(Cursor),
        bad=((lambda w: w.conn.cursor(lambda _: 5), TypeError),), is_sync=True),
    "Connection.execute": fetching("execute", Some(Cursor), INSERT),
    "Connection.executemany": Use(
        lambda w: w.conn.executemany(MARK, [(4,), (5,)]), Some(Cursor), changes="rows",
        waits=True, long=lambda w: w.conn.executemany(MARK, endless_rows()),
        bad=(
            (lambda w: w.conn.executemany(1, []), TypeError),
            (lambda w: w.conn.executemany(MARK, 5), TypeError),
            (lambda w: w.conn.executemany("SELECT ?", [(1,)]), ProgrammingError),
            (lambda w: w.conn.executemany(MARK, [(1,), ()]), ProgrammingError),
            (lambda w: w.conn.executemany(MARK, [(1,), (object(),)]), ProgrammingError),
            (lambda w: w.conn.executemany(MARK, [(1,), (1 << 64,)]), OverflowError),
        ),
    ),
    "Connection.execute_many": Use(
        lambda w: w.conn.execute_many(MARK, [(4,), (5,)]), Some(Cursor), changes="rows",
        waits=True, long=lambda w: w.conn.execute_many(MARK, endless_rows()),
        bad=((lambda w: w.conn.execute_many(MARK, [(1,), ()]), ProgrammingError),),
    ),
    "Connection.executescript": Use(
        lambda w: w.conn.executescript(f"{INSERT}; {INSERT}"), Some(Cursor), changes="rows",
        waits=True, long=lambda w: w.conn.executescript(ENDLESS), in_block=IN_BLOCK,
        bad=(
            (lambda w: w.conn.executescript(b""), TypeError),
            (lambda w: w.conn.executescript("SELECT 1;\0"), ProgrammingError),
        ),
    ),
    "Connection.execute_insert": fetching("execute_insert", (4,), INSERT),
    "Connection.execute_fetchall": fetching("execute_fetchall", [(4,)]),
    "Connection.fetch_all": fetching("fetch_all", [(4,)]),
    "Connection.fetch_one": fetching("fetch_one", (4,)),
    "Connection.fetch_optional": fetching("fetch_optional", (4,)),
    "Connection.fetch_scalar": fetching("fetch_scalar", 4),
    "Connection.fetch_blob": fetching("fetch_blob", b"\x04", BLOB),
    "Connection.raw_fetch_scalar": fetching("raw_fetch_scalar", 4),
    "Connection.fetch_one: no row": Use(
        lambda w: w.conn.fetch_one("SELECT 1 WHERE 0"), aiolibsql.DatabaseError
    ),
    "Connection.fetch_blob: text": Use(lambda w: w.conn.fetch_blob("SELECT 'text'"), TypeError),
    "Connection.batch": Use(
        lambda w: w.conn.batch([INSERT, (MARK, (5,))]), Some(Cursor), changes="rows", waits=True,
        long=lambda w: w.conn.batch([INSERT, ENDLESS]),
        bad=(
            (lambda w: w.conn.batch(5), TypeError),
            (lambda w: w.conn.batch([INSERT, 5]), TypeError),
            (lambda w: w.conn.batch([INSERT, (MARK, ())]), ProgrammingError),
            (lambda w: w.conn.batch([INSERT, "SELECT * FROM nowhere"]), OperationalError),
        ),
    ),
    "Connection.execute_iter": Use(
        lambda w: w.conn.execute_iter("SELECT 1"), Some(RowChunks), closed=Some(RowChunks),
        bad=((lambda w: w.conn.execute_iter("SELECT 1", chunk_size=0), ValueError),), is_sync=True),
    "Connection.prepare": Use(
        lambda w: w.conn.prepare(INSERT), Some(PreparedQuery), unopened=Some(PreparedQuery),
        bad=((lambda w: w.conn.prepare(5), TypeError),), is_sync=True),
    "Connection.set_pragma": Use(
        lambda w: w.conn.set_pragma("user_version", 7), changes="user_version", waits=True,
        bad=((lambda w: w.conn.set_pragma("user_version; SELECT 1", 7), ValueError),
             (lambda w: w.conn.set_pragma(5, 7), TypeError)),
    ),
    # Connection: transactions.
    "Connection.begin": Use(
        lambda w: w.conn.begin("EXCLUSIVE"), changes="transaction", waits=True, in_block=IN_BLOCK,
        bad=((lambda w: w.conn.begin("SOMETIMES"), ValueError),
             (lambda w: w.conn.begin(5), TypeError)),
    ),
    "Connection.commit": Use(
        lambda w: w.conn.commit(), before=begin, changes="transaction", in_block=IN_BLOCK
    ),
    "Connection.commit: nothing": Use(lambda w: w.conn.commit(), in_block=IN_BLOCK),
    "Connection.rollback": Use(
        lambda w: w.conn.rollback(), before=begin, changes="transaction", cancelled="always",
        in_block=IN_BLOCK,
    ),
    "Connection.rollback: nothing": Use(
        lambda w: w.conn.rollback(), cancelled="always", in_block=IN_BLOCK
    ),
    "Connection.transaction": Use(
        lambda w: w.conn.transaction(), Some(Transaction), closed=Some(Transaction),
        bad=((lambda w: w.conn.transaction("SOMETIMES"), ValueError),
             (lambda w: w.conn.transaction(5), TypeError)), is_sync=True),
    "Connection.savepoint": Use(
        lambda w: w.conn.savepoint(), Some(Transaction), closed=Some(Transaction),
        bad=((lambda w: w.conn.savepoint("a\0b"), ValueError),
             (lambda w: w.conn.savepoint(5), TypeError)), is_sync=True),
    "Connection.set_autocommit": Use(
        lambda w: w.conn.set_autocommit(True), before=begin, changes="transaction",
        cancelled="once queued", in_block=IN_BLOCK,
        bad=((lambda w: w.conn.set_autocommit(5), ValueError),),
    ),
    # Connection: callbacks.
    "Connection.create_function": Use(
        lambda w: w.conn.create_function("mine", 0, lambda: 1), changes="names",
        bad=((lambda w: w.conn.create_function("mine", 0, 5), TypeError),
             (lambda w: w.conn.create_function("mine", -7, len), OperationalError),
             (lambda w: w.conn.create_function(5, 0, len), TypeError)),
    ),
    "Connection.create_aggregate": Use(
        lambda w: w.conn.create_aggregate("mine", 0, Adder), changes="names",
        bad=((lambda w: w.conn.create_aggregate("mine", 0, 5), TypeError),),
    ),
    "Connection.create_window_function": Use(
        lambda w: w.conn.create_window_function("mine", 0, Adder), changes="names",
        bad=((lambda w: w.conn.create_window_function("mine", 0, 5), TypeError),),
    ),
    "Connection.create_collation": Use(
        lambda w: w.conn.create_collation("mine", lambda *_: 0), changes="names",
        bad=((lambda w: w.conn.create_collation("mine", 5), TypeError),),
    ),
    "Connection.set_authorizer": callback("set_authorizer", ...),
    "Connection.set_trace_callback": callback("set_trace_callback", ...),
    "Connection.set_progress_handler": callback("set_progress_handler", ..., 1),
    "Connection.set_busy_handler": callback("set_busy_handler", ...),
    "Connection.set_update_hook": callback("set_update_hook", ...),
    "Connection.set_commit_hook": callback("set_commit_hook", ...),
    "Connection.set_wal_hook": Use(
        lambda w: w.conn.set_wal_hook(w.hears("set_wal_hook")),
        bad=((lambda w: w.conn.set_wal_hook(5), TypeError),),
    ),
    "Connection.set_rollback_hook": callback("set_rollback_hook", ...),
    "Connection.register_adapter": Use(
        lambda w: w.conn.register_adapter(Some, str), unopened=None,
        bad=((lambda w: w.conn.register_adapter(5, str), TypeError),
             (lambda w: w.conn.register_adapter(Some, 5), TypeError)), is_sync=True),
    "Connection.register_converter": Use(
        lambda w: w.conn.register_converter("some", str), unopened=None,
        bad=((lambda w: w.conn.register_converter(5, str), TypeError),
             (lambda w: w.conn.register_converter("some", 5), TypeError)), is_sync=True),
    # Connection: services.
    "Connection.rekey": Use(
        lambda w: w.conn.rekey("new"), changes="encrypted", on_file=True, waits=True,
        in_block=IN_BLOCK,
        bad=((lambda w: w.conn.rekey(5), TypeError), (lambda w: w.conn.rekey(""), ValueError),
             (lambda w: w.conn.rekey("k" * 33), ValueError)),
    ),
    "Connection.blobopen": Use(
        lambda w: w.conn.blobopen("b", "data", 1), Some(Blob), waits=True,
        bad=((lambda w: w.conn.blobopen("b", "data", 9), OperationalError),
             (lambda w: w.conn.blobopen("b\0", "data", 1), ValueError),
             (lambda w: w.conn.blobopen("b", "data", 1 << 64), OverflowError),
             (lambda w: w.conn.blobopen("b", "data", "1"), TypeError)),
    ),
    "Connection.iterdump": Use(
        lambda w: w.conn.iterdump(), lambda value: value[0] == "BEGIN TRANSACTION;", waits=True,
        is_coroutine=False, bad=((lambda w: w.conn.iterdump(filter=5), TypeError),),
    ),
    "Connection.getlimit": Use(
        lambda w: w.conn.getlimit(PATTERN), 50000,
        bad=((lambda w: w.conn.getlimit(1000), ProgrammingError),
             (lambda w: w.conn.getlimit("1"), TypeError)),
    ),
    "Connection.setlimit": Use(
        lambda w: w.conn.setlimit(PATTERN, 100), 50000, changes="limit",
        bad=((lambda w: w.conn.setlimit(1000, 1), ProgrammingError),
             (lambda w: w.conn.setlimit(PATTERN, "1"), TypeError)),
    ),
    "Connection.getconfig": Use(
        lambda w: w.conn.getconfig(TRIGGERS), value=True,
        bad=((lambda w: w.conn.getconfig(1), ValueError),),
    ),
    "Connection.setconfig": Use(
        lambda w: w.conn.setconfig(TRIGGERS, False), changes="config",
        bad=((lambda w: w.conn.setconfig(1), ValueError),),
    ),
    "Connection.enable_load_extension": Use(
        lambda w: w.conn.enable_load_extension(True), changes="extensions"
    ),
    "Connection.load_extension": Use(
        lambda w: w.conn.load_extension("/nowhere/at_all"), OperationalError,
        bad=((lambda w: w.conn.load_extension("a\0b"), ValueError),
             (lambda w: w.conn.load_extension(None), TypeError)),
    ),
    # What a replica's do is in `test_replica.py`.
    "Connection.sync": Use(lambda w: w.conn.sync(), NotSupportedError),
    "Connection.sync_until": Use(
        lambda w: w.conn.sync_until(7), NotSupportedError,
        bad=((lambda w: w.conn.sync_until("7"), TypeError),),
    ),
    "Connection.sync_stats": Use(lambda w: w.conn.sync_stats(), NotSupportedError),
    "Connection.wal_checkpoint": Use(
        lambda w: w.conn.wal_checkpoint(), (0, -1, -1), in_block=OperationalError,
        bad=((lambda w: w.conn.wal_checkpoint("LAZY"), ValueError),
             (lambda w: w.conn.wal_checkpoint(name="nowhere"), OperationalError)),
    ),
    "Connection.serialize": Use(
        lambda w: w.conn.serialize(), lambda value: value[:6] == b"SQLite", waits=True,
        bad=((lambda w: w.conn.serialize(name="nowhere"), OperationalError),
             (lambda w: w.conn.serialize(name="a\0b"), ValueError)),
    ),
    "Connection.backup": Use(
        lambda w: w.conn.backup(Target(":memory:", check_same_thread=False)), waits=True,
        in_block=ProgrammingError,
        bad=((lambda w: w.conn.backup(5), TypeError),
             (lambda w: w.conn.backup(w.base), ValueError)),
    ),
    "Connection.deserialize": Use(
        lambda w: w.conn.deserialize(serialized()), changes="rows", in_block=IN_BLOCK,
        bad=((lambda w: w.conn.deserialize(5), TypeError),
             (lambda w: w.conn.deserialize(b"", name="temp"), OperationalError)),
    ),
    # Connection: what it is and what was counted.
    "Connection.explain_query_plan": Use(
        lambda w: w.conn.explain_query_plan(INSERT), Some(list),
        bad=((lambda w: w.conn.explain_query_plan(MARK), ProgrammingError),),
    ),
    "Connection.get_tables": asking("get_tables", ["b", "child", "parent", "t"]),
    "Connection.get_views": asking("get_views", ["v"]),
    "Connection.get_table_info": asking("get_table_info", lambda v: v[0]["name"] == "x", "t"),
    "Connection.get_table_xinfo": asking("get_table_xinfo", lambda v: v[0]["hidden"] == 0, "t"),
    "Connection.get_indexes": asking("get_indexes", lambda v: v[0]["name"] == "t_x"),
    "Connection.get_index_list": asking("get_index_list", lambda v: v[0]["origin"] == "c", "t"),
    "Connection.get_index_info": asking("get_index_info", lambda v: v[0]["name"] == "x", "t_x"),
    "Connection.get_foreign_keys": asking(
        "get_foreign_keys", lambda v: v[0]["to"] == "id", "child"
    ),
    "Connection.get_schema": asking("get_schema", lambda v: v["table_name"] == "t", "t"),
    "Connection.changes": Use(lambda w: w.conn.changes(), 1),
    "Connection.last_insert_rowid": Use(lambda w: w.conn.last_insert_rowid(), 1),
    "Connection.total_changes_async": Use(lambda w: w.conn.total_changes_async(), 4),
    "Connection.in_transaction_async": Use(
        lambda w: w.conn.in_transaction_async(), value=False, in_block=True
    ),
    "Connection.total_changes": Use(lambda w: w.conn.total_changes, 4, is_sync=True),
    "Connection.in_transaction": Use(
        lambda w: w.conn.in_transaction, value=False, in_block=True, is_sync=True,
    ),
    "Connection.closed": attribute(False, "closed", closed=True, unopened=False),
    "Connection.isolation_level": attribute(None, "isolation_level"),
    "Connection.autocommit": attribute(-1, "autocommit"),
    "Connection.row_factory": attribute(None, "row_factory"),
    "Connection.text_factory": attribute(str, "text_factory"),
    "Connection.iter_chunk_size": attribute(64, "iter_chunk_size"),
    "Connection.query_usage_tracking": attribute(False, "query_usage_tracking"),
    "Connection.include_query_in_errors": attribute(False, "include_query_in_errors"),
    "Connection.query_usage": Use(
        lambda w: w.conn.query_usage(), {"SELECT 6": 1}, before=counted, closed={"SELECT 6": 1},
        unopened={}, is_sync=True),
    "Connection.query_usage_dropped": Use(
        lambda w: w.conn.query_usage_dropped(), 0, closed=0, is_sync=True,
    ),
    "Connection.clear_query_usage": Use(
        lambda w: w.conn.clear_query_usage(), before=counted, changes="usage", closed=None,
        is_sync=True),
    "Connection.set_slow_query_threshold": Use(
        lambda w: w.conn.set_slow_query_threshold(5), closed=None,
        bad=((lambda w: w.conn.set_slow_query_threshold(-1), ValueError),
             (lambda w: w.conn.set_slow_query_threshold("1"), TypeError)), is_sync=True),
    "Connection.on_query": Use(
        lambda w: w.conn.on_query(print), print, closed=print,
        bad=((lambda w: w.conn.on_query(5), TypeError),), is_sync=True),
    "Connection.off_query": Use(
        lambda w: w.conn.off_query(w.made), before=hooked, closed=None, unopened=ValueError,
        bad=((lambda w: w.conn.off_query(print), ValueError),), is_sync=True),
    # Transaction; its other names are Connection's, which are used in a block too.
    "Transaction.__await__": Use(
        lambda w: w.made.__await__(), TypeError, before=block, closed=TypeError, is_sync=True
    ),
    "Transaction.__aenter__": Use(
        lambda w: w.made.__aenter__(), Some(Transaction), before=block, changes="transaction",
        waits=True,
    ),
    "Transaction.__aexit__": Use(
        lambda w: w.made.__aexit__(None, None, None), before=entered, changes="transaction",
        cancelled="always",
    ),
    "Transaction.connection": Use(
        lambda w: w.made.connection, Some(Connection), before=block, closed=Some(Connection),
        is_sync=True),
    "Transaction.close": Use(
        lambda w: w.made.close(), ProgrammingError, before=entered, closed=ProgrammingError,
        cancelled="at once",
    ),
    "Transaction.stop": Use(
        lambda w: w.made.stop(), ProgrammingError, before=entered, closed=ProgrammingError,
        cancelled="at once",
    ),
    # Cursor.
    "Cursor.__await__": Use(
        lambda w: w.made, Some(Cursor), before=cursor, unopened=Some(Cursor), is_coroutine=False,
        cancelled="at once",
    ),
    "Cursor.__aenter__": Use(
        lambda w: w.made.__aenter__(), Some(Cursor), before=cursor, unopened=Some(Cursor),
        cancelled="at once",
    ),
    "Cursor.__aexit__": Use(
        lambda w: w.made.__aexit__(None, None, None), before=cursor, changes="cursor",
        closed=None, ended=None, cancelled="always",
    ),
    "Cursor.__aiter__": Use(
        lambda w: w.made.__aiter__(), Some(RowIterator), before=cursor, closed=Some(RowIterator),
        is_sync=True),
    "Cursor.__anext__": Use(
        lambda w: w.made.__anext__(), (TAKEN + 1,), before=cursor, ended=ProgrammingError,
        unopened=StopAsyncIteration,
    ),
    "Cursor.execute": Use(
        lambda w: w.made.execute(INSERT), Some(Cursor), before=fresh_cursor, changes="rows",
        ended=ProgrammingError, waits=True, long=lambda w: w.made.execute(ENDLESS),
        bad=refusals(lambda w: w.made.execute),
    ),
    "Cursor.executemany": Use(
        lambda w: w.made.executemany(MARK, [(4,), (5,)]), Some(Cursor), before=fresh_cursor,
        changes="rows", ended=ProgrammingError, waits=True,
        long=lambda w: w.made.executemany(MARK, endless_rows()),
        bad=(
            (lambda w: w.made.executemany(MARK, 5), TypeError),
            (lambda w: w.made.executemany(MARK, [(1,), ()]), ProgrammingError),
        ),
    ),
    "Cursor.executescript": Use(
        lambda w: w.made.executescript(f"{INSERT}; {INSERT}"), Some(Cursor), before=fresh_cursor,
        changes="rows", ended=ProgrammingError, waits=True, in_block=IN_BLOCK,
        long=lambda w: w.made.executescript(ENDLESS),
        bad=((lambda w: w.made.executescript(5), TypeError),),
    ),
    "Cursor.fetchone": Use(
        lambda w: w.made.fetchone(), (TAKEN + 1,), before=cursor, ended=ProgrammingError,
        unopened=None,
    ),
    "Cursor.fetchmany": Use(
        lambda w: w.made.fetchmany(500), lambda value: value[0] == (TAKEN + 1,), before=cursor,
        ended=ProgrammingError, unopened=[], bad=((lambda w: w.made.fetchmany("1"), TypeError),),
    ),
    "Cursor.fetchmany: endless": Use(
        lambda w: w.made.fetchmany(20), Some(list), before=endless_cursor, cancelled="at once",
        unopened=[],
        long=lambda w: w.made.fetchmany(500),
    ),
    "Cursor.fetchall": Use(
        lambda w: w.made.fetchall(), lambda value: len(value) == 1000 - TAKEN, before=cursor,
        ended=ProgrammingError, unopened=[],
    ),
    "Cursor.fetchmany: endless, then all": Use(
        lambda w: w.made.fetchmany(20), Some(list), before=endless_cursor, cancelled="at once",
        unopened=[],
        long=lambda w: w.made.fetchall(),
    ),
    "Cursor.close": Use(
        lambda w: w.made.close(), before=cursor, changes="cursor", closed=None, ended=None,
        cancelled="always",
    ),
    "Cursor.setinputsizes": of_cursor(Some(object), "setinputsizes"),
    "Cursor.setoutputsize": of_cursor(Some(object), "setoutputsize"),
    "Cursor.connection": of_cursor(Some(Connection), "connection"),
    "Cursor.description": of_cursor((("i", *[None] * 6),), "description", unopened=None),
    "Cursor.rowcount": of_cursor(-1, "rowcount"),
    "Cursor.lastrowid": of_cursor(Some(int), "lastrowid", unopened=None),
    "Cursor.arraysize": of_cursor(1, "arraysize"),
    "Cursor.iter_chunk_size": of_cursor(64, "iter_chunk_size"),
    "Cursor.row_factory": of_cursor(None, "row_factory"),
    # Blob.
    "Blob.__aenter__": Use(lambda w: w.made.__aenter__(), Some(Blob), before=blob,
        ended=ProgrammingError, cancelled="at once"),
    "Blob.__aexit__": Use(
        lambda w: w.made.__aexit__(None, None, None), before=blob, changes="blob closed",
        closed=None, ended=None, cancelled="always",
    ),
    "Blob.__len__": Use(
        lambda w: len(w.made), 4, before=blob, ended=ProgrammingError, is_sync=True,
    ),
    "Blob.__bool__": Use(
        lambda w: bool(w.made), value=True, before=blob, closed=True, ended=True, is_sync=True,
    ),
    "Blob.__iter__": Use(
        lambda w: iter(w.made), TypeError, before=blob, closed=TypeError, ended=TypeError,
        is_sync=True,
    ),
    "Blob.__getitem__": Use(
        lambda w: w.made[1], 1, before=blob, ended=ProgrammingError,
        bad=((lambda w: w.made["1"], TypeError), (lambda w: w.made[4], IndexError)),
    ),
    "Blob.set": Use(
        lambda w: w.made.set(1, 7), before=blob, changes="blob", ended=ProgrammingError,
        bad=(
            (lambda w: w.made.set("1", 7), TypeError),
            (lambda w: w.made.set(1, b""), TypeError),
            (lambda w: w.made.set(4, 7), IndexError),
            (lambda w: w.made.set(slice(0, 2), b"a"), IndexError),
            (lambda w: w.made.set(1, 256), ValueError),
        ),
    ),
    "Blob.read": Use(
        lambda w: w.made.read(2), b"\0\1", before=blob, changes="position",
        ended=ProgrammingError, bad=((lambda w: w.made.read("1"), TypeError),),
    ),
    "Blob.write": Use(
        lambda w: w.made.write(b"ab"), before=blob, changes="blob", ended=ProgrammingError,
        bad=((lambda w: w.made.write("ab"), TypeError),
             (lambda w: w.made.write(b"12345"), ValueError)),
    ),
    "Blob.tell": Use(
        lambda w: w.made.tell(), 0, before=blob, ended=ProgrammingError, cancelled="at once"
    ),
    "Blob.seek": Use(
        lambda w: w.made.seek(2), before=blob, changes="position", ended=ProgrammingError,
        cancelled="at once",
        bad=((lambda w: w.made.seek(5), ValueError), (lambda w: w.made.seek(0, 7), ValueError),
             (lambda w: w.made.seek("1"), TypeError)),
    ),
    "Blob.close": Use(
        lambda w: w.made.close(), before=blob, changes="blob closed", ended=None, closed=None,
        cancelled="always",
    ),
    # PreparedQuery.
    "PreparedQuery.query": Use(
        lambda w: w.made.query, "SELECT 1", before=prepared("SELECT 1"), closed="SELECT 1",
        is_sync=True,
    ),
    "PreparedQuery.execute": of_query("execute", Some(Cursor), INSERT),
    "PreparedQuery.fetch_all": of_query("fetch_all", [(4,)]),
    "PreparedQuery.fetch_one": of_query("fetch_one", (4,)),
    "PreparedQuery.fetch_optional": of_query("fetch_optional", (4,)),
    "PreparedQuery.fetch_scalar": of_query("fetch_scalar", 4),
    "PreparedQuery.fetch_blob": of_query("fetch_blob", b"\x04", BLOB),
    # Chunks, dumps, the cache.
    "RowChunks.__aiter__": Use(
        lambda w: w.made.__aiter__(), Some(RowChunks), before=chunks, closed=Some(RowChunks),
        is_sync=True),
    "RowChunks.__anext__": Use(
        lambda w: w.made.__anext__(), lambda value: value[0] == (TAKEN + 1,), before=chunks,
        ended=StopAsyncIteration,
    ),
    "RowChunks.__anext__: first": Use(
        lambda w: w.conn.execute_iter(RETURNING).__anext__(), [(4,)], changes="rows", waits=True,
        long=lambda w: w.conn.execute_iter(ENDLESS).__anext__(),
    ),
    "RowChunks.__aenter__": Use(
        lambda w: w.made.__aenter__(), Some(RowChunks), before=chunks, closed=Some(RowChunks),
        cancelled="at once",
    ),
    "RowChunks.__aexit__": Use(
        lambda w: w.made.__aexit__(None, None, None), before=chunks, changes="chunks",
        closed=None, cancelled="once begun",
    ),
    "RowChunks.aclose": Use(
        lambda w: w.made.aclose(), before=chunks, changes="chunks", closed=None, ended=None,
        cancelled="once begun",
    ),
    "Dump.__await__": Use(
        lambda w: w.conn.iterdump(filter="b"), lambda value: len(value) == 4, waits=True,
        is_coroutine=False,
    ),
    "Dump.__aiter__": Use(
        lambda w: w.conn.iterdump().__aiter__().__anext__(), "BEGIN TRANSACTION;", waits=True
    ),
    "SQLiteCache.initialize": Use(
        lambda w: SQLiteCache(w.conn).initialize(), changes="tables", waits=True
    ),
    "SQLiteCache.get": Use(
        lambda w: w.made.get("key"), b"value", before=cache, waits=True,
        bad=((lambda w: w.made.get(5), TypeError),),
    ),
    "SQLiteCache.set": Use(
        lambda w: w.made.set("key", b"new"), before=cache, changes="cache", waits=True,
        bad=((lambda w: w.made.set(5, b""), TypeError), (lambda w: w.made.set("", 5), TypeError),
             (lambda w: w.made.set("key", b"", ttl=-1), ValueError)),
    ),
    "SQLiteCache.delete": Use(
        lambda w: w.made.delete("key"), value=True, before=cache, changes="cache", waits=True,
        bad=((lambda w: w.made.delete(5), TypeError),),
    ),
    "SQLiteCache.cleanup_expired": Use(
        lambda w: w.made.cleanup_expired(), 1, before=cache, changes="expired", waits=True,
        bad=((lambda w: w.made.cleanup_expired(limit=0), ValueError),
             (lambda w: w.made.cleanup_expired(limit="1"), TypeError)),
    ),
    # Functions of the module.
    "aiolibsql.connect": Use(
        lambda _: aiolibsql.connect(":memory:"), Some(Connection), closed=Some(Connection),
        is_sync=True,
        bad=((lambda _: aiolibsql.connect("a\0b"), ValueError),
             (lambda _: aiolibsql.connect(":memory:", frobnicate=1), TypeError)),  # type: ignore[call-overload]
    ),
    "aiolibsql.execute_iter": Use(
        lambda w: aiolibsql.execute_iter(w.conn, "SELECT 1"), Some(RowChunks),
        closed=Some(RowChunks),
        bad=((lambda w: aiolibsql.execute_iter(w.conn, "SELECT 1", None, 0), ValueError),),
        is_sync=True),
    "aiolibsql.paginate": Use(
        lambda w: aiolibsql.paginate(w.conn, "SELECT x FROM t", page_size=1, offset=1), [(2,)],
        waits=True, long=lambda w: aiolibsql.paginate(w.conn, ENDLESS),
        bad=((lambda w: aiolibsql.paginate(w.conn, "SELECT 1", page_size=0), ValueError),
             (lambda w: aiolibsql.paginate(w.conn, "SELECT 1", offset=-1), ValueError)),
    ),
    "aiolibsql.timed_fetch_all": Use(
        lambda w: aiolibsql.timed_fetch_all(w.conn, RETURNING),
        lambda value: value[0] == [(4,)] and value[1] > 0, changes="rows", waits=True,
        long=lambda w: aiolibsql.timed_fetch_all(w.conn, ENDLESS),
    ),
    "aiolibsql.analyze_query_plan": Use(
        lambda w: aiolibsql.analyze_query_plan(w.conn, "SELECT data FROM b"),
        lambda value: value["table_scan"],
    ),
    "aiolibsql.suggest_indexes": Use(
        lambda w: aiolibsql.suggest_indexes(w.conn, "SELECT data FROM b"),
        lambda value: value[0]["table"] == "b",
    ),
    "aiolibsql.transaction_retry": Use(
        lambda w: aiolibsql.transaction_retry(w.conn, lambda: w.conn.fetch_all(RETURNING)), [(4,)],
        changes="rows", waits=True,
        long=lambda w: aiolibsql.transaction_retry(w.conn, lambda: w.conn.fetch_all(ENDLESS)),
        bad=((lambda w: aiolibsql.transaction_retry(w.conn, 5), TypeError),  # type: ignore[arg-type]
             (lambda w: aiolibsql.transaction_retry(w.conn, list, 0), ValueError)),  # type: ignore[arg-type]
    ),
    "aiolibsql.transaction_with_timeout": Use(
        lambda w: aiolibsql.transaction_with_timeout(w.conn, lambda: w.conn.fetch_all(RETURNING)),
        [(4,)], changes="rows", waits=True,
        long=lambda w: aiolibsql.transaction_with_timeout(
            w.conn, lambda: w.conn.fetch_all(ENDLESS)
        ),
    ),
}  # fmt: skip

# Names whose objects have nothing to do with a connection or an event loop, and the methods of the
# coroutine protocol, which every use above goes through: where they are tested.
ELSEWHERE = {
    "ConnectionPool": ("test_pool.py", "ConnectionPool"),
    "PoolCursor": ("test_pool_cursor.py", "PoolCursor"),
    "PoolStats": ("test_pool.py", "pool.stats()"),
    "SyncResult": ("test_replica.py", "SyncResult"),
    "SyncStats": ("test_replica.py", "SyncStats"),
    "connect_memory": ("test_memory.py", "connect_memory("),
    "create_pool": ("test_pool.py", "create_pool("),
    "enable_callback_tracebacks": ("test_callbacks.py", "enable_callback_tracebacks("),
    "vector32": ("test_vectors.py", "vector32("),
    "vector64": ("test_vectors.py", "vector64("),
    "Operation": ("test_operation.py", "operation.send"),
    "RowIterator": ("test_cursor.py", "async for"),
    "Row": ("test_row.py", "Row"),
    "log_query": ("test_logs.py", "aiolibsql.log_query"),
    "QueryPlan": ("test_diagnostics.py", "analyze_query_plan"),
    "DateFromTicks": ("test_constants.py", "DateFromTicks"),
    "TimeFromTicks": ("test_constants.py", "TimeFromTicks"),
    "TimestampFromTicks": ("test_constants.py", "TimestampFromTicks"),
    "adapt": ("test_adapters.py", "adapt("),
    "complete_statement": ("test_constants.py", "complete_statement("),
    "in_clause_query": ("test_clauses.py", "in_clause_query("),
    "register_adapter": ("test_adapters.py", "register_adapter("),
    "register_converter": ("test_converters.py", "register_converter("),
    "rows_to_dicts": ("test_clauses.py", "rows_to_dicts("),
    "class_row": ("test_row_factories.py", "class_row("),
    "dict_row": ("test_row_factories.py", "dict_row"),
    "namedtuple_row": ("test_row_factories.py", "namedtuple_row"),
    "scalar_row": ("test_row_factories.py", "scalar_row"),
    "tuple_row": ("test_row_factories.py", "tuple_row"),
}
