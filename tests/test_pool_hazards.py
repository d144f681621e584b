"""ConnectionPool under cancellation, from several loops, and across a fork."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from situations import ENDLESS, NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from conftest import Backend

Pool = aiolibsql.ConnectionPool
SOAK = bool(os.environ.get("AIOLIBSQL_SOAK"))


async def _read(pool: Pool) -> None:
    await pool.fetch_all("SELECT * FROM t LIMIT 3")


async def _read_slowly(pool: Pool) -> None:
    await pool.fetch_all(ENDLESS)


async def _iterate(pool: Pool) -> None:
    async with pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000") as cursor:
        async for _ in cursor:
            pass


async def _leak_a_cursor(pool: Pool) -> None:
    await pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")


async def _write(pool: Pool) -> None:
    await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")


async def _write_slowly(pool: Pool) -> None:
    await pool.execute(f"INSERT INTO t (x) {NUMBERS} SELECT 0 FROM n LIMIT 20000")


async def _transaction(pool: Pool) -> None:
    async with pool.transaction():
        await pool.execute("INSERT INTO t (x) VALUES (2)")
        await anyio.lowlevel.checkpoint()
        await pool.execute("INSERT INTO t (x) VALUES (-2)")


async def _borrow_to_read(pool: Pool) -> None:
    async with pool.read() as connection:
        await connection.fetch_all("SELECT sum(x) FROM t")


async def _borrow_to_write(pool: Pool) -> None:
    async with pool.write() as connection:
        await connection.execute("INSERT INTO t (x) VALUES (3)")
        await connection.execute("INSERT INTO t (x) VALUES (-3)")


WORK: list[Callable[[Pool], Awaitable[None]]] = [
    _read,
    _read_slowly,
    _iterate,
    _leak_a_cursor,
    _write,
    _write_slowly,
    _transaction,
    _borrow_to_read,
    _borrow_to_write,
]


async def assert_whole(pool: Pool) -> None:
    """Fail unless every connection of the pool is free, reads, and writes whole transactions."""
    with anyio.fail_after(5):
        while pool.stats().in_use or pool.stats().waiting:  # noqa: ASYNC110 - nothing tells
            await anyio.sleep(0.001)
        lent = [await pool.acquire(readonly=True) for _ in range(pool.reader_count)]
        lent.append(await pool.acquire())
        for connection in lent:
            assert not connection.in_transaction
            assert await connection.fetch_scalar("SELECT total(x) FROM t") == 0
        for connection in lent:
            await pool.release(connection)
    assert pool.stats().in_use == pool.stats().waiting == 0


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:.*rows that were not read:ResourceWarning")
async def test_random_cancellations(file_backend: Backend) -> None:
    dice = random.Random(7)
    async with aiolibsql.create_pool(file_backend.path, 4, acquire_timeout=10) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")

        async def attempt(delay: float) -> None:
            with anyio.move_on_after(delay):
                await dice.choice(WORK)(pool)

        for _ in range(250 if SOAK else 12):
            async with anyio.create_task_group() as group:
                for _ in range(40):
                    group.start_soon(attempt, dice.choice([0, 0.0003, 0.001, 0.003, 0.01]))
            await assert_whole(pool)
            await pool.execute("DELETE FROM t")


def test_loops_in_several_threads_share_a_pool(tmp_path: Path) -> None:
    pool = aiolibsql.create_pool(tmp_path / "test.db", 4)
    failures: list[BaseException] = []

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

    def run(thread: int) -> None:
        try:
            if thread % 2:
                anyio.run(work, thread, backend="trio")
            else:
                asyncio.run(work(thread))
        except BaseException as error:
            failures.append(error)

    asyncio.run(prepare())
    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    asyncio.run(pool.close())


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_touch_the_pool_of_its_parent(tmp_path: Path, is_used: bool) -> None:
    pool = aiolibsql.create_pool(tmp_path / "test.db", 3)

    async def prepare() -> None:
        await pool
        if is_used:
            await pool.execute("CREATE TABLE t (x)")
            await pool.execute("INSERT INTO t VALUES (1)")

    async def use() -> list[Any]:
        return [
            type(outcome).__name__
            for outcome in await asyncio.gather(
                pool.execute("SELECT 1"),
                pool.execute("INSERT INTO t VALUES (2)"),
                pool.acquire(),
                return_exceptions=True,
            )
        ]

    asyncio.run(prepare())
    child = os.fork()
    if child == 0:
        is_refused = False
        try:
            is_refused = asyncio.run(use()) == ["OperationalError"] * 3
        finally:
            sys.stdout.flush()
            os._exit(0 if is_refused else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0

    async def finish() -> None:
        assert await pool.fetch_all("SELECT name FROM sqlite_schema") == [("t",)] * is_used
        await pool.close()

    asyncio.run(finish())
