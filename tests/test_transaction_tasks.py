"""Transaction blocks and tasks: who takes part in a block, and who waits for its end how long."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from blocks import insert, xs
from healthy import assert_healthy
from situations import (
    NUMBERS,
    SLOW,
    Attempt,
    OtherProcess,
    attempt,
    attempt_cancelled,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.everywhere

Conn = aiolibsql.Connection[Any]
Tx = aiolibsql.Transaction[Any]

# More rows than are read ahead.
MANY = f"{NUMBERS} SELECT i FROM n LIMIT 1000"


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    """Return an autocommit connection that the end of the test has to find whole."""
    async with backend.connect(timeout=20, isolation_level=None) as connection:
        await backend.hurry(connection)
        await connection.execute("CREATE TABLE t (x)")
        yield connection
        if not connection.closed:
            await assert_healthy(connection)


class Held:
    """A block in a task of its own, which is left when the test says so."""

    def __init__(self, conn: Conn, mode: Any = "IMMEDIATE") -> None:
        self.conn = conn
        self.mode = mode
        self.entered = anyio.Event()
        self.may_end = anyio.Event()
        self.ended = anyio.Event()
        self.tx: Tx | None = None

    async def run(self, value: Any = "held", error: Exception | None = None) -> None:
        with contextlib.suppress(LookupError):
            async with self.conn.transaction(self.mode) as tx:
                self.tx = tx
                await insert(tx, value)
                self.entered.set()
                await self.may_end.wait()
                await insert(self.conn, f"{value} too")
                if error is not None:
                    raise error
        self.ended.set()


@pytest.mark.anyio
class TestInside:
    async def test_tasks_started_inside_take_part(self, conn: Conn) -> None:
        async with conn.transaction(force_rollback=True) as tx:
            async with anyio.create_task_group() as tasks:
                for value in range(5):
                    tasks.start_soon(insert, conn, value)
            assert sorted(await xs(tx)) == [0, 1, 2, 3, 4]
        assert await xs(conn) == []

    async def test_tasks_of_a_group_opened_before_take_part_if_started_inside(
        self, conn: Conn
    ) -> None:
        async with anyio.create_task_group() as tasks:  # noqa: SIM117 - its order is the point
            async with conn.transaction(force_rollback=True):
                done = Attempt()
                tasks.start_soon(attempt, insert(conn, 1), done)
                while not await xs(conn):
                    pass
                assert done.error is None
        assert await xs(conn) == []

    async def test_tasks_of_a_group_opened_inside_but_started_outside_wait(
        self, conn: Conn
    ) -> None:
        started = Attempt()

        async def starts_when_told(tasks: Any) -> None:
            await is_open.wait()
            tasks.start_soon(attempt, xs(conn), started)
            is_started.set()

        is_open, is_started = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as around:
            groups: list[Any] = []

            async def starter() -> None:
                await is_open.wait()
                await starts_when_told(groups[0])

            around.start_soon(starter)
            await turns()
            groups.append(around)
            async with conn.transaction():
                await insert(conn, 1)
                is_open.set()
                await is_started.wait()
                await turns()
                await insert(conn, 2)
                assert started.value is None
        assert started.value == [1, 2]

    async def test_grandchildren_and_nested_blocks_of_children_take_part(self, conn: Conn) -> None:
        async def child(value: int) -> None:
            async with conn.savepoint():
                await insert(conn, value)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(insert, conn, -value)

        async with conn.transaction(force_rollback=True):
            async with anyio.create_task_group() as tasks:
                for value in range(1, 5):
                    tasks.start_soon(child, value)
            rows = await xs(conn)
            # The blocks of siblings take turns, so each one's rows stand together.
            assert [rows[i] + rows[i + 1] for i in range(0, 8, 2)] == [0, 0, 0, 0]
        assert await xs(conn) == []

    async def test_sibling_that_fails_in_its_block_takes_nothing_of_the_others(
        self, conn: Conn
    ) -> None:
        async def child(value: int) -> None:
            with contextlib.suppress(LookupError):
                async with conn.savepoint():
                    await insert(conn, value)
                    await turns()
                    await insert(conn, value)
                    if value % 2:
                        raise LookupError

        async with conn.transaction(), anyio.create_task_group() as tasks:
            for value in range(6):
                tasks.start_soon(child, value)
        assert sorted(await xs(conn)) == [0, 0, 2, 2, 4, 4]

    async def test_parent_waits_for_the_nested_block_of_its_child(self, conn: Conn) -> None:
        is_in, may_end = anyio.Event(), anyio.Event()

        async def child() -> None:
            with contextlib.suppress(LookupError):
                async with conn.savepoint():
                    await insert(conn, "child")
                    is_in.set()
                    await may_end.wait()
                    raise LookupError

        parent = Attempt()
        async with conn.transaction(), anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await is_in.wait()
            tasks.start_soon(attempt, insert(conn, "parent"), parent)
            await turns()
            may_end.set()
        assert parent.error is None
        assert await xs(conn) == ["parent"], "it ran in its child's block and was undone with it"

    async def test_block_entered_in_one_task_and_left_in_another(self, conn: Conn) -> None:
        tx = conn.transaction()

        async def enter() -> None:
            await tx.__aenter__()
            await insert(conn, 1)

        async def leave() -> None:
            await insert(tx, 2)
            await tx.__aexit__(None, None, None)

        for step in (enter, leave):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(step)
        assert not conn.in_transaction
        assert await xs(conn) == [1, 2]

    async def test_transaction_used_by_name_in_a_task_outside_takes_part(self, conn: Conn) -> None:
        held = Held(conn)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.run, "held", LookupError())
            await held.entered.wait()
            assert held.tx is not None
            await insert(held.tx, "by name")
            assert await xs(held.tx) == ["held", "by name"]
            async with held.tx.savepoint() as inner:
                await insert(inner, "inner")
                # The context is that of the inner block now.
                await insert(conn, "plain")
            assert await xs(held.tx) == ["held", "by name", "inner", "plain"]
            held.may_end.set()
        assert await xs(conn) == []

    async def test_async_generator_that_yields_inside_a_block(self, conn: Conn) -> None:
        async def rows() -> AsyncGenerator[Any, None]:
            async with conn.transaction():
                await insert(conn, 1)
                async with conn.execute("SELECT x FROM t") as cursor:
                    async for (x,) in cursor:
                        yield x
                await insert(conn, 2)

        async with contextlib.aclosing(rows()) as generator:
            async for x in generator:
                # The same task: it is inside of the block as long as the generator is.
                await insert(conn, x + 10)
                assert conn.in_transaction
        assert not conn.in_transaction
        assert await xs(conn) == [1, 11, 2]
        await insert(conn, 3)
        assert not conn.in_transaction

    async def test_async_generator_closed_inside_a_block_rolls_back(self, conn: Conn) -> None:
        async def rows() -> AsyncGenerator[int, None]:
            async with conn.transaction():
                await insert(conn, 1)
                yield 1

        async with contextlib.aclosing(rows()) as generator:
            assert await generator.__anext__() == 1
            assert conn.in_transaction
        assert not conn.in_transaction
        assert await xs(conn) == []

    async def test_blocks_of_two_connections_nested_in_both_orders(
        self, conn: Conn, tmp_path: Any
    ) -> None:
        async with aiolibsql.connect(tmp_path / "other.db", isolation_level=None) as other:
            await other.execute("CREATE TABLE t (x)")
            for first, second in ((conn, other), (other, conn)):
                async with first.transaction():
                    await insert(first, 1)
                    with contextlib.suppress(LookupError):
                        async with second.transaction():
                            await insert(second, 2)
                            await insert(first, 3)
                            raise LookupError
                    assert first.in_transaction
                    assert not second.in_transaction
                    await insert(first, 4)
                    await insert(second, 5)
                assert await xs(first) == [1, 3, 4]
                assert await xs(second) == [5]
                await first.execute("DELETE FROM t")
                await second.execute("DELETE FROM t")

    async def test_blocks_of_two_connections_left_in_the_wrong_order(
        self, conn: Conn, tmp_path: Any
    ) -> None:
        async with aiolibsql.connect(tmp_path / "other.db", isolation_level=None) as other:
            await other.execute("CREATE TABLE t (x)")
            first, second = conn.transaction(), other.transaction()
            await first.__aenter__()
            await second.__aenter__()
            await insert(conn, 1)
            await first.__aexit__(None, None, None)
            assert not conn.in_transaction
            await insert(other, 2)
            assert other.in_transaction
            await insert(conn, 3)
            await second.__aexit__(LookupError, LookupError(), None)
            assert await xs(conn) == [1, 3]
            assert await xs(other) == []


@pytest.mark.anyio
class TestOutside:
    async def test_waits_and_then_sees_what_was_committed_in_its_turn(self, conn: Conn) -> None:
        held = Held(conn)
        reader = Attempt()
        writers = [Attempt() for _ in range(5)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.run)
            await held.entered.wait()
            tasks.start_soon(attempt, xs(conn), reader)
            await turns()
            for number, writer in enumerate(writers):
                tasks.start_soon(
                    attempt, conn.execute("INSERT INTO t VALUES (?)", [number]), writer
                )
                await turns()
            assert held.tx is not None
            assert await xs(held.tx) == ["held"]
            assert [writer.value for writer in (reader, *writers)] == [None] * 6
            held.may_end.set()
        assert reader.value == ["held", "held too"]
        assert await xs(conn) == ["held", "held too", 0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        "operation",
        [
            lambda conn: conn.execute("SELECT 1"),
            lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
            lambda conn: conn.executescript("INSERT INTO t VALUES (1)"),
            lambda conn: conn.begin(),
            lambda conn: conn.commit(),
            lambda conn: conn.rollback(),
            lambda conn: conn.execute("ROLLBACK"),
            lambda conn: enter_and_leave(conn.transaction()),
            lambda conn: enter_and_leave(conn.savepoint()),
        ],
        ids=[
            "execute",
            "executemany",
            "executescript",
            "begin",
            "commit",
            "rollback",
            "ROLLBACK",
            "transaction",
            "savepoint",
        ],
    )
    async def test_gives_up_after_the_connections_timeout_and_the_block_goes_on(
        self, backend: Backend, operation: Callable[[Conn], Awaitable[Any]]
    ) -> None:
        async with backend.connect(timeout=0.1, isolation_level=None) as conn:
            await conn.execute("CREATE TABLE t (x)")
            outside = Attempt()
            async with anyio.create_task_group() as tasks:

                async def waits() -> None:
                    await is_in.wait()
                    await attempt(operation(conn), outside)
                    has_failed.set()

                is_in, has_failed = anyio.Event(), anyio.Event()
                tasks.start_soon(waits)
                line = line_after()
                async with conn.transaction("IMMEDIATE"):
                    await insert(conn, 1)
                    is_in.set()
                    began = time.perf_counter()
                    # The owner awaits one who waits for the owner.
                    await has_failed.wait()
                    assert 0.09 < time.perf_counter() - began < 2
                    assert conn.in_transaction
                    await insert(conn, 2)
            assert type(outside.error) is aiolibsql.TimeoutError
            assert f"transaction('IMMEDIATE') at {__file__}:{line}" in str(outside.error)
            assert await xs(conn) == [1, 2]
            assert not conn.in_transaction
            await assert_healthy(conn)

    @pytest.mark.local("PRAGMAs that set something")
    async def test_gives_up_by_the_timeout_of_a_pragma(self, conn: Conn) -> None:
        held = Held(conn)
        async with anyio.create_task_group() as tasks:
            await conn.execute("PRAGMA busy_timeout=50")
            tasks.start_soon(held.run)
            await held.entered.wait()
            began = time.perf_counter()
            with pytest.raises(aiolibsql.TimeoutError, match=r"transaction\('IMMEDIATE'\)"):
                await xs(conn)
            assert time.perf_counter() - began < 2
            held.may_end.set()

    async def test_timeout_of_a_call_bounds_its_wait_for_the_block(self, conn: Conn) -> None:
        held = Held(conn)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.run)
            await held.entered.wait()
            began = time.perf_counter()
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.execute("INSERT INTO t VALUES ('late')", timeout=0.05)
            assert 0.04 < time.perf_counter() - began < 2
            held.may_end.set()
        assert await xs(conn) == ["held", "held too"]

    async def test_timeout_does_not_bound_a_statement_that_has_its_turn(
        self, backend: Backend
    ) -> None:
        async with backend.connect(timeout=0.2, isolation_level=None) as conn:
            await conn.execute("CREATE TABLE t (x)")
            held = Held(conn)
            slow = Attempt()
            # Longer than the time-out, on the machine that the test runs on.
            sql = f"{NUMBERS[:-1]} LIMIT 3000000) SELECT max(i) FROM n"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(held.run)
                await held.entered.wait()
                tasks.start_soon(attempt, conn.fetch_scalar(sql), slow)
                await turns()
                began = time.perf_counter()
                held.may_end.set()
            assert time.perf_counter() - began > 0.2, "make the statement longer"
            assert slow.error is None
            assert slow.value == 3000000

    @pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
    async def test_very_long_timeout_is_waited_with(self, backend: Backend, seconds: float) -> None:
        async with backend.connect(timeout=seconds, isolation_level=None) as conn:
            await conn.execute("CREATE TABLE t (x)")
            held = Held(conn)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(held.run)
                await held.entered.wait()
                outcome = await attempt_cancelled(xs(conn), turns)
                assert outcome.is_cancelled
                held.may_end.set()
            await assert_healthy(conn)

    async def test_waiting_task_is_cancelled_at_once(self, conn: Conn) -> None:
        held = Held(conn)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.run)
            await held.entered.wait()
            for operation in (insert(conn, 1), enter_and_leave(conn.transaction())):
                outcome = await attempt_cancelled(operation, turns)
                assert outcome.is_cancelled
                assert outcome.seconds < 1
            held.may_end.set()
        assert await xs(conn) == ["held", "held too"]

    async def test_fifty_tasks_that_count_lose_no_update(self, conn: Conn) -> None:
        await conn.execute("CREATE TABLE counter (value)")
        await conn.execute("INSERT INTO counter VALUES (0)")

        async def count() -> None:
            async with conn.transaction("DEFERRED"):
                value = await conn.fetch_scalar("SELECT value FROM counter")
                await anyio.lowlevel.checkpoint()
                await conn.execute("UPDATE counter SET value = ?", (value + 1,))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(count)
        assert await conn.fetch_scalar("SELECT value FROM counter") == 50
        assert not conn.in_transaction

    async def test_blocks_come_in_the_order_in_which_they_were_entered(self, conn: Conn) -> None:
        order: list[int] = []

        async def block(number: int) -> None:
            async with conn.transaction():
                order.append(number)
                await turns()

        held = Held(conn)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.run)
            await held.entered.wait()
            for number in range(10):
                tasks.start_soon(block, number)
                await turns()
            held.may_end.set()
        assert order == list(range(10))

    async def test_those_that_wait_while_blocks_nest_keep_their_order(self, conn: Conn) -> None:
        starts = [anyio.Event() for _ in range(4)]

        async def outside(number: int) -> None:
            await starts[number].wait()
            await insert(conn, number)

        async def start(number: int) -> None:
            starts[number].set()
            await turns()

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(outside, number)
            await turns()
            async with conn.transaction():
                await start(0)
                async with conn.savepoint():
                    await start(1)
                    await insert(conn, "inner")
                await start(2)
                async with conn.savepoint():
                    await start(3)
                    await insert(conn, "inner")
                assert await xs(conn) == ["inner", "inner"]
        assert await xs(conn) == ["inner", "inner", 0, 1, 2, 3]

    async def test_close_by_a_task_outside_does_not_wait(self, file_backend: Backend) -> None:
        conn = await file_backend.connect(timeout=20)
        await conn.execute("CREATE TABLE t (x)")
        await conn.commit()
        held, waiting = Held(conn), Attempt()
        block = Attempt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, held.run(), block)
            await held.entered.wait()
            tasks.start_soon(attempt, xs(conn), waiting)
            await turns()
            with pytest.warns(ResourceWarning, match="uncommitted"):
                await conn.close()
            held.may_end.set()
        assert isinstance(block.error, aiolibsql.ConnectionClosedError)
        assert isinstance(waiting.error, aiolibsql.ConnectionClosedError)
        with OtherProcess(file_backend.path) as other:
            assert other.run("SELECT x FROM t") == "[]"


async def enter_and_leave(tx: Tx) -> None:
    async with tx:
        pass


def line_after() -> int:
    """Return the number of the line after that of the caller."""
    import inspect  # noqa: PLC0415 - only here

    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno + 1


@pytest.mark.anyio
class TestCursors:
    @pytest.mark.local("results come whole")
    async def test_opened_before_by_another_task_waits_for_the_block(self, conn: Conn) -> None:
        held = Held(conn)
        fetched = Attempt()
        async with anyio.create_task_group() as tasks:
            cursor = await conn.execute(MANY)
            tasks.start_soon(held.run)
            await held.entered.wait()
            tasks.start_soon(attempt, cursor.fetchall(), fetched)
            await turns()
            assert held.tx is not None
            await held.tx.execute("SELECT 1")
            await turns()
            assert fetched.value is None, "it did not wait"
            held.may_end.set()
        assert fetched.value == [(i,) for i in range(1, 1001)]

    async def test_opened_before_is_read_by_the_owner_inside(self, conn: Conn) -> None:
        cursor = await conn.execute(MANY)
        rows = await cursor.fetchmany(10)
        async with conn.transaction():
            rows += await cursor.fetchmany(500)
        rows += await cursor.fetchall()
        assert rows == [(i,) for i in range(1, 1001)]

    async def test_opened_inside_is_read_by_a_task_outside(self, conn: Conn) -> None:
        cursors: list[aiolibsql.Cursor[Any]] = []
        is_in, is_read = anyio.Event(), anyio.Event()
        outside = Attempt()

        async def reads() -> None:
            await is_in.wait()
            await attempt(cursors[0].fetchall(), outside)
            is_read.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reads)
            async with conn.transaction():
                cursors.append(await conn.execute(MANY))
                is_in.set()
                with anyio.fail_after(10):
                    await is_read.wait()
        assert outside.error is None
        assert outside.value == [(i,) for i in range(1, 1001)]

    async def test_left_over_from_a_block_does_not_look_into_the_next_one(self, conn: Conn) -> None:
        await conn.execute(f"INSERT INTO t {NUMBERS} SELECT i FROM n LIMIT 1000")
        async with conn.transaction():
            cursor = await conn.execute("SELECT x FROM t ORDER BY rowid")
        fetched = Attempt()
        async with anyio.create_task_group() as tasks:
            is_in, may_end = anyio.Event(), anyio.Event()

            async def change() -> None:
                with contextlib.suppress(LookupError):
                    async with conn.transaction() as tx:
                        await tx.execute("UPDATE t SET x = 'uncommitted' WHERE x > 900")
                        is_in.set()
                        await may_end.wait()
                        raise LookupError

            async def end_soon() -> None:
                await turns()
                may_end.set()

            tasks.start_soon(change)
            await is_in.wait()
            tasks.start_soon(end_soon)
            await attempt(cursor.fetchall(), fetched)
        # A ROLLBACK may end a statement that is still read; what was not committed never shows.
        assert ("uncommitted",) not in (fetched.value or [])


@pytest.mark.anyio
class TestLeftOpen:
    async def test_outer_block_left_before_an_inner_one_of_a_child(self, conn: Conn) -> None:
        is_in, may_end = anyio.Event(), anyio.Event()
        child = Attempt()

        async def inner() -> None:
            async with conn.savepoint("mine"):
                await insert(conn, "inner")
                is_in.set()
                await may_end.wait()
                # Neither block is open any more: this runs by itself.
                await insert(conn, "after")

        async with anyio.create_task_group() as tasks:
            with pytest.raises(aiolibsql.ProgrammingError, match=r"savepoint\('mine'\) at .*:\d+"):
                async with conn.transaction():
                    await insert(conn, "outer")
                    tasks.start_soon(attempt, inner(), child)
                    await is_in.wait()
            assert not conn.in_transaction
            assert await xs(conn) == []
            may_end.set()
        assert isinstance(child.error, aiolibsql.ProgrammingError)
        assert "mine" in str(child.error)
        assert await xs(conn) == ["after"]

    async def test_task_that_outlives_its_block_runs_outside_of_it(self, conn: Conn) -> None:
        may_run = anyio.Event()
        plain, named = Attempt(), Attempt()

        async def outlives(tx: Tx) -> None:
            await may_run.wait()
            await attempt(insert(tx, "named"), named)
            await attempt(insert(conn, "plain"), plain)

        async with anyio.create_task_group() as tasks:
            async with conn.transaction() as tx:
                await insert(conn, 1)
                tasks.start_soon(outlives, tx)
            async with conn.transaction(force_rollback=True):
                # It is no part of this one, which it did not inherit.
                may_run.set()
                await turns()
                assert await xs(conn) == [1]
        assert isinstance(named.error, aiolibsql.ProgrammingError)
        assert "has ended" in str(named.error)
        assert plain.error is None
        assert await xs(conn) == [1, "plain"]

    async def test_statement_of_the_outer_block_does_not_slip_into_a_childs_while_both_end(
        self, conn: Conn
    ) -> None:
        outer = conn.transaction()
        async with anyio.create_task_group() as tasks:
            await outer.__aenter__()
            inner = outer.savepoint()

            async def child() -> None:
                await inner.__aenter__()

            async with anyio.create_task_group() as children:
                children.start_soon(child)
            slow, ofouter, ends = Attempt(), Attempt(), [Attempt(), Attempt()]
            # In the queue, one behind the other: the inner block's query, the outer one's INSERT,
            # the ROLLBACK of the inner block, the COMMIT of the outer one.
            tasks.start_soon(attempt, inner.fetch_scalar(SLOW), slow)
            await turns()
            tasks.start_soon(attempt, insert(outer, "of the outer block"), ofouter)
            await turns()
            error = LookupError()
            tasks.start_soon(attempt, inner.__aexit__(LookupError, error, None), ends[0])
            await turns()
            tasks.start_soon(attempt, outer.__aexit__(None, None, None), ends[1])
            await turns()
            assert slow.value is None, "the slow query is over: nothing was queued"
        assert [end.error for end in ends] == [None, None]
        kept = ["of the outer block"] if ofouter.error is None else []
        assert await xs(conn) == kept

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_dropped_without_being_left_is_rolled_back_with_a_warning(
        self, conn: Conn
    ) -> None:
        async def enter_and_forget() -> None:
            tx = conn.transaction()
            await tx.__aenter__()
            await insert(tx, 1)
            tasks.start_soon(attempt, xs(conn), child)
            await turns()

        waiting, child = Attempt(), Attempt()
        async with anyio.create_task_group() as tasks:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                async with anyio.create_task_group() as others:
                    others.start_soon(enter_and_forget)
                gc.collect()
            tasks.start_soon(attempt, xs(conn), waiting)
        (warning,) = [w for w in caught if w.category is ResourceWarning]
        assert "transaction('IMMEDIATE') at" in str(warning.message)
        assert "never left" in str(warning.message)
        assert child.value == [1]
        assert waiting.value == []
        assert not conn.in_transaction


class TestThreads:
    def test_four_loops_in_four_threads_count_in_blocks(self, backend: Backend) -> None:
        uvloop = pytest.importorskip("uvloop")
        runs: list[Callable[[Any], Any]] = [
            lambda main: asyncio.run(main()),
            lambda main: uvloop.run(main()),
            trio.run,
            lambda main: anyio.run(main, backend="trio"),
        ]
        start = threading.Barrier(len(runs))

        async def opened() -> Conn:
            conn = await backend.connect(timeout=50, isolation_level=None)
            await backend.hurry(conn)
            await conn.execute("CREATE TABLE t (x)")
            await conn.execute("INSERT INTO t VALUES (0)")
            return conn

        conn = asyncio.run(opened())

        async def count() -> None:
            for i in range(50):
                async with conn.transaction("IMMEDIATE" if i % 2 else "DEFERRED") as tx:
                    value = await conn.fetch_scalar("SELECT x FROM t")
                    async with tx.savepoint():
                        await conn.execute("UPDATE t SET x = -1")
                    await tx.execute("UPDATE t SET x = ?", (value + 1,))

        def thread(run: Callable[[Any], Any]) -> None:
            start.wait(20)
            run(count)

        with ThreadPoolExecutor(len(runs)) as threads:
            for future in [threads.submit(thread, run) for run in runs]:
                future.result(50)

        async def look() -> None:
            assert await xs(conn) == [200]
            await assert_healthy(conn)
            await conn.close()

        trio.run(look)

    def test_transaction_given_to_another_threads_loop_takes_part_there(
        self, backend: Backend
    ) -> None:
        async def main() -> None:
            async with backend.connect(isolation_level=None) as conn:
                await conn.execute("CREATE TABLE t (x)")
                async with conn.transaction(force_rollback=True) as tx:
                    await asyncio.to_thread(trio.run, insert, tx, "by name")
                    # The thread runs in a copy of the task's context, which trio takes over.
                    await asyncio.to_thread(trio.run, insert, conn, "by context")
                    assert await xs(conn) == ["by name", "by context"]
                assert await xs(conn) == []
                await assert_healthy(conn)

        asyncio.run(main())
