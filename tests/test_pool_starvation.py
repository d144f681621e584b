"""ConnectionPool: nobody waits for ever, whatever others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from pool_tasks import SCHEMA, assert_whole
from situations import ENDLESS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
# A bound against a hang; what is waited for takes milliseconds.
SOON = 10


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool of one writer and two readers."""
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=30) as pool:
        await pool.execute(SCHEMA)
        yield pool
        await assert_whole(pool)


async def test_a_slow_query_keeps_one_reader_only(pool: Pool) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pool.fetch_all, ENDLESS)
        with anyio.fail_after(SOON):
            for _ in range(200):
                await pool.fetch_all("SELECT * FROM t LIMIT 1")
                await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        group.cancel_scope.cancel()


async def test_an_explicit_transaction_comes_through_a_stream_of_group_commits(pool: Pool) -> None:
    is_over = False

    async def write() -> None:
        while not is_over:
            await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(write)
        with anyio.fail_after(SOON):
            for _ in range(20):
                async with pool.transaction() as transaction:
                    await transaction.execute("INSERT INTO t (x) VALUES (2), (-2)")
        is_over = True


async def test_a_write_comes_through_a_stream_of_transactions(pool: Pool) -> None:
    is_over = False

    async def transact() -> None:
        while not is_over:
            async with pool.transaction() as transaction:
                await transaction.execute("INSERT INTO t (x) VALUES (2), (-2)")

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(transact)
        with anyio.fail_after(SOON):
            for _ in range(20):
                await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        is_over = True


async def test_a_borrower_comes_through_a_stream_of_reads(pool: Pool) -> None:
    is_over = False

    async def read() -> None:
        while not is_over:
            await pool.fetch_all("SELECT * FROM t LIMIT 1")

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(read)
        with anyio.fail_after(SOON):
            for _ in range(50):
                async with pool.read() as connection:
                    await connection.fetch_all("SELECT 1")
        is_over = True


async def test_replacements_leave_others_their_turn(pool: Pool) -> None:
    """A borrower that changes what it has costs an open each time, which its followers wait for."""
    is_over = False

    async def change() -> None:
        while not is_over:
            async with pool.write() as connection:
                await connection.execute("PRAGMA cache_size = 10")

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(change)
        with anyio.fail_after(SOON):
            for _ in range(20):
                await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        is_over = True
