"""Cancellation in trio's own words: scopes, checkpoints, and what a cancelled scope submits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from healthy import assert_healthy
from situations import BEGUN, ENDLESS, NUMBERS, PROMPT, SLOW, block_until, count

import aiolibsql

Conn = aiolibsql.Connection[Any]
Use = Callable[[Conn], Awaitable[Any]]


@asynccontextmanager
async def connection(**options: Any) -> AsyncIterator[Conn]:
    async with aiolibsql.connect(":memory:", **options) as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn
        if not conn.closed:
            await assert_healthy(conn)


USES: dict[str, Use] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (1)"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda conn: conn.executescript("INSERT INTO t VALUES (1)"),
    "fetch_all": lambda conn: conn.fetch_all("INSERT INTO t VALUES (1) RETURNING x"),
    "execute_insert": lambda conn: conn.execute_insert("INSERT INTO t VALUES (1)"),
    "begin": lambda conn: conn.begin("IMMEDIATE"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_operation_in_a_cancelled_scope_submits_nothing(use: Use) -> None:
    async def main() -> None:
        async with connection() as conn:
            with trio.CancelScope() as scope:
                scope.cancel()
                await use(conn)
            assert scope.cancelled_caught
            assert await count(conn) == 0
            assert not conn.in_transaction

    trio.run(main)


def test_commit_in_a_cancelled_scope_submits_nothing() -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            with trio.CancelScope() as scope:
                scope.cancel()
                await conn.commit()
            assert scope.cancelled_caught
            assert await count(conn) == 1
            assert conn.in_transaction
            await conn.rollback()

    trio.run(main)


def test_open_in_a_cancelled_scope_opens_nothing(tmp_path: Any) -> None:
    async def main() -> None:
        conn = aiolibsql.connect(tmp_path / "new.db")
        with trio.CancelScope() as scope:
            scope.cancel()
            await conn
        assert scope.cancelled_caught
        assert not (tmp_path / "new.db").exists()
        async with conn:
            await assert_healthy(conn)

    trio.run(main)


@pytest.mark.parametrize("method", ["fetchone", "fetchmany", "fetchall"])
def test_fetch_in_a_cancelled_scope_takes_no_row(method: str) -> None:
    async def main() -> None:
        async with connection() as conn:
            cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 200")
            with trio.CancelScope() as scope:
                scope.cancel()
                await getattr(cursor, method)()
            assert scope.cancelled_caught
            assert await cursor.fetchall() == [(i,) for i in range(1, 201)]

    trio.run(main)


def test_iteration_in_a_cancelled_scope_is_cancelled_within_a_batch() -> None:
    async def main() -> None:
        async with connection() as conn:
            seen = 0
            with trio.CancelScope() as scope:
                async with conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 100000") as cursor:
                    async for _ in cursor:
                        seen += 1
                        scope.cancel()
            assert scope.cancelled_caught
            assert 1 <= seen < 100000

    trio.run(main)


@pytest.mark.parametrize("method", ["rollback", "close"])
def test_rollback_and_close_in_a_cancelled_scope_are_done_and_the_next_checkpoint_raises(
    method: str,
) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.begin("DEFERRED")
            with trio.CancelScope() as scope:
                scope.cancel()
                await getattr(conn, method)()
                await trio.lowlevel.checkpoint()
                pytest.fail("the scope was forgotten")
            assert scope.cancelled_caught
            assert conn.closed if method == "close" else not conn.in_transaction

    trio.run(main)


def test_connection_left_in_a_cancelled_scope_is_closed_when_the_scope_ends() -> None:
    async def main() -> None:
        for _ in range(50):
            conn = aiolibsql.connect(":memory:", isolation_level=None)
            with trio.CancelScope() as scope:
                async with conn:
                    await conn.execute("CREATE TABLE t (x)")
                    scope.cancel()
            assert conn.closed
            assert scope.cancelled_caught

    trio.run(main)


def test_cursor_close_in_a_cancelled_scope_is_done() -> None:
    async def main() -> None:
        async with connection() as conn:
            cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 200")
            with trio.CancelScope() as scope:
                scope.cancel()
                await cursor.close()

    trio.run(main)  # connection() proves that no statement is open


def test_rollback_cancelled_while_queued_is_waited_for() -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.fetch_scalar, SLOW)
                await trio.testing.wait_all_tasks_blocked()
                with trio.move_on_after(0.005) as scope:
                    await conn.rollback()
                    assert not conn.in_transaction
                    await trio.lowlevel.checkpoint()
                assert scope.cancelled_caught
                assert not conn.in_transaction

    trio.run(main)


def test_cancelled_query_raises_and_frees_the_connection_at_once() -> None:
    async def main() -> None:
        async with connection() as conn:
            for tries_left in (2, 1, 0):
                with trio.move_on_after(BEGUN) as scope:
                    await conn.execute(ENDLESS)
                raised = time.perf_counter()
                late = trio.current_time() - scope.deadline
                assert scope.cancelled_caught
                assert await conn.fetch_all("SELECT 1") == [(1,)]
                taken = (late, time.perf_counter() - raised)
                if max(taken) <= PROMPT:
                    break
                assert tries_left, taken

    trio.run(main)


def test_commit_that_ran_is_committed_and_cancelled_at_the_next_checkpoint() -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.fetch_scalar, SLOW)
                await trio.testing.wait_all_tasks_blocked()
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_when_committed, conn, scope)
                    await conn.commit()
                    await trio.lowlevel.checkpoint()
                assert scope.cancelled_caught
            await conn.rollback()
            assert await count(conn) == 1

    async def cancel_when_committed(conn: Conn, scope: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        block_until(lambda: not conn.in_transaction)
        scope.cancel()

    trio.run(main)


def test_nursery_that_fails_stops_every_operation_on_the_connection() -> None:
    async def main() -> None:
        async with connection() as conn:
            with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group
                async with trio.open_nursery() as nursery:
                    for _ in range(5):
                        nursery.start_soon(conn.execute, ENDLESS)
                    await trio.sleep(BEGUN)
                    raise LookupError
            (error,) = caught.value.exceptions  # type: ignore[attr-defined]
            assert isinstance(error, LookupError)

    trio.run(main)


def test_completion_that_comes_with_the_cancellation_is_never_delivered_twice() -> None:
    # A reschedule after a successful abort crashes trio.
    async def main() -> None:
        async with connection() as conn:
            for round_ in range(300):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(conn.fetch_all, "SELECT 1")
                        await trio.lowlevel.checkpoint()
                        if round_ % 2:
                            time.sleep(0.0002)  # noqa: ASYNC251 - the loop must not drain
                        scope.cancel()

    trio.run(main)


def test_throw_into_an_operation_that_trio_suspended_stops_the_query() -> None:
    async def main() -> None:
        async with connection() as conn:

            async def leave() -> None:
                with contextlib.suppress(trio.Cancelled):
                    await conn.execute(ENDLESS)
                # Swallowed on purpose: the connection has to work in this very task.
                with trio.CancelScope(shield=True):
                    assert await conn.fetch_all("SELECT 1") == [(1,)]

            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave)
                await trio.sleep(BEGUN)
                nursery.cancel_scope.cancel()

    trio.run(main)
