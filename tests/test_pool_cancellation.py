"""ConnectionPool: cancelled anywhere, the counts are exact and nothing is half done."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from pool_tasks import BRIEF, SCHEMA, WORK, assert_whole, until

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from backends import Backend

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*rows that were not read:ResourceWarning"),
]

Pool = aiolibsql.ConnectionPool
# Cancellations in all: 10,000 and more.
ROUNDS = 250 if os.environ.get("AIOLIBSQL_SOAK") else 10
AT_ONCE = 40
DELAYS = [0, 0.0003, 0.001, 0.003, 0.01]


async def init(connection: aiolibsql.Connection[Any]) -> None:
    """Take several turns of the loop, in each of which a cancellation may come."""
    await anyio.lowlevel.checkpoint()
    await connection.create_function("one", 0, lambda: 1)
    await anyio.lowlevel.checkpoint()


async def cancel_at_random(pool: Pool, dice: random.Random, rounds: int) -> None:
    sizes = [2, 3, 4, 5]

    async def resize(pool: Pool) -> None:
        size = dice.choice(sizes)
        await pool.resize(size, min_size=dice.randrange(1, size + 1))

    async def attempt(work: Callable[[Pool], Coroutine[Any, Any, None]], delay: float) -> None:
        with anyio.move_on_after(delay):
            await work(pool)

    for _ in range(rounds):
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                work = dice.choice([*WORK, resize] if pool.size > 1 else WORK)
                group.start_soon(attempt, work, dice.choice(DELAYS))
        await assert_whole(pool)
        await pool.execute("DELETE FROM t")


async def test_random_cancellations(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 4, acquire_timeout=20) as pool:
        await pool.execute(SCHEMA)
        await cancel_at_random(pool, random.Random(7), ROUNDS)


async def test_random_cancellations_while_connections_come_and_go(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(
        file_backend.path,
        4,
        min_size=1,
        max_lifetime=0.01,
        max_idle=0.005,
        init=init,
        acquire_timeout=20,
    ) as pool:
        await pool.execute(SCHEMA)
        await cancel_at_random(pool, random.Random(8), ROUNDS)
        assert pool.stats().closed > ROUNDS


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
async def test_random_cancellations_for_long(file_backend: Backend, seed: int) -> None:
    async with aiolibsql.create_pool(
        file_backend.path, 4, min_size=1, max_lifetime=0.05, init=init, acquire_timeout=20
    ) as pool:
        await pool.execute(SCHEMA)
        await cancel_at_random(pool, random.Random(seed), 2 * ROUNDS)


@pytest.mark.parametrize("work", BRIEF, ids=lambda work: work.__name__)
async def test_cancelled_at_every_turn(
    file_backend: Backend, work: Callable[[Pool], Coroutine[Any, Any, None]]
) -> None:
    """From a pool with no reader open, so that opening one is among the awaits."""
    ended = False
    turns = 0
    while not ended and turns < 60:
        async with aiolibsql.create_pool(
            file_backend.path, 2, min_size=1, init=init, acquire_timeout=5
        ) as pool:
            await pool.execute(SCHEMA)
            async with anyio.create_task_group() as group:
                done = anyio.Event()

                async def run(pool: Pool = pool, done: anyio.Event = done) -> None:
                    await work(pool)
                    done.set()

                group.start_soon(run)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                ended = done.is_set()
                group.cancel_scope.cancel()
            await assert_whole(pool)
        turns += 1


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_loan_is_counted_before_its_borrower_has_heard_of_it(
    file_backend: Backend, readonly: bool, is_cancelled: bool
) -> None:
    heard = False
    async with aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=20) as pool:
        await pool.execute(SCHEMA)
        first = await pool.acquire(readonly)

        async def borrow() -> None:
            nonlocal heard
            connection = await pool.acquire(readonly)
            heard = True
            await pool.release(connection)

        async with anyio.create_task_group() as group:
            group.start_soon(borrow)
            await until(lambda: pool.stats().waiting == 1)
            with pytest.warns(ResourceWarning, match="not released"):
                del first
            # The connection's own thread lends it to the next; the loop has no turn meanwhile.
            end = time.monotonic() + 5
            while (stats := pool.stats()).waiting:
                assert (stats.in_use, stats.waiting) == (0, 1)
                assert time.monotonic() < end
            assert (stats.in_use, stats.waiting) == (1, 0)
            assert not heard
            assert "1 in use, 0 waiting" in repr(pool)
            if is_cancelled:
                group.cancel_scope.cancel()
        assert heard is not is_cancelled
        await assert_whole(pool)


async def test_close_waits_for_a_loan_that_nobody_has_heard_of(file_backend: Backend) -> None:
    """It is given back at once, or used and given back; `close` finds nothing half lent."""
    for turns in range(15):
        pool = await aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=5)
        await pool.execute(SCHEMA)
        async with anyio.create_task_group() as group:

            async def borrow(pool: Pool = pool) -> None:
                try:
                    async with pool.write() as connection:
                        await connection.execute("INSERT INTO t (x) VALUES (0)")
                except aiolibsql.PoolClosed:
                    pass

            for _ in range(3):
                group.start_soon(borrow)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            await pool.close()
            assert pool.stats()[:6] == (0, 0, 0, 0, 0, 0)


async def test_who_was_to_open_a_connection_and_gave_up_leaves_that_to_the_next(
    file_backend: Backend,
) -> None:
    begun = 0
    may_go_on = anyio.Event()

    async def slow_init(_: aiolibsql.Connection[Any]) -> None:
        nonlocal begun
        begun += 1
        if begun == 2:
            await anyio.sleep_forever()
        await may_go_on.wait()

    may_go_on.set()
    async with aiolibsql.create_pool(
        file_backend.path, 2, min_size=1, init=slow_init, acquire_timeout=60
    ) as pool:
        await pool.execute(SCHEMA)
        values: list[Any] = []

        async def read() -> None:
            values.append(await pool.fetch_scalar("SELECT count(*) FROM t"))

        scope = anyio.CancelScope()

        async def give_up() -> None:
            with scope:
                await pool.fetch_scalar("SELECT count(*) FROM t")

        async with anyio.create_task_group() as group:
            group.start_soon(give_up)
            await until(lambda: begun == 2)
            for _ in range(3):
                group.start_soon(read)
            await until(lambda: pool.stats().waiting == 4)
            assert pool.stats().opening == 1
            scope.cancel()
            with anyio.fail_after(5):
                while len(values) < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
        assert values == [0, 0, 0]
        await assert_whole(pool)
