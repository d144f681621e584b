"""ConnectionPool: routing, parallel readers, loans, and blocks."""

from __future__ import annotations

import contextvars
import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import ENDLESS, NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

Pool = aiolibsql.ConnectionPool


@pytest.fixture
async def pool(backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool of four connections with a table ``t``."""
    async with backend.create_pool(4, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        yield pool
        assert pool.stats().in_use == 0
        assert pool.stats().waiting == 0


@pytest.fixture
async def file_pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool of one writer and two readers on a file."""
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        yield pool
        assert pool.stats().in_use == 0
        assert pool.stats().waiting == 0


@pytest.mark.local("servers refuse them")
async def test_whole_file_is_the_writers(pool: Pool) -> None:
    await pool.execute("VACUUM")
    await pool.execute("ANALYZE")


async def test_statements_go_where_they_belong(pool: Pool) -> None:
    cursor = await pool.execute("INSERT INTO t (x) VALUES (?)", ("a",))
    assert (cursor.lastrowid, cursor.rowcount) == (1, 1)
    await pool.execute("/* a comment */ INSERT INTO t (x) VALUES ('b')")
    await pool.execute("WITH v(x) AS (SELECT 'c') INSERT INTO t (x) SELECT x FROM v")
    cursor = await pool.execute("INSERT INTO t (x) VALUES ('d') RETURNING id, x")
    assert await cursor.fetchall() == [(4, "d")]
    await pool.execute("PRAGMA user_version = 7")
    assert await pool.fetch_scalar("PRAGMA user_version") == 7
    assert await (await pool.execute("EXPLAIN INSERT INTO t (x) VALUES (1)")).fetchone()
    assert await pool.fetch_all("SELECT x FROM t ORDER BY id") == [("a",), ("b",), ("c",), ("d",)]
    assert await pool.fetch_one("SELECT count(*) FROM t") == (4,)
    assert await pool.fetch_optional("SELECT 1 WHERE 0") is None
    assert await pool.fetch_blob("SELECT x'01ff'") == b"\x01\xff"
    assert [row[1] for row in await pool.fetch_all("PRAGMA table_info(t)")] == ["id", "x"]
    with pytest.raises(aiolibsql.DatabaseError, match="no row"):
        await pool.fetch_one("SELECT 1 WHERE 0")


@pytest.mark.parametrize(
    ("sql", "way_out"),
    [
        ("BEGIN", "pool.transaction()"),
        ("COMMIT", "pool.transaction()"),
        ("ROLLBACK", "pool.transaction()"),
        ("SAVEPOINT s", "pool.transaction()"),
        ("ATTACH ':memory:' AS other", "init="),
        ("DETACH other", "init="),
        ("PRAGMA foreign_keys = ON", "init="),
        ("PRAGMA cache_size = 5", "init="),
        ("CREATE TEMP TABLE u (x)", "pool.write()"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1", "pool.write()"),
        ("SELECT last_insert_rowid()", "pool.write()"),
        ("SELECT x FROM t WHERE id = LAST_INSERT_ROWID()", "pool.write()"),
        ("SELECT changes()", "pool.write()"),
        ("INSERT INTO t (x) SELECT total_changes()", "pool.write()"),
    ],
)
async def test_what_belongs_to_one_connection_is_refused(
    pool: Pool, sql: str, way_out: str
) -> None:
    for _ in range(2):
        with pytest.raises(aiolibsql.ProgrammingError) as refused:
            await pool.execute(sql)
        assert way_out in str(refused.value)
    assert await pool.fetch_all("SELECT * FROM t") == []


@pytest.mark.local("other words")
async def test_errors_are_those_of_the_statement(pool: Pool) -> None:
    for _ in range(2):
        with pytest.raises(aiolibsql.OperationalError, match="no such table: missing"):
            await pool.execute("SELECT * FROM missing")
        with pytest.raises(aiolibsql.OperationalError, match="syntax error"):
            await pool.execute("SELEC 1")
        with pytest.raises(aiolibsql.ProgrammingError, match="one statement"):
            await pool.execute("SELECT 1; SELECT 2")
        with pytest.raises(aiolibsql.ProgrammingError, match="binding"):
            await pool.execute("SELECT ?", (1, 2))
    await pool.execute("INSERT INTO t VALUES (1, 1)")
    with pytest.raises(aiolibsql.IntegrityError, match="UNIQUE"):
        await pool.execute("INSERT INTO t VALUES (1, 1)")


async def test_a_new_table_is_seen_by_all(pool: Pool) -> None:
    for i in range(8):
        await pool.execute(f"CREATE TABLE new_{i} AS SELECT {i} AS i")
        assert await pool.fetch_scalar(f"SELECT i FROM new_{i}") == i


async def test_a_write_is_seen_by_the_next_read(pool: Pool) -> None:
    async def worker(key: int) -> None:
        for i in range(20):
            await pool.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (key, i))
            assert await pool.fetch_scalar("SELECT x FROM t WHERE id = ?", (key,)) == i

    async with anyio.create_task_group() as group:
        for key in range(10):
            group.start_soon(worker, key)


async def test_readers_read_at_the_same_time(file_pool: Pool) -> None:
    async with await file_pool.execute("SELECT 1 UNION ALL SELECT 2"):
        pass
    with anyio.move_on_after(0.2):
        async with anyio.create_task_group() as group:
            group.start_soon(file_pool.fetch_all, ENDLESS)
            await anyio.sleep(0.02)
            # The other one.
            for i in range(20):
                assert await file_pool.fetch_scalar("SELECT ?", (i,)) == i
            group.cancel_scope.cancel()
    assert await file_pool.fetch_all("SELECT 1") == [(1,)]


async def test_a_cursor_keeps_its_reader(file_pool: Pool) -> None:
    many = f"{NUMBERS} SELECT i FROM n LIMIT 10000"
    first = await file_pool.execute(many)
    second = await file_pool.execute(many)
    assert await first.fetchone() == (1,)
    with pytest.raises(aiolibsql.OperationalError):
        await file_pool.execute("SELECT 1", timeout=0.05)
    await file_pool.execute("INSERT INTO t (x) VALUES (1)")
    await first.close()
    assert await file_pool.fetch_scalar("SELECT count(*) FROM t") == 1
    assert len(await second.fetchall()) == 10_000
    third = await file_pool.execute(many)
    del second, first
    fourth = await file_pool.execute(many)
    with pytest.warns(ResourceWarning, match="rows that were not read"):
        del third, fourth
    assert await file_pool.fetch_scalar("SELECT 1") == 1


async def test_read_and_write_lend_a_connection(pool: Pool) -> None:
    async with pool.write() as connection:
        assert pool.stats().in_use == 1
        await connection.execute("INSERT INTO t (x) VALUES (1)")
        assert connection.in_transaction
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
        async with pool.write() as same:
            assert same is connection
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    with pytest.raises(KeyError):
        async with pool.write() as connection:
            await connection.execute("INSERT INTO t (x) VALUES (2)")
            raise KeyError
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    async with pool.read() as connection:
        assert await connection.fetch_all("SELECT x FROM t") == [(1,)]
    with pytest.raises(aiolibsql.ProgrammingError, match="given back"):
        await connection.execute("SELECT 1")


async def test_readers_can_not_write(file_pool: Pool) -> None:
    async with file_pool.read() as connection:
        with pytest.raises(aiolibsql.OperationalError, match="readonly"):
            await connection.execute("INSERT INTO t (x) VALUES (1)")
        # Not this connection's: it goes to the writer.
        await file_pool.execute("INSERT INTO t (x) VALUES (1)")
        assert await file_pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_transaction_blocks(pool: Pool) -> None:
    async with pool.transaction() as transaction:
        await transaction.execute("INSERT INTO t (x) VALUES ('a')")
        await pool.execute("INSERT INTO t (x) VALUES ('b')")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2
    with pytest.raises(KeyError):
        async with pool.transaction():
            await pool.execute("INSERT INTO t (x) VALUES ('c')")
            raise KeyError
    assert await pool.fetch_all("SELECT x FROM t") == [("a",), ("b",)]


async def test_reads_do_not_see_an_open_transaction(file_pool: Pool) -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.append(await file_pool.fetch_scalar("SELECT count(*) FROM t"))

    async with anyio.create_task_group() as outside:
        entered, looked = anyio.Event(), anyio.Event()

        async def other_task() -> None:
            await entered.wait()
            await look()
            looked.set()

        outside.start_soon(other_task)
        async with file_pool.transaction():
            await file_pool.execute("INSERT INTO t (x) VALUES (1)")
            entered.set()
            await looked.wait()
    assert seen == [0]
    await look()
    assert seen == [0, 1]


async def test_a_snapshot_lasts_for_its_block(file_pool: Pool) -> None:
    async with file_pool.transaction("READ") as snapshot:
        assert await snapshot.fetch_scalar("SELECT count(*) FROM t") == 0
        await file_pool.execute("INSERT INTO t (x) VALUES (1)")
        assert await snapshot.fetch_scalar("SELECT count(*) FROM t") == 0
    assert await file_pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_what_a_borrower_leaves_is_gone(file_pool: Pool) -> None:
    connection = await file_pool.acquire()
    await connection.execute("BEGIN IMMEDIATE")
    await connection.execute("INSERT INTO t (x) VALUES (1)")
    cursor = await connection.execute(f"{NUMBERS} SELECT i FROM n LIMIT 10000")
    await file_pool.release(connection)
    with pytest.raises(aiolibsql.ProgrammingError, match="not lent"):
        await file_pool.release(connection)
    await file_pool.execute("INSERT INTO t (x) VALUES (2)")
    assert await file_pool.fetch_all("SELECT x FROM t") == [(2,)]
    with pytest.raises(aiolibsql.ProgrammingError, match="given back"):
        await cursor.fetchall()


async def test_a_forgotten_loan_is_reported_and_comes_back(file_pool: Pool) -> None:
    connection = await file_pool.acquire()
    await connection.execute("INSERT INTO t (x) VALUES (1)")
    with pytest.warns(ResourceWarning, match="not released"):
        del connection
        gc.collect()
    assert file_pool.stats().in_use == 0
    await file_pool.execute("INSERT INTO t (x) VALUES (2)")
    assert await file_pool.fetch_all("SELECT x FROM t") == [(2,)]


async def test_waiting_is_first_come_first_served(file_pool: Pool) -> None:
    order: list[int] = []

    async def borrow(number: int) -> None:
        async with file_pool.write():
            order.append(number)

    async with anyio.create_task_group() as group, file_pool.write():
        # A task that was started in the block would take part in it.
        for number in range(10):
            contextvars.Context().run(group.start_soon, borrow, number)
            await anyio.sleep(0.002)
        assert file_pool.stats().waiting == 10
        assert "10 waiting" in repr(file_pool)
    assert order == list(range(10))


async def test_waiting_ends(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(
        file_backend.path, 2, acquire_timeout=0.05, max_waiting=1
    ) as pool:
        connection = await pool.acquire()
        with pytest.raises(aiolibsql.PoolTimeout, match=r"within 0\.05 s"):
            await pool.acquire()
        with pytest.raises(TimeoutError):
            await pool.execute("CREATE TABLE t (x)")
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(aiolibsql.PoolTimeout, match=r"within 1 s"):
                    await pool.acquire(timeout=1)

            group.start_soon(wait)
            await anyio.sleep(0.02)
            with pytest.raises(aiolibsql.PoolTimeout, match="1 wait"):
                await pool.acquire()
            with pytest.raises(aiolibsql.PoolTimeout):
                await pool.execute("CREATE TABLE t (x)")
        await pool.release(connection)
        await pool.execute("CREATE TABLE t (x)")


async def test_close_waits_for_what_is_lent_and_refuses_the_rest(file_pool: Pool) -> None:
    connection = await file_pool.acquire()
    events: list[str] = []

    async def wait() -> None:
        with pytest.raises(aiolibsql.PoolClosed):
            await file_pool.acquire()
        events.append("refused")

    async def close() -> None:
        await file_pool.close()
        events.append("closed")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.02)
        group.start_soon(close)
        await anyio.sleep(0.05)
        assert file_pool.closed
        with pytest.raises(aiolibsql.PoolClosed):
            await file_pool.execute("SELECT 1")
        await connection.execute("INSERT INTO t (x) VALUES (1)")
        await connection.commit()
        assert events == ["refused"]
        await file_pool.release(connection)
    assert events == ["refused", "closed"]
    assert "closed" in repr(file_pool)
    with pytest.raises(aiolibsql.PoolClosed):
        await file_pool.acquire()
    await file_pool.close()


async def test_terminate_does_not_wait(file_pool: Pool) -> None:
    connection = await file_pool.acquire()
    await connection.execute("INSERT INTO t (x) VALUES (1)")
    with pytest.warns(ResourceWarning, match="uncommitted"):
        await file_pool.terminate()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection.execute("SELECT 1")
    await file_pool.release(connection)
    with pytest.raises(aiolibsql.PoolClosed):
        await file_pool.execute("SELECT 1")


async def test_arguments(file_backend: Backend) -> None:
    for size in (1, 0, -1):
        with pytest.raises(ValueError, match="at least 2"):
            aiolibsql.create_pool(file_backend.path, size)
    with pytest.raises(TypeError):
        aiolibsql.create_pool(file_backend.path, not_a_keyword=1)
    pool = await aiolibsql.create_pool(file_backend.path)
    assert (pool.size, pool.reader_count) == (10, 9)
    await pool.close()


async def test_init_runs_on_every_connection(file_backend: Backend) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("twice", 1, lambda x: 2 * x)

    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (twice(21))")
        assert await pool.fetch_scalar("SELECT twice(x) FROM t") == 84


async def test_executemany_and_batches(pool: Pool) -> None:
    cursor = await pool.executemany("INSERT INTO t (x) VALUES (?)", [(i,) for i in range(10)])
    assert cursor.rowcount == 10
    await pool.executebatch([("INSERT INTO t (x) VALUES (?)", (10,)), ("DELETE FROM t WHERE x=0",)])
    assert await pool.fetch_scalar("SELECT sum(x) FROM t") == sum(range(11))
    with pytest.raises(aiolibsql.IntegrityError):
        await pool.executemany("INSERT INTO t VALUES (?, 0)", [(100,), (2,)])
    assert await pool.fetch_scalar("SELECT count(*) FROM t WHERE id = 100") == 0


@pytest.mark.local("servers have PRAGMAs of their own")
async def test_what_is_refused_has_not_happened(pool: Pool) -> None:
    """SQLite executes some PRAGMAs while it compiles them."""
    for name in ("foreign_keys", "Query_Only", "reverse_unordered_selects"):
        for _ in range(3):
            with pytest.raises(aiolibsql.ProgrammingError, match="init="):
                await pool.execute(f"PRAGMA {name} = 1")
    lent = [await pool.acquire(readonly=True) for _ in range(pool.reader_count)]
    lent.append(await pool.acquire())
    for connection in lent:
        assert await connection.fetch_scalar("PRAGMA foreign_keys") == 0
        assert await connection.fetch_scalar("PRAGMA query_only") == 0
        assert await connection.fetch_scalar("PRAGMA reverse_unordered_selects") == 0
        await pool.release(connection)


async def test_a_task_that_outlives_its_block_uses_the_pool_again(file_pool: Pool) -> None:
    is_left, is_lent = anyio.Event(), anyio.Event()

    async def later() -> None:
        await is_left.wait()
        await is_lent.wait()
        await file_pool.execute("INSERT INTO t (x) VALUES (2)")
        async with file_pool.read() as connection:
            assert await connection.fetch_scalar("SELECT count(*) FROM t") == 2

    async with anyio.create_task_group() as group:
        async with file_pool.write() as connection:
            await connection.execute("INSERT INTO t (x) VALUES (1)")
            group.start_soon(later)
            await anyio.sleep(0.01)
        is_left.set()
        async with file_pool.read():
            is_lent.set()
            await anyio.sleep(0.05)


async def test_the_writer_runs_what_a_reader_does_not_know(file_backend: Backend) -> None:
    opened: list[aiolibsql.Connection[Any]] = []

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        opened.append(connection)
        if len(opened) == 1:
            await connection.create_function("only_here", 0, lambda: 7)

    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        for _ in range(2):
            assert await pool.fetch_scalar("SELECT only_here()") == 7


async def test_a_borrowed_connection_is_not_the_borrowers_to_close(file_pool: Pool) -> None:
    connection = await file_pool.acquire()
    for attempt in (connection.close, connection.__aenter__):
        with pytest.raises(aiolibsql.ProgrammingError, match=r"release.*'async with pool\.read"):
            await attempt()
    with pytest.raises(aiolibsql.ProgrammingError, match="release"):
        connection.stop()
    await file_pool.release(connection)
    with pytest.raises(aiolibsql.ProgrammingError, match="given back"):
        await connection.interrupt()
    await file_pool.execute("INSERT INTO t (x) VALUES (1)")


async def test_a_borrower_that_is_collected_leaves_the_functions(file_backend: Backend) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("one", 0, lambda: 1)

    class Holder:
        itself: Any = None
        connection: Any = None

    async with aiolibsql.create_pool(file_backend.path, 2, init=init) as pool:
        for readonly in (True, False):
            holder = Holder()
            holder.itself = holder
            holder.connection = await pool.acquire(readonly)
            await pool.release(holder.connection)
            del holder
            gc.collect()
            assert await pool.fetch_scalar("SELECT one()") == 1


async def test_an_open_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    opened: list[aiolibsql.Connection[Any]] = []

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        opened.append(connection)
        if len(opened) == 3:
            raise KeyError("the third")

    pool = aiolibsql.create_pool(path, 4, init=init)
    with pytest.raises(KeyError):
        await pool
    for use in (pool.acquire, pool.__aenter__, lambda: pool.execute("SELECT 1")):
        with pytest.raises(aiolibsql.PoolClosed):
            await use()
    await pool.close()
    assert all(connection.closed for connection in opened)


async def test_a_cancelled_open_leaves_nothing_open(tmp_path: Path) -> None:
    for turns in range(20):
        pool = aiolibsql.create_pool(tmp_path / "test.db", 4)
        async with anyio.create_task_group() as group:
            group.start_soon(pool.__aenter__)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await pool.close()
        assert pool.stats().in_use == 0
    assert not (tmp_path / "test.db-wal").exists()
