"""Sizes nobody needs, several users of one cursor, ends at a bad time: nothing breaks or leaks."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.everywhere

SLOW = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300000) "
    "SELECT max(x) FROM c"
)


class Endless:
    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.anyio
@pytest.mark.parametrize("parameters", [range(10**13), Endless()], ids=["range", "sequence"])
async def test_more_parameters_than_sqlite_takes_are_refused_at_once(
    conn: Connection, parameters: Any
) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match="32766"):
        await conn.execute("SELECT ?", parameters)
    with pytest.raises(aiolibsql.ProgrammingError, match="32766"):
        await conn.executemany("INSERT INTO t VALUES (?)", [parameters])
    await assert_healthy(conn)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 1, 10**9, 2**62])
async def test_any_number_of_cached_statements_allocates_only_those_in_use(size: int) -> None:
    async with aiolibsql.connect(":memory:", cached_statements=size) as conn:
        for i in range(3):
            assert await conn.fetch_scalar(f"SELECT {i}") == i
            assert await conn.fetch_scalar("SELECT 1") == 1
        await assert_healthy(conn)


@pytest.mark.anyio
async def test_largest_chunk_size_iterates(conn: Connection) -> None:
    conn.iter_chunk_size = sys.maxsize
    await conn.execute("CREATE TABLE t (x)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(3000)))
    await conn.commit()
    assert [row async for row in await conn.execute("SELECT x FROM t")] == [
        (i,) for i in range(3000)
    ]


@pytest.mark.anyio
async def test_script_of_many_statements_takes_time_in_proportion(conn: Connection) -> None:
    # Quadratic, this took minutes.
    began = time.perf_counter()
    await conn.executescript("SELECT 1; -- a comment that makes the script longer\n" * 100_000)
    assert time.perf_counter() - began < 20


@pytest.mark.anyio
async def test_rest_of_a_refused_text_does_not_act(conn: Connection) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match="one statement"):
        await conn.execute("SELECT 1; CREATE TABLE t (x)")
    assert await conn.get_tables() == []


@pytest.mark.anyio
async def test_statement_that_a_cancelled_execute_would_have_replaced_is_closed(
    conn: Connection,
) -> None:
    await conn.execute("CREATE TABLE t (x)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(5000)))
    await conn.commit()
    cursor = await conn.execute("SELECT x FROM t")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conn.execute, SLOW)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        with pytest.raises(aiolibsql.TimeoutError):
            await cursor.execute("SELECT 1", timeout=0.0)
    await cursor.close()
    await conn.execute("DROP TABLE t")


@pytest.mark.anyio
async def test_failing_execution_leaves_the_rows_of_another_on_the_same_cursor(
    conn: Connection,
) -> None:
    await conn.execute("CREATE TABLE t (x)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(5000)))
    await conn.commit()
    cursor = conn.cursor()

    async def fail() -> None:
        with pytest.raises(aiolibsql.OperationalError, match="syntax error"):
            await cursor.execute("SELEC")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conn.execute, SLOW)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(fail)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(cursor.execute, "SELECT x FROM t")
    assert len(await cursor.fetchall()) in (0, 5000)
    await cursor.close()
    await conn.execute("DROP TABLE t")


@pytest.mark.anyio
async def test_step_of_an_iteration_that_waits_refuses_a_second_one(conn: Connection) -> None:
    refused = 0

    async def step(rows: AsyncIterator[Any]) -> None:
        nonlocal refused
        try:
            await rows.__anext__()
        except (RuntimeError, StopAsyncIteration) as error:
            refused += isinstance(error, RuntimeError)

    cursor = await conn.execute("SELECT 1 UNION ALL SELECT * FROM (" + SLOW + ")")
    rows = cursor.__aiter__()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(step, rows)
    await cursor.close()
    await assert_healthy(conn)


@pytest.mark.anyio
async def test_cancelled_fetchmany_gives_its_rows_back(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (x)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(100_000)))
    await conn.commit()
    # A write hands over all its rows at once, so only their conversion is cancelled.
    cursor = await conn.execute("UPDATE t SET x = x RETURNING x")
    cancelled = False
    for turns in range(1, 6):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cursor.fetchmany, 100_000)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        cancelled = cancelled or tasks.cancel_scope.cancelled_caught
    assert cancelled
    rows = await cursor.fetchall()
    assert rows == [(i,) for i in range(100_000 - len(rows), 100_000)]
    assert len(rows) == 100_000
    await conn.commit()


@pytest.mark.anyio
async def test_changed_modes_reach_a_close_and_the_next_open(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (x)")
    conn = await file_backend.second()
    await conn.execute("INSERT INTO t VALUES (1)")
    conn.isolation_level = None
    await conn.close()
    conn = file_backend.second()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.execute("SELECT 1")
    conn.isolation_level = None
    async with conn:
        assert await conn.fetch_all("SELECT * FROM t") == [(1,)]
        await conn.execute("INSERT INTO t VALUES (2)")
        assert not conn.in_transaction


@pytest.mark.anyio
async def test_every_mode_change_is_applied_although_the_first_fails(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.05) as conn, file_backend.second() as reader:
        await conn.execute("PRAGMA journal_mode=DELETE")
        await conn.execute("CREATE TABLE t (x)")
        await reader.execute("BEGIN")
        await reader.fetch_all("SELECT * FROM t")
        await conn.execute("INSERT INTO t VALUES (1)")
        conn.isolation_level = None
        conn.isolation_level = "IMMEDIATE"
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("INSERT INTO t VALUES (2)")
        await reader.rollback()
        await conn.rollback()
        await conn.execute("INSERT INTO t VALUES (3)")
        assert conn.in_transaction
        await conn.rollback()


@pytest.mark.anyio
async def test_pragmas_of_an_open_wait_for_a_lock(file_backend: Backend) -> None:
    async with file_backend.connect(isolation_level=None) as holder:
        await holder.execute("CREATE TABLE t (x)")
        await holder.begin("EXCLUSIVE")
        opened: list[Connection] = []

        async def open_other() -> None:
            opened.append(await file_backend.second(timeout=20, pragmas={"user_version": 7}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_other)
            await anyio.sleep(0.05)
            assert opened == []
            await holder.commit()
        assert await holder.fetch_scalar("PRAGMA user_version") == 7
        await opened[0].close()


def cycle_of_an_iterable(connection: Connection) -> object:
    class Rows(list[Any]):
        operation: Any = None

    rows = Rows([(1,)])
    rows.operation = connection.executemany("INSERT INTO t VALUES (?)", rows)
    rows.operation.close()
    return rows


def cycle_of_a_cursor(connection: Connection) -> object:
    class Mine(aiolibsql.Cursor[Any]):
        kept: Any = None

    cursor = Mine(connection)
    cursor.kept = cursor.fetchone()
    cursor.kept.close()
    return cursor


def cycle_of_an_iterator(connection: Connection) -> object:
    class Mine(aiolibsql.Cursor[Any]):
        kept: Any = None

    cursor = Mine(connection)
    cursor.kept = cursor.__aiter__()
    return cursor


@pytest.mark.parametrize("make", [cycle_of_an_iterable, cycle_of_a_cursor, cycle_of_an_iterator])
def test_cycles_are_collected(make: Callable[[Connection], object]) -> None:
    connection = aiolibsql.connect(":memory:")
    watched = weakref.ref(make(connection))
    gc.collect()
    assert watched() is None


def test_async_generator_left_over_at_the_end_of_a_trio_run_closes_its_connection() -> None:
    kept: list[Any] = []

    async def rows() -> AsyncIterator[int]:
        async with aiolibsql.connect(":memory:") as conn:
            kept.append(conn)
            yield await conn.fetch_scalar("SELECT 1")

    async def main() -> None:
        generator = rows()
        kept.append(generator)
        assert await anext(generator) == 1

    for _ in range(20):
        kept.clear()
        with warnings.catch_warnings():
            # trio's own, on the unfinished generator.
            warnings.simplefilter("ignore", ResourceWarning)
            trio.run(main)
        assert kept[1].closed


def test_aexit_cancelled_while_it_commits_closes_before_it_raises() -> None:
    async def main() -> None:
        for delay in range(20):
            conn = await aiolibsql.connect(":memory:")

            entered: list[bool] = []

            async def use(conn: Connection = conn, entered: list[bool] = entered) -> None:
                async with conn:
                    entered.append(True)
                    await conn.execute("CREATE TABLE t (x)")
                    await conn.execute("INSERT INTO t VALUES (1)")

            task = asyncio.ensure_future(use())
            for _ in range(delay):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert conn.closed or not entered
            await conn.close()

    asyncio.run(main())
