"""ConnectionPool: what is dropped without a word comes back, and nothing is kept for ever."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest
from pool_tasks import BRIEF, SCHEMA, assert_whole, until
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool


async def test_dropped_loans_come_back_with_a_warning_each(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, min_size=1) as pool:
        await pool.execute(SCHEMA)
        lent = [await pool.acquire(readonly=readonly) for readonly in (True, False, True)]
        assert pool.stats().in_use == 3
        with pytest.warns(ResourceWarning, match="not released") as warned:
            lent.clear()
            gc.collect()
        assert len(warned) == 3
        assert pool.stats().in_use == 0
        await assert_whole(pool)


async def test_a_dropped_loan_leaves_nothing_of_what_it_changed(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2) as pool:
        await pool.execute(SCHEMA)
        connection = await pool.acquire()
        await connection.execute("PRAGMA query_only = 1")
        with pytest.warns(ResourceWarning, match="not released"):
            del connection
            gc.collect()
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        await assert_whole(pool)


@pytest.mark.filterwarnings("ignore:.*rows that were not read:ResourceWarning")
async def test_dropped_cursors_free_their_readers(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=10) as pool:
        await pool.execute(SCHEMA)
        for _ in range(20):
            await pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 2000")
            gc.collect()
        await assert_whole(pool)


async def test_a_dropped_operation_gives_its_loan_back(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2) as pool:
        await pool.execute(SCHEMA)
        for readonly in (True, False) * 20:
            operation = pool.acquire(readonly)
            operation.close()
            borrowing = pool._acquire(readonly)
            borrowing.close()
        await assert_whole(pool)


async def test_replaced_connections_are_collected(file_backend: Backend) -> None:
    alive: weakref.WeakSet[aiolibsql.Connection[Any]] = weakref.WeakSet()

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        alive.add(connection)
        await connection.create_function("itself", 0, lambda: connection.closed)

    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        await pool.execute(SCHEMA)
        for _ in range(20):
            for task in BRIEF:
                await task(pool)
        gc.collect()
        # One for each place, and perhaps one that was closed just now.
        assert len(alive) <= 6
        assert pool.stats().opened > 30
    del pool
    await anyio.lowlevel.checkpoint()
    gc.collect()
    assert len(alive) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_descriptors_stay_flat_while_connections_come_and_go(file_backend: Backend) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with aiolibsql.create_pool(
        file_backend.path, 4, min_size=2, max_lifetime=0.01, max_idle=0.01
    ) as pool:
        await pool.execute(SCHEMA)
        for _ in range(3):
            for task in BRIEF:
                await task(pool)
        before = count()
        for size in (2, 6, 3, 4) * 5:
            await pool.resize(size, min_size=1)
            for task in BRIEF:
                await task(pool)
        await pool.resize(4, min_size=2)
        # A connection has three: the file, its log, and the log's index.
        await until(lambda: count() <= before + 3 * 4)
