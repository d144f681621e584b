"""`connect_memory`: databases in memory, and those that connections share by a name."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, Attempt, attempt, attempt_cancelled, count, turns

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

NAME = "the tests'"


@pytest.fixture
async def one() -> AsyncIterator[Conn]:
    """Return a connection to a database with a name and a table."""
    async with aiolibsql.connect_memory(NAME) as conn:
        await conn.execute("CREATE TABLE t (i)")
        yield conn


@pytest.fixture
async def other(one: Conn) -> AsyncIterator[Conn]:  # noqa: ARG001 - the first has the table
    """Return another connection to the same database."""
    async with aiolibsql.connect_memory(NAME) as conn:
        yield conn


async def test_database_without_a_name_belongs_to_one_connection() -> None:
    async with aiolibsql.connect_memory() as one, aiolibsql.connect_memory() as other:
        await one.execute("CREATE TABLE t (i)")
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await count(other)


async def test_same_name_is_the_same_database(one: Conn, other: Conn) -> None:
    await one.execute("INSERT INTO t VALUES (1)")
    await one.commit()
    assert await other.fetch_all("SELECT i FROM t") == [(1,)]
    async with aiolibsql.connect_memory("another") as another:
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await count(another)
    assert repr(one) == f"<aiolibsql.Connection ':memory: {NAME}' (open)>"
    await assert_healthy(one)
    await assert_healthy(other)


async def test_database_lives_until_the_last_connection_is_closed(one: Conn, other: Conn) -> None:
    await one.close()
    await one.close()
    assert (one.closed, other.closed) == (True, False)
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await one.execute("SELECT 1")
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await one
    assert await count(other) == 0
    unopened = aiolibsql.connect_memory(NAME)
    with pytest.raises(aiolibsql.ConnectionClosedError, match="no active connection"):
        await unopened.execute("SELECT 1")
    await other.close()
    async with unopened as conn:
        assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []


async def test_second_await_is_no_second_connection(one: Conn, other: Conn) -> None:
    assert await other is other
    await other.close()
    await one.close()
    async with aiolibsql.connect_memory(NAME) as conn:
        assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []


async def test_settings_are_of_each_connection(one: Conn) -> None:
    async with aiolibsql.connect_memory(
        NAME, row_factory=aiolibsql.Row, text_factory=bytes, isolation_level=None, iter_chunk_size=3
    ) as other:
        assert await one.fetch_all("SELECT 'a' AS x") == [("a",)]
        (row,) = await other.fetch_all("SELECT 'a' AS x")
        assert dict(row) == {"x": b"a"}
        assert (one.isolation_level, other.isolation_level) == ("", None)
        await other.execute("INSERT INTO t VALUES (1)")
        assert not one.in_transaction
        await one.execute("INSERT INTO t VALUES (2)")
        assert one.in_transaction
        await one.rollback()
        other.isolation_level = "IMMEDIATE"
        assert one.isolation_level == ""
        assert await count(one) == 1


async def test_assignment_before_close_commits_as_in_sqlite3(one: Conn, other: Conn) -> None:
    await other.execute("INSERT INTO t VALUES (1)")
    other.isolation_level = None
    await other.close()
    assert not one.in_transaction
    assert await count(one) == 1


async def test_pep_249_mode_is_of_one_connection(one: Conn) -> None:
    async with aiolibsql.connect_memory(NAME, autocommit=False) as other:
        assert other.in_transaction
        await other.execute("INSERT INTO t VALUES (1)")
        await other.commit()
    assert not one.in_transaction
    assert await count(one) == 1
    await assert_healthy(one)


async def test_pragmas_and_hook_are_run_for_each_connection(one: Conn) -> None:
    opened = []

    async def hook(conn: Conn) -> None:
        opened.append(await conn.fetch_scalar("PRAGMA user_version"))

    pragmas = {"user_version": 7}
    async with aiolibsql.connect_memory(NAME, pragmas=pragmas, init_hook=hook, foreign_keys=True):
        assert opened == [7]
        assert await one.fetch_scalar("PRAGMA foreign_keys") == 1


async def test_failed_open_is_undone_and_the_others_stay(one: Conn) -> None:
    async def hook(_: Conn) -> None:
        raise LookupError

    failing = aiolibsql.connect_memory(NAME, init_hook=hook)
    with pytest.raises(LookupError):
        await failing
    refused = aiolibsql.connect_memory(NAME, pragmas={"journal_mode.x": "y"})
    with pytest.raises(aiolibsql.OperationalError):
        await refused
    await assert_healthy(one)
    await one.close()
    async with aiolibsql.connect_memory(NAME) as conn:
        assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []


async def test_block_of_one_connection_keeps_the_other_out(one: Conn, other: Conn) -> None:
    counted = Attempt()
    async with anyio.create_task_group() as tasks, one.transaction():
        await one.execute("INSERT INTO t VALUES (1)")
        tasks.start_soon(attempt, count(other), counted)
        await turns()
        assert counted.value is None
        await one.execute("INSERT INTO t VALUES (2)")
    assert counted.value == 2
    assert not other.in_transaction


async def test_wait_for_a_block_is_as_long_as_the_own_timeout(one: Conn) -> None:
    async with aiolibsql.connect_memory(NAME, timeout=0.02) as other:
        async with one.transaction():
            with anyio.fail_after(2), pytest.raises(aiolibsql.TimeoutError, match="the block of"):
                await count(other)
        await assert_healthy(other)


async def test_blocks_of_two_connections_take_turns(one: Conn, other: Conn) -> None:
    async def add(conn: Conn) -> None:
        for _ in range(10):
            async with conn.transaction():
                number = await count(conn)
                await anyio.lowlevel.checkpoint()
                await conn.execute("INSERT INTO t VALUES (?)", (number,))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(add, one)
        tasks.start_soon(add, other)
    rows = await one.fetch_all("SELECT i FROM t ORDER BY rowid")
    assert rows == [(i,) for i in range(20)]


async def test_close_rolls_the_own_block_back_and_no_other(one: Conn, other: Conn) -> None:
    block = one.transaction()
    await block.__aenter__()
    await one.execute("INSERT INTO t VALUES (1)")
    third = await aiolibsql.connect_memory(NAME)
    await third.close()
    assert await block.fetch_scalar("SELECT count(*) FROM t") == 1
    await one.close()
    assert await count(other) == 0
    await assert_healthy(other)
    with pytest.raises(aiolibsql.ProgrammingError):
        await block.__aexit__(None, None, None)


async def test_close_rolls_the_own_transaction_back_and_no_other(one: Conn, other: Conn) -> None:
    await one.execute("INSERT INTO t VALUES (1)")
    await other.close()
    assert one.in_transaction
    await one.commit()
    async with aiolibsql.connect_memory(NAME) as third:
        await one.execute("INSERT INTO t VALUES (2)")
        with pytest.warns(ResourceWarning, match="uncommitted changes"):
            await one.close()
        assert not third.in_transaction
        assert await count(third) == 1
        await assert_healthy(third)


async def test_close_ends_the_own_cursors_blobs_and_backups(one: Conn, other: Conn) -> None:
    await other.executemany("INSERT INTO t VALUES (?)", [(b"x" * 500,)] * 600)
    await other.commit()
    own = await one.execute("SELECT i FROM t")
    theirs = await other.execute("SELECT i FROM t")
    await one.blobopen("t", "i", 1)
    blob = await other.blobopen("t", "i", 1, readonly=True)
    async with aiolibsql.connect_memory() as target:

        async def progress(*_: int) -> None:
            await one.close()

        with pytest.raises(aiolibsql.ConnectionClosedError):
            await one.backup(target, pages=2, progress=progress)
        await assert_healthy(target)
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await own.fetchall()
    assert await blob.read(3) == b"xxx"
    await blob.close()
    assert len(await theirs.fetchall()) == 600
    await assert_healthy(other)


async def test_interrupt_stops_the_own_statement_only(one: Conn, other: Conn) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, one.fetch_all(ENDLESS), outcome)
        await anyio.sleep(0.03)
        await other.interrupt()
        await anyio.sleep(0.03)
        assert outcome.error is None
        await one.interrupt()
    assert isinstance(outcome.error, aiolibsql.OperationalError)
    await assert_healthy(other)


async def test_cancellation_stops_the_own_statement_only(one: Conn, other: Conn) -> None:
    running = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, one.fetch_all(ENDLESS), running)
        await turns()
        queued = await attempt_cancelled(other.execute("INSERT INTO t VALUES (1)"))
        assert queued.is_cancelled
        assert running.error is None
        tasks.cancel_scope.cancel()
    assert await count(one) == 0
    await assert_healthy(one)
    await assert_healthy(other)


async def test_cancelled_open_leaves_nothing(one: Conn) -> None:
    conn = aiolibsql.connect_memory(NAME)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await conn
    if not scope.cancelled_caught:
        # It was open before its loop had a turn, which asyncio allows.
        await conn.close()
        conn = aiolibsql.connect_memory(NAME)
    await one.close()
    async with conn:
        assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []


async def test_open_whose_value_is_lost_is_undone() -> None:
    for _ in range(200):
        conn = aiolibsql.connect_memory()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await conn
        if scope.cancelled_caught:
            with pytest.raises(aiolibsql.ConnectionClosedError, match="no active connection"):
                await conn.execute("SELECT 1")
        else:
            await conn.close()


async def test_function_of_one_connection_works_for_the_other(one: Conn, other: Conn) -> None:
    def fail(_: int) -> None:
        raise LookupError("inside")

    await one.create_function("twice", 1, lambda value: 2 * value)
    await one.create_function("fail", 1, fail)
    assert await other.fetch_scalar("SELECT twice(21)") == 42
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await other.fetch_scalar("SELECT fail(1)")
    assert isinstance(caught.value.__cause__, LookupError)


async def test_connections_in_other_threads_and_loops(one: Conn) -> None:
    errors: list[BaseException] = []

    async def add() -> None:
        async with aiolibsql.connect_memory(NAME) as conn:
            for i in range(20):
                async with conn.transaction():
                    await conn.execute("INSERT INTO t VALUES (?)", (i,))

    def run() -> None:
        try:
            asyncio.run(add())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert errors == []
    assert await count(one) == 80


async def test_forgotten_connection_leaves_the_others(one: Conn) -> None:
    forgotten = await aiolibsql.connect_memory(NAME)
    await forgotten.execute("SELECT 1")
    with pytest.warns(ResourceWarning, match="deleted before being closed"):
        del forgotten
        gc.collect()
    await assert_healthy(one)


async def test_keywords_are_those_of_connect() -> None:
    with pytest.raises(TypeError):
        aiolibsql.connect_memory(NAME, frobnicate=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        aiolibsql.connect_memory(1)  # type: ignore[call-overload]
    with pytest.raises(aiolibsql.ProgrammingError, match="in memory"):
        aiolibsql.connect_memory(NAME, encryption_key="k")

    class Mine(aiolibsql.Connection[Any]):
        pass

    async with aiolibsql.connect_memory(NAME, factory=Mine) as conn:
        assert type(conn) is Mine
        assert await conn.fetch_scalar("SELECT 1") == 1


FORK = """
import asyncio, os, sys
import aiolibsql

async def child(conn):
    try:
        await conn.execute("SELECT 1")
    except aiolibsql.OperationalError:
        pass
    else:
        raise AssertionError("it is the parent's")
    async with aiolibsql.connect_memory("x") as own:
        assert await own.fetch_all("SELECT * FROM sqlite_schema") == []
        async with aiolibsql.connect_memory("x") as other:
            await other.execute("CREATE TABLE c (i)")
            assert await own.fetch_all("SELECT * FROM c") == []

conn = aiolibsql.connect_memory("x")
async def begin():
    await conn
    await conn.execute("CREATE TABLE t (i)")
async def end():
    print(await conn.fetch_all("SELECT name FROM sqlite_schema"))
    await conn.close()
asyncio.run(begin())
pid = os.fork()
if pid == 0:
    status = 1
    try:
        asyncio.run(child(conn))
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)
assert os.waitpid(pid, 0)[1] == 0
asyncio.run(end())
"""


def test_child_has_a_database_of_its_own() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[('t',)]\n", "")


async def test_callbacks_of_a_connection_that_is_gone_work_on(one: Conn) -> None:
    other = await aiolibsql.connect_memory(NAME)
    await other.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    await other.create_function("twice", 1, lambda x: 2 * x)
    await other.set_authorizer(lambda *_: aiolibsql.SQLITE_OK)
    await other.set_commit_hook(lambda: False)
    await other.close()
    del other
    gc.collect()
    await one.execute("CREATE TABLE names (name TEXT COLLATE backwards UNIQUE)")
    await one.executemany("INSERT INTO names VALUES (?)", [("a",), ("b",), ("c",)])
    await one.commit()
    assert await one.fetch_all("SELECT name, twice(1) FROM names ORDER BY name") == [
        ("c", 2),
        ("b", 2),
        ("a", 2),
    ]


async def test_what_a_connection_has_not_committed_goes_with_it(one: Conn) -> None:
    await one.execute("CREATE TABLE mine (x)")
    await one.execute("INSERT INTO mine VALUES (1)")
    other = await aiolibsql.connect_memory(NAME, autocommit=False)
    # Ends the transaction of the first one, and begins its own.
    await other.commit()
    await other.execute("INSERT INTO mine VALUES (2)")
    with pytest.warns(ResourceWarning, match="uncommitted"):
        await other.close()
    assert await one.fetch_all("SELECT x FROM mine") == [(1,)]


async def test_switches_are_not_lost_in_the_transaction_of_another(one: Conn) -> None:
    async with one.transaction():
        other = aiolibsql.connect_memory(NAME, foreign_keys=True)
        with pytest.raises(aiolibsql.OperationalError, match="transaction open"):
            await other
        plain = await aiolibsql.connect_memory(NAME)
        await plain.close()
    async with other:
        assert await other.fetch_scalar("PRAGMA foreign_keys") == 1
