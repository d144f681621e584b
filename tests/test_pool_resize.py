"""ConnectionPool: how many connections there are: opened when needed, resized under load."""

from __future__ import annotations

import contextvars
import os
import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pool_tasks import (
    BRIEF,
    SCHEMA,
    assert_nothing_in_hand,
    assert_whole,
    borrow_all,
    until,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
ROUNDS = 300 if os.environ.get("AIOLIBSQL_SOAK") else 12


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool that may have five connections, of which two are open."""
    async with aiolibsql.create_pool(file_backend.path, 5, min_size=2, acquire_timeout=5) as pool:
        await pool.execute(SCHEMA)
        yield pool
        await assert_whole(pool)


async def test_min_size_is_what_the_await_opens_the_writer_first(file_backend: Backend) -> None:
    for least in range(1, 5):
        opened: list[bool] = []

        async def init(connection: aiolibsql.Connection[Any], opened: list[bool] = opened) -> None:
            opened.append(await connection.fetch_scalar("SELECT sqlite_version()") is not None)

        async with aiolibsql.create_pool(file_backend.path, 4, min_size=least, init=init) as pool:
            assert len(opened) == least
            assert pool.stats().size == pool.min_size == least
            assert (pool.size, pool.reader_count) == (4, 3)
            await pool.execute("CREATE TABLE IF NOT EXISTS t (x)")
            assert await pool.fetch_all("SELECT * FROM t") == []


async def test_connections_are_opened_when_they_are_needed_and_no_more(pool: Pool) -> None:
    before = pool.stats()
    for _ in range(50):
        await pool.fetch_all("SELECT * FROM t")
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
    assert pool.stats().size == before.size == 2
    lent = []
    for count in range(1, 5):
        lent.append(await pool.acquire(readonly=True))
        assert pool.stats().readers == count
    assert "5 of 5" in repr(pool)
    with pytest.raises(aiolibsql.PoolTimeout):
        await pool.acquire(readonly=True, timeout=0.01)
    for connection in lent:
        await pool.release(connection)
    assert pool.stats().size == 5


async def test_many_at_once_open_one_each(pool: Pool) -> None:
    async with anyio.create_task_group() as group:
        all_here = anyio.Event()

        async def borrow() -> None:
            async with pool.read():
                if pool.stats().in_use == 4:
                    all_here.set()
                await all_here.wait()

        for _ in range(4):
            group.start_soon(borrow)
    assert pool.stats().opened == 5


async def test_growing_takes_effect_at_once(pool: Pool) -> None:
    lent = [await pool.acquire(readonly=True) for _ in range(4)]
    got = anyio.Event()

    async def wait() -> None:
        async with pool.read() as connection:
            assert await connection.fetch_scalar("SELECT 1") == 1
        got.set()

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: pool.stats().waiting == 1)
        await pool.resize(6, min_size=1)
        with anyio.fail_after(5):
            await got.wait()
    assert pool.size == pool.stats().size == 6
    for connection in lent:
        await pool.release(connection)


async def test_what_is_kept_is_opened_by_resize(pool: Pool) -> None:
    await pool.resize(8)
    assert pool.stats().size == pool.min_size == pool.size == 8
    await pool.resize(9, min_size=3)
    assert (pool.stats().size, pool.min_size, pool.size) == (8, 3, 9)


async def test_shrinking_closes_what_is_idle_soon_and_what_is_lent_when_it_returns(
    pool: Pool,
) -> None:
    for connection in await borrow_all(pool):
        await pool.release(connection)
    assert pool.stats().size == 5
    lent = [await pool.acquire(readonly=True) for _ in range(3)]
    await pool.resize(2)
    await until(lambda: pool.stats().size == 4)
    for connection in lent:
        assert await connection.fetch_scalar("SELECT 1") == 1
    for connection in lent:
        await pool.release(connection)
    await until(lambda: pool.stats().size == 2)
    stats = pool.stats()
    assert (stats.readers, stats.in_use, stats.opened, stats.closed) == (1, 0, 5, 3)


async def test_a_cursor_keeps_its_reader_through_a_resize(pool: Pool) -> None:
    cursors = [await pool.execute("SELECT 1 UNION ALL SELECT 2") for _ in range(3)]
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)"
    cursors = [await pool.execute(f"{numbers} SELECT i FROM n") for _ in range(4)]
    await pool.resize(2)
    for cursor in cursors:
        assert len(await cursor.fetchall()) == 5000
    await until(lambda: pool.stats().size == 2)


async def test_sizes_that_make_no_sense(pool: Pool) -> None:
    for size, least in ((1, None), (0, None), (-1, 1), (4, 0), (4, 5), (4, -1)):
        with pytest.raises(ValueError, match="size must be"):
            await pool.resize(size, min_size=least)
        with pytest.raises(ValueError, match="size must be"):
            aiolibsql.create_pool("x", size, min_size=least)
    assert (pool.size, pool.min_size) == (5, 2)


async def test_a_database_in_memory_keeps_its_connection() -> None:
    async with aiolibsql.create_pool(
        ":memory:", 4, min_size=2, max_idle=0.01, max_lifetime=0.01
    ) as pool:
        await pool.execute("CREATE TABLE t AS SELECT 7 AS x")
        await pool.resize(9)
        await anyio.sleep(0.05)
        assert await pool.fetch_scalar("SELECT x FROM t") == 7
        assert (pool.size, pool.stats().size, pool.stats().opened) == (1, 1, 1)


async def test_resizes_under_load(pool: Pool) -> None:
    dice = random.Random(11)
    async with anyio.create_task_group() as group:
        is_over = False

        async def work() -> None:
            while not is_over:
                await dice.choice(BRIEF)(pool)
                stats = pool.stats()
                # Those that are still lent may be more than there may be now.
                assert stats.readers <= 8
                assert stats.in_use <= stats.size <= 9

        for _ in range(12):
            contextvars.Context().run(group.start_soon, work)
        for _ in range(ROUNDS):
            size = dice.randrange(2, 10)
            await pool.resize(size, min_size=dice.randrange(1, size + 1))
            await anyio.sleep(dice.random() * 0.02)
        is_over = True
    await pool.resize(3)
    await until(lambda: pool.stats().size == 3)
    assert_nothing_in_hand(pool)


async def test_cancelled_resizes_leave_exact_counts(pool: Pool) -> None:
    dice = random.Random(13)

    async def resize(delay: float) -> None:
        with anyio.move_on_after(delay):
            await pool.resize(dice.randrange(2, 8))

    for _ in range(ROUNDS):
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(resize, dice.choice([0, 0.0002, 0.001, 0.003]))
            for task in BRIEF:
                group.start_soon(task, pool)
        await assert_whole(pool)
