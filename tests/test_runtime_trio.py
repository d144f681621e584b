"""trio's ways to run an operation: nurseries, checkpoints, guest mode, and runs in sequence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from healthy import assert_healthy
from situations import ENDLESS, NUMBERS, SLOW, count

import aiolibsql

Conn = aiolibsql.Connection[Any]
Use = Callable[[Conn], Awaitable[Any]]


@asynccontextmanager
async def connection(**options: Any) -> AsyncIterator[Conn]:
    async with aiolibsql.connect(":memory:", **options) as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn
        await conn.rollback()
        await assert_healthy(conn)


async def opened() -> Conn:
    return await aiolibsql.connect(":memory:")


def test_nursery_starts_operations_soon() -> None:
    async def main() -> None:
        async with connection() as conn:
            async with trio.open_nursery() as nursery:
                for value in range(50):
                    nursery.start_soon(conn.execute, "INSERT INTO t VALUES (?)", (value,))
            assert await count(conn) == 50

    trio.run(main)


def test_task_of_an_operation_has_a_name() -> None:
    async def main() -> None:
        async with connection() as conn, trio.open_nursery() as nursery:
            nursery.start_soon(conn.execute, ENDLESS)
            await trio.testing.wait_all_tasks_blocked()
            names = {task.name for task in nursery.child_tasks}
            assert len(names) == 1
            assert "execute" in names.pop()
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_run_takes_an_operation_itself() -> None:
    conn = trio.run(opened)
    assert trio.run(conn.fetch_all, "SELECT 1") == [(1,)]
    trio.run(conn.close)


AWAITS: dict[str, Use] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executemany of nothing": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", []),
    "executescript": lambda conn: conn.executescript("SELECT 1"),
    "empty executescript": lambda conn: conn.executescript(""),
    "empty execute": lambda conn: conn.execute(""),
    "fetch_all": lambda conn: conn.fetch_all("SELECT 1"),
    "fetch_one": lambda conn: conn.fetch_one("SELECT 1"),
    "fetch_optional": lambda conn: conn.fetch_optional("SELECT 1 WHERE 0"),
    "fetch_scalar": lambda conn: conn.fetch_scalar("SELECT 1"),
    "execute_insert": lambda conn: conn.execute_insert("INSERT INTO t VALUES (1)"),
    "execute_fetchall": lambda conn: conn.execute_fetchall("SELECT 1"),
    "begin": lambda conn: conn.begin("DEFERRED"),
    "commit of nothing": lambda conn: conn.commit(),
    "rollback of nothing": lambda conn: conn.rollback(),
    "cursor": lambda conn: conn.cursor(),
    "close": lambda conn: conn.close(),
    "open of an open connection": lambda conn: conn,
}


@pytest.mark.parametrize("use", AWAITS.values(), ids=AWAITS)
def test_every_await_on_a_connection_is_a_checkpoint(use: Use) -> None:
    async def main() -> None:
        conn = await aiolibsql.connect(":memory:")
        await conn.execute("CREATE TABLE t (x)")
        with trio.testing.assert_checkpoints():
            await use(conn)
        await conn.rollback() if not conn.closed else None
        with trio.testing.assert_checkpoints():
            await conn.close()

    trio.run(main)


FETCHES: dict[str, Callable[[aiolibsql.Cursor[Any]], Awaitable[Any]]] = {
    "fetchone": lambda cursor: cursor.fetchone(),
    "fetchmany": lambda cursor: cursor.fetchmany(2),
    "fetchmany of nothing": lambda cursor: cursor.fetchmany(0),
    "fetchall": lambda cursor: cursor.fetchall(),
    "close": lambda cursor: cursor.close(),
}


@pytest.mark.parametrize("rows", [0, 5, 500])
@pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES)
def test_every_await_on_a_cursor_is_a_checkpoint_even_with_its_rows_at_hand(
    fetch: Callable[[aiolibsql.Cursor[Any]], Awaitable[Any]], rows: int
) -> None:
    async def main() -> None:
        async with connection() as conn:
            cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT {rows}")
            for _ in range(3):
                with trio.testing.assert_checkpoints():
                    await fetch(cursor)
            await cursor.close()

    trio.run(main)


def test_execute_that_fails_is_a_checkpoint() -> None:
    async def main() -> None:
        async with connection() as conn:
            with trio.testing.assert_checkpoints(), pytest.raises(aiolibsql.OperationalError):
                await conn.execute("SELECT * FROM missing")

    trio.run(main)


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_iteration_is_a_checkpoint(rows: int) -> None:
    async def main() -> None:
        async with connection() as conn:
            cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT {rows}")
            with trio.testing.assert_checkpoints():
                assert [row async for row in cursor] == [(i,) for i in range(1, rows + 1)]

    trio.run(main)


def test_context_managers_are_checkpoints() -> None:
    async def main() -> None:
        with trio.testing.assert_checkpoints():
            conn = await aiolibsql.connect(":memory:").__aenter__()
        manager = conn.execute("SELECT 1")
        with trio.testing.assert_checkpoints():
            await manager.__aenter__()
        with trio.testing.assert_checkpoints():
            await manager.__aexit__(None, None, None)
        with trio.testing.assert_checkpoints():
            await conn.__aexit__(None, None, None)

    trio.run(main)


def test_move_on_after_and_fail_after_bound_a_query() -> None:
    async def main() -> None:
        async with connection() as conn:
            with trio.move_on_after(0.03) as scope:
                await conn.execute(ENDLESS)
            assert scope.cancelled_caught
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.03):
                await conn.execute(ENDLESS)
            with trio.fail_after(20):
                assert await conn.fetch_scalar("SELECT 1") == 1

    trio.run(main)


def test_streak_of_ready_rows_does_not_starve_other_tasks() -> None:
    async def tick(state: dict[str, float]) -> None:
        last = time.perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            state["longest"] = max(state["longest"], now - last)
            state["ticks"], last = state["ticks"] + 1, now

    async def measure() -> dict[str, float]:
        async with connection() as conn:
            rows = [(i,) for i in range(1, 5001)]
            await conn.executemany("INSERT INTO t VALUES (?)", rows)
            cursor = await conn.execute("SELECT x FROM t")
            state = {"ticks": 0.0, "longest": 0.0}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick, state)
                await trio.lowlevel.checkpoint()
                for row in rows:
                    assert await cursor.fetchone() == row
                nursery.cancel_scope.cancel()
            return state

    tries = [trio.run(measure)]
    while len(tries) < 3 and tries[-1]["longest"] > 1:
        tries.append(trio.run(measure))
    assert tries[-1]["ticks"] > 1000, "every await is a turn for the other task"
    assert tries[-1]["longest"] < 1, tries


def test_several_runs_in_sequence_use_one_connection() -> None:
    async def use(conn: Conn, value: int) -> None:
        await conn.execute("INSERT INTO t VALUES (?)", (value,))
        assert await count(conn) == value + 1
        await conn.commit()

    async def create() -> Conn:
        conn = await opened()
        await conn.execute("CREATE TABLE t (x)")
        return conn

    conn = trio.run(create)
    for value in range(5):
        trio.run(use, conn, value)
    trio.run(conn.close)


def test_run_that_ends_in_flight_leaves_the_connection_usable() -> None:
    async def leave(conn: Conn) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(conn.execute, ENDLESS)
            await trio.sleep(0.01)
            raise LookupError

    conn = trio.run(opened)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - a group
        trio.run(leave, conn)
    trio.run(assert_healthy, conn)
    trio.run(conn.close)


def test_anyio_on_trio_shares_the_connection_with_trio() -> None:
    async def main() -> None:
        async with connection() as conn:
            async with anyio.create_task_group() as tasks:
                for value in range(20):
                    tasks.start_soon(conn.execute, "INSERT INTO t VALUES (?)", (value,))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.execute, "INSERT INTO t VALUES (20)")
            with anyio.move_on_after(0.02) as scope:
                await conn.execute(ENDLESS)
            assert scope.cancelled_caught
            assert await count(conn) == 21

    anyio.run(main, backend="trio")


def run_as_guest(main: Callable[[], Awaitable[Any]], beside: Callable[[], Awaitable[Any]]) -> Any:
    """Run trio on top of asyncio's loop, which has a task of its own beside it."""

    async def host() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
        )
        besides = asyncio.ensure_future(beside())
        return (await done).unwrap(), await besides

    return asyncio.run(host())


def test_guest_mode_has_both_loops_on_one_thread_and_one_connection() -> None:
    conn = trio.run(opened)

    async def in_trio() -> int:
        await trio.lowlevel.checkpoint()
        rows = 0
        for value in range(100):
            with trio.testing.assert_checkpoints():
                assert await conn.fetch_scalar("SELECT ?", (value,)) == value
            rows += 1
        with trio.move_on_after(0.02) as scope:
            await conn.execute(ENDLESS)
        assert scope.cancelled_caught
        return rows

    async def in_asyncio() -> int:
        await asyncio.sleep(0)
        rows = 0
        for value in range(100):
            assert await conn.fetch_scalar("SELECT ?", (value,)) == value
            rows += 1
        return rows

    assert run_as_guest(in_trio, in_asyncio) == (100, 100)
    trio.run(assert_healthy, conn)
    trio.run(conn.close)


def test_trio_run_on_a_thread_inside_another_run_uses_the_same_connection() -> None:
    async def main() -> None:
        async with connection() as conn:

            def run_another() -> Any:
                return trio.run(conn.fetch_scalar, SLOW)

            assert await trio.to_thread.run_sync(run_another) == 300000

    trio.run(main)
