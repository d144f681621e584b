"""A short look at every area, for the runs that have no time for the whole suite."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_module_has_the_names_of_pep_249() -> None:
    assert aiolibsql.apilevel == "2.0"
    assert aiolibsql.paramstyle == "qmark"
    assert aiolibsql.threadsafety in (1, 2, 3)
    assert aiolibsql.LEGACY_TRANSACTION_CONTROL == -1
    assert aiolibsql.__version__ == aiolibsql.VERSION
    assert bytes(aiolibsql.Binary(b"x")) == b"x"
    assert aiolibsql.Date(2000, 1, 2) == aiolibsql.DateFromTicks(946_814_400)
    for name in ("Time", "Timestamp", "TimeFromTicks", "TimestampFromTicks"):
        assert callable(getattr(aiolibsql, name))
    assert {"STRING", "BINARY", "NUMBER", "DATETIME", "ROWID"} <= set(aiolibsql.__all__)


def test_every_name_offered_exists() -> None:
    for name in aiolibsql.__all__:
        assert getattr(aiolibsql, name) is not None


async def test_opened_written_closed_and_read_again(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        await conn.execute("INSERT INTO t (a) VALUES (?)", ("one",))
        await conn.executemany("INSERT INTO t (a) VALUES (:a)", ({"a": n} for n in range(200)))
        await conn.commit()
        await assert_healthy(conn)
    assert conn.closed
    async with file_backend.second() as conn:
        rows = [row async for row in await conn.execute("SELECT a FROM t ORDER BY id")]
        assert rows == [("one",), *((n,) for n in range(200))]


async def test_values_come_back_the_same(conn: Connection) -> None:
    row = (None, 2**63 - 1, -(2**63), 0.1, math.inf, "a\0é😀", "", b"\0\xff", b"")
    assert await conn.fetch_all("SELECT " + ", ".join("?" * len(row)), row) == [row]
    with pytest.raises(OverflowError):
        await conn.execute("SELECT ?", (2**63,))
    with pytest.raises(aiolibsql.ProgrammingError, match="object"):
        await conn.execute("SELECT ?", (object(),))


@pytest.mark.local("names are not bound by their position")
async def test_names_are_bound_by_position(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT ?2, :a", [1, 2, 3]) == [(2, 3)]


async def test_parameters_are_counted_and_named(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT @a, $b", {"a": 1, "b": 2}) == [(1, 2)]
    for parameters in ((), (1, 2), {"b": 1}):
        with pytest.raises(aiolibsql.ProgrammingError):
            await conn.execute("SELECT :a", parameters)


async def test_cursor_fetches_in_every_way(conn: Connection) -> None:
    async with conn.execute("VALUES (1), (2), (3), (4), (5)") as cursor:
        assert await cursor.fetchone() == (1,)
        assert await cursor.fetchmany(2) == [(2,), (3,)]
        assert await anext(cursor.__aiter__()) == (4,)
        assert await cursor.fetchall() == [(5,)]
        assert cursor.description is not None
        assert cursor.rowcount == -1


async def test_rows_have_names_when_asked_for(conn: Connection) -> None:
    conn.row_factory = aiolibsql.Row
    row = await conn.fetch_one("SELECT 1 AS a, 'x' AS b")
    assert (row["A"], row[1], row.keys()) == (1, "x", ["a", "b"])
    assert row.asdict() == {"a": 1, "b": "x"}


async def test_transactions_commit_and_roll_back(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.execute("INSERT INTO t VALUES (1)")
    assert conn.in_transaction
    await conn.rollback()
    await conn.begin("IMMEDIATE")
    await conn.execute("INSERT INTO t VALUES (2)")
    await conn.commit()
    conn.autocommit = True
    await conn.execute("INSERT INTO t VALUES (3)")
    assert not conn.in_transaction
    assert await conn.fetch_all("SELECT a FROM t") == [(2,), (3,)]


async def test_autocommit_false_always_has_a_transaction(backend: Backend) -> None:
    async with backend.connect(autocommit=False) as conn:
        assert conn.in_transaction
        await conn.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        await conn.rollback()
        assert conn.in_transaction
        assert await conn.fetch_all("SELECT name FROM sqlite_master") == []


async def test_executemany_is_all_or_nothing(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a UNIQUE)")
    with pytest.raises(aiolibsql.IntegrityError):
        await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (1,)])
    assert await conn.fetch_all("SELECT a FROM t") == []


async def test_errors_have_class_and_code(conn: Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table: locked_things") as caught:
        await conn.execute("SELECT * FROM locked_things")
    assert isinstance(caught.value, aiolibsql.OperationalError)
    assert not isinstance(caught.value, aiolibsql.TimeoutError)
    assert caught.value.sqlite_errorname == "SQLITE_ERROR"
    with pytest.raises(aiolibsql.ProgrammingError, match="one statement"):
        await conn.execute("SELECT 1; SELECT 2")
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError, match="Connection closed"):
        await conn.execute("SELECT 1")


async def test_lock_past_the_timeout_is_a_timeout_error(file_backend: Backend) -> None:
    async with file_backend.connect() as holder, file_backend.second(timeout=0.05) as conn:
        await holder.begin("IMMEDIATE")
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.begin("IMMEDIATE")
        await holder.rollback()
        await assert_healthy(conn)


async def test_tasks_share_a_connection(conn: Connection) -> None:
    results: dict[int, Any] = {}

    async def square(number: int) -> None:
        results[number] = await conn.fetch_scalar("SELECT ?1 * ?1", (number,))

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(square, number)
    assert results == {number: number**2 for number in range(50)}


@pytest.mark.local("a statement that never ends")
async def test_cancelled_query_stops_and_the_connection_lives(conn: Connection) -> None:
    with anyio.move_on_after(0.05) as scope:
        await conn.execute(ENDLESS)
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        await assert_healthy(conn)


async def test_operation_dropped_unawaited_warns(conn: Connection) -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        conn.execute("CREATE TABLE t (a)")
    assert await conn.fetch_all("SELECT name FROM sqlite_master") == []


def test_one_connection_outlives_event_loops() -> None:
    connection = aiolibsql.connect(":memory:")

    async def count() -> Any:
        await connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
        await connection.execute("INSERT INTO t VALUES (1)")
        await connection.commit()
        return await connection.fetch_scalar("SELECT count(*) FROM t")

    async def opened() -> Any:
        await connection
        return await count()

    assert asyncio.run(opened()) == 1
    assert anyio.run(count, backend="trio") == 2
    assert asyncio.run(count()) == 3
    anyio.run(connection.close)
