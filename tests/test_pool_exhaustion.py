"""ConnectionPool: more callers than connections, and those that wait too long."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pool_tasks import SCHEMA, assert_nothing_in_hand, assert_whole, borrow_all, until

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool of three connections, with patience for a test."""
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=20) as pool:
        await pool.execute(SCHEMA)
        yield pool
        await assert_whole(pool)


async def test_a_thousand_callers_share_three_connections(pool: Pool) -> None:
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        async with pool.write() if number % 2 else pool.read() as connection:
            most = max(most, pool.stats().in_use)
            await connection.fetch_all("SELECT * FROM t LIMIT 1")

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(work, number)
    stats = pool.stats()
    assert most == 3
    assert (stats.acquired, stats.timeouts, stats.size) == (1000, 0, 3)
    assert stats.queued > 900
    assert stats.wait_seconds > 0


async def test_all_are_lent_and_everybody_waits_in_turn(pool: Pool) -> None:
    lent = await borrow_all(pool)
    order: list[int] = []

    async def borrow(number: int) -> None:
        async with pool.read():
            order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            contextvars.Context().run(group.start_soon, borrow, number)
            await until(lambda: pool.stats().waiting == number + 1)  # noqa: B023
        # One of them comes back: they have it one after the other.
        await pool.release(lent.pop(0))
        await until(lambda: len(order) == 20)
        for connection in lent:
            await pool.release(connection)
    assert order == list(range(20))


async def test_a_block_inside_of_a_block_needs_no_second_connection(pool: Pool) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def nested() -> None:
                async with pool.write() as outer, pool.read() as inner:
                    assert outer is inner
                    async with pool.transaction():
                        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")

            for _ in range(20):
                group.start_soon(nested)


async def test_who_waits_too_long_is_told_and_counted(pool: Pool) -> None:
    lent = await borrow_all(pool)
    for readonly in (False, True):
        with pytest.raises(aiolibsql.PoolTimeout, match="came free within"):
            await pool.acquire(readonly, timeout=0.01)
    # A limit of the statement itself is not the pool's.
    with pytest.raises(aiolibsql.TimeoutError, match="its timeout"):
        await pool.execute("SELECT 1", timeout=0.01)
    stats = pool.stats()
    assert (stats.timeouts, stats.waiting, stats.in_use) == (2, 0, 3)
    for connection in lent:
        await pool.release(connection)


async def test_time_outs_beside_successes_leave_exact_counts(file_backend: Backend) -> None:
    outcomes: list[bool] = []
    async with aiolibsql.create_pool(
        file_backend.path, 3, min_size=1, acquire_timeout=0.01
    ) as pool:
        await pool.execute(SCHEMA)

        async def work() -> None:
            try:
                async with pool.read() as connection:
                    await connection.fetch_all("SELECT * FROM t")
                    await anyio.sleep(0.004)
                outcomes.append(True)
            except aiolibsql.PoolTimeout:
                outcomes.append(False)

        for _ in range(5):
            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(work)
        await until(lambda: pool.stats().in_use == 0)
        assert set(outcomes) == {True, False}
        stats = pool.stats()
        assert stats.timeouts == outcomes.count(False)
        # A loan may come at the moment when its borrower gives up, and is counted then too.
        assert stats.acquired >= outcomes.count(True)
        assert_nothing_in_hand(pool)


async def test_no_more_wait_than_may(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(
        file_backend.path, 3, min_size=1, max_waiting=2, acquire_timeout=20
    ) as pool:
        await pool.execute(SCHEMA)
        # Those for whom a connection is opened do not count as waiting.
        lent: list[aiolibsql.Connection[Any]] = []
        async with anyio.create_task_group() as group:

            async def borrow() -> None:
                lent.append(await pool.acquire(readonly=True))

            for _ in range(4):
                group.start_soon(borrow)
            await until(lambda: len(lent) == 2)
            await until(lambda: pool.stats().waiting == 2)
            with pytest.raises(aiolibsql.PoolTimeout, match="2 wait"):
                await pool.acquire(readonly=True)
            assert pool.stats().timeouts == 1
            for connection in lent[:2]:
                await pool.release(connection)
        for connection in lent[2:]:
            await pool.release(connection)
        await assert_whole(pool)
