"""A write beside the connection's own half-read cursors, whose snapshot has become old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from backends import Backend

pytestmark = pytest.mark.anyio

Connection = aiolibsql.Connection[Any]


@pytest.fixture
async def pair(file_backend: Backend) -> AsyncIterator[tuple[Connection, Connection]]:
    """Return two connections to one WAL database whose table has 1,000 rows."""
    async with file_backend.connect(timeout=0.3) as ours:
        await ours.execute("PRAGMA journal_mode=WAL")
        await ours.execute("CREATE TABLE t (x)")
        await ours.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(1000)])
        await ours.commit()
        async with file_backend.second() as other:
            yield ours, other
            await other.rollback()
        if not ours.closed:
            await ours.rollback()


async def half_read(ours: Connection, other: Connection, table: str = "t") -> Any:
    """Return a cursor of ours in the middle of a table that another connection has changed."""
    cursor = await ours.execute(f"SELECT x FROM {table}")
    assert await cursor.fetchone() == (0,)
    await other.execute("INSERT INTO t VALUES (-1)")
    await other.commit()
    return cursor


async def implicit(conn: Connection) -> None:
    await conn.execute("INSERT INTO t VALUES (?)", ("new",))
    await conn.commit()


async def autocommit(conn: Connection) -> None:
    conn.isolation_level = None
    await conn.execute("INSERT INTO t VALUES ('new')")


async def many(conn: Connection) -> None:
    await conn.executemany("INSERT INTO t VALUES (?)", (("new",) for _ in range(1)))
    await conn.commit()


async def block(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO t VALUES ('new')")


async def by_hand(conn: Connection) -> None:
    await conn.begin("IMMEDIATE")
    await conn.execute("INSERT INTO t VALUES ('new')")
    await conn.commit()


async def definition(conn: Connection) -> None:
    await conn.execute("CREATE TABLE other (x)")
    await conn.execute("INSERT INTO t VALUES ('new')")
    await conn.commit()


@pytest.mark.parametrize(
    "write", [implicit, autocommit, many, block, by_hand, definition], ids=lambda f: f.__name__
)
async def test_write_reads_half_read_cursors_to_their_end_first(
    pair: tuple[Connection, Connection], write: Callable[[Connection], Coroutine[Any, Any, None]]
) -> None:
    ours, other = pair
    cursor = await half_read(ours, other)
    await write(ours)
    # The cursor goes on with what it saw; the write is there.
    assert await cursor.fetchall() == [(i,) for i in range(1, 1000)]
    assert await other.fetch_scalar("SELECT count(*) FROM t WHERE x = 'new'") == 1
    await assert_healthy(ours)


async def test_transaction_that_has_read_fails_as_in_sqlite3(
    pair: tuple[Connection, Connection],
) -> None:
    ours, other = pair
    await ours.begin()
    assert await ours.fetch_scalar("SELECT count(*) FROM t") == 1000
    await other.execute("INSERT INTO t VALUES (-1)")
    await other.commit()
    with pytest.raises(aiolibsql.TimeoutError) as caught:
        await ours.execute("INSERT INTO t VALUES ('new')")
    assert caught.value.sqlite_errorname == "SQLITE_BUSY_SNAPSHOT"
    assert ours.in_transaction
    await ours.rollback()
    await assert_healthy(ours)


async def test_too_much_to_keep_is_an_error_that_names_the_cursor(
    pair: tuple[Connection, Connection],
) -> None:
    ours, other = pair
    sql = "SELECT x FROM t UNION ALL SELECT zeroblob(1000000) FROM t LIMIT 1100"
    cursor = await ours.execute(sql)
    assert await cursor.fetchone() == (0,)
    await other.execute("INSERT INTO t VALUES (-1)")
    await other.commit()
    with pytest.raises(aiolibsql.OperationalError, match="UNION ALL SELECT zeroblob"):
        await ours.execute("INSERT INTO t VALUES ('new')")
    assert not ours.in_transaction
    # Nothing of the cursor is lost by that.
    assert len(await cursor.fetchall()) == 1099
    await implicit(ours)
    await assert_healthy(ours)
