"""Operation: what every public method returns is a lazy coroutine, for every kind of caller."""

from __future__ import annotations

import gc
import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, SLOW, Attempt, attempt, count, turns

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio

Make = Callable[[aiolibsql.Connection[Any]], Coroutine[Any, Any, Any]]

OPERATIONS: dict[str, Make] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (1)"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda conn: conn.executescript("INSERT INTO t VALUES (1)"),
    "execute_insert": lambda conn: conn.execute_insert("INSERT INTO t VALUES (1)"),
    "execute_fetchall": lambda conn: conn.execute_fetchall("INSERT INTO t VALUES (1) RETURNING x"),
    "fetch_all": lambda conn: conn.fetch_all("INSERT INTO t VALUES (1) RETURNING x"),
    "fetch_one": lambda conn: conn.fetch_one("INSERT INTO t VALUES (1) RETURNING x"),
    "fetch_optional": lambda conn: conn.fetch_optional("INSERT INTO t VALUES (1) RETURNING x"),
    "fetch_scalar": lambda conn: conn.fetch_scalar("INSERT INTO t VALUES (1) RETURNING x"),
    "begin": lambda conn: conn.begin("IMMEDIATE"),
    "commit": lambda conn: conn.commit(),
}
each_operation = pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS)


@pytest.fixture
async def conn(backend: Backend) -> Any:
    async with backend.connect() as connection:
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        if not connection.closed:
            await connection.rollback()


async def assert_nothing_ran(conn: aiolibsql.Connection[Any]) -> None:
    assert await count(conn) == 0
    await assert_healthy(conn)


@each_operation
async def test_operation_is_a_coroutine_and_no_future(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    operation = make(conn)
    assert isinstance(operation, Coroutine)
    assert isinstance(operation, Awaitable)
    assert inspect.isawaitable(operation)
    assert not hasattr(operation, "_asyncio_future_blocking")
    operation.close()


@each_operation
async def test_operation_before_its_await_has_done_nothing(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    operation = make(conn)
    await assert_nothing_ran(conn)
    await operation
    assert conn.in_transaction or await count(conn) == 1 or "commit" in repr(operation)


async def test_commit_before_its_await_has_committed_nothing(
    conn: aiolibsql.Connection[Any],
) -> None:
    await conn.execute("INSERT INTO t VALUES (1)")
    operation = conn.commit()
    await conn.fetch_all("SELECT 1")
    assert conn.in_transaction
    await operation
    assert not conn.in_transaction


@each_operation
async def test_operation_dropped_before_its_await_warns_with_its_name(
    conn: aiolibsql.Connection[Any], make: Make, request: pytest.FixtureRequest
) -> None:
    method = request.node.callspec.id.split("-")[-1]
    with pytest.warns(
        RuntimeWarning, match=rf"^coroutine 'Connection\.{method}' was never awaited"
    ):
        _ = make(conn)
        del _
        gc.collect()
    await assert_nothing_ran(conn)


@pytest.mark.parametrize("method", ["fetchone", "fetchmany", "fetchall"])
async def test_fetch_dropped_before_its_await_warns_and_takes_no_row(
    conn: aiolibsql.Connection[Any], method: str
) -> None:
    cursor = await conn.execute("SELECT 1")
    with pytest.warns(RuntimeWarning, match=rf"^coroutine 'Cursor\.{method}' was never awaited"):
        getattr(cursor, method)()
        gc.collect()
    assert await cursor.fetchall() == [(1,)]


@each_operation
async def test_operation_closed_before_its_await_is_silent(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        operation = make(conn)
        operation.close()
        del operation
        gc.collect()
    assert caught == []
    await assert_nothing_ran(conn)


@each_operation
async def test_operation_thrown_into_before_its_await_raises_that_and_runs_nothing(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    operation = make(conn)
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        operation.throw(error)
    assert caught.value is error
    await assert_nothing_ran(conn)


@each_operation
async def test_operation_awaited_twice_raises_and_runs_once(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    operation = make(conn)
    await operation
    in_transaction, rows = conn.in_transaction, await count(conn)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation
    assert (conn.in_transaction, await count(conn)) == (in_transaction, rows)


@each_operation
async def test_loop_over_an_operation_says_that_it_was_not_awaited(
    conn: aiolibsql.Connection[Any], make: Make
) -> None:
    operation = make(conn)
    with pytest.raises(TypeError, match="was not awaited"):
        list(operation)  # type: ignore[call-overload]
    await operation


async def test_operation_is_awaited_by_a_generator_of_its_iterator(
    conn: aiolibsql.Connection[Any],
) -> None:
    class Wrapped:
        def __await__(self) -> Generator[Any, Any, Any]:
            return (yield from conn.fetch_scalar("SELECT 1").__await__())

    assert await Wrapped() == 1


async def test_operation_awaited_after_close_raises(conn: aiolibsql.Connection[Any]) -> None:
    operation = conn.execute("INSERT INTO t VALUES (1)")
    operation.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation
    await assert_nothing_ran(conn)


async def test_operation_awaited_by_two_tasks_at_once_raises_in_the_second(
    conn: aiolibsql.Connection[Any],
) -> None:
    operation = conn.fetch_all(ENDLESS)

    async def first() -> None:
        await operation

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError):
            await operation
        tasks.cancel_scope.cancel()
    await assert_healthy(conn)


async def test_operation_names_itself_as_a_coroutine_does(
    conn: aiolibsql.Connection[Any],
) -> None:
    operation = conn.execute("SELECT 1")
    assert (operation.__name__, operation.__qualname__) == ("execute", "Connection.execute")
    assert "Connection.execute" in repr(operation)
    operation.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10's inspect knows no cr_suspended")
async def test_operation_tells_what_state_it_is_in(conn: aiolibsql.Connection[Any]) -> None:
    # anyio asks, before it cancels a task whose coroutine this is.
    operation = conn.execute(ENDLESS)
    assert not operation.cr_running
    assert not operation.cr_suspended
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: operation)
        await anyio.wait_all_tasks_blocked()
        assert inspect.getcoroutinestate(operation) == inspect.CORO_SUSPENDED
        tasks.cancel_scope.cancel()
    assert inspect.getcoroutinestate(operation) == inspect.CORO_CLOSED
    await assert_healthy(conn)


async def test_operations_start_soon_in_a_task_group(conn: aiolibsql.Connection[Any]) -> None:
    async with anyio.create_task_group() as tasks:
        for value in range(20):
            tasks.start_soon(conn.execute, "INSERT INTO t VALUES (?)", (value,))
    assert sorted(await conn.fetch_all("SELECT x FROM t")) == [(value,) for value in range(20)]
    await conn.rollback()
    await assert_healthy(conn)


async def test_operation_in_a_task_group_raises_its_error_there(
    conn: aiolibsql.Connection[Any],
) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group, a builtin since 3.11 only
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conn.execute, "SELECT * FROM missing")
    (error,) = caught.value.exceptions  # type: ignore[attr-defined]
    assert isinstance(error, aiolibsql.OperationalError)
    await assert_healthy(conn)


async def test_operation_under_fail_after_times_out(conn: aiolibsql.Connection[Any]) -> None:
    with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.05):
        await conn.execute(ENDLESS)
    assert not isinstance(caught.value, aiolibsql.Error)
    await assert_healthy(conn)


async def test_operation_under_move_on_after_is_left(conn: aiolibsql.Connection[Any]) -> None:
    with anyio.move_on_after(0.05) as scope:
        await conn.execute(ENDLESS)
    assert scope.cancelled_caught
    await assert_healthy(conn)


async def test_operation_within_its_time_returns_from_fail_after(
    conn: aiolibsql.Connection[Any],
) -> None:
    with anyio.fail_after(20):
        cursor = await conn.execute("SELECT 1")
        assert await cursor.fetchall() == [(1,)]


FETCHES: dict[str, Make] = {
    "execute_fetchall": lambda conn: conn.execute_fetchall(SLOW),
    "fetch_all": lambda conn: conn.fetch_all(SLOW),
    "fetch_one": lambda conn: conn.fetch_one(SLOW),
    "fetch_optional": lambda conn: conn.fetch_optional(SLOW),
    "fetch_scalar": lambda conn: conn.fetch_scalar(SLOW),
}


@pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES)
async def test_fetch_submitted_before_a_close_has_its_rows(
    conn: aiolibsql.Connection[Any], fetch: Make
) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, fetch(conn), outcome)
        await turns()
        await conn.close()
    assert outcome.error is None
    assert outcome.value in (300000, (300000,), [(300000,)])


async def test_values_arrive_as_they_are_even_tuples_and_exceptions_lookalikes(
    conn: aiolibsql.Connection[Any],
) -> None:
    # A tuple as StopIteration's argument must not be unpacked.
    for row in [(), (1,), (1, 2), (None,)]:
        if row:
            marks = ",".join("?" * len(row))
            assert await conn.fetch_one(f"SELECT {marks}", row) == row
    assert await (await conn.execute("SELECT 1 WHERE 0")).fetchone() is None


@pytest.mark.parametrize("method", ["execute", "commit", "rollback", "close"])
def test_operation_driven_outside_any_loop_says_so(method: str) -> None:
    conn = aiolibsql.connect(":memory:")
    args = ("SELECT 1",) if method == "execute" else ()
    operation = getattr(conn, method)(*args)
    with pytest.raises(RuntimeError, match="no running event loop"):
        operation.send(None)
    operation.close()


def test_open_driven_outside_any_loop_says_so() -> None:
    conn = aiolibsql.connect(":memory:")
    with pytest.raises(RuntimeError, match="no running event loop"):
        next(conn.__await__())


def test_operation_sent_a_value_before_it_began_refuses_it_as_a_coroutine_does() -> None:
    operation = aiolibsql.connect(":memory:").execute("SELECT 1")
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        operation.send("a value that nobody waits for")
    operation.close()
