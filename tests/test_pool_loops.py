"""ConnectionPool: several event loops in several threads share one pool."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pool_tasks import BRIEF, SCHEMA, assert_nothing_in_hand, assert_whole

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def run_in_threads(work: Callable[[int], Awaitable[None]], count: int = 4) -> None:
    """Run a coroutine function in several threads, half of them under trio."""
    failures: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            anyio.run(work, thread, backend="trio" if thread % 2 else "asyncio")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_loops_in_several_threads_share_a_pool(tmp_path: Path) -> None:
    pool = aiolibsql.create_pool(tmp_path / "test.db", 4)

    async def prepare() -> None:
        await pool
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, thread, i)")

    async def work(thread: int) -> None:
        for i in range(100):
            await pool.execute("INSERT INTO t (thread, i) VALUES (?, ?)", (thread, i))
            count = await pool.fetch_scalar("SELECT count(*) FROM t WHERE thread = ?", (thread,))
            assert count == i + 1
            async with pool.transaction() as transaction:
                await transaction.execute("UPDATE t SET i = i WHERE thread = ?", (thread,))

    asyncio.run(prepare())
    run_in_threads(work)
    assert_nothing_in_hand(pool)
    asyncio.run(pool.close())


def test_loops_open_resize_and_replace_the_connections_of_one_pool(tmp_path: Path) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await anyio.sleep(0.001)
        await connection.create_function("one", 0, lambda: 1)

    pool = aiolibsql.create_pool(tmp_path / "test.db", 4, min_size=1, init=init)

    async def prepare() -> None:
        await pool
        await pool.execute(SCHEMA)

    async def work(thread: int) -> None:
        for i in range(10):
            async with anyio.create_task_group() as group:
                for task in BRIEF:
                    group.start_soon(task, pool)
                if thread == 0:
                    await pool.resize(2 + i % 4, min_size=1 + i % 2)
                assert await pool.fetch_scalar("SELECT one()") == 1

    asyncio.run(prepare())
    run_in_threads(work)
    asyncio.run(assert_whole(pool))
    asyncio.run(pool.close())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_ended_while_it_opened_a_connection_leaves_that_to_others(
    tmp_path: Path, backend: str
) -> None:
    opened = 0

    async def init(_: aiolibsql.Connection[Any]) -> None:
        nonlocal opened
        opened += 1
        if opened == 2:
            await anyio.sleep_forever()

    pool = aiolibsql.create_pool(tmp_path / "test.db", 2, min_size=1, init=init)

    async def begin() -> None:
        await pool
        with anyio.move_on_after(0.05):
            await pool.acquire(readonly=True)

    async def finish() -> None:
        with anyio.fail_after(5):
            assert await pool.fetch_scalar("SELECT 1") == 1
        assert pool.stats().size == 2
        await pool.close()

    anyio.run(begin, backend=backend)
    assert pool.stats().size == 1
    anyio.run(finish, backend=backend)
