"""Pools of connections to a server: who gets which, what travels, and what faults leave."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest
from backends import Backend
from situations import NUMBERS, count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from credentials import Signer
    from proxy import Proxy
    from sqld import Sqld

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t (x) VALUES (?)"
# Takes seconds at the server.
LONG = f"{NUMBERS[:-1]} LIMIT 20000000) SELECT count(*) FROM n"
# More than a server sends at once: its rows are streamed.
MANY = f"{NUMBERS[:-1]} LIMIT 20000) SELECT i, hex(zeroblob(500)) FROM n"


@pytest.fixture
async def pool(hosted: Backend, proxy: Proxy) -> AsyncIterator[aiolibsql.ConnectionPool]:
    """Return a pool of one writer and two readers through the proxy, with a table ``t``."""
    options = {"request_timeout": 20, "acquire_timeout": 5}
    async with hosted.through(proxy).create_pool(3, **options) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
        yield pool
        proxy.is_stalled = False
        proxy.delay = 0
        # What was cancelled is undone by then.
        for _ in range(100):
            if pool.stats().idle == pool.stats().size:
                break
            await anyio.sleep(0.02)
        stats = pool.stats()
        assert (stats.in_use, stats.waiting, stats.idle) == (0, 0, stats.size)


async def test_writes_of_many_tasks_share_round_trips(
    pool: aiolibsql.ConnectionPool, proxy: Proxy
) -> None:
    cursors: dict[int, Any] = {}

    async def write(value: int) -> None:
        cursors[value] = await pool.execute(INSERT, (value,))

    proxy.delay = 0.02
    before = proxy.round_trips
    async with anyio.create_task_group() as group:
        for value in range(200):
            group.start_soon(write, value)
    assert proxy.round_trips - before <= 20
    assert sorted(cursor.lastrowid for cursor in cursors.values()) == list(range(1, 201))
    assert {cursor.rowcount for cursor in cursors.values()} == {1}
    for value, cursor in cursors.items():
        row = await pool.fetch_one("SELECT x FROM t WHERE id = ?", (cursor.lastrowid,))
        assert row == (value,)


async def test_write_that_fails_is_the_others_nothing(pool: aiolibsql.ConnectionPool) -> None:
    outcomes: dict[int, str] = {}

    async def write(task: int) -> None:
        sql = "INSERT INTO missing VALUES (?)" if task % 7 == 0 else INSERT
        try:
            await pool.execute(sql, (task % 50,))
            outcomes[task] = "done"
        except aiolibsql.IntegrityError as error:
            outcomes[task] = str(error.sqlite_errorname)
        except aiolibsql.OperationalError as error:
            outcomes[task] = str(error)

    async with anyio.create_task_group() as group:
        for task in range(100):
            group.start_soon(write, task)
    for task, outcome in outcomes.items():
        if task % 7 == 0:
            assert "no such table: missing" in outcome
        else:
            assert outcome in {"done", "SQLITE_CONSTRAINT_UNIQUE"}
    done = sum(outcome == "done" for outcome in outcomes.values())
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == done


async def test_reads_do_not_wait_for_one_another(
    pool: aiolibsql.ConnectionPool, proxy: Proxy
) -> None:
    async with anyio.create_task_group() as group:
        async with pool.read() as first:
            await first.execute("SELECT 1")
            with anyio.fail_after(5):
                assert await pool.fetch_scalar("SELECT 2") == 2
        group.cancel_scope.cancel()
    assert proxy.connections <= 3 + 1  # HTTP asks for the protocol on one of its own


async def test_reader_only_reads(pool: aiolibsql.ConnectionPool) -> None:
    async with pool.read() as reader:
        for work in (
            reader.execute("DELETE FROM t"),
            reader.executemany(INSERT, [(1,)]),
            reader.executescript("DELETE FROM t"),
            reader.batch([("SELECT 1", ()), ("DELETE FROM t", ())]),
        ):
            with pytest.raises(aiolibsql.OperationalError) as caught:
                await work
            assert caught.value.sqlite_errorname == "SQLITE_READONLY"
        await reader.batch([("SELECT 1", ())])
        async with reader.transaction("READ"):
            assert await count(reader, "t") == 0


async def test_block_is_a_transaction_of_its_own(pool: aiolibsql.ConnectionPool) -> None:
    async with pool.transaction() as transaction:
        await transaction.execute(INSERT, ("a",))
        # The same task sees what it wrote, others do not yet.
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
        seen = []

        async def look() -> None:
            async with pool.read() as reader:
                seen.append(await count(reader, "t"))

        async with anyio.create_task_group() as group:
            group.start_soon(look)
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    with pytest.raises(ZeroDivisionError):
        async with pool.transaction() as transaction:
            await transaction.execute(INSERT, ("b",))
            1 / 0  # noqa: B018
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_what_a_borrower_leaves_is_gone(pool: aiolibsql.ConnectionPool) -> None:
    lent = await pool.acquire()
    before = await lent.fetch_scalar("PRAGMA foreign_keys")
    await lent.execute(f"PRAGMA foreign_keys = {1 - before}")
    assert await lent.fetch_scalar("PRAGMA foreign_keys") == 1 - before
    await lent.execute("BEGIN")
    await lent.execute(INSERT, ("lost",))
    cursor = await lent.execute(MANY)
    assert await cursor.fetchone()
    await pool.release(lent)
    with pytest.raises(aiolibsql.ProgrammingError):
        await lent.execute("SELECT 1")
    async with pool.write() as writer:
        assert await writer.fetch_scalar("PRAGMA foreign_keys") == before
        assert not writer.in_transaction
        assert await count(writer, "t") == 0


async def test_loan_that_is_dropped_comes_back(pool: aiolibsql.ConnectionPool) -> None:
    lent = await pool.acquire()
    await lent.execute("BEGIN IMMEDIATE")
    with pytest.warns(ResourceWarning, match="not released"):
        del lent
        gc.collect()
    with anyio.fail_after(5):
        await pool.execute(INSERT, ("after",))
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_streamed_rows_hold_their_reader(pool: aiolibsql.ConnectionPool) -> None:
    cursors = [await pool.execute(MANY) for _ in range(pool.reader_count)]
    for cursor in cursors:
        row = await cursor.fetchone()
        assert row is not None
        assert row[0] == 1
    assert pool.stats().idle == 1
    lone = anyio.move_on_after(0.2)
    with lone:
        await pool.fetch_scalar("SELECT 1")
    assert lone.cancel_called
    await cursors[0].close()
    assert await pool.fetch_scalar("SELECT 1") == 1
    assert len(await cursors[1].fetchall()) == 20000 - 1


@pytest.mark.parametrize("work", ["read", "write", "acquire", "lend", "block"])
async def test_cancelled_at_any_moment(
    pool: aiolibsql.ConnectionPool, proxy: Proxy, work: str
) -> None:
    async def run(number: int) -> None:
        if work == "read":
            await pool.fetch_all("SELECT * FROM t")
        elif work == "write":
            await pool.execute(INSERT, (number,))
        elif work == "acquire":
            await pool.release(await pool.acquire())
        elif work == "lend":
            async with pool.acquire() as connection:
                await connection.execute(INSERT, (number,))
        else:
            async with pool.transaction() as transaction:
                await transaction.execute(INSERT, (number,))

    proxy.delay = 0.002
    for number in range(30):
        with anyio.move_on_after(number * 0.0005):
            await run(number)
    proxy.delay = 0
    with anyio.fail_after(10):
        await run(1000)
        async with pool.write() as writer:
            assert not writer.in_transaction
            await writer.execute(INSERT, ("last",))
    assert await pool.fetch_scalar("SELECT count(*) FROM t WHERE x = 'last'") == 1


async def test_silent_server_is_a_timeout_for_each(hosted: Backend, proxy: Proxy) -> None:
    limits = {"request_timeout": 0.3, "connect_timeout": 0.3}
    async with hosted.through(proxy).create_pool(2, **limits) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        proxy.is_stalled = True
        outcomes = []

        async def ask(sql: str) -> None:
            try:
                await pool.execute(sql)
            except aiolibsql.Error as error:
                outcomes.append(type(error))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for sql in ("SELECT 1", "DELETE FROM t", "SELECT 2", "DELETE FROM t"):
                    group.start_soon(ask, sql)
        assert len(outcomes) == 4
        assert set(outcomes) <= {aiolibsql.TimeoutError, aiolibsql.ConnectError}
        proxy.is_stalled = False
        assert await pool.fetch_scalar("SELECT 1") == 1
        await pool.execute("INSERT INTO t (x) VALUES (1)")


async def test_lost_connections_are_unseen(pool: aiolibsql.ConnectionPool, proxy: Proxy) -> None:
    proxy.close_connections()
    await anyio.sleep(0.05)  # until the client's side has seen it
    assert await pool.fetch_scalar("SELECT 1") == 1
    await pool.execute(INSERT, (1,))
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    assert pool.stats().size == 3


async def test_restart_of_the_server_is_survived(own_server: Sqld, transport: str) -> None:
    backend = Backend(transport, port=own_server.port, namespace=own_server.create_namespace())
    async with backend.create_pool(3) as pool:
        await pool.execute("CREATE TABLE t (x)")
        own_server.restart()
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 0
        await pool.execute("INSERT INTO t VALUES (1)")
        own_server.kill()
        with anyio.fail_after(20):
            with pytest.raises(aiolibsql.ConnectError):
                await pool.fetch_scalar("SELECT count(*) FROM t")
            with pytest.raises(aiolibsql.ConnectError):
                await pool.execute("INSERT INTO t VALUES (2)")
        own_server.start()
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_dead_server_is_an_error_at_once(hosted: Backend, proxy: Proxy) -> None:
    backend = hosted.through(proxy)
    proxy.close()
    with anyio.fail_after(10), pytest.raises(aiolibsql.ConnectError):
        await backend.create_pool(3)


async def test_connections_come_and_go(hosted: Backend) -> None:
    async with hosted.create_pool(4, min_size=1, max_lifetime=0.2) as pool:
        assert pool.stats().size == 1
        await pool.execute("CREATE TABLE t (x)")
        opened = 0
        for _ in range(8):
            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(pool.fetch_scalar, "SELECT 1")
            await anyio.sleep(0.05)
            opened = pool.stats().opened
            assert 1 <= pool.stats().size <= 4
        assert opened > 4
        assert pool.stats().lost == 0
        await pool.resize(2)
        assert await pool.fetch_scalar("SELECT 1") == 1
    assert pool.stats().size == 0


async def test_closing_waits_for_what_is_lent(hosted: Backend) -> None:
    pool = await hosted.create_pool(2, acquire_timeout=5)
    lent = await pool.acquire()
    await lent.execute("CREATE TABLE t (x)")
    is_closed = anyio.Event()

    async def close() -> None:
        await pool.close()
        is_closed.set()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        await anyio.sleep(0.05)
        assert not is_closed.is_set()
        with pytest.raises(aiolibsql.PoolClosed):
            await pool.execute("SELECT 1")
        await pool.release(lent)
    assert pool.closed
    assert pool.stats().size == 0


@pytest.mark.parametrize("sql", ["BEGIN", "ATTACH 'x' AS y", "SELECT changes()", "SELECT 1"])
async def test_closed_pool_says_so_whatever_it_is_asked(hosted: Backend, sql: str) -> None:
    pool = await hosted.create_pool(2)
    await pool.close()
    for work in (pool.execute(sql), pool.fetch_all(sql), pool.batch([sql])):
        with pytest.raises(aiolibsql.PoolClosed):
            await work


async def test_terminate_ends_what_runs(hosted: Backend) -> None:
    pool = await hosted.create_pool(2)

    async def ask() -> None:
        with pytest.raises(aiolibsql.Error):
            await pool.fetch_scalar(LONG)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(0.1)
            await pool.terminate()


async def test_tokens_are_never_shown(token_server: Sqld, signer: Signer, transport: str) -> None:
    asked = []

    async def token() -> str:
        await anyio.lowlevel.checkpoint()
        asked.append(1)
        return signer.token()

    backend = Backend(transport, port=token_server.port)
    async with backend.create_pool(3, auth_token=token) as pool:
        assert await pool.fetch_scalar("SELECT 1") == 1
        assert asked
    secret = signer.token()
    async with aiolibsql.create_pool(f"{backend.url}?authToken={secret}", 2) as pool:
        assert await pool.fetch_scalar("SELECT 1") == 1
        assert secret not in repr(pool)
    with pytest.raises(aiolibsql.AuthError) as caught:
        await backend.create_pool(2, auth_token="wrong")
    assert "wrong" not in str(caught.value)


async def test_what_is_for_files_is_refused(hosted: Backend) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match="encryption_key"):
        aiolibsql.create_pool(hosted.url, encryption_key="k")
    with pytest.raises(aiolibsql.ProgrammingError, match="pragmas"):
        aiolibsql.create_pool(hosted.url, pragmas={"synchronous": "FULL"})
    async with hosted.create_pool(2) as pool:
        with pytest.raises(aiolibsql.NotSupportedError, match="rekey"):
            await pool.rekey("k")
        async with pool.write() as writer:
            with pytest.raises(aiolibsql.NotSupportedError, match="create_function"):
                await writer.create_function("f", 0, int)


@pytest.mark.parametrize("autocommit", [True, False, -1])
async def test_borrowers_have_the_pools_transaction_mode(hosted: Backend, autocommit: Any) -> None:
    async with hosted.create_pool(2, autocommit=autocommit) as pool:
        await pool.execute("CREATE TABLE t (x)")
        lent = await pool.acquire()
        await lent.execute("INSERT INTO t VALUES (1)")
        assert lent.in_transaction == (autocommit is not True)
        await lent.commit()
        await lent.execute("INSERT INTO t VALUES (2)")
        await pool.release(lent)
        # What was not committed is rolled back.
        expected = 2 if autocommit is True else 1
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == expected
