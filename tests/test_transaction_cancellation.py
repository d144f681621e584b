"""Cancellation of transaction blocks at each of their awaits: all of a block stays, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from blocks import (
    KINDS,
    WRITERS,
    Kind,
    Outsider,
    block_of,
    cancelled_in_queue,
    cancelled_undelivered,
    insert,
    name_of,
    xs,
)
from healthy import assert_healthy
from situations import (
    BEGUN,
    ENDLESS,
    ENDLESS_INSERT,
    PROMPT,
    SLOW,
    Attempt,
    attempt,
    attempt_cancelled,
    best_of_three,
    block_until,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from backends import Backend

Conn = aiolibsql.Connection[Any]

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
ROUNDS = 3000 if IS_SOAK else 120

# Python 3.10 has neither.
timeout: Any = getattr(asyncio, "timeout", None)
TaskGroup: Any = getattr(asyncio, "TaskGroup", None)

since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout, cancelling()")
each_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)
each_writer = pytest.mark.parametrize("kind", WRITERS, ids=name_of)
INNER: list[Kind] = [("transaction", "IMMEDIATE"), ("savepoint", None)]
each_inner = pytest.mark.parametrize("kind", INNER, ids=name_of)


@pytest.fixture(scope="module")
def outsider() -> Iterator[Outsider]:
    with Outsider() as process:
        yield process


@pytest.fixture
async def conn(file_backend: Backend, outsider: Outsider) -> AsyncIterator[Conn]:
    """Return a connection that the end of the test has to find whole, with no lock left."""
    async with file_backend.connect(timeout=60) as connection:
        await connection.execute("PRAGMA synchronous=OFF")
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        if not connection.closed:
            await assert_healthy(connection)
            assert outsider.rows(file_backend) == await xs(connection)


def leaving(event: anyio.Event) -> Callable[[], Awaitable[object]]:
    """Return what waits until a block is about to be left, and its end has been submitted."""

    async def wait() -> None:
        await event.wait()
        await turns()

    return wait


async def enter_and_write(conn: Conn, kind: Kind, entered: list[str]) -> None:
    async with block_of(conn, kind):
        entered.append("entered")
        await insert(conn, "inside")


@pytest.mark.anyio
class TestEnter:
    @each_kind
    async def test_queued_begins_nothing(self, conn: Conn, kind: Kind) -> None:
        entered: list[str] = []
        outcome = await cancelled_in_queue(conn, enter_and_write(conn, kind, entered))
        assert outcome.is_cancelled
        assert outcome.seconds < 1
        await conn.fetch_all("SELECT 1")
        assert not conn.in_transaction
        assert entered == []

    @pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE", "READ"])
    async def test_waiting_for_another_process_gives_up_at_once(
        self, conn: Conn, file_backend: Backend, outsider: Outsider, mode: str
    ) -> None:
        entered: list[str] = []
        outsider.lock(file_backend)

        async def measure() -> float:
            block = enter_and_write(conn, ("transaction", mode), entered)
            outcome = await attempt_cancelled(block)
            assert outcome.is_cancelled
            began = time.perf_counter()
            # It touches no file, so it needs no lock.
            assert await conn.fetch_all("SELECT 1") == [(1,)]
            return max(outcome.seconds, time.perf_counter() - began)

        await best_of_three(measure, PROMPT)
        assert not conn.in_transaction
        assert entered == []
        outsider.release()

    async def test_waiting_under_autocommit_false_leaves_a_transaction_open(
        self, file_backend: Backend, outsider: Outsider
    ) -> None:
        async with file_backend.connect(timeout=60, autocommit=False) as conn:
            await conn.execute("CREATE TABLE t (x)")
            await conn.commit()
            outsider.lock(file_backend)
            block = enter_and_write(conn, ("transaction", "IMMEDIATE"), [])
            assert (await attempt_cancelled(block)).is_cancelled
            await conn.execute("SELECT 1")
            assert conn.in_transaction
            outsider.release()
            await insert(conn, "after")
            await conn.rollback()
            assert await xs(conn) == []
            await assert_healthy(conn)

    @each_kind
    async def test_done_but_undelivered_is_rolled_back(self, conn: Conn, kind: Kind) -> None:
        entered: list[str] = []
        outcome = await cancelled_undelivered(
            conn, enter_and_write(conn, kind, entered), lambda: conn.in_transaction
        )
        assert outcome.is_cancelled
        await conn.fetch_all("SELECT 1")
        assert not conn.in_transaction
        assert entered == []

    @each_kind
    async def test_done_but_undelivered_lets_go_of_those_that_wait(
        self, conn: Conn, kind: Kind
    ) -> None:
        outside = Attempt()
        async with anyio.create_task_group() as tasks:

            async def submitted_and_done() -> None:
                await turns()
                tasks.start_soon(attempt, insert(conn, "outside"), outside)
                await turns()
                block_until(lambda: conn.in_transaction)

            outcome = await cancelled_in_queue(
                conn, enter_and_write(conn, kind, []), submitted_and_done
            )
            assert outcome.is_cancelled
        assert outside.error is None
        assert conn.in_transaction, "the INSERT of sqlite3's default mode begins one"
        await conn.commit()
        assert await xs(conn) == ["outside"]

    @pytest.mark.parametrize("is_done", [False, True], ids=["queued", "undelivered"])
    @each_kind
    async def test_cancelled_task_is_outside_of_the_block(
        self, conn: Conn, kind: Kind, is_done: bool
    ) -> None:
        slow = Attempt()

        async def cancel(scope: anyio.CancelScope) -> None:
            await turns()
            assert slow.value is None, "the slow query is over: nothing was queued"
            if is_done:
                block_until(lambda: conn.in_transaction)
            scope.cancel()

        holding, may_end = anyio.Event(), anyio.Event()

        async def hold_a_block() -> None:
            async with conn.transaction():
                await insert(conn, 1)
                holding.set()
                await may_end.wait()
                await insert(conn, 2)

        async def end_soon() -> None:
            await turns()
            may_end.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
            await turns()
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel, scope)
                await enter_and_write(conn, kind, [])
            assert scope.cancelled_caught
            tasks.start_soon(hold_a_block)
            await holding.wait()
            tasks.start_soon(end_soon)
            assert await xs(conn) == [1, 2], "it read what was not committed"


async def block_with(conn: Conn, kind: Kind, awaitable: Awaitable[Any], is_in: anyio.Event) -> None:
    async with block_of(conn, kind):
        await insert(conn, "before")
        is_in.set()
        await awaitable
        await insert(conn, "after")


async def all_of(conn: Conn) -> None:
    endless = ((value,) for value in itertools.count())
    await conn.executemany("INSERT INTO t VALUES (?)", endless)


async def iterate(conn: Conn) -> None:
    async with conn.execute(ENDLESS) as cursor:
        async for _ in cursor:
            pass


RUNNING: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "read": lambda conn: conn.fetch_all(ENDLESS),
    "write": lambda conn: conn.execute(ENDLESS_INSERT),
    "executemany": all_of,
    "iteration": iterate,
    "nothing of ours": lambda _: anyio.sleep(20),
}


@pytest.mark.anyio
class TestStatement:
    @pytest.mark.parametrize("statement", RUNNING.values(), ids=RUNNING)
    @each_writer
    async def test_running_is_stopped_and_the_block_rolled_back(
        self, conn: Conn, kind: Kind, statement: Callable[[Conn], Awaitable[Any]]
    ) -> None:
        async def measure() -> float:
            is_in = anyio.Event()

            async def begun() -> None:
                await is_in.wait()
                await anyio.sleep(BEGUN)

            outcome = await attempt_cancelled(block_with(conn, kind, statement(conn), is_in), begun)
            assert outcome.is_cancelled
            began = time.perf_counter()
            assert await xs(conn) == []
            assert not conn.in_transaction
            return max(outcome.seconds, time.perf_counter() - began)

        await best_of_three(measure, PROMPT)

    async def test_queued_behind_a_sibling_never_runs(self, conn: Conn) -> None:
        async with conn.transaction() as tx:
            outcome = await cancelled_in_queue(tx, insert(tx, "queued"))
            assert outcome.is_cancelled
            await insert(conn, "after")
        assert await xs(conn) == ["after"]

    async def test_undelivered_write_stands_in_the_block(self, conn: Conn) -> None:
        async with conn.transaction() as tx:
            before = conn.total_changes
            outcome = await cancelled_undelivered(
                tx, insert(tx, "undelivered"), lambda: conn.total_changes > before
            )
            assert outcome.is_cancelled
        assert await xs(conn) == ["undelivered"]

    @pytest.mark.parametrize("is_kept", [True, False], ids=["left normally", "rolled back"])
    async def test_read_cancelled_in_a_scope_inside_leaves_the_block_whole(
        self, conn: Conn, is_kept: bool
    ) -> None:
        with contextlib.suppress(LookupError):
            async with conn.transaction():
                await insert(conn, 1)
                with anyio.move_on_after(BEGUN) as scope:
                    await conn.execute(ENDLESS)
                assert scope.cancelled_caught
                await insert(conn, 2)
                if not is_kept:
                    raise LookupError
        assert await xs(conn) == ([1, 2] if is_kept else [])

    @each_writer
    async def test_write_cancelled_in_a_scope_inside_loses_the_block(
        self, conn: Conn, kind: Kind, file_backend: Backend, outsider: Outsider
    ) -> None:
        lost = pytest.raises(aiolibsql.OperationalError, match="the transaction was rolled back")
        with lost:
            async with block_of(conn, kind) as tx:
                await insert(conn, 1)
                with anyio.move_on_after(BEGUN) as scope:
                    await conn.execute(ENDLESS_INSERT)
                assert scope.cancelled_caught
                for connection in (conn, tx, conn, tx):
                    with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                        await insert(connection, 2)
                assert outsider.rows(file_backend) == [], "something slipped into autocommit"
        assert await xs(conn) == []


async def block_left(
    conn: Conn, kind: Kind, is_leaving: anyio.Event, error: Exception | None = None
) -> None:
    async with block_of(conn, kind):
        await insert(conn, 1, 2)
        is_leaving.set()
        if error is not None:
            raise error


async def left_behind_a_slow_query(
    conn: Conn, kind: Kind, is_leaving: anyio.Event, error: Exception | None = None
) -> None:
    """Leave a block while a child of it keeps the connection busy."""
    async with anyio.create_task_group() as tasks:
        try:
            async with block_of(conn, kind):
                await insert(conn, 1, 2)
                tasks.start_soon(shielded_slow, conn)
                await turns()
                is_leaving.set()
                if error is not None:
                    raise error
        finally:
            # Whatever comes out of the block, its end has run or is ahead of everything else.
            with anyio.CancelScope(shield=True):
                assert (await conn.fetch_all("SELECT 1")) == [(1,)]
            assert not conn.in_transaction


async def shielded_slow(conn: Conn) -> None:
    with anyio.CancelScope(shield=True):
        assert await conn.fetch_scalar(SLOW) == 300000


@pytest.mark.anyio
class TestCommit:
    @each_writer
    async def test_queued_never_runs_and_the_block_is_rolled_back(
        self, conn: Conn, kind: Kind
    ) -> None:
        is_leaving = anyio.Event()
        block = left_behind_a_slow_query(conn, kind, is_leaving)
        outcome = await attempt_cancelled(block, leaving(is_leaving))
        assert outcome.is_cancelled
        assert await xs(conn) == []

    @each_writer
    async def test_waiting_for_a_reader_gives_up_at_once_and_rolls_back(
        self, conn: Conn, kind: Kind, file_backend: Backend, outsider: Outsider
    ) -> None:
        async def measure() -> float:
            is_leaving = anyio.Event()
            outsider.read(file_backend)

            async def begun() -> None:
                await is_leaving.wait()
                await anyio.sleep(BEGUN)

            outcome = await attempt_cancelled(block_left(conn, kind, is_leaving), begun)
            assert outcome.is_cancelled
            began = time.perf_counter()
            await conn.fetch_all("SELECT 1")
            taken = max(outcome.seconds, time.perf_counter() - began)
            assert not conn.in_transaction
            outsider.release()
            assert outsider.rows(file_backend) == []
            return taken

        await best_of_three(measure, PROMPT)

    @each_writer
    async def test_done_but_undelivered_is_committed(self, conn: Conn, kind: Kind) -> None:
        is_leaving = anyio.Event()

        async def committed() -> None:
            await leaving(is_leaving)()
            block_until(lambda: not conn.in_transaction)

        block = left_behind_a_slow_query(conn, kind, is_leaving)
        await attempt_cancelled(block, committed)
        assert await xs(conn) == [1, 2]

    async def test_deadline_that_passes_while_a_reader_holds_it_up_rolls_back(
        self, conn: Conn, file_backend: Backend, outsider: Outsider
    ) -> None:
        outsider.read(file_backend)
        began = time.perf_counter()
        with anyio.move_on_after(BEGUN) as scope:
            async with conn.transaction():
                await insert(conn, 1)
        assert scope.cancelled_caught
        assert time.perf_counter() - began < 2
        # The same task goes on, outside of the block.
        async with conn.transaction("DEFERRED"):
            assert await xs(conn) == []
        outsider.release()


@pytest.mark.anyio
class TestRollback:
    @each_writer
    @pytest.mark.parametrize("is_done", [False, True], ids=["queued", "undelivered"])
    async def test_runs_to_its_end_before_the_caller_goes_on(
        self, conn: Conn, kind: Kind, is_done: bool
    ) -> None:
        is_leaving = anyio.Event()
        open_after: list[bool] = []

        async def block() -> None:
            async with anyio.create_task_group() as tasks:
                try:
                    async with block_of(conn, kind):
                        await insert(conn, 1, 2)
                        tasks.start_soon(shielded_slow, conn)
                        await turns()
                        is_leaving.set()
                        raise LookupError
                finally:
                    open_after.append(conn.in_transaction)

        async def when() -> None:
            await leaving(is_leaving)()
            if is_done:
                block_until(lambda: not conn.in_transaction)
            else:
                assert conn.in_transaction, "it was not queued"

        outcome = await attempt_cancelled(block(), when)
        # trio tells at the next checkpoint, and the block's own error comes first.
        assert outcome.is_cancelled or outcome.error is not None
        assert open_after == [False], "the caller went on before the rollback had run"
        assert await xs(conn) == []

    async def test_is_not_held_up_by_a_reader(
        self, conn: Conn, file_backend: Backend, outsider: Outsider
    ) -> None:
        outsider.read(file_backend)
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            async with conn.transaction():
                await insert(conn, 1)
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert not conn.in_transaction
        outsider.release()
        assert await xs(conn) == []

    @each_kind
    async def test_done_in_a_cancelled_scope(self, conn: Conn, kind: Kind) -> None:
        with anyio.CancelScope() as scope:
            try:
                async with block_of(conn, kind):
                    if kind[1] != "READ":
                        await insert(conn, 1)
                    scope.cancel()
                    raise LookupError  # noqa: TRY301 - the block is what is tested
            except LookupError:
                assert not conn.in_transaction
        assert not conn.in_transaction
        assert await xs(conn) == []

    async def test_forced_is_done_in_a_cancelled_scope(self, conn: Conn) -> None:
        with anyio.CancelScope() as scope:
            async with conn.transaction(force_rollback=True):
                await insert(conn, 1)
                scope.cancel()
        assert not conn.in_transaction
        assert await xs(conn) == []


@pytest.mark.anyio
class TestNested:
    @each_inner
    async def test_enter_queued_leaves_the_outer_block_as_it_was(
        self, conn: Conn, kind: Kind
    ) -> None:
        entered: list[str] = []
        async with conn.transaction():
            await insert(conn, 1)
            outcome = await cancelled_in_queue(conn, enter_and_write(conn, kind, entered))
            assert outcome.is_cancelled
            await insert(conn, 2)
        assert entered == []
        assert await xs(conn) == [1, 2]

    @each_inner
    async def test_enter_undelivered_is_undone(self, conn: Conn, kind: Kind) -> None:
        entered: list[str] = []
        async with conn.transaction() as tx:
            await insert(conn, 1)
            # The end of SLOW shows; that of the savepoint after it has no property.
            before = conn.total_changes
            slow = Attempt()
            async with anyio.create_task_group() as tasks:
                sql = f"INSERT INTO t SELECT * FROM ({SLOW})"
                tasks.start_soon(attempt, tx.execute(sql), slow)
                await turns()

                async def when() -> None:
                    await turns()
                    block_until(lambda: conn.total_changes > before)
                    time.sleep(0.02)  # noqa: ASYNC251 - the loop must not hear of it

                outcome = await attempt_cancelled(enter_and_write(conn, kind, entered), when)
            assert slow.error is None
            assert outcome.is_cancelled
            await insert(conn, 2)
        assert entered == []
        assert await xs(conn) == [1, 300000, 2]

    @each_inner
    async def test_leave_queued_undoes_the_inner_block_only(self, conn: Conn, kind: Kind) -> None:
        is_leaving = anyio.Event()
        async with conn.transaction():
            await insert(conn, "outer")
            slow = Attempt()

            async def inner() -> None:
                async with block_of(conn, kind):
                    await insert(conn, "inner")
                    tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
                    await turns()
                    is_leaving.set()

            async with anyio.create_task_group() as tasks:
                outcome = await attempt_cancelled(inner(), leaving(is_leaving))
            assert slow.value == 300000
            assert outcome.is_cancelled
            assert await xs(conn) == ["outer"]
            assert conn.in_transaction
        assert await xs(conn) == ["outer"]

    @each_inner
    async def test_leave_done_but_undelivered_keeps_the_inner_block(
        self, conn: Conn, kind: Kind
    ) -> None:
        async with conn.transaction():
            await insert(conn, "outer")
            before = conn.total_changes
            is_leaving = anyio.Event()
            slow = Attempt()

            async def inner() -> None:
                async with block_of(conn, kind):
                    sql = f"INSERT INTO t SELECT * FROM ({SLOW})"
                    tasks.start_soon(attempt, conn.execute(sql), slow)
                    await turns()
                    is_leaving.set()

            async def when() -> None:
                await leaving(is_leaving)()
                block_until(lambda: conn.total_changes > before)
                time.sleep(0.02)  # noqa: ASYNC251 - the loop must not hear of it

            async with anyio.create_task_group() as tasks:
                await attempt_cancelled(inner(), when)
            assert slow.error is None
        assert await xs(conn) == ["outer", 300000]

    @each_inner
    async def test_read_cancelled_in_the_inner_block_undoes_it_and_the_outer_goes_on(
        self, conn: Conn, kind: Kind
    ) -> None:
        async with conn.transaction():
            await insert(conn, "outer")
            with anyio.move_on_after(BEGUN) as scope:
                async with block_of(conn, kind):
                    await insert(conn, "inner")
                    await conn.execute(ENDLESS)
            assert scope.cancelled_caught
            await insert(conn, "later")
        assert await xs(conn) == ["outer", "later"]

    @each_inner
    async def test_write_cancelled_in_the_inner_block_loses_the_outer_too(
        self, conn: Conn, kind: Kind
    ) -> None:
        with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
            async with conn.transaction():
                await insert(conn, "outer")
                with anyio.move_on_after(BEGUN) as scope:
                    async with block_of(conn, kind):
                        await conn.execute(ENDLESS_INSERT)
                assert scope.cancelled_caught
                with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                    await insert(conn, "later")
                with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                    async with conn.savepoint():
                        pytest.fail("a block was entered in a lost transaction")
        assert await xs(conn) == []


@pytest.mark.anyio
class TestMethods:
    """What the other modules on cancellation have not: BEGIN in the queue, close undelivered."""

    async def test_begin_queued_never_runs(self, conn: Conn) -> None:
        assert (await cancelled_in_queue(conn, conn.begin("IMMEDIATE"))).is_cancelled
        await conn.fetch_all("SELECT 1")
        assert not conn.in_transaction

    async def test_close_done_but_undelivered_is_closed(self, conn: Conn) -> None:
        slow = Attempt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
            await turns()

            async def closed() -> None:
                await turns()
                block_until(lambda: conn.closed)

            await attempt_cancelled(conn.close(), closed)
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await conn.execute("SELECT 1")

    async def test_operation_waiting_for_a_block_cancelled_never_runs(self, conn: Conn) -> None:
        outcomes: list[Attempt] = []
        done = anyio.Event()

        async def outside() -> None:
            await is_in.wait()
            operations = (
                conn.execute("INSERT INTO t VALUES ('outside')"),
                conn.executemany("INSERT INTO t VALUES (?)", [("outside",)]),
                conn.executescript("INSERT INTO t VALUES ('outside')"),
                conn.begin("IMMEDIATE"),
                conn.commit(),
                enter_and_write(conn, ("transaction", "IMMEDIATE"), []),
            )
            outcomes.extend([await attempt_cancelled(one, turns) for one in operations])
            done.set()

        is_in = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outside)
            async with conn.transaction():
                await insert(conn, 1)
                is_in.set()
                await done.wait()
                await insert(conn, 2)
        assert [outcome.is_cancelled for outcome in outcomes] == [True] * 6
        assert max(outcome.seconds for outcome in outcomes) < 1
        assert await xs(conn) == [1, 2]
        assert not conn.in_transaction


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Conn]:
    async with aiolibsql.connect(":memory:") as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn
        await assert_healthy(conn)


class TestTrioScopes:
    @each_kind
    def test_entering_in_a_cancelled_scope_submits_nothing(self, kind: Kind) -> None:
        async def main() -> None:
            async with opened() as conn:
                entered: list[str] = []
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await enter_and_write(conn, kind, entered)
                assert scope.cancelled_caught
                assert entered == []
                assert not conn.in_transaction

        trio.run(main)

    @each_writer
    def test_leaving_normally_in_a_cancelled_scope_rolls_back(self, kind: Kind) -> None:
        async def main() -> None:
            async with opened() as conn:
                with trio.CancelScope() as scope:
                    async with block_of(conn, kind):
                        await insert(conn, 1)
                        scope.cancel()
                assert scope.cancelled_caught
                assert await xs(conn) == []
                assert not conn.in_transaction

        trio.run(main)

    @each_inner
    def test_leaving_an_inner_block_in_a_cancelled_scope_undoes_it_only(self, kind: Kind) -> None:
        async def main() -> None:
            async with opened() as conn:
                async with conn.transaction():
                    await insert(conn, "outer")
                    with trio.CancelScope() as scope:
                        async with block_of(conn, kind):
                            await insert(conn, "inner")
                            scope.cancel()
                    assert scope.cancelled_caught
                    assert conn.in_transaction
                    await insert(conn, "later")
                assert await xs(conn) == ["outer", "later"]

        trio.run(main)

    @each_writer
    def test_leaving_by_an_error_in_a_cancelled_scope_rolls_back_and_raises_it(
        self, kind: Kind
    ) -> None:
        async def main() -> None:
            async with opened() as conn:
                with trio.CancelScope() as scope:
                    with pytest.raises(LookupError):
                        async with block_of(conn, kind):
                            await insert(conn, 1)
                            scope.cancel()
                            raise LookupError
                    assert not conn.in_transaction
                    await trio.lowlevel.checkpoint()
                    pytest.fail("the scope was forgotten")
                assert scope.cancelled_caught
                assert await xs(conn) == []

        trio.run(main)

    def test_block_shielded_by_the_user_commits_in_a_cancelled_scope(self) -> None:
        async def main() -> None:
            async with opened() as conn:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    with trio.CancelScope(shield=True):
                        async with conn.transaction():
                            await insert(conn, 1)
                assert await xs(conn) == [1]

        trio.run(main)


def in_asyncio(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    asyncio.run(main())


def in_uvloop(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.mark.parametrize("run", [in_asyncio, in_uvloop])
class TestAsyncio:
    @since_311
    def test_timeout_in_a_statement_rolls_back_and_counts_right(self, run: Any) -> None:
        async def main() -> None:
            async with opened() as conn:
                task: Any = asyncio.current_task()
                with pytest.raises(TimeoutError) as caught:
                    async with timeout(BEGUN), conn.transaction():
                        await insert(conn, 1)
                        await conn.execute(ENDLESS)
                assert not isinstance(caught.value, aiolibsql.Error)
                assert task.cancelling() == 0
                assert not conn.in_transaction
                assert await xs(conn) == []
                await asyncio.sleep(0)

        run(main)

    @since_311
    @pytest.mark.parametrize("is_kept", [True, False], ids=["commit", "rollback"])
    def test_timeout_while_the_block_is_left_is_all_or_nothing_and_counts_right(
        self, run: Any, is_kept: bool
    ) -> None:
        async def main() -> None:
            async with opened() as conn:
                task: Any = asyncio.current_task()
                slow: list[asyncio.Future[Any]] = []
                with contextlib.suppress(LookupError), pytest.raises(TimeoutError):
                    async with timeout(None) as scope, conn.transaction():
                        await insert(conn, 1)
                        slow.append(asyncio.ensure_future(conn.fetch_scalar(SLOW)))
                        await asyncio.sleep(0)
                        loop = asyncio.get_running_loop()
                        scope.reschedule(loop.time() + 0.002)
                        if not is_kept:
                            raise LookupError
                assert task.cancelling() == 0
                assert await slow[0] == 300000
                await conn.fetch_all("SELECT 1")
                assert not conn.in_transaction
                assert await xs(conn) == [], "a COMMIT in the queue ran for a caller who had gone"
                await asyncio.sleep(0)

        run(main)

    def test_wait_for_rolls_a_block_back(self, run: Any) -> None:
        async def block(conn: Conn) -> None:
            async with conn.transaction():
                await insert(conn, 1)
                await conn.execute(ENDLESS)

        async def main() -> None:
            async with opened() as conn:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(block(conn), BEGUN)
                assert not conn.in_transaction
                assert await xs(conn) == []

        run(main)

    @since_311
    def test_task_group_that_fails_inside_rolls_back_and_raises_only_its_error(
        self, run: Any
    ) -> None:
        async def main() -> None:
            async with opened() as conn:
                with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group
                    async with conn.transaction(), TaskGroup() as tasks:
                        for value in range(5):
                            tasks.create_task(insert(conn, value))
                        tasks.create_task(conn.fetch_all(ENDLESS))
                        await asyncio.sleep(BEGUN)
                        raise LookupError
                (error,) = caught.value.exceptions  # type: ignore[attr-defined]
                assert isinstance(error, LookupError)
                assert not conn.in_transaction
                assert await xs(conn) == []

        run(main)

    @since_311
    def test_task_group_that_fails_around_a_commit_in_the_queue_rolls_back(self, run: Any) -> None:
        async def main() -> None:
            async with opened() as conn:
                slow: list[asyncio.Future[Any]] = []
                is_leaving = asyncio.Event()

                async def block() -> None:
                    async with conn.transaction():
                        await insert(conn, 1)
                        slow.append(asyncio.ensure_future(conn.fetch_scalar(SLOW)))
                        await asyncio.sleep(0)
                        is_leaving.set()

                with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group
                    async with TaskGroup() as tasks:
                        tasks.create_task(block())
                        await is_leaving.wait()
                        await asyncio.sleep(0)
                        raise LookupError
                (error,) = caught.value.exceptions  # type: ignore[attr-defined]
                assert isinstance(error, LookupError)
                assert await slow[0] == 300000
                assert await xs(conn) == []

        run(main)

    def test_cancelled_again_and_again_while_it_rolls_back_ends_cancelled(self, run: Any) -> None:
        async def main() -> None:
            async with opened() as conn:
                slow: list[asyncio.Future[Any]] = []
                is_leaving = asyncio.Event()

                async def block() -> None:
                    async with conn.transaction():
                        await insert(conn, 1)
                        slow.append(asyncio.ensure_future(conn.fetch_scalar(SLOW)))
                        await asyncio.sleep(0)
                        is_leaving.set()
                        raise LookupError

                task: Any = asyncio.ensure_future(block())
                await is_leaving.wait()
                for _ in range(3):
                    await asyncio.sleep(0)
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not conn.in_transaction
                if sys.version_info >= (3, 11):
                    assert task.cancelling() == 3
                await slow[0]
                assert await xs(conn) == []

        run(main)

    def test_task_that_cancels_itself_in_a_block_and_swallows_it_may_go_on(self, run: Any) -> None:
        async def main() -> None:
            async with opened() as conn:

                async def stubborn() -> None:
                    async with conn.transaction():
                        await insert(conn, 1)
                        try:
                            await conn.execute(ENDLESS)
                        except asyncio.CancelledError:
                            await insert(conn, 2)

                task = asyncio.ensure_future(stubborn())
                await asyncio.sleep(BEGUN)
                task.cancel()
                await task
                assert await xs(conn) == [1, 2]

        run(main)


async def three_plain(conn: Conn) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        await conn.execute("INSERT INTO t VALUES (2), (3)")


async def three_deferred(conn: Conn) -> None:
    async with conn.transaction("DEFERRED") as tx:
        await tx.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])


async def three_savepoint(conn: Conn) -> None:
    async with conn.savepoint("s"):
        await insert(conn, 1, 2, 3)


async def three_nested(conn: Conn) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        async with conn.transaction() as inner:
            await insert(inner, 2)
            async with inner.savepoint():
                await insert(conn, 3)


async def three_with_one_undone(conn: Conn) -> None:
    async with conn.transaction():
        await insert(conn, 1, 2)
        with contextlib.suppress(LookupError):
            async with conn.savepoint():
                await insert(conn, "undone")
                raise LookupError
        await insert(conn, 3)


async def three_by_children(conn: Conn) -> None:
    async with conn.transaction(), anyio.create_task_group() as tasks:
        for value in (1, 2, 3):
            tasks.start_soon(child, conn, value)


async def child(conn: Conn, value: int) -> None:
    async with conn.savepoint():
        await insert(conn, value)


BLOCKS: dict[str, Callable[[Conn], Awaitable[None]]] = {
    "plain": three_plain,
    "deferred": three_deferred,
    "savepoint": three_savepoint,
    "nested": three_nested,
    "one undone": three_with_one_undone,
    "children": three_by_children,
}


async def cancel_at(moment: tuple[int, float, float], awaitable: Awaitable[Any]) -> Attempt:
    """Cancel after so many turns of the loop, held for so long, after so many seconds."""
    loop_turns, held, seconds = moment
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, awaitable, outcome)
        for _ in range(loop_turns):
            await anyio.lowlevel.checkpoint()
        if seconds:
            await anyio.sleep(seconds)
        if held:
            time.sleep(held)  # noqa: ASYNC251 - what comes meanwhile is not delivered
        tasks.cancel_scope.cancel()
    return outcome


def moments(name: str) -> list[tuple[int, float, float]]:
    """Return when to cancel; the same moments each time."""
    chance = random.Random(name)
    return [
        (
            chance.randrange(25),
            chance.choice([0.0, 0.0, chance.uniform(0, 400e-6)]),
            chance.choice([0.0, chance.uniform(0, 1500e-6)]),
        )
        for _ in range(ROUNDS)
    ]


@pytest.mark.anyio
@pytest.mark.soak
@pytest.mark.parametrize("name", BLOCKS)
async def test_block_cancelled_at_any_moment_is_all_or_nothing(
    backend: Backend, outsider: Outsider, name: str
) -> None:
    finished = before = 0
    async with backend.connect(timeout=20) as conn:
        await conn.execute("PRAGMA synchronous=OFF")
        await conn.execute("CREATE TABLE t (x)")
        for moment in moments(name):
            outcome = await cancel_at(moment, BLOCKS[name](conn))
            assert outcome.error is None, moment
            is_finished = not outcome.is_cancelled
            finished += is_finished
            rows = await xs(conn)
            assert not conn.in_transaction, moment
            added = sorted(rows[before:], key=str)
            assert added in ([[1, 2, 3]] if is_finished else [[], [1, 2, 3]]), moment
            before = len(rows)
        await assert_healthy(conn)
        if backend.name == "file":
            assert outsider.rows(backend) == await xs(conn)
    assert 0 < finished < ROUNDS, "the moments are all too early, or all too late"
