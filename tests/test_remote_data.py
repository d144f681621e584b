"""Values, large results and errors of a database at a server, and what it can't do."""

from __future__ import annotations

import math
import resource
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from backends import Backend
    from proxy import Proxy

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.paired]


@pytest.fixture
async def conn(encoded: Backend) -> AsyncIterator[Connection]:
    """Return an open connection; what the test left uncommitted is rolled back."""
    async with encoded.connect() as conn:
        yield conn
        await conn.rollback()


VALUES = [
    None, 0, -1, 2**63 - 1, -(2**63), 0.1, -0.5, 1e308, math.inf, -math.inf,
    "", "a\0b", "\0", "é😀中", b"", b"\0\xff", bytes(range(256)),
]  # fmt: skip


FINITE = [value for value in VALUES if value not in (math.inf, -math.inf)]


async def test_values_come_back_the_same(encoded: Backend, conn: Connection) -> None:
    values = FINITE if encoded.is_without_protobuf else VALUES
    places = ", ".join("?" * len(values))
    assert await conn.fetch_all(f"SELECT {places}", values) == [tuple(values)]
    await conn.execute("CREATE TABLE t (a)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((value,) for value in values))
    rows = await conn.fetch_all("SELECT a, typeof(a) FROM t ORDER BY rowid")
    assert [value for value, _ in rows] == values
    names = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
    assert [name for _, name in rows] == [names[type(value)] for value in values]


async def test_server_without_protobuf_is_spoken_to_in_json(hosted: Backend, proxy: Proxy) -> None:
    for is_hidden, told in (
        (False, {"http": b"HTTP/1.1 200 ", "ws": b"protocol: hrana3-protobuf\r\n"}),
        (True, {"http": b"HTTP/1.1 404 ", "ws": b"protocol: hrana3\r\n"}),
    ):
        proxy.hides_protobuf = is_hidden
        proxy.greetings.clear()
        async with hosted.through(proxy).connect() as conn:
            assert await conn.fetch_scalar("SELECT 7") == 7
        assert told[hosted.name] in proxy.greetings[0]


async def test_what_json_has_no_number_for_is_refused_by_name(
    encoded: Backend, conn: Connection
) -> None:
    if not encoded.is_without_protobuf:
        pytest.skip("protobuf has all numbers")
    await conn.execute("CREATE TABLE t (a)")
    for value in (math.inf, -math.inf, math.nan):
        with pytest.raises(aiolibsql.ProgrammingError, match="JSON"):
            await conn.execute("INSERT INTO t VALUES (?)", (value,))
    with pytest.raises(aiolibsql.OperationalError, match="JSON"):
        await conn.fetch_all("SELECT 9e999")
    assert await conn.fetch_all("SELECT * FROM t") == []
    await conn.rollback()
    await assert_healthy(conn)


async def test_not_a_number_is_null_as_in_a_file(encoded: Backend, conn: Connection) -> None:
    if encoded.is_without_protobuf:
        pytest.skip("JSON has no such number")
    assert await conn.fetch_all("SELECT ?, typeof(?)", (math.nan, math.nan)) == [(None, "null")]


async def test_values_that_do_not_fit_are_refused_here(conn: Connection) -> None:
    with pytest.raises(OverflowError):
        await conn.execute("SELECT ?", (2**63,))
    with pytest.raises(aiolibsql.ProgrammingError, match="object"):
        await conn.execute("SELECT ?", (object(),))
    await assert_healthy(conn)


async def test_parameters_are_counted_and_named(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT ?2, ?1", [1, 2]) == [(2, 1)]
    assert await conn.fetch_all("SELECT :a, @b, $c", {"a": 1, "b": 2, "c": 3}) == [(1, 2, 3)]
    for parameters in ((), (1, 2), {"b": 1}):
        with pytest.raises(aiolibsql.ProgrammingError):
            await conn.execute("SELECT :a", parameters)
    await assert_healthy(conn)


async def test_five_megabytes_go_there_and_back(conn: Connection) -> None:
    blob = (bytes(range(256)) * 20_000)[:5_000_000]  # the server's limit
    assert await conn.fetch_scalar("SELECT ?", (blob,)) == blob
    text = "é" * 1_000_000
    assert await conn.fetch_scalar("SELECT ?", (text,)) == text


async def test_hundred_thousand_rows_stream(conn: Connection) -> None:
    sql = f"{NUMBERS} SELECT i, 'row ' || i FROM n LIMIT 100000"
    expected = 1
    async with conn.execute(sql) as cursor:
        async for number, text in cursor:
            assert number == expected
            if number % 9973 == 0:
                assert text == f"row {number}"
            expected += 1
    assert expected == 100_001


def peak() -> int:
    """Return the most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.slow
async def test_rows_stream_in_constant_memory(conn: Connection) -> None:
    # 100 MB in all, many times of what a server says at once.
    sql = f"{NUMBERS} SELECT i, randomblob(1000) FROM n LIMIT 100000"
    seen = 0
    before = peak()
    async with conn.execute(sql) as cursor:
        async for number, blob in cursor:
            seen += 1
            assert number == seen
            assert len(blob) == 1000
    assert seen == 100_000
    assert peak() - before < 60_000_000


async def test_streamed_rows_can_be_left_early(conn: Connection) -> None:
    sql = f"{NUMBERS} SELECT i, zeroblob(1000) FROM n LIMIT 30000"
    for _ in range(3):
        async with conn.execute(sql) as cursor:
            async for number, _ in cursor:
                if number == 70:
                    break
        assert await conn.fetch_scalar("SELECT 1") == 1
    await assert_healthy(conn)


async def test_other_statements_run_between_streamed_rows(conn: Connection) -> None:
    sql = f"{NUMBERS} SELECT i, zeroblob(1000) FROM n LIMIT 15000"
    await conn.execute("CREATE TABLE t (a)")
    for is_inside in (False, True):
        if is_inside:
            await conn.execute("INSERT INTO t VALUES (0)")
        seen = 0
        async with conn.execute(sql) as cursor:
            async for number, _ in cursor:
                seen += 1
                if number % 1000 == 0:
                    assert await conn.fetch_scalar("SELECT ?", (number,)) == number
        assert seen == 15000
        assert conn.in_transaction is is_inside


async def test_wait_for_a_long_query_ends_in_time(conn: Connection) -> None:
    with pytest.raises(aiolibsql.TimeoutError):
        await conn.execute(f"{NUMBERS[:-1]} LIMIT 20000000) SELECT count(*) FROM n", timeout=0.3)
    await assert_healthy(conn)


# Errors.


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("selec 1", aiolibsql.OperationalError, "syntax error"),
        ("SELECT * FROM nowhere", aiolibsql.OperationalError, "no such table: nowhere"),
        ("SELECT missing", aiolibsql.OperationalError, "no such column: missing"),
        ("INSERT INTO nowhere VALUES (1)", aiolibsql.OperationalError, "no such table: nowhere"),
        ("SELECT 1; SELECT 2", aiolibsql.ProgrammingError, "one statement"),
        ("SELECT abs(-9223372036854775807 - 1)", aiolibsql.OperationalError, "integer overflow"),
    ],
)
async def test_sql_error_has_its_class_words_and_statement(
    conn: Connection, sql: str, error: type[aiolibsql.Error], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        await conn.execute(sql)
    assert caught.value.sql == sql
    await conn.rollback()
    await assert_healthy(conn)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("INSERT INTO t (u) VALUES (1), (1)", "SQLITE_CONSTRAINT_UNIQUE"),
        ("INSERT INTO t (n) VALUES (NULL)", "SQLITE_CONSTRAINT_NOTNULL"),
        ("INSERT INTO t (c) VALUES (-1)", "SQLITE_CONSTRAINT_CHECK"),
        ("INSERT INTO t (f) VALUES (7)", "SQLITE_CONSTRAINT_FOREIGNKEY"),
    ],
)
@pytest.mark.parametrize("way", ["execute", "executemany", "executescript", "block"])
async def test_constraint_has_its_extended_name(
    conn: Connection, sql: str, name: str, way: str
) -> None:
    await conn.executescript(
        "PRAGMA foreign_keys = ON;"
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (u UNIQUE, n NOT NULL DEFAULT 0, c CHECK (c > 0), f REFERENCES p (id));"
    )
    with pytest.raises(aiolibsql.IntegrityError) as caught:
        if way == "executemany":
            await conn.executemany(sql, [()])
        elif way == "executescript":
            await conn.executescript(sql)
        elif way == "block":
            async with conn.transaction():
                await conn.execute(sql)
        else:
            await conn.execute(sql)
    assert caught.value.sqlite_errorname == name
    assert "constraint failed" in str(caught.value)
    await conn.rollback()
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0
    await assert_healthy(conn)


# What a server can't do.

LOCAL_ONLY: dict[str, Callable[[Connection, Path], Any]] = {
    "create_function": lambda conn, _: conn.create_function("f", 0, lambda: 1),
    "create_aggregate": lambda conn, _: conn.create_aggregate("f", 0, object),
    "create_window_function": lambda conn, _: conn.create_window_function("f", 0, object),
    "create_collation": lambda conn, _: conn.create_collation("c", lambda a, b: (a > b) - (a < b)),
    "set_authorizer": lambda conn, _: conn.set_authorizer(lambda *_: 0),
    "set_trace_callback": lambda conn, _: conn.set_trace_callback(lambda _: None),
    "set_progress_handler": lambda conn, _: conn.set_progress_handler(lambda: 0, 1),
    "set_update_hook": lambda conn, _: conn.set_update_hook(lambda *_: None),
    "set_commit_hook": lambda conn, _: conn.set_commit_hook(lambda: 0),
    "set_rollback_hook": lambda conn, _: conn.set_rollback_hook(lambda: None),
    "set_wal_hook": lambda conn, _: conn.set_wal_hook(lambda *_: None),
    "set_busy_handler": lambda conn, _: conn.set_busy_handler(lambda _: 0),
    "backup": lambda conn, path: conn.backup(aiolibsql.connect(path / "copy.db")),
    "blobopen": lambda conn, _: conn.blobopen("t", "a", 1),
    "serialize": lambda conn, _: conn.serialize(),
    "deserialize": lambda conn, _: conn.deserialize(b""),
    "enable_load_extension": lambda conn, _: conn.enable_load_extension(True),
    "load_extension": lambda conn, path: conn.load_extension(str(path / "nothing")),
    "getlimit": lambda conn, _: conn.getlimit(0),
    "setlimit": lambda conn, _: conn.setlimit(0, 1000),
    "getconfig": lambda conn, _: conn.getconfig(1002),
    "setconfig": lambda conn, _: conn.setconfig(1002, True),
    "rekey": lambda conn, _: conn.rekey("new"),
    "wal_checkpoint": lambda conn, _: conn.wal_checkpoint(),
}


@pytest.mark.parametrize("feature", LOCAL_ONLY)
async def test_local_feature_is_refused_by_name(
    conn: Connection, feature: str, tmp_path: Path
) -> None:
    with pytest.raises(aiolibsql.NotSupportedError, match=feature) as caught:
        awaitable = LOCAL_ONLY[feature](conn, tmp_path)
        await awaitable
    assert "remote" in str(caught.value)
    await assert_healthy(conn)


LOCAL_OPTIONS: dict[str, Any] = {
    "encryption_key": "key",
    "foreign_keys": True,
    "trusted_schema": False,
    "defensive": True,
}


@pytest.mark.parametrize("option", LOCAL_OPTIONS)
async def test_local_option_is_refused_by_name(hosted: Backend, option: str) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match=option):
        await hosted.connect(**{option: LOCAL_OPTIONS[option]})


async def test_statement_that_the_server_refuses_is_an_operational_error(conn: Connection) -> None:
    for sql in ("ATTACH ':memory:' AS other", "CREATE TEMP TABLE x (a)", "VACUUM"):
        with pytest.raises(aiolibsql.OperationalError):
            await conn.execute(sql)
    await assert_healthy(conn)


async def test_failed_executemany_undoes_its_begin_too(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a UNIQUE)")
    with pytest.raises(aiolibsql.IntegrityError):
        await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (1,)])
    assert not conn.in_transaction  # as on a file


async def test_executemany_of_no_rows_begins_a_transaction_as_in_sqlite3(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.executemany("INSERT INTO t VALUES (?)", [])
    assert conn.in_transaction
