"""ConnectionPool: connections that grow old, or that nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pool_tasks import BRIEF, SCHEMA, assert_nothing_in_hand, assert_whole, borrow_all, until

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio


async def test_idle_readers_are_closed_down_to_min_size(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 5, min_size=2, max_idle=0.05) as pool:
        await pool.execute(SCHEMA)
        for connection in await borrow_all(pool):
            await pool.release(connection)
        assert pool.stats().size == 5
        await until(lambda: pool.stats().size == 2)
        await anyio.sleep(0.2)
        stats = pool.stats()
        assert (stats.size, stats.readers, stats.closed, stats.lost) == (2, 1, 3, 0)
        await assert_whole(pool)


async def test_what_is_used_is_not_idle(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, min_size=1, max_idle=0.2) as pool:
        await pool.execute(SCHEMA)
        async with pool.read() as connection:
            await anyio.sleep(0.5)
            assert await connection.fetch_scalar("SELECT 1") == 1
        await until(lambda: pool.stats().size == 1)


async def test_the_writer_is_never_too_idle(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, min_size=1, max_idle=0.01) as pool:
        await pool.execute(SCHEMA)
        await anyio.sleep(0.1)
        stats = pool.stats()
        assert (stats.size - stats.readers, stats.opened - stats.closed) == (1, stats.size)


async def test_old_connections_are_replaced_where_they_are_used(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, max_lifetime=0.1) as pool:
        await pool.execute(SCHEMA)
        assert pool.stats().opened == 2
        await anyio.sleep(0.15)
        # Nobody has looked.
        assert pool.stats().closed == 0
        assert await pool.fetch_scalar("SELECT 1") == 1
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        stats = pool.stats()
        assert (stats.opened, stats.closed, stats.size) == (4, 2, 2)
        await assert_whole(pool)


async def test_a_loan_outlives_its_connections_lifetime(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, max_lifetime=0.05) as pool:
        await pool.execute(SCHEMA)
        async with pool.transaction() as transaction:
            await transaction.execute("INSERT INTO t (x) VALUES (5)")
            await anyio.sleep(0.1)
            await transaction.execute("INSERT INTO t (x) VALUES (-5)")
        await pool.execute("DELETE FROM t")
        await assert_whole(pool)


async def test_replacing_under_load_loses_nothing(file_backend: Backend) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("one", 0, lambda: 1)

    async with aiolibsql.create_pool(
        file_backend.path, 4, min_size=1, max_lifetime=0.02, max_idle=0.02, init=init
    ) as pool:
        await pool.execute(SCHEMA)
        for _ in range(30):
            async with anyio.create_task_group() as group:
                for task in BRIEF:
                    group.start_soon(task, pool)
                assert await pool.fetch_scalar("SELECT one()") == 1
                await anyio.sleep(0.005)
        assert pool.stats().closed > 10
        await assert_whole(pool)
        assert_nothing_in_hand(pool)


async def test_times_that_make_no_sense() -> None:
    for name in ("max_lifetime", "max_idle"):
        for value in (0, -1, float("nan")):
            options: dict[str, Any] = {name: value}
            with pytest.raises(ValueError, match=name):
                aiolibsql.create_pool("x", **options)
