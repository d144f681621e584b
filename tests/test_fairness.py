"""Fairness: a slow or waiting connection holds up neither the loop nor other connections."""

from __future__ import annotations

import builtins
import statistics
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import (
    BEGUN,
    ENDLESS,
    ENDLESS_AFTER_100,
    ENDLESS_INSERT,
    NUMBERS,
    Attempt,
    OtherProcess,
    attempt,
    best_of_three,
    count,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]

# Bounds on hanging and on starving, not on speed.
UNRELATED_QUERY = 0.005
WRITERS = 600


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    async with backend.connect() as connection:
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        await connection.rollback()


async def test_two_endless_queries_leave_an_unrelated_connection_quick(conn: Conn) -> None:
    async def measure() -> float:
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            assert await conn.fetch_one("SELECT 1") == (1,)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    async with aiolibsql.connect(":memory:") as one, aiolibsql.connect(":memory:") as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, one.execute(ENDLESS), Attempt())
            tasks.start_soon(attempt, two.execute(ENDLESS), Attempt())
            await anyio.sleep(BEGUN)
            await best_of_three(measure, UNRELATED_QUERY)
            tasks.cancel_scope.cancel()
        await assert_healthy(one)
        await assert_healthy(two)
    await assert_healthy(conn)


@pytest.mark.slow
async def test_hundreds_of_waiting_writers_neither_hold_up_the_holder_nor_fail(
    file_backend: Backend,
) -> None:
    async with AsyncExitStack() as stack:
        holder = await stack.enter_async_context(file_backend.connect(isolation_level=None))
        await holder.execute("PRAGMA journal_mode=WAL")
        await holder.execute("PRAGMA synchronous=OFF")
        await holder.execute("CREATE TABLE t (x)")
        writers = [file_backend.second(timeout=60, isolation_level=None) for _ in range(WRITERS)]
        for writer in writers:
            await stack.enter_async_context(writer)
            await writer.execute("PRAGMA synchronous=OFF")
        await holder.begin("IMMEDIATE")
        outcomes = [Attempt() for _ in writers]
        async with anyio.create_task_group() as tasks:
            for number, writer in enumerate(writers):
                insert = writer.execute("INSERT INTO t VALUES (?)", (number,))
                tasks.start_soon(attempt, insert, outcomes[number])
            await turns()
            await anyio.sleep(0.3)
            assert not any(outcome.value or outcome.error for outcome in outcomes)
            began = time.perf_counter()
            await holder.commit()
            taken = time.perf_counter() - began
        assert taken < 0.1
        assert [outcome.error for outcome in outcomes if outcome.error] == []
        assert await count(holder) == WRITERS
        await assert_healthy(holder)


OPERATIONS: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "execute": lambda conn: conn.execute(ENDLESS, timeout=0.05),
    "write": lambda conn: conn.execute(ENDLESS_INSERT, timeout=0.05),
    "executescript": lambda conn: conn.executescript(ENDLESS + ";", timeout=0.05),
    "executemany": lambda conn: conn.executemany(ENDLESS_INSERT, [()], timeout=0.05),
    "fetch_all": lambda conn: conn.fetch_all(ENDLESS_AFTER_100, timeout=0.05),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_timeout_of_a_call_bounds_its_running(
    conn: Conn, operation: Callable[[Conn], Awaitable[Any]]
) -> None:
    began = time.perf_counter()
    with pytest.raises(aiolibsql.TimeoutError) as caught:
        await operation(conn)
    assert 0.04 < time.perf_counter() - began < 2
    assert isinstance(caught.value, builtins.TimeoutError)
    assert isinstance(caught.value, aiolibsql.OperationalError)
    assert not conn.in_transaction
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_timeout_of_a_call_bounds_its_time_in_the_queue(conn: Conn) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), Attempt())
        await anyio.sleep(BEGUN)
        began = time.perf_counter()
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("INSERT INTO t VALUES (1)", timeout=0.05)
        assert 0.04 < time.perf_counter() - began < 2
        tasks.cancel_scope.cancel()
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_timeout_of_a_call_bounds_its_wait_for_a_lock(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=60) as conn:
        await conn.execute("CREATE TABLE t (x)")
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")
            began = time.perf_counter()
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.execute("INSERT INTO t VALUES (1)", timeout=0.05)
            assert 0.04 < time.perf_counter() - began < 2
            other.run("COMMIT")
        await conn.rollback()
        await assert_healthy(conn)


async def test_timeout_of_the_connection_bounds_a_wait_for_a_lock(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.1) as conn:
        await conn.execute("CREATE TABLE t (x)")
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")
            began = time.perf_counter()
            with pytest.raises(aiolibsql.TimeoutError, match="locked") as caught:
                await conn.begin("IMMEDIATE")
            assert 0.09 < time.perf_counter() - began < 2
            assert isinstance(caught.value, builtins.TimeoutError)
            assert caught.value.sqlite_errorname == "SQLITE_BUSY"
            other.run("COMMIT")
        await assert_healthy(conn)


async def test_timeout_of_a_call_that_is_not_reached_changes_nothing(conn: Conn) -> None:
    cursor = await conn.execute("SELECT 1", timeout=20)
    assert await cursor.fetchall() == [(1,)]
    await assert_healthy(conn)


@pytest.mark.parametrize("sql", [ENDLESS, ENDLESS_INSERT], ids=["read", "write"])
async def test_interrupt_stops_the_running_query_with_an_error(conn: Conn, sql: str) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(sql), outcome)
        await anyio.sleep(BEGUN)
        conn.interrupt()
    assert isinstance(outcome.error, aiolibsql.OperationalError)
    assert not isinstance(outcome.error, aiolibsql.TimeoutError)
    assert str(outcome.error) == "interrupted"
    assert outcome.error.sqlite_errorname == "SQLITE_INTERRUPT"
    assert not conn.in_transaction
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_interrupt_of_an_idle_connection_does_not_reach_the_next_query(conn: Conn) -> None:
    conn.interrupt()
    assert await conn.fetch_all("SELECT 1") == [(1,)]
    await assert_healthy(conn)


async def test_interrupt_leaves_what_is_queued_alone(conn: Conn) -> None:
    running, queued = Attempt(), Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), running)
        await anyio.sleep(BEGUN)
        tasks.start_soon(attempt, conn.fetch_scalar("SELECT 7"), queued)
        await turns()
        conn.interrupt()
    assert isinstance(running.error, aiolibsql.OperationalError)
    assert queued.value == 7
    await assert_healthy(conn)


class Ticker:
    """Measures the longest time that the loop kept a task from its turn."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.ticks = 0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await anyio.sleep(0.001)
            now = time.perf_counter()
            self.longest, self.ticks, last = max(self.longest, now - last), self.ticks + 1, now


async def longest_gap(awaitable: Awaitable[Any]) -> float:
    ticker = Ticker()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.run)
        await turns()
        await awaitable
        tasks.cancel_scope.cancel()
    assert ticker.ticks > 3, "the loop was held from beginning to end"
    return ticker.longest


async def test_slow_query_does_not_block_the_loop(conn: Conn) -> None:
    slow = f"{NUMBERS} SELECT max(i) FROM (SELECT i FROM n LIMIT 3000000)"
    assert await longest_gap(conn.execute(slow)) < 0.5


async def test_large_result_does_not_block_the_loop(conn: Conn) -> None:
    async def read() -> None:
        rows = await conn.fetch_all(f"{NUMBERS} SELECT i, i + 0.5, 'text' FROM n LIMIT 300000")
        assert len(rows) == 300000
        assert rows[-1] == (300000, 300000.5, "text")

    async def measure() -> float:
        return await longest_gap(read())

    await best_of_three(measure, 0.1)


async def test_large_executemany_does_not_block_the_loop(conn: Conn) -> None:
    async def write() -> None:
        await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(300000)))
        await conn.rollback()

    async def measure() -> float:
        return await longest_gap(write())

    await best_of_three(measure, 0.1)


async def test_wait_for_a_lock_does_not_block_the_loop(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.3) as conn:
        await conn.execute("CREATE TABLE t (x)")
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")

            async def wait() -> None:
                with pytest.raises(aiolibsql.TimeoutError):
                    await conn.begin("IMMEDIATE")

            assert await longest_gap(wait()) < 0.25
            other.run("COMMIT")
        await assert_healthy(conn)
