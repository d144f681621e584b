"""Cancellation in asyncio's own words: tasks, time-outs, groups, and the coroutine protocol."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from healthy import assert_healthy
from situations import BEGUN, ENDLESS, PROMPT, SLOW, block_until, count

import aiolibsql

uvloop = pytest.importorskip("uvloop")

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]
Conn = aiolibsql.Connection[Any]

# Python 3.10 has neither.
timeout: Any = getattr(asyncio, "timeout", None)
TaskGroup: Any = getattr(asyncio, "TaskGroup", None)

since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout, cancelling()")


def eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    return loop


LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
    pytest.param(
        eager_loop,
        id="eager",
        marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 brought eager tasks"),
    ),
]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine function in a fresh loop of each kind."""

    def run_in_loop(main: Main[T]) -> T:
        loop: asyncio.AbstractEventLoop = request.param()
        try:
            return loop.run_until_complete(main())
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run_in_loop


@asynccontextmanager
async def connection(**options: Any) -> AsyncIterator[Conn]:
    async with aiolibsql.connect(":memory:", **options) as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn
        if not conn.closed:
            await assert_healthy(conn)


@asynccontextmanager
async def behind_a_slow_query(conn: Conn) -> AsyncIterator[None]:
    """Have what the body submits wait in the queue for tens of milliseconds."""
    slow = asyncio.ensure_future(conn.execute(SLOW))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not slow.done()
    yield
    await slow


def test_cancelled_task_raises_and_frees_the_connection_at_once(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            for tries_left in (2, 1, 0):
                task = asyncio.ensure_future(conn.execute(ENDLESS))
                await asyncio.sleep(BEGUN)
                began = time.perf_counter()
                assert task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                raised = time.perf_counter()
                assert task.cancelled()
                assert await conn.fetch_all("SELECT 1") == [(1,)]
                taken = (raised - began, time.perf_counter() - raised)
                if max(taken) <= PROMPT:
                    break
                assert tries_left, taken

    run(main)


def test_task_cancelled_before_its_first_step_runs_nothing() -> None:
    async def main() -> None:
        async with connection(isolation_level=None) as conn:
            task = asyncio.create_task(conn.execute("INSERT INTO t VALUES (1)"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await count(conn) == 0

    asyncio.run(main())


async def cancelled_at_once(operation: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(operation)
    # An eager task may have ended in its first step.
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task


def test_rollback_in_a_task_cancelled_before_its_first_step_is_done(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            await cancelled_at_once(conn.rollback())
            assert await count(conn) == 0
            assert not conn.in_transaction

    run(main)


async def close_in_a_cancelled_task(conn: Conn) -> None:
    await cancelled_at_once(conn.close())
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.execute("SELECT 1")


def test_close_in_a_task_cancelled_before_its_first_step_is_done(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await close_in_a_cancelled_task(conn)

    run(main)


def test_close_in_a_cancelled_task_still_warns_of_discarded_changes(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            await close_in_a_cancelled_task(conn)
            gc.collect()

    with pytest.warns(ResourceWarning, match="uncommitted"):
        run(main)


@since_311
def test_cancel_message_arrives_with_the_cancellation(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            task = asyncio.ensure_future(conn.execute(ENDLESS))
            await asyncio.sleep(BEGUN)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task

    run(main)


def test_wait_for_gives_up_in_time(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            began = time.perf_counter()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(conn.execute(ENDLESS), 0.05)
            assert time.perf_counter() - began < 1

    run(main)


def test_gather_cancelled_stops_every_operation(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            gathered = asyncio.gather(*(conn.execute(ENDLESS) for _ in range(5)))
            await asyncio.sleep(BEGUN)
            gathered.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gathered

    run(main)


def test_shielded_task_goes_on_when_its_waiter_is_cancelled(run: Any) -> None:
    async def main() -> None:
        async with connection(isolation_level=None) as conn:
            inner = asyncio.ensure_future(conn.fetch_scalar(SLOW))

            async def wait() -> None:
                await asyncio.shield(inner)

            outer = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            outer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await outer
            assert not inner.done()
            assert await inner == 300000

    run(main)


def test_swallowed_cancellation_lets_the_task_use_the_connection(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:

            async def stubborn() -> Any:
                try:
                    await conn.execute(ENDLESS)
                except asyncio.CancelledError:
                    return await conn.fetch_all("SELECT 1")

            task = asyncio.ensure_future(stubborn())
            await asyncio.sleep(BEGUN)
            task.cancel()
            assert await task == [(1,)]

    run(main)


@since_311
@pytest.mark.parametrize("method", ["rollback", "close"])
def test_timeout_over_a_shielded_operation_fires_after_it_and_stays_right(
    run: Any, method: str
) -> None:
    async def main() -> None:
        async with connection() as conn:
            task: Any = asyncio.current_task()
            await conn.begin("DEFERRED")
            async with behind_a_slow_query(conn):
                with pytest.raises(TimeoutError) as caught:
                    async with timeout(0.005):
                        await getattr(conn, method)()
                assert not isinstance(caught.value, aiolibsql.Error)
                is_done = conn.closed if method == "close" else not conn.in_transaction
                assert is_done, "it did not wait for the end"
                assert task.cancelling() == 0
            # No cancellation is left behind for the next await.
            await asyncio.sleep(0)

    run(main)


def test_shielded_operation_cancelled_again_and_again_still_ends_cancelled(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            async with behind_a_slow_query(conn):
                task = asyncio.ensure_future(conn.rollback())
                for _ in range(3):
                    await asyncio.sleep(0)
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not conn.in_transaction
            assert task.cancelled()
            if sys.version_info >= (3, 11):
                assert task.cancelling() == 3

    run(main)


@since_311
def test_task_group_that_fails_waits_for_a_shielded_operation(run: Any) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.002)
        raise LookupError

    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            async with behind_a_slow_query(conn):
                with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group
                    async with TaskGroup() as tasks:
                        tasks.create_task(conn.rollback())
                        tasks.create_task(fail())
                (error,) = caught.value.exceptions  # type: ignore[attr-defined]
                assert isinstance(error, LookupError)
                assert not conn.in_transaction
            assert await count(conn) == 0

    run(main)


@since_311
def test_task_group_that_fails_stops_a_running_query(run: Any) -> None:
    async def fail() -> None:
        await asyncio.sleep(BEGUN)
        raise LookupError

    async def main() -> None:
        async with connection() as conn:
            began = time.perf_counter()
            with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group
                async with TaskGroup() as tasks:
                    tasks.create_task(conn.execute(ENDLESS))
                    tasks.create_task(fail())
            assert len(caught.value.exceptions) == 1  # type: ignore[attr-defined]
            assert time.perf_counter() - began < 1

    run(main)


def test_commit_that_ran_is_committed_and_its_task_is_cancelled_at_the_resume(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            async with behind_a_slow_query(conn):
                task = asyncio.ensure_future(conn.commit())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                block_until(lambda: not conn.in_transaction)
                assert not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await conn.rollback()
            assert await count(conn) == 1

    run(main)


@since_311
def test_timeout_over_a_commit_that_ran_becomes_a_time_out_and_commits(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            loop = asyncio.get_running_loop()
            async with behind_a_slow_query(conn):
                with pytest.raises(TimeoutError):
                    async with timeout(None) as scope:
                        loop.call_soon(block_until, lambda: not conn.in_transaction)
                        loop.call_soon(lambda: scope.reschedule(loop.time()))
                        loop.call_soon(time.sleep, 0.001)
                        await conn.commit()
                        await asyncio.sleep(1)
                task: Any = asyncio.current_task()
                assert task.cancelling() == 0
            await conn.rollback()
            assert await count(conn) == 1

    run(main)


def test_throw_into_a_suspended_operation_raises_it_and_stops_the_query(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            operation = conn.execute(ENDLESS)
            operation.send(None)
            with pytest.raises(LookupError, match="mine"):
                operation.throw(LookupError("mine"))
            with pytest.raises(RuntimeError, match="cannot reuse"):
                operation.send(None)
            assert await conn.fetch_all("SELECT 1") == [(1,)]

    run(main)


def test_close_of_a_suspended_operation_stops_the_query(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            operation = conn.execute(ENDLESS)
            operation.send(None)
            operation.close()
            assert await conn.fetch_all("SELECT 1") == [(1,)]

    run(main)


def test_suspended_operation_that_is_dropped_stops_the_query(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn:
            conn.execute(ENDLESS).send(None)
            assert await conn.fetch_all("SELECT 1") == [(1,)]

    run(main)


def test_operation_in_a_cancelled_task_of_another_connection_does_not_disturb(run: Any) -> None:
    async def main() -> None:
        async with connection() as conn, connection() as other:
            doomed = asyncio.ensure_future(other.execute(ENDLESS))
            kept = asyncio.ensure_future(conn.fetch_scalar(SLOW))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            doomed.cancel()
            assert await kept == 300000
            with pytest.raises(asyncio.CancelledError):
                await doomed

    run(main)


def test_fetchone_cancelled_whenever_the_loop_turns_loses_no_row(run: Any) -> None:
    count = 20000
    numbers = f"WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n LIMIT {count})"

    async def main() -> None:
        async with connection() as conn:
            # A write hands over all the rows it returns, so no fetch has to wait.
            cursor = await conn.execute(f"{numbers} INSERT INTO t SELECT x FROM n RETURNING x")
            got: list[int] = []

            async def read() -> None:
                while (row := await cursor.fetchone()) is not None:
                    got.append(row[0])

            cancelled = 0
            while True:
                task = asyncio.ensure_future(read())
                await asyncio.sleep(0)
                if task.done():
                    break
                task.cancel()
                cancelled += 1
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert got == list(range(count))
            assert cancelled > 10
            await conn.commit()

    run(main)
