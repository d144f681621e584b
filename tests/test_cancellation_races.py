"""Cancellation at every moment: operations are cancelled after random microseconds, many times.

Whatever the moment, a statement happened as a whole or not at all, and the connection goes on.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import NUMBERS, Attempt, attempt, count, turns

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

Conn = aiolibsql.Connection[Any]

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
ROUNDS = 3000 if IS_SOAK else 300
LATEST = 300e-6

# What a write may leave in the table: nothing, or all of it.
THREE = 3


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    async with backend.connect(timeout=60) as connection:
        await connection.execute("PRAGMA synchronous=OFF")
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        await connection.rollback()


def delays(name: str) -> list[float]:
    """Return the moments to cancel at; the same ones each time, and early ones too."""
    chance = random.Random(name)
    return [chance.choice([0.0, chance.uniform(0, LATEST)]) for _ in range(ROUNDS)]


async def cancel_after(delay: float, awaitable: Awaitable[Any]) -> Attempt:
    """Await something and cancel it after so many seconds, from its own task's point of view."""
    outcome = Attempt()
    with anyio.move_on_after(delay):
        await attempt(awaitable, outcome)
    return outcome


WRITES: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (1), (2), (3)"),
    "bulk": lambda conn: conn.execute(f"INSERT INTO t {NUMBERS} SELECT i FROM n LIMIT 3"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)]),
    "returning": lambda conn: conn.fetch_all("INSERT INTO t VALUES (1), (2), (3) RETURNING x"),
}


@pytest.mark.parametrize("name", WRITES)
async def test_autocommit_write_cancelled_at_any_moment_is_all_or_nothing(
    backend: Backend, name: str
) -> None:
    finished = 0
    async with backend.connect(isolation_level=None) as conn:
        await conn.execute("PRAGMA synchronous=OFF")
        await conn.execute("CREATE TABLE t (x)")
        before = 0
        for delay in delays(name):
            outcome = await cancel_after(delay, WRITES[name](conn))
            assert outcome.error is None
            finished += outcome.value is not None
            rows = await count(conn)
            assert rows in ((before + THREE,) if outcome.value else (before, before + THREE))
            assert not conn.in_transaction
            before = rows
        await assert_healthy(conn)
    assert finished < ROUNDS, "none was cancelled"


@pytest.mark.parametrize("name", WRITES)
async def test_implicit_transaction_cancelled_at_any_moment_ends_with_its_only_write(
    conn: Conn, name: str
) -> None:
    for delay in delays(name):
        outcome = await cancel_after(delay, WRITES[name](conn))
        assert outcome.error is None
        rows = await count(conn)
        assert (rows, conn.in_transaction) in [(0, False), (THREE, True)]
        assert outcome.value is None or rows == THREE
        await conn.rollback()
    await assert_healthy(conn)


async def test_commit_cancelled_at_any_moment_commits_or_leaves_the_transaction(
    conn: Conn,
) -> None:
    committed = 0
    for delay in delays("commit"):
        await conn.execute("INSERT INTO t VALUES (1), (2), (3)")
        outcome = await cancel_after(delay, conn.commit())
        assert outcome.error is None
        await conn.fetch_all("SELECT 1")
        committed += not conn.in_transaction
        await conn.rollback()
        assert await count(conn) == committed * THREE
    await assert_healthy(conn)
    assert committed, "a commit that runs is shielded, so some must have got through"


async def test_rollback_cancelled_at_any_moment_is_done(conn: Conn) -> None:
    for delay in delays("rollback"):
        await conn.execute("INSERT INTO t VALUES (1), (2), (3)")
        await cancel_after(delay, conn.rollback())
        assert not conn.in_transaction
        assert await count(conn) == 0
    await assert_healthy(conn)


async def test_fetches_cancelled_at_any_moment_show_rows_in_order_and_none_twice(
    conn: Conn,
) -> None:
    sql = f"{NUMBERS} SELECT i FROM n LIMIT 400"
    for delay in delays("fetch"):
        cursor = await conn.execute(sql)
        seen = [await cursor.fetchone()]
        outcome = await cancel_after(delay, cursor.fetchall())
        assert outcome.error is None
        seen += outcome.value or []
        if outcome.value is not None:
            assert seen == [(i,) for i in range(1, 401)]
        await cursor.close()
        assert await conn.fetch_one("SELECT 7") == (7,)
    await assert_healthy(conn)


async def test_iteration_cancelled_at_any_moment_shows_rows_in_order(conn: Conn) -> None:
    seen: list[int] = []

    async def iterate() -> None:
        async with conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 400") as cursor:
            async for (i,) in cursor:
                seen.append(i)

    for delay in delays("iterate"):
        seen.clear()
        await cancel_after(delay, iterate())
        assert seen == list(range(1, len(seen) + 1))
        assert await conn.fetch_one("SELECT 7") == (7,)
    await assert_healthy(conn)


async def test_open_cancelled_at_any_moment_can_be_repeated(backend: Backend) -> None:
    for delay in delays("open"):
        conn = backend.connect()
        await cancel_after(delay, conn)
        async with conn:
            assert await conn.fetch_one("SELECT 7") == (7,)


async def test_tasks_on_one_connection_cancelled_at_any_moment_hit_only_themselves(
    conn: Conn,
) -> None:
    async def read(outcome: Attempt) -> None:
        await attempt(conn.fetch_scalar("SELECT sum(value) FROM json_each('[1, 2, 3]')"), outcome)

    for delay in delays("tasks"):
        kept = [Attempt() for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            for outcome in kept:
                tasks.start_soon(read, outcome)
            with anyio.move_on_after(delay):
                await conn.execute(f"{NUMBERS} SELECT count(*) FROM n")
        assert [(outcome.value, outcome.error) for outcome in kept] == [(6, None)] * 4
    await turns()
    await assert_healthy(conn)
