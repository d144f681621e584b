"""ConnectionPool: closed under load, by anybody, at any moment."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import random
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from pool_tasks import BRIEF, SCHEMA, until

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
ROUNDS = 100 if os.environ.get("AIOLIBSQL_SOAK") else 8


async def until_closed(task: Callable[[], Awaitable[None]], *, terminates: bool) -> None:
    """Do something until the pool does not want it any more."""
    expected: tuple[type[Exception], ...] = (
        aiolibsql.PoolClosed,
        aiolibsql.ConnectionClosedError,
    )
    if terminates:
        # Its statement was stopped, or its connection closed between two of them.
        expected = (*expected, aiolibsql.OperationalError)
    with contextlib.suppress(*expected):
        while True:
            await task()


def assert_nothing_is_open(pool: Pool, backend: Backend) -> None:
    assert pool.stats().size == 0
    # The last one to close the file has removed it.
    assert not Path(f"{backend.path}-wal").exists()


async def close_under_load(backend: Backend, dice: random.Random, *, terminates: bool) -> None:
    async def init(_: aiolibsql.Connection[Any]) -> None:
        await anyio.sleep(dice.choice([0, 0.001]))

    pool = aiolibsql.create_pool(backend.path, 5, min_size=1, init=init, acquire_timeout=20)
    await pool
    await pool.execute(SCHEMA)
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        await pool.execute("INSERT INTO t (x) VALUES (0)")
        acknowledged += 1

    async def work() -> None:
        await dice.choice(BRIEF)(pool)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for task in (write, write, *[work] * 8):
                group.start_soon(functools.partial(until_closed, task, terminates=terminates))
            await anyio.sleep(dice.choice([0, 0.002, 0.02, 0.05]))
            await (pool.terminate() if terminates else pool.close())
            assert pool.stats().size == 0
            # Whoever was opening a connection has to hear of it.
            await until(lambda: pool.stats().opening == 0)
    stats = pool.stats()
    assert stats[:6] == (0, 0, 0, 0, 0, 0)
    assert stats.opened == stats.closed
    # Nobody else has it open any more.
    oracle = sqlite3.connect(backend.path or "", isolation_level=None)
    assert oracle.execute("SELECT count(*) FROM t WHERE x = 0").fetchone()[0] >= acknowledged
    assert oracle.execute("SELECT total(x) FROM t").fetchone() == (0,)
    assert oracle.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    oracle.close()


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_close_under_load(file_backend: Backend, seed: int) -> None:
    await close_under_load(file_backend, random.Random(seed), terminates=False)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.filterwarnings("ignore:.*uncommitted:ResourceWarning")
async def test_terminate_under_load(file_backend: Backend, seed: int) -> None:
    await close_under_load(file_backend, random.Random(seed), terminates=True)


async def test_close_while_a_connection_is_being_opened(file_backend: Backend) -> None:
    is_opening, may_go_on = anyio.Event(), anyio.Event()
    opened: list[aiolibsql.Connection[Any]] = []

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        opened.append(connection)
        if len(opened) == 2:
            is_opening.set()
            await may_go_on.wait()

    pool = await aiolibsql.create_pool(
        file_backend.path, 2, min_size=1, init=init, acquire_timeout=20
    )
    await pool.execute(SCHEMA)

    async def read() -> None:
        with pytest.raises(aiolibsql.PoolClosed):
            await pool.fetch_all("SELECT * FROM t")

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await is_opening.wait()
        group.start_soon(pool.close)
        await until(lambda: pool.closed)
        may_go_on.set()
    assert all(connection.closed for connection in opened)
    assert pool.stats()[:6] == (0, 0, 0, 0, 0, 0)


async def test_a_loan_that_is_never_given_back_does_not_keep_a_pool_open(
    file_backend: Backend,
) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=0.05)
    connection = await pool.acquire()
    with pytest.warns(ResourceWarning, match="1 connections lent"):
        await pool.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection.execute("SELECT 1")
    await pool.release(connection)
    assert pool.stats()[:6] == (0, 0, 0, 0, 0, 0)


async def test_leaving_in_a_cancelled_scope_closes_it(file_backend: Backend) -> None:
    with anyio.CancelScope() as scope:
        async with aiolibsql.create_pool(file_backend.path, 3) as pool:
            await pool.execute(SCHEMA)
            scope.cancel()
            await anyio.sleep(10)
    assert scope.cancelled_caught
    assert_nothing_is_open(pool, file_backend)


async def test_cancelled_close_closes_what_is_lent(file_backend: Backend) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 3)
    await pool.execute(SCHEMA)
    connection = await pool.acquire()
    with anyio.move_on_after(0.05) as scope:
        await pool.close()
    assert scope.cancelled_caught
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection.execute("SELECT 1")
    await pool.release(connection)
    assert_nothing_is_open(pool, file_backend)


@pytest.mark.parametrize("terminates", [False, True])
async def test_close_that_is_cancelled_at_any_moment_closes_it(
    file_backend: Backend, terminates: bool
) -> None:
    for turns in range(12):
        pool = await aiolibsql.create_pool(file_backend.path, 4)
        # SQLite keeps the log of a file in which nothing was done.
        await pool.execute("CREATE TABLE IF NOT EXISTS t (x)")
        async with anyio.create_task_group() as group:
            group.start_soon(pool.terminate if terminates else pool.close)
            # It has to have begun.
            await until(functools.partial(getattr, pool, "closed"))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert_nothing_is_open(pool, file_backend)


@pytest.mark.parametrize("terminates", [False, True])
async def test_close_that_is_dropped_in_the_middle_stops_all(
    file_backend: Backend, terminates: bool
) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 3)
    await pool.execute(SCHEMA)
    connection = await pool.acquire()
    closing = (pool.terminate if terminates else pool.close)().__await__()
    next(closing)
    closing.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection.execute("SELECT 1")
    await pool.release(connection)
    await pool.close()
    assert pool.stats().size == 0


async def test_forgotten_pool_is_named_in_the_warning(file_backend: Backend) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 2)
    with pytest.warns(ResourceWarning, match="of a pool was deleted before being closed"):
        del pool
        gc.collect()


async def test_many_close_at_once(file_backend: Backend) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 3)
    await pool.execute(SCHEMA)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(pool.close)
            group.start_soon(pool.terminate)
    assert pool.stats()[:6] == (0, 0, 0, 0, 0, 0)


async def test_a_closed_pool_is_not_resized(file_backend: Backend) -> None:
    pool = await aiolibsql.create_pool(file_backend.path, 3)
    await pool.close()
    with pytest.raises(aiolibsql.PoolClosed):
        await pool.resize(4)
    assert pool.stats().size == 0


async def test_nothing_runs_before_the_pool_is_awaited(file_backend: Backend) -> None:
    pool = aiolibsql.create_pool(file_backend.path, 3)
    for use in (pool.acquire, lambda: pool.execute("SELECT 1")):
        with pytest.raises(aiolibsql.ConnectionClosedError, match="the pool is not open: await it"):
            await use()
    async with pool:
        assert await pool.fetch_scalar("SELECT 1") == 1
