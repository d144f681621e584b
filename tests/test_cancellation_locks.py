"""Cancellation of waits for another process's lock, on every runtime; a commit waits too."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import (
    BEGUN,
    NUMBERS,
    PROMPT,
    Attempt,
    OtherProcess,
    attempt,
    attempt_cancelled,
    best_of_three,
    count,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]
Use = Callable[[Conn], Awaitable[Any]]


@pytest.fixture
async def conn(file_backend: Backend) -> AsyncIterator[Conn]:
    async with file_backend.connect(timeout=60) as connection:
        await connection.execute("PRAGMA journal_mode=DELETE")
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        await connection.rollback()


@pytest.fixture
def other(file_backend: Backend, conn: Conn) -> Iterator[OtherProcess]:  # noqa: ARG001 - after it
    with OtherProcess(file_backend.path) as process:
        yield process


WRITES: dict[str, Use] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (1)"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)]),
    "executescript": lambda conn: conn.executescript("INSERT INTO t VALUES (1);"),
    "begin": lambda conn: conn.begin("IMMEDIATE"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_write_waiting_for_another_process_cancelled_gives_up_at_once(
    conn: Conn, other: OtherProcess, write: Use
) -> None:
    other.run("BEGIN IMMEDIATE")

    async def measure() -> float:
        outcome = await attempt_cancelled(write(conn))
        assert outcome.is_cancelled
        began = time.perf_counter()
        assert await count(conn) == 0
        return max(outcome.seconds, time.perf_counter() - began)

    await best_of_three(measure, PROMPT)
    assert not conn.in_transaction, "the BEGIN of a cancelled write was left open"
    other.run("INSERT INTO t VALUES (9)", "COMMIT")
    assert await conn.fetch_all("SELECT x FROM t") == [(9,)]
    await assert_healthy(conn)


async def test_read_waiting_for_another_process_cancelled_gives_up_at_once(
    conn: Conn, other: OtherProcess
) -> None:
    other.run("BEGIN EXCLUSIVE")

    async def measure() -> float:
        outcome = await attempt_cancelled(conn.execute("SELECT * FROM t"))
        assert outcome.is_cancelled
        began = time.perf_counter()
        # It touches no file, so it needs no lock.
        assert await conn.fetch_all("SELECT 1") == [(1,)]
        return max(outcome.seconds, time.perf_counter() - began)

    await best_of_three(measure, PROMPT)
    other.run("COMMIT")
    await assert_healthy(conn)


async def test_write_in_a_transaction_waiting_for_a_lock_cancelled_keeps_the_transaction(
    conn: Conn, other: OtherProcess
) -> None:
    await conn.execute("CREATE TABLE u (x)")
    await conn.begin("DEFERRED")
    other.run("BEGIN IMMEDIATE")
    outcome = await attempt_cancelled(conn.execute("INSERT INTO t VALUES (1)"))
    assert outcome.is_cancelled
    assert await count(conn) == 0
    assert conn.in_transaction
    other.run("ROLLBACK")
    await conn.execute("INSERT INTO t VALUES (2)")
    await conn.commit()
    assert await conn.fetch_all("SELECT x FROM t") == [(2,)]
    await assert_healthy(conn)


async def test_write_after_a_cancelled_wait_gets_the_lock_when_it_is_free(
    conn: Conn, other: OtherProcess
) -> None:
    other.run("BEGIN IMMEDIATE")
    assert (await attempt_cancelled(conn.execute("INSERT INTO t VALUES (1)"))).is_cancelled
    kept = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute("INSERT INTO t VALUES (2)"), kept)
        await turns()
        other.run("COMMIT")
    assert kept.error is None
    await conn.commit()
    assert await conn.fetch_all("SELECT x FROM t") == [(2,)]
    await assert_healthy(conn)


async def test_commit_waiting_for_a_reader_cancelled_gives_up_at_once(
    conn: Conn, other: OtherProcess
) -> None:
    async def measure() -> float:
        await conn.execute("INSERT INTO t VALUES (1)")
        other.run("BEGIN", "SELECT * FROM t")
        outcome = await attempt_cancelled(conn.commit())
        assert outcome.is_cancelled
        # It was not committed, and it can be undone.
        assert conn.in_transaction
        began = time.perf_counter()
        await conn.rollback()
        freed = time.perf_counter() - began
        other.run("COMMIT")
        assert await count(conn) == 0
        return max(outcome.seconds, freed)

    await best_of_three(measure, PROMPT)
    await assert_healthy(conn)


async def test_commit_waiting_for_a_reader_cancelled_can_be_repeated(
    conn: Conn, other: OtherProcess
) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    other.run("BEGIN", "SELECT * FROM t")
    assert (await attempt_cancelled(conn.commit())).is_cancelled
    other.run("COMMIT")
    await conn.commit()
    assert other.run("SELECT x FROM t") == "[(1,)]"
    await assert_healthy(conn)


async def test_commit_under_move_on_after_while_a_reader_holds_it_up(
    conn: Conn, other: OtherProcess
) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    other.run("BEGIN", "SELECT * FROM t")
    began = time.perf_counter()
    with anyio.move_on_after(BEGUN) as scope:
        await conn.commit()
    assert scope.cancelled_caught
    assert time.perf_counter() - began < 1
    await conn.rollback()
    other.run("COMMIT")
    await assert_healthy(conn)


async def test_rollback_is_not_held_up_by_another_process(conn: Conn, other: OtherProcess) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    other.run("BEGIN", "SELECT * FROM t")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await conn.rollback()
    assert not conn.in_transaction
    other.run("COMMIT")
    assert await count(conn) == 0
    await assert_healthy(conn)


async def test_cursor_paused_while_a_write_waits_survives_its_cancellation(
    conn: Conn, other: OtherProcess
) -> None:
    cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
    rows = await cursor.fetchmany(10)
    other.run("BEGIN IMMEDIATE")
    assert (await attempt_cancelled(conn.execute("INSERT INTO t VALUES (1)"))).is_cancelled
    rows += await cursor.fetchall()
    assert rows == [(i,) for i in range(1, 1001)]
    other.run("COMMIT")
    await assert_healthy(conn)


async def test_open_of_a_locked_file_is_prompt_whether_cancelled_or_not(
    file_backend: Backend, other: OtherProcess
) -> None:
    other.run("BEGIN EXCLUSIVE")
    connection = file_backend.second(timeout=60)
    await attempt_cancelled(connection, turns)
    with anyio.fail_after(5):
        await connection
    other.run("COMMIT")
    await assert_healthy(connection)
    await connection.close()
