"""Callbacks that are `async def`: awaited by the operation that waits for their statement."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import random
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from healthy import assert_healthy
from situations import NUMBERS, OtherProcess, attempt_cancelled

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")
LIMIT = 20


@dataclass(frozen=True)
class Kind:
    """A kind of callback: how to install one that awaits ``work``, and what calls it."""

    install: Callable[[Conn, Any], Coroutine[Any, Any, None]]
    sql: str
    # The end of the transaction that the SQL began, if that is what calls it.
    end: str = ""
    # Whether its exception becomes the cause of the statement's error.
    is_heard: bool = True
    is_write: bool = False
    # Whether the statement can't go on without its answer.
    has_answer: bool = True

    async def use(self, conn: Conn) -> list[Any]:
        rows = await conn.fetch_all(self.sql)
        if self.end:
            await getattr(conn, self.end)()
        return rows


async def install_function(conn: Conn, work: Any) -> None:
    async def own(value: Any) -> Any:
        await work()
        return value

    await conn.create_function("own", 1, own)


def aggregate(work: Any, method: str) -> type:
    class Own:
        def __init__(self) -> None:
            self.sum = 0

        def step(self, value: int) -> None:
            self.sum += value

        def inverse(self, value: int) -> None:
            self.sum -= value

        def value(self) -> int:
            return self.sum

        def finalize(self) -> int:
            return self.sum

    plain = getattr(Own, method)

    async def waiting(self: Own, *values: int) -> Any:
        await work()
        return plain(self, *values)

    setattr(Own, method, waiting)
    return Own


def install_aggregate(method: str) -> Callable[[Conn, Any], Coroutine[Any, Any, None]]:
    async def install(conn: Conn, work: Any) -> None:
        await conn.create_window_function("own", 1, aggregate(work, method))

    return install


async def install_factory(conn: Conn, work: Any) -> None:
    async def own() -> Any:
        await work()
        return aggregate(work, "value")()

    await conn.create_aggregate("own", 1, own)


async def install_collation(conn: Conn, work: Any) -> None:
    async def own(left: str, right: str) -> int:
        await work()
        return (left > right) - (left < right)

    await conn.create_collation("own", own)


async def install_authorizer(conn: Conn, work: Any) -> None:
    async def own(*_: Any) -> int:
        await work()
        return 0

    await conn.set_authorizer(own)


async def install_trace(conn: Conn, work: Any) -> None:
    async def own(_sql: str) -> None:
        await work()

    await conn.set_trace_callback(own)


async def install_progress(conn: Conn, work: Any) -> None:
    async def own() -> None:
        await work()

    await conn.set_progress_handler(own, 500)


def install_hook(name: str) -> Callable[[Conn, Any], Coroutine[Any, Any, None]]:
    async def install(conn: Conn, work: Any) -> None:
        async def own(*_: Any) -> None:
            await work()

        await getattr(conn, name)(own)

    return install


FRAME = "OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
THREE = "FROM (SELECT column1 AS x FROM (VALUES (1), (2), (3)))"
INSERT = "INSERT INTO t VALUES (1) RETURNING x"

KINDS = {
    "function": Kind(install_function, "SELECT own(7)"),
    "step": Kind(install_aggregate("step"), f"SELECT own(x) {THREE}"),
    "finalize": Kind(install_aggregate("finalize"), f"SELECT own(x) {THREE}"),
    "inverse": Kind(install_aggregate("inverse"), f"SELECT own(x) {FRAME} {THREE}"),
    "value": Kind(install_aggregate("value"), f"SELECT own(x) {FRAME} {THREE}"),
    "factory": Kind(install_factory, f"SELECT own(x) {THREE}"),
    "collation": Kind(install_collation, "SELECT 'a' < 'b' COLLATE own", is_heard=False),
    "authorizer": Kind(install_authorizer, "SELECT x FROM t"),
    "trace": Kind(install_trace, "SELECT 1", is_heard=False, has_answer=False),
    "progress": Kind(install_progress, f"{NUMBERS} SELECT max(i) FROM (SELECT i FROM n LIMIT 300)"),
    "update hook": Kind(
        install_hook("set_update_hook"), INSERT, is_heard=False, is_write=True, has_answer=False
    ),
    "commit hook": Kind(install_hook("set_commit_hook"), INSERT, "commit", is_write=True),
    "rollback hook": Kind(
        install_hook("set_rollback_hook"), INSERT, "rollback", is_heard=False, is_write=True
    ),
}
ANSWERS: dict[str, list[Any]] = {
    "function": [(7,)],
    "step": [(6,)],
    "finalize": [(6,)],
    "inverse": [(1,), (3,), (5,)],
    "value": [(1,), (3,), (5,)],
    "factory": [(6,)],
    "collation": [(1,)],
    "authorizer": [],
    "trace": [(1,)],
    "progress": [(300,)],
}

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# What a callback raises that no statement's error can tell of.
unheard = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def remove_all(conn: Conn) -> None:
    """Remove every callback, so that what follows is not about them."""
    await conn.set_authorizer(None)
    await conn.set_progress_handler(None, 0)
    await conn.set_trace_callback(None)
    for name in ("set_update_hook", "set_commit_hook", "set_rollback_hook"):
        await getattr(conn, name)(None)


async def assert_whole(conn: Conn) -> None:
    """Fail unless the connection is usable, and nothing of what was stopped is left."""
    await remove_all(conn)
    await conn.rollback()
    assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0
    await assert_healthy(conn)


@pytest.fixture
async def table(conn: Conn) -> Conn:
    await conn.execute("CREATE TABLE t (x)")
    await conn.commit()
    return conn


def current_task() -> Any:
    return anyio.get_current_task().id


@pytest.mark.parametrize("name", KINDS)
async def test_callback_is_awaited_by_the_task_that_waits(table: Conn, name: str) -> None:
    seen = []

    async def work() -> None:
        seen.append((current_task(), threading.get_ident(), VARIABLE.get()))
        await anyio.sleep(0.001)
        await anyio.lowlevel.checkpoint()
        VARIABLE.set("of the callback")

    await KINDS[name].install(table, work)
    VARIABLE.set("of the caller")
    with anyio.fail_after(LIMIT):
        rows = await KINDS[name].use(table)
    assert rows == ANSWERS.get(name, [(1,)])
    assert seen[0] == (current_task(), threading.get_ident(), "of the caller")
    assert {entry[:2] for entry in seen} == {seen[0][:2]}
    assert VARIABLE.get() == "of the callback"
    await remove_all(table)


@kinds
async def test_callback_that_never_waits_is_a_callback_too(table: Conn, kind: Kind) -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1

    await kind.install(table, work)
    with anyio.fail_after(LIMIT):
        await kind.use(table)
    assert calls
    await remove_all(table)


@unheard
@kinds
@pytest.mark.parametrize("raised", [LookupError("no"), TimeoutError("late")])
async def test_exception_is_the_cause(table: Conn, kind: Kind, raised: Exception) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise raised

    await kind.install(table, work)
    with anyio.fail_after(LIMIT):
        if kind.is_heard:
            with pytest.raises(aiolibsql.DatabaseError) as caught:
                await kind.use(table)
            assert caught.value.__cause__ is raised
        else:
            await kind.use(table)
    await table.rollback()
    await assert_whole(table)


class Steps:
    """Awaits a few times, one of them until it is cancelled."""

    COUNT = 3

    def __init__(self, last: int) -> None:
        self.last = last
        self.reached = anyio.Event()
        self.log: list[str] = []

    async def __call__(self) -> None:
        if "stopped" in self.log:
            return
        for number in range(self.COUNT):
            if number != self.last:
                await anyio.lowlevel.checkpoint()
                continue
            self.reached.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.log.append("stopped")
                raise


@unheard
@kinds
@pytest.mark.parametrize("last", range(Steps.COUNT))
async def test_cancelled_at_every_await_of_the_callback(table: Conn, kind: Kind, last: int) -> None:
    steps = Steps(last)
    await kind.install(table, steps)

    async def use() -> None:
        try:
            await kind.use(table)
        finally:
            steps.log.append("caller")

    with anyio.fail_after(LIMIT):
        outcome = await attempt_cancelled(use(), steps.reached.wait)
        assert outcome.is_cancelled
        assert steps.log == ["stopped", "caller"]
        if kind.is_write and kind.end != "commit":
            assert not table.in_transaction or kind.end
        await assert_whole(table)


@unheard
@pytest.mark.parametrize("name", ["function", "step", "commit hook", "trace"])
async def test_time_limits_around_a_statement_reach_into_its_callback(
    table: Conn, name: str
) -> None:
    kind, steps = KINDS[name], Steps(1)
    await kind.install(table, steps)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(TimeoutError) as caught, anyio.fail_after(LIMIT) as scope:

                async def limit() -> None:
                    await steps.reached.wait()
                    scope.deadline = anyio.current_time() + 0.001

                tasks.start_soon(limit)
                await kind.use(table)
        assert not isinstance(caught.value, aiolibsql.Error)
        assert steps.log == ["stopped"]
        await assert_whole(table)


async def test_time_limit_inside_of_a_callback(table: Conn) -> None:
    async def own() -> str:
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        try:
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()
        except TimeoutError:
            return "in time"
        return "never"

    await table.create_function("own", 0, own)
    with anyio.fail_after(LIMIT):
        assert await table.fetch_scalar("SELECT own()") == "in time"


async def test_callback_may_have_child_tasks(table: Conn) -> None:
    async def own(count: int) -> int:
        done = []

        async def child(number: int) -> None:
            await anyio.sleep(0.001)
            done.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(child, number)
        return len(done)

    await table.create_function("own", 1, own)
    with anyio.fail_after(LIMIT):
        assert await table.fetch_all("SELECT own(3), own(4)") == [(3, 4)]


@unheard
@kinds
async def test_time_limit_of_a_statement_ends_its_callback(table: Conn, kind: Kind) -> None:
    steps = Steps(1)
    await kind.install(table, steps)
    if kind.end:
        pytest.skip("COMMIT and ROLLBACK have no time limit of their own")
    with anyio.fail_after(LIMIT):
        try:
            await table.fetch_all(kind.sql, timeout=0.03)
        except aiolibsql.TimeoutError:
            pass
        else:
            # SQLite was at the end of the statement before it could be stopped.
            assert not kind.has_answer
        assert steps.log == ["stopped"]
        await assert_whole(table)


@pytest.mark.parametrize("begin", ["", "BEGIN", "SAVEPOINT s"])
@pytest.mark.parametrize("how", ["cancelled", "timed out", "many"])
async def test_write_whose_collation_was_stopped_leaves_no_trace(
    backend: Backend, begin: str, how: str
) -> None:
    async with backend.connect(isolation_level=None) as conn:
        steps, is_armed = Steps(1), False

        async def own(left: str, right: str) -> int:
            if is_armed:
                await steps()
            return (left > right) - (left < right)

        await conn.create_collation("own", own)
        await conn.execute("CREATE TABLE t (x TEXT COLLATE own UNIQUE)")
        words = [(word,) for word in "bdfhjlnprtvxz"]
        await conn.executemany("INSERT INTO t VALUES (?)", words)
        if begin:
            await conn.execute(begin)
            await conn.execute("INSERT INTO t VALUES ('y')")
        is_armed = True
        insert = "INSERT OR IGNORE INTO t VALUES (?)"
        with anyio.fail_after(LIMIT):
            if how == "timed out":
                with pytest.raises(aiolibsql.TimeoutError):
                    await conn.execute(insert, ("k",), timeout=0.03)
            elif how == "cancelled":
                await attempt_cancelled(conn.execute(insert, ("k",)), steps.reached.wait)
            else:
                rows = [("a",), ("k",)]
                await attempt_cancelled(conn.executemany(insert, rows), steps.reached.wait)
            is_armed = False
            if begin:
                # The whole transaction went, as with any write that is stopped.
                with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                    await conn.execute("SELECT 1")
                await conn.rollback()
            assert await conn.fetch_all("SELECT x FROM t ORDER BY x COLLATE BINARY") == words
            assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
            await assert_healthy(conn)


@unheard
@kinds
async def test_interrupt_ends_a_callback(table: Conn, kind: Kind) -> None:
    steps = Steps(1)
    await kind.install(table, steps)
    if kind.end:
        pytest.skip("COMMIT and ROLLBACK are not interrupted")
    ended: list[Any] = []

    async def use() -> None:
        try:
            ended.append(await kind.use(table))
        except aiolibsql.OperationalError as error:
            ended.append(error)

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await steps.reached.wait()
            await table.interrupt()
        assert steps.log == ["stopped"]
        assert len(ended) == 1
        if kind.has_answer:
            assert isinstance(ended[0], aiolibsql.OperationalError)
            assert "interrupted" in str(ended[0])
        await assert_whole(table)


async def test_close_waits_for_the_callback(backend: Backend) -> None:
    conn = await backend.connect()
    begun, go, log = anyio.Event(), anyio.Event(), []

    async def work() -> None:
        begun.set()
        await go.wait()
        log.append("callback")

    await install_function(conn, work)

    async def close() -> None:
        await conn.close()
        log.append("close")

    async def use() -> None:
        log.append(await conn.fetch_scalar("SELECT own(1)"))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await begun.wait()
            tasks.start_soon(close)
            await anyio.sleep(0.02)
            assert log == []
            go.set()
    assert log[0] == "callback"
    assert set(log) == {"callback", 1, "close"}


async def test_other_tasks_queue_behind_a_callback(table: Conn) -> None:
    begun, go, log = anyio.Event(), anyio.Event(), []

    async def work() -> None:
        begun.set()
        await go.wait()

    await install_function(table, work)

    async def use(sql: str) -> None:
        log.append(await table.fetch_scalar(sql))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use, "SELECT own(1)")
            await begun.wait()
            tasks.start_soon(use, "SELECT 2")
            await anyio.sleep(0.02)
            assert log == []
            go.set()
    assert sorted(log) == [1, 2]


USES: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "cursor": lambda conn: conn.cursor().execute("SELECT 1"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda conn: conn.executescript("SELECT 1"),
    "batch": lambda conn: conn.batch(["SELECT 1"]),
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "transaction": lambda conn: conn.transaction().__aenter__(),
    "create_function": lambda conn: conn.create_function("other", 0, lambda: 1),
    "open": lambda conn: conn.__aenter__(),
    "close": lambda conn: conn.close(),
    "stop": lambda conn: conn.stop(),
    "blob": lambda conn: conn.blobopen("t", "x", 1),
    "limit": lambda conn: conn.getlimit(0),
    "serialize": lambda conn: conn.serialize(),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("is_child", [False, True], ids=["itself", "child task"])
async def test_connection_can_not_be_awaited_inside(
    backend: Backend, name: str, is_child: bool
) -> None:
    conn = await backend.connect()
    await conn.execute("CREATE TABLE t (x)")
    await conn.commit()

    async def use() -> None:
        await USES[name](conn)

    async def own() -> Any:
        if not is_child:
            return await use()
        errors = []

        async def child() -> None:
            try:
                await use()
            except aiolibsql.Error as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        raise errors[0]

    await conn.create_function("own", 0, own)
    with anyio.fail_after(LIMIT):
        with pytest.raises(aiolibsql.OperationalError) as caught:
            await conn.execute("SELECT own()")
        assert isinstance(caught.value.__cause__, aiolibsql.ProgrammingError)
        assert "the connection that waits for it" in str(caught.value.__cause__)
        if name != "stop":
            await assert_healthy(conn)
    await conn.close()


async def test_task_that_a_callback_has_left_may_use_the_connection(table: Conn) -> None:
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            await done.wait()
            found.append(await table.fetch_scalar("SELECT 5"))

        async def own() -> int:
            tasks.start_soon(later)
            return 1

        done = anyio.Event()
        await table.create_function("own", 0, own)
        with anyio.fail_after(LIMIT):
            assert await table.fetch_scalar("SELECT own()") == 1
        done.set()
    assert found == [5]


async def test_callback_awaits_another_connection_whose_function_is_async_too(
    table: Conn,
) -> None:
    async with aiolibsql.connect(":memory:") as other:

        async def inner(value: int) -> int:
            await anyio.sleep(0.001)
            with pytest.raises(aiolibsql.ProgrammingError):
                await table.execute("SELECT 1")
            return value + 1

        async def outer(value: int) -> Any:
            return await other.fetch_scalar("SELECT inner(?) * 10", (value,))

        await other.create_function("inner", 1, inner)
        await table.create_function("outer", 1, outer)
        with anyio.fail_after(LIMIT):
            assert await table.fetch_all("SELECT outer(1), outer(2)") == [(20, 30)]


def awaitables() -> dict[str, Any]:
    async def own(value: Any = 7) -> Any:
        await anyio.lowlevel.checkpoint()
        return value

    class Caller:
        async def __call__(self) -> Any:
            return await own()

        def __await__(self) -> Any:
            return own().__await__()

        def method(self) -> Any:
            return own()

    @functools.wraps(own)
    def wrapper() -> Any:
        return own()

    return {
        "lambda": lambda: own(7),
        "partial": functools.partial(own, 7),
        "object": Caller(),
        "method": Caller().method,
        "other awaitable": Caller,
        "wrapper": wrapper,
    }


@pytest.mark.parametrize("name", awaitables())
async def test_whatever_is_awaitable_is_awaited(table: Conn, name: str) -> None:
    await table.create_function("own", 0, awaitables()[name])
    with anyio.fail_after(LIMIT):
        assert await table.fetch_scalar("SELECT own()") == 7


async def test_answer_that_sqlite_has_no_type_for_is_an_error(table: Conn) -> None:
    async def own() -> Any:
        return object()

    await table.create_function("own", 0, own)
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await table.execute("SELECT own()")
    assert isinstance(caught.value.__cause__, TypeError)


async def test_every_way_to_run_sql_awaits_callbacks(table: Conn) -> None:
    calls = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        calls.append(1)

    await install_function(table, work)
    with anyio.fail_after(LIMIT):
        cursor = await table.execute("SELECT own(1)")
        assert await cursor.fetchone() == (1,)
        await table.executemany("INSERT INTO t VALUES (own(?))", [(i,) for i in range(50)])

        async def rows() -> Any:
            for number in range(50):
                await anyio.lowlevel.checkpoint()
                yield (number,)

        await table.executemany("INSERT INTO t VALUES (own(?))", rows())
        await table.executescript("INSERT INTO t VALUES (own(1)); SELECT own(2);")
        await table.batch(["INSERT INTO t VALUES (own(1))", ("SELECT own(?)", (3,))])
        async with table.transaction() as block:
            await block.execute("INSERT INTO t VALUES (own(4))")
        assert [rows async for rows in table.execute_iter("SELECT own(5)")] == [[(5,)]]
        assert await table.fetch_optional("SELECT own(6)") == (6,)
        query = table.prepare("SELECT own(?)")
        assert await query.fetch_all((8,)) == [(8,)]
    assert len(calls) == 1 + 50 + 50 + 2 + 2 + 1 + 1 + 1 + 1
    assert await table.fetch_scalar("SELECT count(*) FROM t") == 103


async def test_rows_are_read_one_batch_after_the_other(table: Conn) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()

    await install_function(table, work)
    numbers = []
    with anyio.fail_after(2 * LIMIT):
        async for (number,) in await table.execute(f"{NUMBERS} SELECT own(i) FROM n LIMIT 700"):
            numbers.append(number)
            if number % 100 == 0:
                # In the middle of the rows, on the same connection.
                assert await table.fetch_scalar("SELECT own(-1)") == -1
    assert numbers == list(range(1, 701))


async def test_callbacks_that_never_wait_let_the_loop_turn(table: Conn) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def work() -> None: ...

    await install_function(table, work)
    with anyio.fail_after(2 * LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            sql = f"{NUMBERS} SELECT sum(own(i)) FROM (SELECT i FROM n LIMIT 3000)"
            assert await table.fetch_scalar(sql) == 3000 * 3001 // 2
            tasks.cancel_scope.cancel()
    assert turns > 100


async def test_awaitable_where_nobody_waits_is_an_error(backend: Backend) -> None:
    conn = await backend.connect()
    await conn.execute("CREATE TABLE t (x)")
    heard = []

    async def own() -> None:
        heard.append("rolled back")

    await conn.set_rollback_hook(own)
    await conn.execute("INSERT INTO t VALUES (1)")
    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        with anyio.fail_after(LIMIT), pytest.raises(LookupError):
            async with conn:
                raise LookupError
    finally:
        sys.unraisablehook = before
    assert heard == []
    assert [str(found.exc_value) for found in unraisable] == [
        "a callback returned an awaitable, and nobody awaits the statement that called it"
    ]


async def test_busy_handler_waits_in_the_loop(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (x)")
        await conn.commit()
        calls = []

        async def wait(count: int) -> bool:
            await anyio.sleep(0.001)
            calls.append(count)
            return count < 3

        await conn.set_busy_handler(wait)
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")
            with anyio.fail_after(LIMIT), pytest.raises(aiolibsql.OperationalError):
                await conn.execute("INSERT INTO t VALUES (1)")
            assert calls == [0, 1, 2, 3]
            other.run("COMMIT")


async def test_authorizer_and_commit_hook_may_refuse(table: Conn) -> None:
    async def deny(action: int, *_: Any) -> int:
        await anyio.lowlevel.checkpoint()
        return int(action == 9)

    async def refuse() -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    await table.set_authorizer(deny)
    with pytest.raises(aiolibsql.DatabaseError, match="not authorized"):
        await table.execute("DELETE FROM t")
    await table.set_authorizer(None)
    await table.set_commit_hook(refuse)
    with pytest.raises(aiolibsql.IntegrityError):
        async with table.transaction():
            await table.execute("INSERT INTO t VALUES (1)")
    await assert_whole(table)


WAYS: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "implicit transaction": lambda conn: conn.execute("INSERT INTO t VALUES (own(1))"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (own(?))", [(1,), (2,)]),
    "executescript": lambda conn: conn.executescript("BEGIN; INSERT INTO t VALUES (own(1)); END;"),
    "batch": lambda conn: conn.batch(["INSERT INTO t VALUES (0)", "SELECT own(1)"]),
    "returning": lambda conn: conn.fetch_all("INSERT INTO t VALUES (1) RETURNING own(x)"),
    "query": lambda conn: conn.fetch_scalar("SELECT own(1)"),
}


@pytest.mark.parametrize("name", WAYS)
async def test_cancelled_in_whatever_runs_sql(table: Conn, name: str) -> None:
    steps = Steps(1)
    await install_function(table, steps)
    with anyio.fail_after(LIMIT):
        outcome = await attempt_cancelled(WAYS[name](table), steps.reached.wait)
        assert outcome.is_cancelled
        assert not table.in_transaction
        await assert_whole(table)


@pytest.mark.parametrize("is_caught", [False, True], ids=["at the end", "in the middle"])
async def test_cancelled_in_a_transaction_block(table: Conn, is_caught: bool) -> None:
    steps = Steps(1)
    await install_function(table, steps)

    async def use() -> None:
        async with table.transaction():
            await table.execute("INSERT INTO t VALUES (1)")
            if is_caught:
                with anyio.CancelScope(shield=True), anyio.move_on_after(0.02):
                    await table.execute("SELECT own(1)")
                # A read was stopped: the transaction is still there.
                await table.execute("INSERT INTO t VALUES (2)")
            else:
                await table.execute("INSERT INTO t VALUES (own(1))")

    with anyio.fail_after(LIMIT):
        if is_caught:
            await use()
            assert await table.fetch_scalar("SELECT count(*) FROM t") == 2
            return
        assert (await attempt_cancelled(use(), steps.reached.wait)).is_cancelled
        await assert_whole(table)


@pytest.mark.parametrize("how", ["block", "connection"])
async def test_commit_hook_cancelled_at_the_end_of_a_block(backend: Backend, how: str) -> None:
    conn, steps = await backend.connect(), Steps(1)
    await conn.execute("CREATE TABLE t (x)")
    await conn.commit()
    await KINDS["commit hook"].install(conn, steps)

    async def use() -> None:
        async with conn if how == "connection" else conn.transaction():
            await conn.execute("INSERT INTO t VALUES (1)")

    with anyio.fail_after(LIMIT):
        assert (await attempt_cancelled(use(), steps.reached.wait)).is_cancelled
        assert steps.log == ["stopped"]
        assert conn.closed == (how == "connection")
        if how == "block":
            await assert_whole(conn)
            await conn.close()
        elif backend.is_file:
            async with backend.connect() as again:
                assert await again.fetch_scalar("SELECT count(*) FROM t") == 0


@unheard
async def test_rollback_after_a_cancelled_commit_awaits_no_callback(table: Conn) -> None:
    reached = anyio.Event()

    async def trace(sql: str) -> None:
        if sql in ("COMMIT", "ROLLBACK"):
            reached.set()
            await anyio.sleep_forever()

    async def use() -> None:
        async with table.transaction():
            await table.execute("INSERT INTO t VALUES (1)")

    await table.set_trace_callback(trace)
    with anyio.fail_after(LIMIT):
        assert (await attempt_cancelled(use(), reached.wait)).is_cancelled
        await table.set_trace_callback(None)
        await table.execute("DELETE FROM t")
        await table.commit()
        await assert_whole(table)


async def install_at_random(conn: Conn, chance: random.Random) -> None:
    """Install callbacks that wait for a while, and sometimes raise."""

    async def own(value: int) -> int:
        for _ in range(chance.randrange(3)):
            await anyio.sleep(chance.random() * 0.001)
        if chance.random() < 0.1:
            raise LookupError
        return value

    async def hook(*_: Any) -> None:
        await anyio.sleep(chance.random() * 0.0005)

    await conn.create_function("own", 1, own)
    for name in ("set_commit_hook", "set_rollback_hook", "set_update_hook", "set_trace_callback"):
        await getattr(conn, name)(hook)


@unheard
@pytest.mark.parametrize("seed", range(3))
async def test_cancelled_at_random_among_many_tasks(table: Conn, seed: int) -> None:
    chance = random.Random(seed)
    await install_at_random(table, chance)

    async def block() -> None:
        async with table.transaction():
            await table.execute("INSERT INTO t VALUES (own(1))")

    async def read() -> None:
        async for _ in await table.execute("SELECT own(1) UNION ALL SELECT own(2)"):
            pass

    ways: list[Callable[[], Awaitable[Any]]] = [
        *(functools.partial(way, table) for way in WAYS.values()),
        *(block, read, table.commit, table.rollback, table.interrupt),
        lambda: table.execute("SELECT own(2)", timeout=chance.random() * 0.003),
    ]

    async def work() -> None:
        for _ in range(40):
            with anyio.move_on_after(chance.random() * 0.006):
                try:
                    await chance.choice(ways)()
                except aiolibsql.Error:
                    await anyio.lowlevel.checkpoint()

    with anyio.fail_after(2 * LIMIT):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(work)
        await remove_all(table)
        await table.rollback()
        await table.create_function("own", 1, None)
        await table.execute("DELETE FROM t")
        await table.commit()
        await assert_whole(table)


@unheard
async def test_rollback_in_a_cancelled_scope_does_not_wait_for_its_hook(table: Conn) -> None:
    async def own() -> None:
        await anyio.sleep_forever()

    await table.set_rollback_hook(own)
    await table.execute("INSERT INTO t VALUES (1)")
    with anyio.fail_after(LIMIT):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await table.rollback()
        await assert_whole(table)


async def test_iteration_cancelled_in_a_callback(table: Conn) -> None:
    reached, go = anyio.Event(), False

    async def own(value: int) -> int:
        if value == 150 and not go:
            reached.set()
            await anyio.sleep_forever()
        return value

    await table.create_function("own", 1, own)
    cursor = await table.execute(f"{NUMBERS} SELECT own(i) FROM n LIMIT 300")
    rows: list[int] = []

    async def read() -> None:
        async for (number,) in cursor:
            rows.append(number)

    with anyio.fail_after(LIMIT):
        assert (await attempt_cancelled(read(), reached.wait)).is_cancelled
        await cursor.close()
        go = True
        assert rows == list(range(1, len(rows) + 1))
        await assert_whole(table)


async def test_first_awaitable_in_rows_that_are_read_ahead(table: Conn) -> None:
    is_awaitable = False

    async def own(value: int) -> int:
        await anyio.lowlevel.checkpoint()
        return value

    # Nothing tells before the call that it is async.
    def maybe(value: int) -> Any:
        time.sleep(0.0002)
        return own(value) if is_awaitable else value

    async def read() -> list[int]:
        nonlocal is_awaitable
        rows = []
        async for (number,) in await table.execute(f"{NUMBERS} SELECT own(i) FROM n LIMIT 300"):
            rows.append(number)
            if number % 50 == 0:
                # What is read now is read before it is asked for.
                is_awaitable = True
                await anyio.sleep(0.02)
        return rows

    await table.create_function("own", 1, maybe)
    with anyio.fail_after(LIMIT):
        with pytest.raises(aiolibsql.OperationalError) as caught:
            await read()
        assert "nobody awaits" in str(caught.value.__cause__)
        # From here on it is known.
        assert await read() == list(range(1, 301))


async def test_callback_may_interrupt_its_own_statement(table: Conn) -> None:
    async def own() -> None:
        table.interrupt()
        await anyio.sleep_forever()

    await table.create_function("own", 0, own)
    with anyio.fail_after(LIMIT):
        with pytest.raises(aiolibsql.OperationalError, match="interrupted"):
            await table.execute("SELECT own()")
        await assert_whole(table)


@pytest.mark.parametrize("is_removed", [False, True])
async def test_registered_anew_while_one_is_in_flight(table: Conn, is_removed: bool) -> None:
    begun, go, found = anyio.Event(), anyio.Event(), []

    async def first() -> str:
        begun.set()
        await go.wait()
        return "first"

    async def use() -> None:
        found.append(await table.fetch_scalar("SELECT own()"))

    async def replace() -> None:
        await table.create_function("own", 0, None if is_removed else lambda: "second")

    await table.create_function("own", 0, first)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await begun.wait()
            tasks.start_soon(replace)
            await anyio.sleep(0.01)
            go.set()
        assert found == ["first"]
        if is_removed:
            with pytest.raises(aiolibsql.OperationalError, match="no such function"):
                await table.execute("SELECT own()")
        else:
            assert await table.fetch_scalar("SELECT own()") == "second"


async def test_connection_in_a_cycle_with_an_async_callback_is_collected(backend: Backend) -> None:
    async def leave() -> weakref.ref[Conn]:
        conn = await backend.connect()

        async def own() -> str:
            await anyio.lowlevel.checkpoint()
            return repr(conn)

        await conn.create_function("own", 0, own)
        await conn.fetch_scalar("SELECT own()")
        return weakref.ref(conn)

    watched = await leave()
    await anyio.lowlevel.checkpoint()
    with pytest.warns(ResourceWarning, match="deleted before being closed"):
        gc.collect()
    assert watched() is None


@pytest.mark.parametrize("how", ["close", "drop", "throw"])
async def test_dropped_operation_frees_the_connection(table: Conn, how: str) -> None:
    steps, log = Steps(0), []

    async def own() -> None:
        try:
            await steps()
        except GeneratorExit:
            log.append("closed")
            raise

    async def drive() -> None:
        operation = table.execute("SELECT own()")
        value = operation.send(None)
        while not steps.reached.is_set():
            value = operation.send(await Again(value))
        if how == "close":
            operation.close()
        elif how == "throw":
            with pytest.raises(GeneratorExit):
                operation.throw(GeneratorExit())

    await table.create_function("own", 0, own)
    with anyio.fail_after(LIMIT):
        await drive()
        gc.collect()
        assert log == ["closed"]
        await assert_whole(table)


class Again:
    """Yields to the loop what was yielded here."""

    def __init__(self, yielded: Any) -> None:
        self.yielded = yielded

    def __await__(self) -> Any:
        return (yield self.yielded)


# What follows is about asyncio alone, or about processes.


def test_swallowed_cancellation_lets_the_statement_go_on() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            begun = asyncio.Event()

            async def own() -> str:
                begun.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    await asyncio.sleep(0)
                return "swallowed"

            await conn.create_function("own", 0, own)

            async def use() -> Any:
                return await conn.fetch_scalar("SELECT own()")

            task = asyncio.create_task(use())
            await begun.wait()
            task.cancel()
            assert await task == "swallowed"
            assert await conn.fetch_scalar("SELECT 1") == 1

    asyncio.run(asyncio.wait_for(main(), LIMIT))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout")
def test_asyncio_timeouts_count_right() -> None:
    async def main() -> None:
        timeout: Any = asyncio.timeout  # type: ignore[attr-defined,unused-ignore]
        async with aiolibsql.connect(":memory:") as conn:
            task: Any = asyncio.current_task()

            async def own(how: str) -> Any:
                assert asyncio.current_task() is task
                if how == "inside":
                    try:
                        async with timeout(0.01):
                            await asyncio.sleep(60)
                    except TimeoutError:
                        return "inside"
                return await asyncio.sleep(60)

            await conn.create_function("own", 1, own)
            assert await conn.fetch_scalar("SELECT own('inside')") == "inside"
            for _ in range(3):
                with pytest.raises(TimeoutError) as caught:
                    async with timeout(0.01):
                        await conn.execute("SELECT own('around')")
                assert not isinstance(caught.value, aiolibsql.Error)
                with pytest.raises(aiolibsql.TimeoutError):
                    await conn.execute("SELECT own('of the statement')", timeout=0.01)
                assert task.cancelling() == 0
                assert await conn.fetch_scalar("SELECT 1") == 1

    asyncio.run(asyncio.wait_for(main(), LIMIT))


def test_cancelled_twice_while_the_statement_stops() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            begun, go = asyncio.Event(), threading.Event()

            async def own() -> None:
                begun.set()
                await asyncio.sleep(60)

            # Holds the worker after the callback was cancelled.
            def hold() -> int:
                go.wait(LIMIT)
                return 0

            class Own:
                def step(self, _: Any) -> Any:
                    return own()

                def finalize(self) -> int:
                    return hold()

            await conn.create_aggregate("own", 1, Own)
            task = asyncio.ensure_future(conn.execute("SELECT own(1)"))
            await begun.wait()
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0.001)
                task.cancel()
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await conn.fetch_scalar("SELECT 1") == 1

    asyncio.run(asyncio.wait_for(main(), LIMIT))


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_end_of_the_program_inside_of_a_callback(raised: type[BaseException]) -> None:
    ended = []

    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:

            async def own() -> None:
                await asyncio.sleep(0)
                raise raised

            await conn.create_function("own", 0, own)
            try:
                await conn.execute("SELECT own()")
            finally:
                ended.append(await conn.fetch_scalar("SELECT 1"))

    with pytest.raises(raised):
        asyncio.run(asyncio.wait_for(main(), LIMIT))
    assert ended == [1]


def test_task_that_nobody_has_any_more_frees_the_connection() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            begun = asyncio.Event()

            async def own() -> None:
                begun.set()
                await asyncio.get_running_loop().create_future()

            await conn.create_function("own", 0, own)

            async def use() -> None:
                await conn.execute("SELECT own()")

            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            tasks = [asyncio.create_task(use())]
            await begun.wait()
            tasks.clear()
            gc.collect()
            assert await conn.fetch_scalar("SELECT 1") == 1

    asyncio.run(asyncio.wait_for(main(), LIMIT))


def test_connection_in_a_thread_that_a_callback_waits_for_is_refused() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:

            async def use() -> None:
                await conn.execute("SELECT 1")

            async def own() -> None:
                await asyncio.to_thread(lambda: asyncio.run(use()))

            await conn.create_function("own", 0, own)
            with pytest.raises(aiolibsql.OperationalError) as caught:
                await conn.execute("SELECT own()")
            assert isinstance(caught.value.__cause__, aiolibsql.ProgrammingError)

    asyncio.run(asyncio.wait_for(main(), LIMIT))


def test_loops_in_two_threads_share_a_connection() -> None:
    errors: list[BaseException] = []

    async def use(conn: Conn, name: str) -> None:
        for number in range(50):
            row = await conn.fetch_all("SELECT own(?, ?)", (name, number))
            assert row == [(f"{name}{number}",)]

    async def main() -> None:
        conn = await aiolibsql.connect(":memory:")

        async def own(name: str, number: int) -> str:
            assert threading.current_thread().name == name
            await asyncio.sleep(0)
            return f"{name}{number}"

        await conn.create_function("own", 2, own)

        def run(name: str) -> None:
            try:
                asyncio.run(asyncio.wait_for(use(conn, name), LIMIT))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(name,), name=name) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await conn.close()

    asyncio.run(main())
    assert errors == []


def test_loop_that_is_closed_in_flight_frees_the_connection() -> None:
    begun = threading.Event()

    async def own() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def prepare() -> Conn:
        conn = await aiolibsql.connect(":memory:")
        await conn.create_function("own", 0, own)
        return conn

    async def until_begun() -> None:
        while not begun.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    loop = asyncio.new_event_loop()
    conn = loop.run_until_complete(prepare())
    task = loop.create_task(asyncio.wait_for(conn.fetch_scalar("SELECT own()"), LIMIT))
    loop.run_until_complete(until_begun())
    loop.close()

    async def after() -> None:
        assert await conn.fetch_scalar("SELECT 3") == 3
        await conn.close()

    # The task is still there, and so is its operation.
    asyncio.run(asyncio.wait_for(after(), LIMIT))
    assert not task.done()
    # It complains of the task that was never ended.
    loop.set_exception_handler(lambda *_: None)
    del task
    gc.collect()


ENDINGS = {
    "the program ends": "raise SystemExit(0)",
    "main returns": "return",
    "os._exit": "os._exit(0)",
}
STARTS = {
    "asyncio": "import asyncio; task = asyncio.ensure_future(use())",
    "trio": "import trio; trio.lowlevel.spawn_system_task(use)",
}


@pytest.mark.parametrize("runtime", STARTS)
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_interpreter_ends_while_one_is_in_flight(runtime: str, ending: str) -> None:
    script = """
    import os, sys, warnings
    import anyio, aiolibsql
    warnings.simplefilter("ignore", ResourceWarning)

    async def main():
        conn = await aiolibsql.connect(":memory:")
        begun = anyio.Event()

        async def own():
            begun.set()
            await anyio.sleep_forever()

        async def use():
            await conn.fetch_scalar("SELECT own()")

        await conn.create_function("own", 0, own)
        START
        await begun.wait()
        print("begun", flush=True)
        ENDING

    anyio.run(main, backend=sys.argv[1])
    """
    script = script.replace("START", STARTS[runtime]).replace("ENDING", ending)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), runtime],
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("begun\n", "", 0)


def test_daemon_thread_with_one_in_flight_at_exit() -> None:
    script = """
    import asyncio, threading, warnings
    import aiolibsql
    warnings.simplefilter("ignore", ResourceWarning)
    begun = threading.Event()

    async def main():
        conn = await aiolibsql.connect(":memory:")
        async def own():
            begun.set()
            await asyncio.sleep(60)
        await conn.create_function("own", 0, own)
        await conn.fetch_scalar("SELECT own()")

    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    begun.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr


def test_abandoned_loop_at_exit() -> None:
    script = """
    import asyncio, warnings
    import aiolibsql
    warnings.simplefilter("ignore", ResourceWarning)
    loop = asyncio.new_event_loop()

    async def prepare():
        conn = await aiolibsql.connect(":memory:")
        async def own():
            loop.stop()
            await asyncio.sleep(60)
        await conn.create_function("own", 0, own)
        return conn

    conn = loop.run_until_complete(prepare())
    task = loop.create_task(asyncio.wait_for(conn.fetch_scalar("SELECT own()"), 60))
    loop.run_forever()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
