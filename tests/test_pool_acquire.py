"""`ConnectionPool.acquire`: awaited, and as a block."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import ENDLESS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

Pool = aiolibsql.ConnectionPool
INSERT = "INSERT INTO t VALUES (1)"
COUNT = "SELECT count(*) FROM t"


@pytest.fixture
async def pool(backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool with a table ``t``, nothing of which is lent in the end."""
    async with backend.create_pool(3, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (x)")
        yield pool
        stats = pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)


async def test_acquire_awaited_lends_until_release(pool: Pool) -> None:
    connection = await pool.acquire()
    assert pool.stats().in_use == 1
    assert await connection.fetch_scalar(COUNT) == 0
    await pool.release(connection)
    assert pool.stats().in_use == 0


async def test_acquire_as_a_block_lends_the_writer_until_its_end(pool: Pool) -> None:
    async with pool.acquire() as connection:
        assert pool.stats().in_use == 1
        await connection.execute(INSERT)
        await connection.commit()
    assert pool.stats().in_use == 0
    with pytest.raises(aiolibsql.ProgrammingError, match="given back"):
        await connection.execute(INSERT)
    assert await pool.fetch_scalar(COUNT) == 1


async def test_acquire_as_a_block_lends_several_readers(backend: Backend) -> None:
    if backend.name == "memory":
        pytest.skip("has one connection for all")
    async with backend.create_pool(3, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (x)")
        async with pool.acquire(readonly=True) as one, pool.acquire(readonly=True) as other:
            assert one is not other
            assert pool.stats().in_use == 2
            await pool.execute(INSERT)
            assert await one.fetch_scalar(COUNT) == await other.fetch_scalar(COUNT) == 1
        assert pool.stats().in_use == 0


async def test_end_of_a_block_is_a_release_that_commits_nothing(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute(INSERT)
    assert await pool.fetch_scalar(COUNT) == 0


async def test_error_in_a_block_gives_the_connection_back(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pool.acquire() as connection:
            await connection.execute(INSERT)
            1 / 0  # noqa: B018
    assert pool.stats().in_use == 0
    assert await pool.fetch_scalar(COUNT) == 0


async def test_cancelled_block_gives_the_connection_back(pool: Pool) -> None:
    connection: aiolibsql.Connection[Any] | None = None
    with anyio.move_on_after(0.05) as scope:
        async with pool.acquire() as connection:
            await connection.execute(INSERT)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert connection is not None
    assert pool.stats().in_use == 0
    assert await pool.fetch_scalar(COUNT) == 0


@pytest.mark.local("a server's statement is not stopped, and has its time")
async def test_block_cancelled_in_a_statement_gives_the_connection_back(pool: Pool) -> None:
    with anyio.move_on_after(0.05) as scope:
        async with pool.acquire() as connection:
            await connection.execute(ENDLESS)
    assert scope.cancelled_caught
    assert pool.stats().in_use == 0


async def test_wait_for_a_block_that_is_cancelled_takes_nothing(pool: Pool) -> None:
    async with pool.acquire():
        with anyio.move_on_after(0.05) as scope:
            async with pool.acquire():
                pytest.fail("the writer is lent")
        assert scope.cancelled_caught
        assert pool.stats().waiting == 0
        with pytest.raises(aiolibsql.PoolTimeout):
            async with pool.acquire(timeout=0.05):
                pytest.fail("the writer is lent")
    await pool.execute(INSERT)


async def test_connection_that_its_block_gave_back_is_refused_at_the_end(pool: Pool) -> None:
    """As by `read` and `write`."""
    for block in (pool.acquire(), pool.write()):
        with pytest.raises(aiolibsql.ProgrammingError, match="not lent"):
            async with block as connection:
                await pool.release(connection)


async def test_block_that_is_never_entered_borrows_nothing(pool: Pool) -> None:
    with pytest.warns(RuntimeWarning, match=r"ConnectionPool\.acquire.*never awaited"):
        pool.acquire()
        gc.collect()
    assert pool.stats().in_use == 0


async def test_block_after_the_end_of_the_pool_is_refused(backend: Backend) -> None:
    async with backend.create_pool(3) as pool:
        pass
    with pytest.raises(aiolibsql.PoolClosed):
        async with pool.acquire():
            pytest.fail("the pool is closed")
