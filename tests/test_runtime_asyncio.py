"""asyncio's ways to run an operation, its loops, and how they end."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from healthy import assert_healthy
from situations import ENDLESS, NUMBERS, SLOW, block_until, count

import aiolibsql

Conn = aiolibsql.Connection[Any]
Main = Callable[[], Coroutine[Any, Any, Any]]

# Python 3.10 has neither.
timeout: Any = getattr(asyncio, "timeout", None)
TaskGroup: Any = getattr(asyncio, "TaskGroup", None)

since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup and timeout")
since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks")


def uvloop_run(main: Coroutine[Any, Any, Any]) -> Any:
    uvloop = pytest.importorskip("uvloop")
    return uvloop.run(main)


def debug_run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main, debug=True)


def eager_run(main: Coroutine[Any, Any, Any]) -> Any:
    if sys.version_info < (3, 12):
        main.close()
        pytest.skip("3.12 brought eager tasks")

    async def eagerly() -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await asyncio.create_task(main)

    return asyncio.run(eagerly())


RUNNERS = {"asyncio": asyncio.run, "debug": debug_run, "uvloop": uvloop_run, "eager": eager_run}


@pytest.fixture(params=list(RUNNERS.values()), ids=list(RUNNERS))
def run(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def connection(**options: Any) -> AsyncIterator[Conn]:
    async with aiolibsql.connect(":memory:", **options) as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn
        await conn.rollback()
        await assert_healthy(conn)


def test_create_task_runs_an_operation(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            task = asyncio.create_task(conn.execute("INSERT INTO t VALUES (1)"), name="insert")
            cursor = await task
            assert cursor.rowcount == 1
            assert "insert" in repr(task)

    run(main())


@since_311
def test_task_group_runs_operations(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            async with TaskGroup() as tasks:
                for value in range(50):
                    tasks.create_task(conn.execute("INSERT INTO t VALUES (?)", (value,)))
            assert await count(conn) == 50

    run(main())


def test_gather_returns_values_and_errors_in_order(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            got = await asyncio.gather(
                conn.fetch_scalar("SELECT 1"),
                conn.fetch_all("SELECT * FROM missing"),
                conn.fetch_one("SELECT 3, 4"),
                conn.fetch_optional("SELECT 5 WHERE 0"),
                return_exceptions=True,
            )
            assert got[0] == 1
            assert isinstance(got[1], aiolibsql.OperationalError)
            assert got[2:] == [(3, 4), None]

    run(main())


def test_wait_for_returns_the_value(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            assert await asyncio.wait_for(conn.fetch_scalar("SELECT 1"), 20) == 1

    run(main())


@since_311
def test_timeout_block_takes_an_operation(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            async with timeout(20):
                assert await conn.fetch_scalar("SELECT 1") == 1
            with pytest.raises(TimeoutError):
                async with timeout(0.02):
                    await conn.execute(ENDLESS)

    run(main())


def test_shield_takes_an_operation(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            assert await asyncio.shield(conn.fetch_scalar("SELECT 1")) == 1

    run(main())


def test_as_completed_and_wait_take_operations(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            operations = [conn.fetch_scalar("SELECT ?", (value,)) for value in range(10)]
            seen = [await next_ for next_ in asyncio.as_completed(operations)]
            assert sorted(seen) == list(range(10))
            tasks = [asyncio.ensure_future(conn.fetch_scalar("SELECT 1")) for _ in range(3)]
            done, pending = await asyncio.wait(tasks)
            assert (len(done), len(pending)) == (3, 0)

    run(main())


def test_run_takes_an_operation_itself() -> None:
    async def opened() -> Conn:
        return await aiolibsql.connect(":memory:")

    conn = asyncio.run(opened())
    assert asyncio.run(conn.fetch_all("SELECT 1")) == [(1,)]
    asyncio.run(conn.close())


def test_operations_of_one_connection_run_in_the_order_of_their_await(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await asyncio.gather(
                *(conn.execute("INSERT INTO t VALUES (?)", (value,)) for value in range(300))
            )
            rows = await conn.fetch_all("SELECT x FROM t ORDER BY rowid")
            assert rows == [(value,) for value in range(300)]

    run(main())


def test_callbacks_scheduled_around_an_await_keep_their_order(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            loop = asyncio.get_running_loop()
            order: list[int] = []
            for i in range(100):
                loop.call_soon(order.append, i)
            await conn.fetch_all("SELECT 1")
            await asyncio.sleep(0)
            assert order == list(range(100))

    run(main())


def test_context_variables_stay_each_tasks_own_across_an_await(run: Any) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def use(conn: Conn, value: int) -> None:
        variable.set(value)
        for _ in range(20):
            await conn.fetch_all("SELECT 1")
            assert variable.get() == value
        cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 300")
        async for _row in cursor:
            assert variable.get() == value

    async def main() -> None:
        async with connection() as conn:
            await asyncio.gather(*(use(conn, value) for value in range(20)))

    run(main())


def test_current_task_is_right_after_an_await(run: Any) -> None:
    async def use(conn: Conn) -> None:
        me = asyncio.current_task()
        for _ in range(20):
            await conn.fetch_all("SELECT 1")
            assert asyncio.current_task() is me

    async def main() -> None:
        async with connection() as conn:
            await asyncio.gather(*(use(conn) for _ in range(10)))

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exit_out_of_a_woken_task_ends_the_loop_and_loses_no_other_completion(error: Any) -> None:
    async def use(conn: Conn, value: int, seen: list[int]) -> None:
        await conn.execute("INSERT INTO t VALUES (?)", (value,))
        if value == 5:
            raise error
        seen.append(value)

    async def opened() -> Conn:
        conn = await aiolibsql.connect(":memory:", isolation_level=None)
        await conn.execute("CREATE TABLE t (x)")
        return conn

    loop = asyncio.new_event_loop()
    conn = loop.run_until_complete(opened())
    before = conn.total_changes
    seen: list[int] = []
    tasks = [loop.create_task(use(conn, value, seen)) for value in range(10)]
    # All of them complete while the loop is away, so that one drain serves them all.
    loop.call_soon(block_until, lambda: conn.total_changes == before + 10)
    with pytest.raises(error):
        loop.run_until_complete(asyncio.wait(tasks))
    # The completions behind the exception were put back, and the loop can go on.
    done, pending = loop.run_until_complete(asyncio.wait(tasks, timeout=20))
    assert (len(done), len(pending)) == (10, 0)
    assert isinstance(tasks[5].exception(), error)
    assert sorted(seen) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    loop.run_until_complete(assert_healthy(conn))
    loop.run_until_complete(conn.close())
    loop.close()


def test_control_c_during_a_query_ends_the_run_and_stops_the_query() -> None:
    async def opened() -> Conn:
        return await aiolibsql.connect(":memory:")

    async def main(conn: Conn) -> None:
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        asyncio.get_running_loop().call_later(0.05, signal.pthread_kill, main_thread, signal.SIGINT)
        await conn.execute(ENDLESS)

    conn = asyncio.run(opened())
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main(conn))
    asyncio.run(assert_healthy(conn))
    asyncio.run(conn.close())


def test_run_that_ends_with_operations_in_flight_leaves_the_connection_usable(run: Any) -> None:
    async def leave(conn: Conn) -> None:
        for _ in range(10):
            asyncio.ensure_future(conn.execute(ENDLESS))  # noqa: RUF006 - the run's end cancels it
        await asyncio.sleep(0.01)

    async def opened() -> Conn:
        return await aiolibsql.connect(":memory:")

    conn = run(opened())
    run(leave(conn))
    run(assert_healthy(conn))
    run(conn.close())


def test_loop_closed_without_a_word_in_flight_leaves_the_connection_usable() -> None:
    async def opened() -> Conn:
        return await aiolibsql.connect(":memory:")

    conn = asyncio.run(opened())
    loop = asyncio.new_event_loop()
    operation = conn.fetch_all(SLOW)
    loop.call_soon(operation.send, None)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    # It completes now, into a loop that is gone.
    assert asyncio.run(conn.fetch_all("SELECT 1")) == [(1,)]
    operation.close()
    asyncio.run(assert_healthy(conn))
    asyncio.run(conn.close())


def test_connection_is_used_in_several_runs_in_sequence(run: Any) -> None:
    async def opened() -> Conn:
        conn = await aiolibsql.connect(":memory:")
        await conn.execute("CREATE TABLE t (x)")
        return conn

    async def use(conn: Conn, value: int) -> None:
        await conn.execute("INSERT INTO t VALUES (?)", (value,))
        assert await count(conn) == value + 1
        await conn.commit()

    conn = run(opened())
    for value in range(5):
        run(use(conn, value))
    run(conn.close())


def test_streak_of_ready_rows_does_not_starve_other_tasks(run: Any) -> None:
    async def read(cursor: aiolibsql.Cursor[Any]) -> None:
        for i in range(1, 20001):
            assert await cursor.fetchone() == (i,)

    async def tick(stopped: asyncio.Event) -> tuple[int, float]:
        ticks, longest, last = 0, 0.0, time.perf_counter()
        while not stopped.is_set():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest = max(longest, now - last)
            ticks, last = ticks + 1, now
        return ticks, longest

    async def measure() -> tuple[int, float]:
        async with connection() as conn:
            rows = [(i,) for i in range(1, 20001)]
            await conn.executemany("INSERT INTO t VALUES (?)", rows)
            cursor = await conn.execute("SELECT x FROM t")
            stopped = asyncio.Event()
            ticker = asyncio.ensure_future(tick(stopped))
            await asyncio.sleep(0)
            await read(cursor)
            stopped.set()
            return await ticker

    tries = [run(measure())]
    while len(tries) < 3 and tries[-1][1] > 1:
        tries.append(run(measure()))
    ticks, longest = tries[-1]
    assert ticks > 10, "the other task had no turn"
    assert longest < 1, tries


def test_debug_mode_reports_no_slow_callback_for_a_large_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.1
        async with connection() as conn:
            rows = await conn.fetch_all(f"{NUMBERS} SELECT i, 'text' FROM n LIMIT 100000")
            assert len(rows) == 100000

    asyncio.run(main(), debug=True)
    assert [record for record in caplog.records if "took" in record.getMessage()] == []


@since_312
def test_eager_task_that_needs_no_wait_ends_at_once() -> None:
    async def main() -> None:
        factory: Any = getattr(asyncio, "eager_task_factory", None)
        asyncio.get_running_loop().set_task_factory(factory)
        async with connection() as conn:
            at_once = 0
            for _ in range(20):
                cursor = await conn.execute("SELECT 1")
                task = asyncio.ensure_future(cursor.fetchone())
                at_once += task.done()
                assert await task == (1,)
            # Not in a turn that was long already, as when the thread was interrupted.
            assert at_once > 10

    asyncio.run(main())
