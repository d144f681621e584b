"""Executemany: any iterable, streamed, and all of it or nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

INSERT = "INSERT INTO t VALUES (?, ?)"
MODES: list[dict[str, Any]] = [
    {}, {"isolation_level": "IMMEDIATE"}, {"isolation_level": None},
    {"autocommit": True}, {"autocommit": False},
]  # fmt: skip


@pytest.fixture
async def table(conn: Connection) -> Connection:
    """Return a connection with an empty table `t`."""
    await conn.execute("CREATE TABLE t (a INTEGER UNIQUE, b)")
    return conn


async def asynchronously(rows: Iterable[Any]) -> AsyncIterator[Any]:
    for row in rows:
        await anyio.lowlevel.checkpoint()
        yield row


ROWS = [(1, "a"), (2, None), (3, b"c")]


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, lambda rows: (row for row in rows), dict.fromkeys, asynchronously,
     lambda rows: map(list, rows)],
    ids=["list", "tuple", "iterator", "generator", "dict keys", "async generator", "map"],
)  # fmt: skip
async def test_any_iterable_gives_the_rows(
    table: Connection, make: Callable[[list[Any]], Any]
) -> None:
    cursor = await table.executemany(INSERT, make(ROWS))
    assert cursor.rowcount == 3
    assert await table.fetch_all("SELECT a, b FROM t") == ROWS


async def test_rows_may_be_mappings(table: Connection) -> None:
    rows = [{"a": 1, "b": "x"}, {"b": "y", "a": 2, "extra": 0}]
    await table.executemany("INSERT INTO t VALUES (:a, :b)", rows)
    assert await table.fetch_all("SELECT a, b FROM t") == [(1, "x"), (2, "y")]


async def test_rowcount_adds_up_and_other_attributes_are_those_of_sqlite3(
    table: Connection,
) -> None:
    cursor = table.cursor()
    await cursor.executemany("INSERT INTO t VALUES (?, 0)", [(i,) for i in range(10)])
    assert cursor.rowcount == 10
    assert cursor.lastrowid is None
    assert cursor.description is None
    assert await cursor.fetchall() == []
    await cursor.executemany("UPDATE t SET b = 1 WHERE a < ?", [(3,), (0,), (5,)])
    assert cursor.rowcount == 8
    await cursor.executemany("DELETE FROM t WHERE a = ?", [])
    assert cursor.rowcount == 0


async def test_rows_of_returning_are_dropped_and_every_row_is_written(table: Connection) -> None:
    await table.executemany(INSERT + " RETURNING a", [(1, 1), (2, 2)])
    await table.commit()
    assert await table.fetch_scalar("SELECT count(*) FROM t") == 2
    await assert_healthy(table)


async def test_legacy_mode_begins_a_transaction(table: Connection) -> None:
    await table.executemany(INSERT, ROWS)
    assert table.in_transaction
    await table.rollback()
    assert await table.fetch_all("SELECT * FROM t") == []


async def test_autocommit_mode_commits(backend: Backend) -> None:
    async with backend.connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a, b)")
        await conn.executemany(INSERT, ROWS)
        assert not conn.in_transaction
        await conn.rollback()
        assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3


# Streaming.


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def weighty_rows(count: int, growth: list[int]) -> Iterator[tuple[int, bytes]]:
    """Generate rows of 2 KiB, and note now and then how much the process has grown."""
    before = resident_bytes()
    for number in range(count):
        if number % 1000 == 0:
            growth.append(resident_bytes() - before)
        yield number, number.to_bytes(8, "big") * 256
    growth.append(resident_bytes() - before)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory by /proc")
async def test_generator_of_any_length_needs_constant_memory(table: Connection) -> None:
    count = 1_000_000 if os.environ.get("AIOLIBSQL_SOAK") else 50_000
    growth: list[int] = []
    # Reads every value and keeps none of them: all growth is the driver's.
    sql = "INSERT INTO t SELECT ?, 1 WHERE length(?) <> 2048"
    cursor = await table.executemany(sql, weighty_rows(count, growth))
    assert cursor.rowcount == 0
    assert len(growth) == count // 1000 + 1
    assert max(growth) < 32 * 2**20  # of 100 MB that pass in the shortest run


async def test_generator_of_many_rows_is_stored_whole(table: Connection) -> None:
    await table.executemany(INSERT, ((i, f"row {i}") for i in range(50_000)))
    (totals,) = await table.fetch_all("SELECT count(*), sum(a), sum(b = 'row ' || a) FROM t")
    assert totals == (50_000, 49_999 * 25_000, 50_000)


# All or nothing.


async def stays_empty(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT a FROM t") == []
    if conn.autocommit is not False:
        # What failed may leave an implicit BEGIN behind, as in sqlite3, but never a change.
        await conn.rollback()
        assert await conn.fetch_all("SELECT a FROM t") == []
    await assert_healthy(conn)


def failing(at: int, error: BaseException) -> Iterator[tuple[int, int]]:
    yield from ((number, number) for number in range(at))
    raise error


@pytest.mark.parametrize("at", [0, 1, 7, 1_500, 20_000])
@pytest.mark.parametrize("make", [iter, asynchronously], ids=["generator", "async generator"])
async def test_error_of_the_iterable_propagates_and_leaves_nothing(
    table: Connection, at: int, make: Callable[[Iterable[Any]], Any]
) -> None:
    error = LookupError("the source ran dry")
    with pytest.raises(LookupError) as caught:
        await table.executemany(INSERT, make(failing(at, error)))
    assert caught.value is error
    await stays_empty(table)


BAD_ROWS: dict[str, tuple[Any, type[Exception]]] = {
    "too narrow": ((1,), aiolibsql.ProgrammingError),
    "too wide": ((1, 2, 3), aiolibsql.ProgrammingError),
    "mapping": ({"a": 1}, aiolibsql.ProgrammingError),
    "no sequence": (7, aiolibsql.ProgrammingError),
    "unsupported": ((1, object()), aiolibsql.ProgrammingError),
    "overflow": ((1, 2**64), OverflowError),
    "surrogate": ((1, "\ud800"), UnicodeEncodeError),
    "duplicate": ((0, 0), aiolibsql.IntegrityError),
}


@pytest.mark.parametrize(("row", "error"), BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("at", [1, 3_000])
@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_bad_row_leaves_nothing_in_every_mode(
    backend: Backend, mode: dict[str, Any], at: int, row: Any, error: type[Exception]
) -> None:
    rows = [*((number, number) for number in range(at)), row, (at + 1, 0)]
    async with backend.connect(**mode) as conn:
        await conn.execute("CREATE TABLE t (a INTEGER UNIQUE, b)")
        await conn.commit()
        with pytest.raises(error):
            await conn.executemany(INSERT, rows)
        await stays_empty(conn)


@pytest.mark.parametrize("begin", ["BEGIN", "SAVEPOINT mine", "INSERT INTO t VALUES (-2, 0)"])
async def test_failure_inside_a_transaction_keeps_what_came_before(
    table: Connection, begin: str
) -> None:
    await table.execute(begin)
    await table.execute("INSERT INTO t VALUES (-1, 'before')")
    with pytest.raises(aiolibsql.IntegrityError):
        await table.executemany(INSERT, [(1, 1), (2, 2), (1, 3)])
    assert table.in_transaction
    assert (-1,) in await table.fetch_all("SELECT a FROM t")
    assert (1,) not in await table.fetch_all("SELECT a FROM t")
    await table.executemany(INSERT, [(1, 1), (2, 2)])
    await table.commit()
    assert await table.fetch_scalar("SELECT count(*) FROM t WHERE a > -2") == 3


# Refusals.


@pytest.mark.parametrize("sql", ["SELECT ?, ?", "CREATE TABLE u (x)", "PRAGMA user_version",
                                 "BEGIN", "EXPLAIN INSERT INTO t VALUES (?, ?)"])  # fmt: skip
async def test_other_than_dml_is_refused(table: Connection, sql: str) -> None:
    rows = iter([(1, 2)])
    with pytest.raises(aiolibsql.ProgrammingError, match="DML"):
        await table.executemany(sql, rows)
    assert not table.in_transaction
    await assert_healthy(table)


@pytest.mark.parametrize("rows", [5, None, object()], ids=["int", "None", "object"])
async def test_what_is_no_iterable_is_a_type_error(table: Connection, rows: Any) -> None:
    with pytest.raises(TypeError, match="iterable"):
        await table.executemany(INSERT, rows)
    await stays_empty(table)


async def test_error_of_the_sql_comes_before_the_rows_are_bound(table: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="no such table: nowhere"):
        await table.executemany("INSERT INTO nowhere VALUES (?)", [(1,)])
    with pytest.raises(aiolibsql.ProgrammingError, match="one statement"):
        await table.executemany(INSERT + "; DELETE FROM t", [(1, 2)])
    await stays_empty(table)


async def test_iterable_that_uses_the_same_connection_is_refused(table: Connection) -> None:
    async def rows() -> AsyncIterator[tuple[int, int]]:
        yield 1, 1
        await table.execute("SELECT 1")
        yield 2, 2

    with anyio.fail_after(20), pytest.raises(aiolibsql.ProgrammingError):
        await table.executemany(INSERT, rows())
    await stays_empty(table)


async def test_iterable_may_use_another_connection(table: Connection) -> None:
    async with aiolibsql.connect(":memory:") as source:
        await source.execute("CREATE TABLE s AS VALUES (1, 'a'), (2, 'b')")

        async def rows() -> AsyncIterator[Any]:
            async for row in await source.execute("SELECT * FROM s"):
                yield row

        await table.executemany(INSERT, rows())
    assert await table.fetch_all("SELECT a, b FROM t") == [(1, "a"), (2, "b")]


async def test_two_executemany_at_once_run_one_after_the_other(table: Connection) -> None:
    async def insert(start: int) -> None:
        rows = [(start + number, start) for number in range(2_000)]
        await table.executemany(INSERT, asynchronously(rows))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(insert, 0)
        tasks.start_soon(insert, 10_000)
    order = [start for (start,) in await table.fetch_all("SELECT b FROM t ORDER BY rowid")]
    assert order in ([0] * 2_000 + [10_000] * 2_000, [10_000] * 2_000 + [0] * 2_000)
