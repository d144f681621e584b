"""ConnectionPool: whose block a statement takes part in, and what the connections are like."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
MANY = f"{NUMBERS} SELECT i FROM n LIMIT 5000"


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return a pool of one writer and one reader, which nobody can wait for in vain."""
    async with aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=1) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


async def count(pool: Pool) -> Any:
    return await pool.fetch_scalar("SELECT count(*) FROM t")


async def use_all_that_reads(pool: Pool) -> None:
    assert await count(pool) >= 0
    assert len(await pool.fetch_all(MANY)) == 5000
    async with pool.execute(MANY) as cursor:
        assert len([row async for row in cursor]) == 5000
    assert sum([len(chunk) async for chunk in pool.execute_iter(MANY)]) == 5000
    assert await pool.get_tables() == ["t"]
    assert await pool.get_schema("t")
    async with pool.read() as connection:
        assert await connection.fetch_scalar("SELECT 1") == 1
    async with pool.transaction("READ") as block:
        assert await block.fetch_scalar("SELECT 1") == 1


async def use_all_that_writes(pool: Pool) -> int:
    """Write, and return how many rows there are more."""
    before = await count(pool)
    await pool.execute("INSERT INTO t (x) VALUES (1)")
    await pool.execute_insert("INSERT INTO t (x) VALUES (2)")
    await pool.executemany("INSERT INTO t (x) VALUES (?)", [(3,), (4,)])
    await pool.executebatch(["INSERT INTO t (x) VALUES (5)"])
    assert await pool.fetch_scalar("INSERT INTO t (x) VALUES (6) RETURNING x") == 6
    async with pool.write() as connection:
        await connection.execute("INSERT INTO t (x) VALUES (7)")
    async with pool.transaction() as block:
        await block.execute("INSERT INTO t (x) VALUES (8)")
    with pytest.raises(KeyError):
        async with pool.transaction():
            await pool.execute("INSERT INTO t (x) VALUES (9)")
            raise KeyError
    # All of it is seen here, wherever it is.
    return int(await count(pool) - before)


async def test_task_that_reads_waits_for_no_reader(pool: Pool) -> None:
    for _ in range(2):
        async with pool.read() as connection:
            await use_all_that_reads(pool)
            async with pool.read() as same:
                assert same is connection
            assert pool.stats().in_use == 1
        async with pool.transaction("READ"):
            await use_all_that_reads(pool)
            assert pool.stats().in_use == 1


async def test_task_that_reads_may_write(pool: Pool) -> None:
    async with pool.read() as reader:
        assert await use_all_that_writes(pool) == 8
        async with pool.write() as writer:
            assert writer is not reader
            assert pool.stats().in_use == 2
            # The block that was entered last.
            await pool.execute("INSERT INTO t (x) VALUES (0)")
            assert await count(pool) == 9
            assert await reader.fetch_scalar("SELECT count(*) FROM t") == 8
        assert await count(pool) == 9


async def test_task_that_writes_sees_its_own_writes(pool: Pool) -> None:
    async with pool.write() as connection:
        # `write()` commits at its end, and a block in it at its own.
        await connection.commit()
        await use_all_that_reads(pool)
        assert pool.stats().in_use == 1
    assert await count(pool) == 0
    with pytest.raises(LookupError):
        async with pool.transaction():
            assert await use_all_that_writes(pool) == 8
            await use_all_that_reads(pool)
            assert pool.stats().in_use == 1
            raise LookupError
    assert await count(pool) == 0
    async with pool.transaction():
        assert await use_all_that_writes(pool) == 8
    assert await count(pool) == 8


async def test_tasks_that_are_started_in_a_block_take_part(pool: Pool) -> None:
    async with pool.transaction():
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(pool.execute, "INSERT INTO t (x) VALUES (?)", (number,))
        assert await count(pool) == 10
        assert pool.stats().in_use == 1


async def test_transaction_modes(pool: Pool, file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, timeout=0.02) as other:
        for mode, blocks in (("DEFERRED", False), ("IMMEDIATE", True), ("EXCLUSIVE", True)):
            async with pool.transaction(mode):  # type: ignore[arg-type]
                if blocks:
                    with pytest.raises(aiolibsql.TimeoutError, match="locked"):
                        await other.execute("INSERT INTO t (x) VALUES (1)")
                else:
                    await other.execute("INSERT INTO t (x) VALUES (1)")
                assert await other.fetch_scalar("SELECT count(*) FROM t") == 1
        async with pool.transaction("READ") as block:
            assert await block.fetch_scalar("SELECT count(*) FROM t") == 1
            with pytest.raises(aiolibsql.ProgrammingError):
                await block.execute("INSERT INTO t (x) VALUES (1)")
            await other.execute("INSERT INTO t (x) VALUES (2)")
            assert await count(pool) == 1
        assert await count(pool) == 2
    with pytest.raises(ValueError, match="mode"):
        async with pool.transaction("NONSENSE"):  # type: ignore[arg-type]
            pass
    assert pool.stats().in_use == 0


async def test_verbs_inside_of_a_block_are_refused(pool: Pool) -> None:
    async with pool.transaction() as block:
        for use in (block.commit, block.rollback, block.begin, lambda: block.executescript("")):
            with pytest.raises(aiolibsql.ProgrammingError):
                await use()
        for sql in ("COMMIT", "ROLLBACK", "BEGIN"):
            with pytest.raises(aiolibsql.ProgrammingError, match=r"pool\.transaction\(\)"):
                await pool.execute(sql)
        await pool.execute("INSERT INTO t (x) VALUES (1)")
    assert await count(pool) == 1


async def test_write_block_that_rolls_back_by_itself(pool: Pool) -> None:
    """OR ROLLBACK ends the transaction of a block; the pool is whole afterwards."""
    await pool.execute("INSERT INTO t VALUES (1, 1)")
    with pytest.raises(aiolibsql.Error):
        async with pool.transaction():
            await pool.execute("INSERT INTO t VALUES (2, 2)")
            with pytest.raises(aiolibsql.IntegrityError):
                await pool.execute("INSERT OR ROLLBACK INTO t VALUES (1, 1)")
            await pool.execute("INSERT INTO t VALUES (3, 3)")
    assert await pool.fetch_all("SELECT id FROM t") == [(1,)]
    await pool.execute("INSERT INTO t VALUES (2, 2)")


async def test_connections_are_as_promised(file_backend: Backend) -> None:
    """The writer opens first and closes last; the file is in WAL mode, for ever."""
    assert file_backend.path is not None
    log = file_backend.path.with_name(file_backend.path.name + "-wal")
    seen: list[tuple[str, int]] = []

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        try:
            await connection.execute(f"CREATE TABLE made_{len(seen)} (x)")
        except aiolibsql.OperationalError as error:
            assert error.sqlite_errorname == "SQLITE_READONLY"  # noqa: PT017
            kind = "reader"
        else:
            kind = "writer"
        assert await connection.fetch_scalar("PRAGMA journal_mode") == "wal"
        seen.append((kind, await connection.fetch_scalar("PRAGMA synchronous")))

    async with aiolibsql.create_pool(file_backend.path, 4, init=init) as pool:
        assert seen == [("writer", 1), *[("reader", 1)] * 3]
        await pool.execute("INSERT INTO made_0 VALUES (1)")
        assert log.stat().st_size > 0
        assert f"'{file_backend.path}'" in repr(pool)
    # The last one to close has written it back.
    assert not log.exists()
    async with file_backend.connect() as connection:
        assert await connection.fetch_scalar("PRAGMA journal_mode") == "wal"
        assert await connection.fetch_all("SELECT x FROM made_0") == [(1,)]


async def test_reader_that_keeps_the_log_is_named(
    file_backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    assert file_backend.path is not None
    log = file_backend.path.with_name(file_backend.path.name + "-wal")
    async with aiolibsql.create_pool(file_backend.path, 3, pragmas={"synchronous": "OFF"}) as pool:
        await pool.execute("CREATE TABLE t (x)")
        large = f"INSERT INTO t {NUMBERS} SELECT zeroblob(3500) FROM n LIMIT 200"
        await pool.execute(large)
        with caplog.at_level(logging.WARNING, "aiolibsql"):
            async with pool.execute("SELECT x, 'the culprit' FROM t") as cursor:
                await cursor.fetchone()
                for _ in range(60):
                    await pool.execute(large)
                assert "the culprit" in caplog.text
                assert len(caplog.records) == 1
        # Then it shrinks again.
        with anyio.fail_after(20):
            while log.stat().st_size > 8_000_000:
                await pool.execute("INSERT INTO t VALUES (1)")
                await anyio.sleep(0.002)


async def test_close_gathers_statistics(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3) as pool:
        await pool.execute("CREATE TABLE t (a, b)")
        await pool.execute("CREATE INDEX by_b ON t (b)")
        rows = [(number, number % 10) for number in range(1000)]
        await pool.executemany("INSERT INTO t VALUES (?, ?)", rows)
    async with file_backend.connect() as connection:
        assert await connection.fetch_all("SELECT tbl, idx FROM sqlite_stat1") == [("t", "by_b")]
