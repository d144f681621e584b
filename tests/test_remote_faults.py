"""What a server and the way to it do wrong, and what a connection makes of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from backends import TRANSPORTS, Backend
from conftest import RUNTIMES
from healthy import assert_healthy
from proxy import Proxy
from situations import NUMBERS, attempt_cancelled, count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqld import Sqld

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

SHORT = 0.4
# What a busy machine may add to a limit.
SLACK = 10.0
# So long a server keeps a connection that says nothing, and a transaction that others wait for.
IDLE = 10.0
STEAL = 5.0
# So long the close of an open transaction waits for a server.
GOODBYE = 2.0


@pytest.fixture
async def conn(hosted: Backend, proxy: Proxy) -> AsyncIterator[Connection]:
    """Return an autocommit connection through the proxy, to a database with a table ``t (a)``."""
    async with hosted.through(proxy).connect(autocommit=True, request_timeout=SLACK) as conn:
        await conn.execute("CREATE TABLE t (a)")
        yield conn


async def test_silent_server_is_a_timeout(hosted: Backend, proxy: Proxy) -> None:
    async with hosted.through(proxy).connect(request_timeout=SHORT, connect_timeout=SHORT) as conn:
        await conn.fetch_all("SELECT 1")
        proxy.is_stalled = True
        began = time.monotonic()
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.fetch_all("SELECT 2")
        # A WebSocket that does not answer is given up, with what is on its way by then.
        with pytest.raises((TimeoutError, aiolibsql.ConnectError)):
            await conn.fetch_all("SELECT 3")
        assert time.monotonic() - began < SLACK
        proxy.is_stalled = False
        await assert_healthy(conn)


async def test_timeout_of_one_call(conn: Connection, proxy: Proxy) -> None:
    proxy.is_stalled = True
    began = time.monotonic()
    with pytest.raises(aiolibsql.TimeoutError):
        await conn.execute("SELECT 1", timeout=SHORT)
    assert time.monotonic() - began < SLACK / 2
    proxy.is_stalled = False
    await assert_healthy(conn)


async def test_silence_inside_of_a_transaction_ends_it(hosted: Backend, proxy: Proxy) -> None:
    async with hosted.through(proxy).connect(request_timeout=SHORT) as conn:
        await conn.begin()
        # It takes no lock: the server would keep that until it knows that nobody comes back.
        await conn.execute("SELECT * FROM sqlite_master")
        assert conn.in_transaction
        proxy.is_stalled = True
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("SELECT 1")
        assert not conn.in_transaction
        proxy.is_stalled = False
        await conn.rollback()
        await assert_healthy(conn)


async def test_silent_server_does_not_hold_up_a_close(hosted: Backend, proxy: Proxy) -> None:
    backend = hosted.through(proxy)
    conn = await backend.connect(isolation_level=None)
    pool = await backend.create_pool(3)
    await pool.fetch_scalar("SELECT 1")
    proxy.is_stalled = True
    began = time.monotonic()
    await conn.close()
    await pool.close()
    # The server is told, but nothing there has to be waited for.
    assert time.monotonic() - began < GOODBYE / 2


async def test_silent_server_holds_up_the_end_of_a_transaction_for_a_moment(
    hosted: Backend, proxy: Proxy
) -> None:
    conn = await hosted.through(proxy).connect(isolation_level=None)
    await conn.execute("BEGIN IMMEDIATE")
    proxy.is_stalled = True
    began = time.monotonic()
    await conn.close()
    assert conn.closed
    assert GOODBYE / 2 < time.monotonic() - began < SLACK


@pytest.mark.parametrize("way", ["closed", "cancelled"])
async def test_lock_of_a_transaction_whose_rows_are_half_read_goes_with_it(
    hosted: Backend, way: str
) -> None:
    many = f"{NUMBERS} SELECT i, hex(zeroblob(1000)) FROM n LIMIT 20000"
    async with hosted.connect(isolation_level=None) as other:
        await other.execute("CREATE TABLE t (a)")
        conn = await hosted.connect(isolation_level=None)
        await conn.execute("BEGIN IMMEDIATE")
        cursor = await conn.execute(many)
        assert await cursor.fetchone() is not None
        if way == "cancelled":
            # Behind the rest of the rows.
            with anyio.move_on_after(0.01):
                await conn.execute(f"{NUMBERS} SELECT count(*) FROM n LIMIT 1")
        await conn.close()
        began = time.monotonic()
        await other.execute("INSERT INTO t VALUES (1)")
        assert time.monotonic() - began < STEAL / 2


async def test_paused_server_is_a_timeout_and_then_goes_on(
    own_server: Sqld, transport: str
) -> None:
    namespace = own_server.create_namespace()
    backend = Backend(transport, port=own_server.port, namespace=namespace)
    limits = {"request_timeout": SHORT, "connect_timeout": SHORT}
    async with backend.connect(**limits) as conn:
        own_server.pause()
        try:
            began = time.monotonic()
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.fetch_all("SELECT 1")
            with pytest.raises(aiolibsql.TimeoutError):
                await backend.connect(**limits)
            assert 2 * SHORT * 0.9 < time.monotonic() - began < 2 * SHORT + SLACK / 4
        finally:
            own_server.resume()
        await assert_healthy(conn)


@pytest.mark.parametrize("is_truncated", [False, True], ids=["reset", "truncated"])
@pytest.mark.parametrize("after", [0, 1, 5, 100])
async def test_answer_that_is_cut_has_an_unknown_outcome(
    conn: Connection, proxy: Proxy, after: int, is_truncated: bool
) -> None:
    for number in range(3):
        await conn.fetch_scalar("SELECT 1")  # a connection that is being made is made anew
        proxy.cut(after=after, truncate=is_truncated)
        with pytest.raises(aiolibsql.ConnectError, match="unknown"):
            await conn.fetch_all("INSERT INTO t VALUES (?) RETURNING zeroblob(300)", (number,))
    # Each was carried out, and none twice.
    assert await conn.fetch_all("SELECT a FROM t ORDER BY a") == [(0,), (1,), (2,)]
    await assert_healthy(conn)


@pytest.mark.parametrize("is_truncated", [False, True], ids=["reset", "truncated"])
async def test_large_answer_that_is_cut_is_an_error_and_no_shorter_result(
    conn: Connection, proxy: Proxy, is_truncated: bool
) -> None:
    sql = f"{NUMBERS} SELECT i FROM n LIMIT 5000"
    assert len(await conn.fetch_all(sql)) == 5000
    proxy.cut(after=5000, truncate=is_truncated)
    with pytest.raises(aiolibsql.ConnectError):
        await conn.fetch_all(sql)
    assert len(await conn.fetch_all(sql)) == 5000


async def test_cut_inside_of_a_transaction_ends_it(conn: Connection, proxy: Proxy) -> None:
    await conn.execute("BEGIN")
    await conn.execute("SELECT * FROM t")
    proxy.cut(after=5)
    with pytest.raises(aiolibsql.ConnectError, match="unknown"):
        await conn.execute("SELECT * FROM t")
    assert not conn.in_transaction
    await assert_healthy(conn)


async def test_cut_inside_of_a_block_refuses_all_until_it_is_left(
    conn: Connection, proxy: Proxy
) -> None:
    with pytest.raises(aiolibsql.OperationalError):
        async with conn.transaction("DEFERRED"):
            await conn.execute("SELECT * FROM t")
            proxy.cut(after=5)
            with pytest.raises(aiolibsql.ConnectError):
                await conn.execute("SELECT * FROM t")
            for _ in range(3):
                with pytest.raises(aiolibsql.OperationalError):
                    await conn.execute("INSERT INTO t VALUES (3)")
    await assert_healthy(conn)
    assert await count(conn) == 0


async def test_cut_commit_has_an_unknown_outcome(conn: Connection, proxy: Proxy) -> None:
    await conn.execute("BEGIN")
    await conn.execute("INSERT INTO t VALUES (1)")
    proxy.cut(after=5)
    with pytest.raises(aiolibsql.ConnectError, match="unknown"):
        await conn.execute("COMMIT")
    assert not conn.in_transaction
    assert await count(conn) == 1
    await assert_healthy(conn)


async def test_connection_that_is_lost_while_idle_is_unseen(conn: Connection, proxy: Proxy) -> None:
    for number in range(3):
        proxy.close_connections()
        await anyio.sleep(0.05)  # until the client's side has seen it
        await conn.execute("INSERT INTO t VALUES (?)", (number,))
    assert await count(conn) == 3
    assert proxy.connections >= 4


async def test_connection_that_is_lost_inside_of_a_transaction_is_told_once(
    conn: Connection, proxy: Proxy
) -> None:
    await conn.execute("BEGIN")
    await conn.execute("INSERT INTO t VALUES (1)")
    proxy.close_connections()
    await anyio.sleep(0.05)
    if isinstance(await outcome_of(conn.execute("INSERT INTO t VALUES (2)")), Exception):
        # Over a WebSocket the server's side of it is gone.
        assert not conn.in_transaction
        await conn.execute("INSERT INTO t VALUES (3)")
        assert await conn.fetch_all("SELECT a FROM t") == [(3,)]
    else:
        # Over HTTP it is known by its baton, whatever connection brings that.
        await conn.execute("COMMIT")
        assert await conn.fetch_all("SELECT a FROM t") == [(1,), (2,)]
    await assert_healthy(conn)


async def outcome_of(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (aiolibsql.ConnectError, aiolibsql.StreamExpiredError) as error:
        return error


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, aiolibsql.AuthError),
        (403, aiolibsql.AuthError),
        (404, aiolibsql.OperationalError),
        (500, aiolibsql.OperationalError),
        (503, aiolibsql.OperationalError),
    ],
)
async def test_http_status_is_an_error_that_passes(
    conn: Connection, proxy: Proxy, status: int, error: type[Exception]
) -> None:
    proxy.status = status
    proxy.close_connections()
    await anyio.sleep(0.05)
    with pytest.raises(error, match=str(status)):
        await conn.execute("INSERT INTO t VALUES (1)")
    proxy.status = None
    proxy.close_connections()
    await anyio.sleep(0.05)
    await assert_healthy(conn)
    assert await count(conn) == 0


async def test_restart_outside_of_a_transaction_is_unseen(own_server: Sqld, transport: str) -> None:
    namespace = own_server.create_namespace()
    backend = Backend(transport, port=own_server.port, namespace=namespace)
    async with backend.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.commit()
        own_server.restart()
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.commit()
        assert await count(conn) == 1


async def test_restart_inside_of_a_transaction_undoes_it(own_server: Sqld, transport: str) -> None:
    namespace = own_server.create_namespace()
    backend = Backend(transport, port=own_server.port, namespace=namespace)
    async with backend.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.commit()
        await conn.execute("INSERT INTO t VALUES (1)")
        own_server.restart()
        with pytest.raises((aiolibsql.StreamExpiredError, aiolibsql.ConnectError)):
            await conn.execute("INSERT INTO t VALUES (2)")
        assert not conn.in_transaction
        await conn.execute("INSERT INTO t VALUES (3)")
        await conn.commit()
        assert await conn.fetch_all("SELECT a FROM t") == [(3,)]
        await assert_healthy(conn)


async def test_dead_server_is_an_error_for_each_statement_and_closing_is_safe(
    own_server: Sqld, transport: str
) -> None:
    namespace = own_server.create_namespace()
    conn = await Backend(transport, port=own_server.port, namespace=namespace).connect()
    own_server.kill()
    for _ in range(3):
        with pytest.raises(aiolibsql.ConnectError):
            await conn.execute("SELECT 1")
    await conn.close()
    assert conn.closed


# What takes seconds: every runtime and both transports wait at the same time.


async def _idle_outside(backend: Backend) -> None:
    async with backend.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.commit()
        cursor = await conn.execute("SELECT 1")
        await anyio.sleep(IDLE + 1.5)
        assert await cursor.fetchall() == [(1,)]
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.commit()
        assert await count(conn) == 1


async def _idle_inside(backend: Backend) -> None:
    async with backend.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.commit()
        await conn.execute("INSERT INTO t VALUES (1)")
        await anyio.sleep(IDLE + 1.5)
        if backend.name == "http":
            with pytest.raises(aiolibsql.StreamExpiredError):
                await conn.execute("INSERT INTO t VALUES (2)")
            assert not conn.in_transaction
            rows = [(3,)]
        else:
            # While the socket is there the server keeps what belongs to it.
            await conn.execute("INSERT INTO t VALUES (2)")
            rows = [(1,), (2,), (3,)]
        await conn.execute("INSERT INTO t VALUES (3)")
        await conn.commit()
        assert await conn.fetch_all("SELECT a FROM t ORDER BY a") == rows
        await assert_healthy(conn)


async def _steal(backend: Backend) -> None:
    async with backend.connect() as holder, backend.connect() as other:
        await holder.execute("CREATE TABLE t (a)")
        await holder.commit()
        await holder.execute("INSERT INTO t VALUES (1)")
        began = time.monotonic()
        await other.execute("INSERT INTO t VALUES (2)", timeout=STEAL + SLACK)
        await other.commit()
        assert STEAL / 2 < time.monotonic() - began < STEAL + SLACK
        with pytest.raises(aiolibsql.OperationalError):
            await holder.execute("INSERT INTO t VALUES (3)")
        await holder.rollback()
        await assert_healthy(holder)
        assert await holder.fetch_all("SELECT a FROM t") == [(2,)]


async def _lock_timeout(backend: Backend) -> None:
    async with backend.connect() as holder, backend.connect(timeout=SHORT) as other:
        await holder.execute("CREATE TABLE t (a)")
        await holder.commit()
        await holder.execute("INSERT INTO t VALUES (1)")
        began = time.monotonic()
        with pytest.raises(aiolibsql.TimeoutError):
            await other.execute("INSERT INTO t VALUES (2)", timeout=SHORT)
        assert time.monotonic() - began < STEAL
        await other.rollback()
        await holder.commit()
        await assert_healthy(other)
        assert await other.fetch_all("SELECT a FROM t") == [(1,)]


# A server that does not hear that its client has gone keeps a lock until it steals it.


async def _cut_writes(backend: Backend) -> None:
    with Proxy(backend.port or 0) as proxy:
        async with backend.through(proxy).connect() as conn:
            await conn.execute("CREATE TABLE t (a)")
            await conn.execute("INSERT INTO t VALUES (1)")
            proxy.cut(after=5)
            with pytest.raises(aiolibsql.ConnectError, match="unknown"):
                await conn.execute("INSERT INTO t VALUES (2)")
            assert not conn.in_transaction
            await conn.rollback()
            await assert_healthy(conn)
            assert await count(conn) == 0


async def _cancelled_writes(backend: Backend) -> None:
    with Proxy(backend.port or 0) as proxy:
        async with backend.through(proxy).connect(isolation_level=None) as conn:
            await conn.execute("CREATE TABLE t (a)")

            async def block() -> None:
                async with conn.transaction():
                    await conn.execute("INSERT INTO t VALUES (1)")
                    proxy.delay = 0.3
                    is_inside.set()
                    await conn.execute("INSERT INTO t VALUES (2)")

            is_inside = anyio.Event()
            outcome = await attempt_cancelled(block(), is_inside.wait)
            proxy.delay = 0
            assert outcome.is_cancelled
            await assert_healthy(conn)
            assert await count(conn) == 0


PATIENT = {
    "idle outside of a transaction": _idle_outside,
    "idle inside of a transaction": _idle_inside,
    "write lock stolen": _steal,
    "lock not free in time": _lock_timeout,
    "answer to a write cut": _cut_writes,
    "write cancelled": _cancelled_writes,
}


@pytest.mark.slow
def test_idle_connections_and_stolen_locks_on_every_runtime_and_transport(server: Sqld) -> None:
    failures: dict[str, BaseException] = {}

    async def attempt(name: str, case: Callable[[Backend], Awaitable[None]], at: Backend) -> None:
        try:
            await case(at)
        except (Exception, pytest.fail.Exception) as error:
            failures[name] = error

    async def all_cases(runtime: str) -> None:
        async with anyio.create_task_group() as tasks:
            for name, case in PATIENT.items():
                for transport in TRANSPORTS:
                    at = Backend(transport, port=server.port, namespace=server.create_namespace())
                    tasks.start_soon(attempt, f"{name}, {transport}, {runtime}", case, at)

    threads = []
    for runtime in RUNTIMES:
        chosen: Any = runtime.values[0]
        backend, options = chosen
        arguments = {"backend": backend, "backend_options": options}
        threads.append(
            threading.Thread(
                target=anyio.run, args=(all_cases, str(runtime.id)), kwargs=arguments, daemon=True
            )
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    assert failures == {}
