"""Cancellation, on every runtime: what it stops, what it leaves, and a connection that is whole."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import (
    BEGUN,
    ENDLESS,
    ENDLESS_AFTER_100,
    ENDLESS_INSERT,
    NUMBERS,
    PROMPT,
    SLOW,
    Attempt,
    attempt,
    attempt_cancelled,
    best_of_three,
    block_until,
    count,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    """Return a connection in sqlite3's default mode."""
    async with backend.connect(timeout=60) as connection:
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        if not connection.closed:
            await connection.rollback()


@pytest.fixture
async def autocommit(backend: Backend) -> AsyncIterator[Conn]:
    """Return a connection where each statement is its own transaction."""
    async with backend.connect(timeout=60, isolation_level=None) as connection:
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        if not connection.closed:
            await connection.rollback()


async def iterate(conn: Conn, sql: str) -> None:
    async with conn.execute(sql) as cursor:
        async for _ in cursor:
            pass


async def fetch(conn: Conn, method: str, sql: str) -> None:
    cursor = await conn.execute(sql)
    await getattr(cursor, method)()


READS: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "execute": lambda conn: conn.execute(ENDLESS),
    "fetch_all": lambda conn: conn.fetch_all(ENDLESS),
    "executescript": lambda conn: conn.executescript(f"SELECT 1; {ENDLESS};"),
    "fetchall": lambda conn: fetch(conn, "fetchall", ENDLESS_AFTER_100),
    "iteration": lambda conn: iterate(conn, ENDLESS_AFTER_100),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_running_read_cancelled_returns_at_once_and_frees_the_connection(
    conn: Conn, read: Callable[[Conn], Awaitable[Any]]
) -> None:
    async def measure() -> float:
        outcome = await attempt_cancelled(read(conn))
        assert outcome.is_cancelled
        began = time.perf_counter()
        assert await conn.fetch_all("SELECT 1") == [(1,)]
        return max(outcome.seconds, time.perf_counter() - began)

    await best_of_three(measure, PROMPT)
    await assert_healthy(conn)


async def test_running_read_cancelled_leaves_an_open_transaction_open(conn: Conn) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    assert (await attempt_cancelled(conn.execute(ENDLESS))).is_cancelled
    assert await count(conn) == 1
    assert conn.in_transaction
    await conn.commit()
    assert await count(conn) == 1
    await assert_healthy(conn)


@pytest.mark.parametrize("cancelled", ["execute", "executemany", "executescript", "commit"])
async def test_queued_operation_cancelled_never_runs(conn: Conn, cancelled: str) -> None:
    await conn.execute("INSERT INTO t VALUES (0)")
    operations = {
        "execute": lambda: conn.execute("INSERT INTO t VALUES (1)"),
        "executemany": lambda: conn.executemany("INSERT INTO t VALUES (?)", [(1,), (1,)]),
        "executescript": lambda: conn.executescript("INSERT INTO t VALUES (1)"),
        "commit": conn.commit,
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), Attempt())
        await anyio.sleep(BEGUN)
        outcome = await attempt_cancelled(operations[cancelled](), turns)
        assert outcome.is_cancelled
        assert outcome.seconds < 1, "it waited for the statement before it"
        tasks.cancel_scope.cancel()
    assert await conn.fetch_all("SELECT x FROM t") == [(0,)]
    assert conn.in_transaction
    await conn.rollback()
    await assert_healthy(conn)


async def test_operations_behind_a_cancelled_queued_one_run_in_their_order(conn: Conn) -> None:
    kept = [Attempt(), Attempt()]
    slow = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
        await turns()
        async with anyio.create_task_group() as others:
            others.start_soon(attempt, conn.execute("INSERT INTO t VALUES (1)"), Attempt())
            await turns()
            tasks.start_soon(attempt, conn.execute("INSERT INTO t VALUES (2)"), kept[0])
            await turns()
            tasks.start_soon(attempt, conn.execute("INSERT INTO t VALUES (3)"), kept[1])
            await turns()
            assert slow.value is None, "the slow query is over: nothing was queued"
            others.cancel_scope.cancel()
    assert slow.value == 300000
    assert [outcome.error for outcome in kept] == [None, None]
    assert await conn.fetch_all("SELECT x FROM t") == [(2,), (3,)]
    await conn.commit()
    await assert_healthy(conn)


async def test_queued_fetch_cancelled_loses_no_row(conn: Conn) -> None:
    cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
    assert len(await cursor.fetchmany(64)) == 64
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), Attempt())
        await anyio.sleep(BEGUN)
        outcome = await attempt_cancelled(cursor.fetchmany(500), turns)
        tasks.cancel_scope.cancel()
    assert outcome.is_cancelled
    assert await cursor.fetchall() == [(i,) for i in range(65, 1001)]
    await assert_healthy(conn)


async def test_running_autocommit_write_cancelled_leaves_no_row(autocommit: Conn) -> None:
    outcome = await attempt_cancelled(autocommit.execute(ENDLESS_INSERT))
    assert outcome.is_cancelled
    assert await count(autocommit) == 0
    await assert_healthy(autocommit)


async def test_running_implicit_transaction_cancelled_is_rolled_back_with_its_begin(
    conn: Conn,
) -> None:
    assert (await attempt_cancelled(conn.execute(ENDLESS_INSERT))).is_cancelled
    assert await count(conn) == 0
    assert not conn.in_transaction
    await assert_healthy(conn)


async def lose_transaction(conn: Conn) -> None:
    """Cancel a write, so that SQLite rolls back the transaction with its acknowledged row."""
    await conn.execute("INSERT INTO t VALUES (1)")
    assert conn.in_transaction
    assert (await attempt_cancelled(conn.execute(ENDLESS_INSERT))).is_cancelled


NEXT: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "select": lambda conn: conn.execute("SELECT 1"),
    "insert": lambda conn: conn.execute("INSERT INTO t VALUES (2)"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(2,)]),
    "executescript": lambda conn: conn.executescript("INSERT INTO t VALUES (2)"),
    "begin": lambda conn: conn.begin("IMMEDIATE"),
    "commit": lambda conn: conn.commit(),
    "commit as SQL": lambda conn: conn.execute("COMMIT"),
}


@pytest.mark.parametrize("following", NEXT.values(), ids=NEXT)
async def test_write_in_a_transaction_cancelled_makes_the_next_operation_raise_once(
    conn: Conn, following: Callable[[Conn], Awaitable[Any]]
) -> None:
    await lose_transaction(conn)
    with pytest.raises(aiolibsql.OperationalError, match="the transaction was rolled back"):
        await following(conn)
    assert not conn.in_transaction
    assert await count(conn) == 0, "something slipped into autocommit"
    await assert_healthy(conn)


@pytest.mark.parametrize("as_sql", [False, True], ids=["rollback", "rollback as SQL"])
async def test_rollback_clears_the_mark_of_a_lost_transaction(conn: Conn, as_sql: bool) -> None:
    await lose_transaction(conn)
    await (conn.execute("ROLLBACK") if as_sql else conn.rollback())
    assert not conn.in_transaction
    await conn.execute("INSERT INTO t VALUES (5)")
    await conn.commit()
    assert await conn.fetch_all("SELECT x FROM t") == [(5,)]
    await assert_healthy(conn)


async def endless_rows() -> AsyncGenerator[tuple[int], None]:
    for value in itertools.count():
        yield (value,)
        if value % 100 == 0:
            await anyio.lowlevel.checkpoint()


async def cancelled_executemany(conn: Conn, *, is_async: bool) -> Attempt:
    sql = "INSERT INTO t VALUES (?)"
    if not is_async:
        endless = ((value,) for value in itertools.count())
        return await attempt_cancelled(conn.executemany(sql, endless))
    async with contextlib.aclosing(endless_rows()) as rows:
        return await attempt_cancelled(conn.executemany(sql, rows))


@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
async def test_executemany_cancelled_leaves_no_row_of_it(autocommit: Conn, is_async: bool) -> None:
    outcome = await cancelled_executemany(autocommit, is_async=is_async)
    assert outcome.is_cancelled
    assert outcome.seconds < 1
    assert await count(autocommit) == 0
    await assert_healthy(autocommit)


@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
async def test_executemany_cancelled_in_a_transaction_leaves_the_rows_before_it(
    conn: Conn, is_async: bool
) -> None:
    await conn.execute("INSERT INTO t VALUES ('before')")
    outcome = await cancelled_executemany(conn, is_async=is_async)
    assert outcome.is_cancelled
    # A statement of it that was interrupted takes the transaction along; between two it does not.
    rest = Attempt()
    await attempt(conn.fetch_all("SELECT x FROM t"), rest)
    if rest.error is None:
        assert rest.value == [("before",)]
    else:
        assert isinstance(rest.error, aiolibsql.OperationalError)
        assert "the transaction was rolled back" in str(rest.error)
        assert await count(conn) == 0
    await conn.rollback()
    await assert_healthy(conn)


async def undelivered(
    conn: Conn, operation: Awaitable[Any], done: Callable[[], bool], *more: Awaitable[Any]
) -> Attempt:
    """Cancel an operation that its worker has finished and whose loop had no time to hear of it.

    It is queued behind a slow query, and so are ``more``, whose tasks are not cancelled.
    """
    outcome, slow = Attempt(), Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
        await turns()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(attempt, operation, outcome)
            await turns()
            for other in more:
                tasks.start_soon(attempt, other, Attempt())
            await turns()
            assert slow.value is None, "the slow query is over: nothing was queued"
            block_until(done)
            cancelled.cancel_scope.cancel()
    return outcome


async def test_autocommit_write_done_but_undelivered_stands(autocommit: Conn) -> None:
    before = autocommit.total_changes
    outcome = await undelivered(
        autocommit,
        autocommit.execute("INSERT INTO t VALUES (1)"),
        lambda: autocommit.total_changes > before,
    )
    assert outcome.is_cancelled
    assert await count(autocommit) == 1
    await assert_healthy(autocommit)


async def test_write_in_a_transaction_done_but_undelivered_stands_in_it(conn: Conn) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    before = conn.total_changes
    outcome = await undelivered(
        conn, conn.execute("INSERT INTO t VALUES (2)"), lambda: conn.total_changes > before
    )
    assert outcome.is_cancelled
    assert await count(conn) == 2
    assert conn.in_transaction
    await conn.commit()
    await assert_healthy(conn)


BEGINS: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "begin": lambda conn: conn.begin("IMMEDIATE"),
    "begin as SQL": lambda conn: conn.execute("BEGIN"),
    "implicit": lambda conn: conn.execute("INSERT INTO t VALUES (1)"),
}


@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
async def test_begin_undelivered_is_rolled_back(
    conn: Conn, begin: Callable[[Conn], Awaitable[Any]]
) -> None:
    outcome = await undelivered(conn, begin(conn), lambda: conn.in_transaction)
    assert outcome.is_cancelled
    assert await count(conn) == 0
    assert not conn.in_transaction
    await assert_healthy(conn)


@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
async def test_begin_undelivered_stays_if_another_operation_ran_in_it(
    conn: Conn, begin: Callable[[Conn], Awaitable[Any]]
) -> None:
    changes = conn.total_changes + (2 if begin is BEGINS["implicit"] else 1)
    outcome = await undelivered(
        conn,
        begin(conn),
        lambda: conn.total_changes == changes,
        conn.execute("INSERT INTO t VALUES (7)"),
    )
    assert outcome.is_cancelled
    assert (7,) in await conn.fetch_all("SELECT x FROM t")
    assert conn.in_transaction
    await conn.commit()
    assert (7,) in await conn.fetch_all("SELECT x FROM t")
    await assert_healthy(conn)


async def test_commit_done_but_undelivered_is_committed(conn: Conn) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    await undelivered(conn, conn.commit(), lambda: not conn.in_transaction)
    assert not conn.in_transaction
    await conn.rollback()
    assert await count(conn) == 1
    await assert_healthy(conn)


@pytest.mark.parametrize("as_sql", [False, True], ids=["rollback", "rollback as SQL"])
async def test_rollback_done_but_undelivered_is_rolled_back(conn: Conn, as_sql: bool) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    rollback = conn.execute("ROLLBACK") if as_sql else conn.rollback()
    await undelivered(conn, rollback, lambda: not conn.in_transaction)
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_rollback_cancelled_while_queued_runs_to_its_end(conn: Conn) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    slow = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
        await turns()
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_after_turns, scope)
            with contextlib.suppress(anyio.get_cancelled_exc_class()):
                await conn.rollback()
            assert not conn.in_transaction, "the caller went on before the rollback had run"
    assert slow.value == 300000
    assert await count(conn) == 0
    await assert_healthy(conn)


async def cancel_after_turns(scope: anyio.CancelScope) -> None:
    await turns()
    scope.cancel()


async def test_rollback_in_a_cancelled_scope_is_done(conn: Conn) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await conn.rollback()
    assert await count(conn) == 0
    assert not conn.in_transaction
    await assert_healthy(conn)


@pytest.mark.parametrize("is_queued", [False, True], ids=["idle", "queued"])
async def test_close_in_a_cancelled_scope_is_done(conn: Conn, is_queued: bool) -> None:
    async with anyio.create_task_group() as tasks:
        if is_queued:
            tasks.start_soon(attempt, conn.fetch_scalar(SLOW), Attempt())
            await turns()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await conn.close()
    assert conn.closed
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.execute("SELECT 1")


async def test_cursor_close_in_a_cancelled_scope_releases_its_statement(conn: Conn) -> None:
    cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
    assert await cursor.fetchone() == (1,)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await cursor.close()
    await assert_healthy(conn)


async def test_paused_cursor_survives_the_cancellation_of_another_statement(conn: Conn) -> None:
    cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
    rows = await cursor.fetchmany(10)
    for other in (ENDLESS, ENDLESS_AFTER_100):
        assert (await attempt_cancelled(conn.fetch_all(other))).is_cancelled
        rows += await cursor.fetchmany(100)
    rows += await cursor.fetchall()
    assert rows == [(i,) for i in range(1, 1001)]
    await assert_healthy(conn)


async def test_iteration_left_by_cancellation_releases_its_statement(conn: Conn) -> None:
    seen = []

    async def read_some() -> None:
        async with conn.execute(f"{NUMBERS} SELECT i FROM n") as cursor:
            async for (i,) in cursor:
                seen.append(i)

    with anyio.move_on_after(0.1):
        await read_some()
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 64
    await assert_healthy(conn)


async def test_open_cancelled_leaves_the_connection_unopened_and_can_be_repeated(
    backend: Backend,
) -> None:
    connection = backend.connect()

    async def submitted_and_done() -> None:
        await turns()
        # No property tells that the file was opened; a worker needs a fraction of this.
        time.sleep(0.05)  # noqa: ASYNC251 - the loop must not hear of it

    await attempt_cancelled(connection, submitted_and_done)
    async with connection:
        await assert_healthy(connection)
    assert connection.closed


async def test_many_operations_on_one_connection_cancelled_together(conn: Conn) -> None:
    outcomes = [Attempt() for _ in range(50)]
    async with anyio.create_task_group() as tasks:
        for outcome in outcomes:
            tasks.start_soon(attempt, conn.fetch_all(ENDLESS), outcome)
        await anyio.sleep(BEGUN)
        tasks.cancel_scope.cancel()
    assert all(outcome.is_cancelled for outcome in outcomes)
    await assert_healthy(conn)


async def test_connection_works_again_in_the_task_that_was_cancelled(conn: Conn) -> None:
    rows = None
    with anyio.move_on_after(BEGUN):
        try:
            await conn.execute(ENDLESS)
        finally:
            with anyio.CancelScope(shield=True):
                rows = await conn.fetch_all("SELECT 1")
    assert rows == [(1,)]
    await assert_healthy(conn)
