"""What tests do with a pool, and proof that it is whole afterwards.

The work keeps the sum of ``t.x`` at 0, so that half of a transaction shows. Needs no event loop in
particular.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from situations import ENDLESS, NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Pool = aiolibsql.ConnectionPool

SCHEMA = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x)"


async def read(pool: Pool) -> None:
    await pool.fetch_all("SELECT * FROM t LIMIT 3")


async def read_slowly(pool: Pool) -> None:
    await pool.fetch_all(ENDLESS)


async def iterate(pool: Pool) -> None:
    async with pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000") as cursor:
        async for _ in cursor:
            pass


async def leak_a_cursor(pool: Pool) -> None:
    await pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")


async def write(pool: Pool) -> None:
    await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")


async def write_slowly(pool: Pool) -> None:
    await pool.execute(f"INSERT INTO t (x) {NUMBERS} SELECT 0 FROM n LIMIT 20000")


async def transact(pool: Pool) -> None:
    async with pool.transaction():
        await pool.execute("INSERT INTO t (x) VALUES (2)")
        await anyio.lowlevel.checkpoint()
        await pool.execute("INSERT INTO t (x) VALUES (-2)")


async def borrow_to_read(pool: Pool) -> None:
    async with pool.read() as connection:
        await connection.fetch_all("SELECT sum(x) FROM t")


async def borrow_to_write(pool: Pool) -> None:
    async with pool.write() as connection, connection.transaction():
        await connection.execute("INSERT INTO t (x) VALUES (3)")
        await connection.execute("INSERT INTO t (x) VALUES (-3)")


async def acquire(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO t (x) VALUES (4)")
        await connection.execute("INSERT INTO t (x) VALUES (-4)")
        await connection.commit()


async def change_a_reader(pool: Pool) -> None:
    """Leave a connection behind that has to be replaced."""
    async with pool.read() as connection:
        await connection.execute("PRAGMA cache_size = 10")


async def change_the_writer(pool: Pool) -> None:
    async with pool.write() as connection:
        await connection.execute("PRAGMA cache_size = 10")


# What ends by itself.
BRIEF: list[Callable[[Pool], Coroutine[Any, Any, None]]] = [
    read,
    iterate,
    write,
    transact,
    borrow_to_read,
    borrow_to_write,
    acquire,
    change_a_reader,
    change_the_writer,
]
WORK = [*BRIEF, read_slowly, leak_a_cursor, write_slowly]


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait for something that nothing tells of."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.001)


async def borrow_all(pool: Pool) -> list[aiolibsql.Connection[Any]]:
    """Borrow as many connections as there may be, the writer last."""
    lent = [await pool.acquire(readonly=True) for _ in range(pool.reader_count)]
    return [*lent, await pool.acquire()]


def assert_nothing_in_hand(pool: Pool) -> None:
    """Fail unless all is idle, as the counts have it."""
    stats = pool.stats()
    assert (stats.in_use, stats.waiting, stats.opening) == (0, 0, 0), stats
    assert stats.size == stats.opened - stats.closed, stats
    assert stats.readers <= pool.reader_count, stats


async def assert_whole(pool: Pool) -> None:
    """Fail unless every connection of the pool is free, reads, and writes whole transactions."""

    def is_quiet() -> bool:
        stats = pool.stats()
        return not (stats.in_use or stats.waiting or stats.opening)

    await until(is_quiet)
    with anyio.fail_after(10):
        lent = await borrow_all(pool)
        stats = pool.stats()
        assert stats.in_use == stats.size == pool.size, stats
        for connection in lent:
            assert not connection.in_transaction
            assert await connection.fetch_scalar("SELECT total(x) FROM t") == 0
            assert await connection.fetch_scalar("PRAGMA cache_size") != 10
        for connection in lent:
            await pool.release(connection)
    await until(is_quiet)
    assert_nothing_in_hand(pool)
