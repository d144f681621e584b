"""ConnectionPool: what it tells to whoever watches it."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from pool_tasks import SCHEMA, until

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio


async def test_gauges_show_one_moment(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 4, min_size=2) as pool:
        stats = pool.stats()
        assert stats[:6] == (2, 1, 2, 0, 0, 0)
        assert stats.idle == stats.size == 2
        await pool.execute(SCHEMA)
        async with pool.read():
            assert pool.stats()[:6] == (2, 1, 1, 0, 1, 0)
            async with pool.read():  # the same one
                assert pool.stats().in_use == 1
        assert pool.stats().in_use == 0
        assert "2 of 4 connections (0 in use, 0 waiting)" in repr(pool)


async def test_an_opening_connection_is_seen(file_backend: Backend) -> None:
    is_opening, may_go_on = anyio.Event(), anyio.Event()

    async def init(_: object) -> None:
        if is_opening.is_set():
            return
        if pool.stats().size:
            is_opening.set()
            await may_go_on.wait()

    pool = aiolibsql.create_pool(file_backend.path, 3, min_size=1, init=init)
    async with pool, anyio.create_task_group() as group:
        group.start_soon(pool.fetch_all, "SELECT 1")
        await is_opening.wait()
        stats = pool.stats()
        assert (stats.size, stats.opening, stats.waiting) == (1, 1, 1)
        may_go_on.set()


async def test_counters_only_grow_and_add_up(backend: Backend) -> None:
    database = backend.path or ":memory:"
    async with aiolibsql.create_pool(database, 3, encryption_key=backend.key) as pool:
        assert pool.stats().opened == pool.size
        await pool.execute(SCHEMA)
        for _ in range(10):
            await pool.execute("INSERT INTO t (x) VALUES (1)")
            await pool.fetch_all("SELECT * FROM t")
        async with pool.write() as connection:
            await connection.execute("INSERT INTO t (x) VALUES (1)")
        stats = pool.stats()
        assert stats.statements == 21
        assert (stats.acquired, stats.closed, stats.lost, stats.failed) == (1, 0, 0, 0)
        assert (stats.timeouts, stats.group_commits, stats.grouped_writes) == (0, 0, 0)
    assert pool.stats().closed == pool.stats().opened == pool.size


async def test_group_commits_are_counted(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2) as pool:
        await pool.execute(SCHEMA)

        async def insert() -> None:
            await pool.execute("INSERT INTO t (x) VALUES (1)")

        await insert()  # known to write from now on: what is not known finds its way alone
        async with anyio.create_task_group() as group, pool.write():
            for _ in range(10):
                contextvars.Context().run(group.start_soon, insert)
            await until(lambda: pool.stats().waiting >= 10)
        stats = pool.stats()
        assert stats.group_commits >= 1
        assert 2 <= stats.grouped_writes <= 10
        assert stats.queued >= 10
        assert stats.wait_seconds > 0


async def test_waits_are_measured_in_seconds(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2) as pool:
        connection = await pool.acquire()

        async def borrow() -> None:
            await pool.release(await pool.acquire())

        async with anyio.create_task_group() as group:
            group.start_soon(borrow)
            await until(lambda: pool.stats().waiting == 1)
            # Loops' clocks are coarser: a sleep may end early by theirs.
            since = time.monotonic()
            await anyio.sleep(0.2)
            slept = time.monotonic() - since
            await pool.release(connection)
        assert slept <= pool.stats().wait_seconds < 5
