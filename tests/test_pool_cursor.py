"""PoolCursor: the rows of a statement that a pool has executed."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

Pool = aiolibsql.ConnectionPool

# More than is read ahead.
MANY = f"{NUMBERS} SELECT i, i * 2 AS twice FROM n LIMIT 5000"


@pytest.fixture
async def pool(backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool with a table ``t`` of ten rows."""
    async with backend.create_pool(2, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        await pool.executemany("INSERT INTO t (x) VALUES (?)", [(i,) for i in range(10)])
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


async def assert_free(pool: Pool) -> None:
    """Fail unless the only reader is free at once."""
    assert await pool.fetch_scalar("SELECT 1", timeout=5) == 1


async def test_execute_gives_a_pool_cursor(pool: Pool) -> None:
    cursor = await pool.execute("SELECT id, x FROM t ORDER BY id")
    assert type(cursor) is aiolibsql.PoolCursor
    assert isinstance(cursor, aiolibsql.Cursor)
    assert cursor.connection is pool
    assert [column[0] for column in cursor.description or ()] == ["id", "x"]
    assert (cursor.rowcount, cursor.arraysize) == (-1, 1)
    assert await cursor.fetchone() == (1, 0)
    assert await cursor.fetchmany() == [(2, 1)]
    cursor.arraysize = 2
    assert await cursor.fetchmany() == [(3, 2), (4, 3)]
    assert await cursor.fetchmany(1) == [(5, 4)]
    assert [row async for row in cursor] == [(i, i - 1) for i in range(6, 11)]
    assert await cursor.fetchone() is None
    assert await cursor.fetchall() == []


async def test_write_tells_what_it_did(pool: Pool) -> None:
    cursor = await pool.execute("UPDATE t SET x = 0 WHERE id < 4")
    assert (cursor.rowcount, cursor.description) == (3, None)
    assert await cursor.fetchall() == []
    cursor = await pool.execute("INSERT INTO t (x) VALUES (1)")
    assert (cursor.rowcount, cursor.lastrowid) == (1, 11)
    cursor = await pool.execute("CREATE TABLE u (x)")
    assert cursor.rowcount == -1


async def test_row_factory_of_the_pool_and_of_a_cursor(backend: Backend) -> None:
    made: list[Any] = []

    def factory(cursor: Any, row: tuple[Any, ...]) -> Any:
        made.append(cursor)
        return dict(zip([column[0] for column in cursor.description], row, strict=True))

    database = backend.path or ":memory:"
    async with aiolibsql.create_pool(
        database, 2, encryption_key=backend.key, row_factory=factory
    ) as pool:
        cursor = await pool.execute("SELECT 1 AS one, 2 AS two")
        assert await cursor.fetchall() == [{"one": 1, "two": 2}]
        assert made == [cursor]
        assert await pool.fetch_one("SELECT 3 AS three") == {"three": 3}
        # What a factory is given can't reach a connection that is not lent.
        assert made[-1].connection is pool
        cursor = await pool.execute("SELECT 1 AS one")
        cursor.row_factory = aiolibsql.Row
        row = await cursor.fetchone()
        assert row is not None
        assert row["ONE"] == 1


async def test_cursor_executes_nothing_else(pool: Pool) -> None:
    cursor = await pool.execute("SELECT 1")
    for operation in (
        cursor.execute("SELECT 2"),
        cursor.execute("INSERT INTO t (x) VALUES (?)", (1,), timeout=1),
        cursor.executemany("INSERT INTO t (x) VALUES (?)", [(1,)]),
        cursor.executescript("DELETE FROM t"),
    ):
        with pytest.raises(aiolibsql.ProgrammingError, match=r"pool\.read\(\)"):
            await operation
    assert await cursor.fetchall() == [(1,)]
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 10
    with pytest.raises(TypeError):
        aiolibsql.PoolCursor(pool)  # type: ignore[arg-type]


async def test_async_with_closes(pool: Pool) -> None:
    async with pool.execute(MANY) as cursor:
        assert await cursor.fetchone() == (1, 2)
    await assert_free(pool)
    with pytest.raises(aiolibsql.ProgrammingError, match="closed cursor"):
        await cursor.fetchone()
    async with await pool.execute(MANY) as cursor:
        assert await cursor.fetchone() == (1, 2)
    await assert_free(pool)
    with pytest.raises(KeyError):
        async with pool.execute(MANY):
            raise KeyError
    await assert_free(pool)


async def test_close_gives_the_reader_back(pool: Pool) -> None:
    cursor = await pool.execute(MANY)
    assert await cursor.fetchmany(100)
    await cursor.close()
    await cursor.close()
    await assert_free(pool)


async def test_exhausted_cursor_gives_the_reader_back(pool: Pool) -> None:
    cursor = await pool.execute(MANY)
    count = 0
    async for _ in cursor:
        count += 1
    assert count == 5000
    await assert_free(pool)
    cursor = await pool.execute(MANY)
    assert len(await cursor.fetchall()) == 5000
    await assert_free(pool)
    # The rows are here, and the statement has ended.
    kept = await pool.execute("SELECT x FROM t")
    await assert_free(pool)
    assert len(await kept.fetchall()) == 10


@pytest.mark.local("all rows come in one answer")
async def test_leaked_cursor_is_reported_and_gives_the_reader_back(pool: Pool) -> None:
    cursor = await pool.execute(MANY)
    assert await cursor.fetchone() == (1, 2)
    with pytest.raises(aiolibsql.OperationalError):
        await pool.fetch_scalar("SELECT 1", timeout=0.05)
    with pytest.warns(ResourceWarning, match="rows that were not read"):
        del cursor
        gc.collect()
    await assert_free(pool)


@pytest.mark.local("all rows come in one answer")
async def test_cursor_in_a_cycle_is_reported_and_gives_the_reader_back(pool: Pool) -> None:
    class Holder:
        cursor: Any = None
        itself: Any = None

    holder = Holder()
    holder.itself = holder
    holder.cursor = await pool.execute(MANY)
    with pytest.warns(ResourceWarning, match="rows that were not read"):
        del holder
        gc.collect()
    await assert_free(pool)


@pytest.mark.local("all rows come in one answer")
async def test_cursor_of_a_borrowed_connection_is_no_leak(pool: Pool) -> None:
    async with pool.read():
        cursor = await pool.execute(MANY)
        assert await cursor.fetchone() == (1, 2)
        del cursor
        gc.collect()
        cursor = await pool.execute(MANY)
    with pytest.raises(aiolibsql.ProgrammingError, match="given back"):
        await cursor.fetchall()
    await assert_free(pool)


async def test_cancelled_execute_is_no_leak(pool: Pool) -> None:
    """Cancelled before, while and after it runs: nothing is left, and nothing is reported."""
    for turns in range(25):
        async with anyio.create_task_group() as group:

            async def execute() -> None:
                async with pool.execute(MANY) as cursor:
                    await cursor.fetchall()

            group.start_soon(execute)
            group.start_soon(pool.fetch_all, MANY)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        gc.collect()
        await assert_free(pool)


async def test_cursor_of_a_closed_pool(backend: Backend) -> None:
    database = backend.path or ":memory:"
    other = await aiolibsql.create_pool(database, 2, encryption_key=backend.key)
    whole = await other.execute("SELECT 1")
    cursor = await other.execute(MANY)
    await other.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await cursor.fetchall()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await whole.fetchall()
    assert cursor.description is not None
    await cursor.close()


@pytest.mark.local("such a text can't be sent")
async def test_text_that_is_not_utf8_raises_when_it_is_fetched(pool: Pool) -> None:
    cursor = await pool.execute("SELECT cast(x'ff41' AS TEXT)")
    with pytest.raises(aiolibsql.OperationalError, match="UTF-8"):
        await cursor.fetchone()
    await assert_free(pool)


@pytest.mark.local("all rows come in one answer")
async def test_error_behind_rows_ends_the_cursor(pool: Pool) -> None:
    sql = f"{NUMBERS} SELECT CASE WHEN i < 3000 THEN i ELSE abs(-9223372036854775808) END FROM n"
    cursor = await pool.execute(sql)
    seen = 0
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        async for _ in cursor:
            seen += 1
    assert seen == 2999
    await assert_free(pool)


async def test_cursors_of_many_tasks_wait_for_their_turn(pool: Pool) -> None:
    async def read() -> None:
        async with pool.execute(MANY) as cursor:
            assert [row async for row in cursor][-1] == (5000, 10_000)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(read)
