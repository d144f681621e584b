"""Cancelled operations on a database at a server: each leaves the connection usable."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import BEGUN, NUMBERS, Attempt, attempt, attempt_cancelled, count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends import Backend
    from proxy import Proxy

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

# Takes seconds, and ends: nobody can stop it at the server.
LONG = f"{NUMBERS[:-1]} LIMIT 20000000) SELECT count(*) FROM n"
INSERT = "INSERT INTO t VALUES (1)"
# What a cancelled caller waits for at most: the machine may be busy.
PROMPT = 1.0


@pytest.fixture
async def conn(hosted: Backend, proxy: Proxy) -> AsyncIterator[Connection]:
    """Return a connection in autocommit mode through the proxy, with a table ``t (a)``."""
    options = {"request_timeout": 20, "isolation_level": None}
    async with hosted.through(proxy).connect(**options) as conn:
        await conn.execute("CREATE TABLE t (a)")
        yield conn
        proxy.is_stalled = False
        await conn.rollback()


async def block(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute(INSERT)


async def nested(conn: Connection) -> None:
    async with conn.transaction(), conn.savepoint():
        await conn.execute(INSERT)


async def iterate(conn: Connection) -> None:
    async with conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000") as cursor:
        async for _ in cursor:
            pass


WORK: dict[str, Callable[[Connection], Awaitable[Any]]] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "write": lambda conn: conn.execute(INSERT),
    "fetch_all": lambda conn: conn.fetch_all("SELECT 1"),
    "executemany": lambda conn: conn.executemany(
        "INSERT INTO t VALUES (?)", ((n,) for n in range(500))
    ),
    "executescript": lambda conn: conn.executescript(f"{INSERT}; {INSERT}"),
    "batch": lambda conn: conn.batch([(INSERT, ()), ("SELECT 1", ())]),
    "begin": lambda conn: conn.begin("IMMEDIATE"),
    "iterate": iterate,
    "block": block,
    "nested": nested,
}


@pytest.mark.parametrize("work", WORK)
async def test_cancelled_while_the_server_is_silent(
    conn: Connection, proxy: Proxy, work: str
) -> None:
    proxy.is_stalled = True
    outcome = await attempt_cancelled(WORK[work](conn))
    assert outcome.is_cancelled
    assert outcome.seconds < PROMPT
    proxy.is_stalled = False
    await conn.rollback()
    await assert_healthy(conn)


@pytest.mark.parametrize("work", ["execute", "fetch_all", "iterate"])
async def test_cancelled_inside_of_a_transaction(conn: Connection, proxy: Proxy, work: str) -> None:
    await conn.begin()
    await conn.execute("SELECT * FROM t")
    proxy.is_stalled = True
    outcome = await attempt_cancelled(WORK[work](conn))
    assert outcome.is_cancelled
    assert outcome.seconds < PROMPT
    proxy.is_stalled = False
    await conn.rollback()
    await assert_healthy(conn)


@pytest.mark.parametrize("work", ["commit", "rollback"])
async def test_end_of_a_transaction_is_waited_for_until_its_own_limit(
    hosted: Backend, proxy: Proxy, work: str
) -> None:
    async with hosted.through(proxy).connect(request_timeout=0.4) as conn:
        await conn.begin()
        await conn.execute("SELECT * FROM sqlite_master")
        proxy.is_stalled = True
        outcome = await attempt_cancelled(getattr(conn, work)())
        assert outcome.seconds < 0.4 + PROMPT
        proxy.is_stalled = False
        await conn.rollback()
        await assert_healthy(conn)


@pytest.mark.parametrize("work", WORK)
async def test_cancelled_at_any_moment(conn: Connection, proxy: Proxy, work: str) -> None:
    proxy.delay = 0.002
    for step in range(8):
        before = await count(conn)
        outcome = await attempt_cancelled(WORK[work](conn), partial(anyio.sleep, step * 0.001))
        assert outcome.error is None
        await conn.rollback()
        assert not conn.in_transaction
        added = await count(conn) - before
        # All or nothing; what was cancelled before may have come late.
        assert added in ({0, 500, 1000} if work == "executemany" else {0, 1, 2})
    proxy.delay = 0
    await assert_healthy(conn)


async def test_cancelled_long_statement_is_not_waited_for(hosted: Backend) -> None:
    async with hosted.connect() as conn:
        outcome = await attempt_cancelled(conn.execute(LONG))
        assert outcome.is_cancelled
        assert outcome.seconds < PROMPT
        await assert_healthy(conn)


async def test_cancelled_write_lets_go_of_its_lock(hosted: Backend) -> None:
    sql = f"{NUMBERS[:-1]} LIMIT 3000000) SELECT count(*) FROM n"
    async with hosted.connect() as conn, hosted.connect(isolation_level=None) as other:
        await other.execute("CREATE TABLE t (a)")
        await conn.execute(INSERT)
        assert conn.in_transaction
        outcome = await attempt_cancelled(conn.execute(sql))
        assert outcome.is_cancelled
        # The server takes it from whoever is idle after five seconds.
        with anyio.fail_after(4):
            await other.execute("INSERT INTO t VALUES (2)")
        assert await other.fetch_all("SELECT a FROM t") == [(2,)]
        with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
            await conn.execute(INSERT)


async def test_cancelled_while_queued_never_runs(conn: Connection, proxy: Proxy) -> None:
    proxy.is_stalled = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conn.fetch_all, "SELECT 1")
        await anyio.sleep(0.03)
        outcome = await attempt_cancelled(conn.execute(INSERT))
        assert outcome.is_cancelled
        proxy.is_stalled = False
    assert not conn.in_transaction
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_block_that_is_cancelled_is_rolled_back(conn: Connection) -> None:
    async def wait_inside() -> None:
        async with conn.transaction():
            await conn.execute(INSERT)
            is_inside.set()
            await anyio.sleep_forever()

    is_inside = anyio.Event()
    outcome = await attempt_cancelled(wait_inside(), is_inside.wait)
    assert outcome.is_cancelled
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_deadline_of_a_runtime_ends_a_wait(conn: Connection, proxy: Proxy) -> None:
    proxy.is_stalled = True
    with pytest.raises(TimeoutError), anyio.fail_after(0.1):
        await conn.execute("SELECT 1")
    proxy.is_stalled = False
    await assert_healthy(conn)


async def test_interrupt_ends_a_wait(conn: Connection, proxy: Proxy) -> None:
    proxy.is_stalled = True
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute("SELECT 1"), outcome)
        await anyio.sleep(BEGUN)
        conn.interrupt()
    proxy.is_stalled = False
    assert isinstance(outcome.error, aiolibsql.OperationalError)
    assert outcome.error.sqlite_errorname == "SQLITE_INTERRUPT"
    await assert_healthy(conn)


async def test_closing_does_not_wait_for_a_silent_server(hosted: Backend, proxy: Proxy) -> None:
    conn = await hosted.through(proxy).connect()
    await conn.execute("SELECT 1")
    proxy.is_stalled = True
    with anyio.fail_after(10):
        await conn.close()
    assert conn.closed
