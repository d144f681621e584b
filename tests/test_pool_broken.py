"""ConnectionPool: connections that break are replaced, and opens that fail are heard of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from pool_tasks import SCHEMA, assert_whole, borrow_all, until

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool


class Init:
    """An ``init`` that can be made to fail, and that keeps what it was called with."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.connections: list[aiolibsql.Connection[Any]] = []

    async def __call__(self, connection: aiolibsql.Connection[Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.connections.append(connection)


async def break_reader(pool: Pool, path: Path) -> None:
    """Have a reader meet what looks like a damaged file, which is whole again afterwards."""
    await pool.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = await anyio.Path(path).read_bytes()
    async with pool.read() as connection:
        await connection.execute("PRAGMA cache_size = 1")
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, b"\xff" * (len(whole) - 4096), 4096)
            with pytest.raises(aiolibsql.DatabaseError) as caught:
                await connection.fetch_all("SELECT sum(length(x)) FROM t")
            assert "SQLITE_CORRUPT" in str(caught.value.sqlite_errorname)
        finally:
            os.pwrite(descriptor, whole, 0)
            os.close(descriptor)


async def test_a_connection_that_met_a_damaged_file_is_replaced(file_backend: Backend) -> None:
    assert file_backend.path is not None
    async with aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=5) as pool:
        await pool.execute(SCHEMA)
        await pool.executemany("INSERT INTO t (x) VALUES (?)", [("x" * 2000,)] * 200)
        await break_reader(pool, file_backend.path)
        await until(lambda: pool.stats().lost == 1)
        assert pool.stats().size == 1
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 200
        assert pool.stats().size == 2


@pytest.mark.parametrize("readonly", [True, False])
async def test_a_connection_that_somebody_closed_is_replaced(
    file_backend: Backend, readonly: bool
) -> None:
    init = Init()
    async with aiolibsql.create_pool(file_backend.path, 2, init=init) as pool:
        await pool.execute(SCHEMA)
        # Whoever has borrowed one can't; but `init` was given the connections themselves.
        await init.connections[readonly].close()
        await until(lambda: pool.stats().size == 1)
        await assert_whole(pool)
        assert len(init.connections) == 3


async def test_a_borrower_of_what_somebody_closed_gets_the_error_and_others_go_on(
    file_backend: Backend,
) -> None:
    init = Init()
    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        await pool.execute(SCHEMA)
        connection = await pool.acquire()
        await connection.execute("INSERT INTO t (x) VALUES (1)")
        with pytest.warns(ResourceWarning, match="uncommitted"):
            await init.connections[0].close()
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await connection.execute("INSERT INTO t (x) VALUES (1)")
        assert await pool.fetch_all("SELECT * FROM t") == []
        assert pool.stats().in_use == 1
        await pool.release(connection)
        assert pool.stats().in_use == 0
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        await assert_whole(pool)


async def test_who_met_a_failing_open_gets_its_error_and_the_pool_goes_on(
    file_backend: Backend,
) -> None:
    init = Init()
    async with aiolibsql.create_pool(file_backend.path, 3, min_size=2, init=init) as pool:
        await pool.execute(SCHEMA)
        init.error = KeyError("no third one")
        first = await pool.acquire(readonly=True)
        with pytest.raises(KeyError, match="no third one"):
            await pool.acquire(readonly=True)
        stats = pool.stats()
        assert (stats.failed, stats.size, stats.in_use, stats.waiting) == (1, 2, 1, 0)
        # There is another one, which is waited for; nobody tries again at once.
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(pool.fetch_all, "SELECT * FROM t")
            await until(lambda: pool.stats().waiting == 5)
            await pool.release(first)
        assert pool.stats().failed == 1
        init.error = None
        await pool.resize(3)
        await assert_whole(pool)


async def test_if_there_is_no_connection_all_who_wait_get_the_error(file_backend: Backend) -> None:
    init = Init()
    errors: list[Exception] = []
    pool = aiolibsql.create_pool(file_backend.path, 2, min_size=1, init=init, acquire_timeout=60)
    async with pool:
        await pool.execute(SCHEMA)
        init.error = OSError("no such thing")

        async def read() -> None:
            try:
                await pool.fetch_all("SELECT * FROM t")
            except (aiolibsql.OperationalError, OSError) as error:
                errors.append(error)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(read)
        assert len(errors) == 10
        assert any(isinstance(error, OSError) for error in errors)
        for error in errors:
            if isinstance(error, aiolibsql.OperationalError):
                assert "could not be opened: OSError: no such thing" in str(error)
                assert isinstance(error.__cause__, OSError)
        # The writer has nothing to do with that.
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        init.error = None
        await assert_whole(pool)


async def test_a_writer_that_can_not_be_opened_again(file_backend: Backend) -> None:
    init = Init()
    async with aiolibsql.create_pool(file_backend.path, 2, init=init) as pool:
        await pool.execute(SCHEMA)
        async with pool.write() as connection:
            await connection.execute("PRAGMA cache_size = 10")
        init.error = ValueError("not now")
        for _ in range(3):
            with anyio.fail_after(5), pytest.raises(ValueError, match="not now"):
                await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
            assert await pool.fetch_all("SELECT * FROM t") == []
        init.error = None
        await pool.execute("INSERT INTO t (x) VALUES (1), (-1)")
        await assert_whole(pool)


async def test_a_file_that_is_gone(file_backend: Backend) -> None:
    path = file_backend.path
    assert path is not None
    async with aiolibsql.create_pool(path, 3, min_size=1) as pool:
        await pool.execute(SCHEMA)
        elsewhere = path.with_name("elsewhere.db")
        path.rename(elsewhere)
        with pytest.raises(aiolibsql.OperationalError, match="unable to open"):
            await pool.fetch_all("SELECT * FROM t")
        elsewhere.rename(path)
        await assert_whole(pool)


async def test_a_failing_open_is_not_the_error_of_a_statement_that_was_run(
    file_backend: Backend,
) -> None:
    """A connection comes free while another one is being opened for the same statement."""
    is_opening, may_fail = anyio.Event(), anyio.Event()
    opened = 0

    async def init(_: aiolibsql.Connection[Any]) -> None:
        nonlocal opened
        opened += 1
        if opened == 3:
            is_opening.set()
            await may_fail.wait()
            raise KeyError("too late")

    values: list[Any] = []
    async with aiolibsql.create_pool(file_backend.path, 3, min_size=2, init=init) as pool:
        await pool.execute(SCHEMA)
        connection = await pool.acquire(readonly=True)

        async def read() -> None:
            values.append(await pool.fetch_scalar("SELECT count(*) FROM t"))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await is_opening.wait()
            await pool.release(connection)
            # First come, first served: when it is lent again the statement was run.
            await pool.release(await pool.acquire(readonly=True))
            may_fail.set()
        assert values == [0]
        assert pool.stats().failed == 1


async def test_what_broke_in_a_block_is_the_blocks_error_only(file_backend: Backend) -> None:
    assert file_backend.path is not None
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=5) as pool:
        await pool.execute(SCHEMA)
        await pool.executemany("INSERT INTO t (x) VALUES (?)", [("x" * 2000,)] * 200)
        for _ in range(3):
            await break_reader(pool, file_backend.path)
        lent = await borrow_all(pool)
        for connection in lent:
            assert await connection.fetch_scalar("SELECT count(*) FROM t") == 200
            await pool.release(connection)
        stats = pool.stats()
        assert (stats.lost, stats.size) == (3, 3)
