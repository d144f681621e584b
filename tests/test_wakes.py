"""Who is woken when: results that are there reach their tasks, whatever the worker does next.

A worker lets quick statements follow each other before it wakes their tasks, and a turn of the
loop wakes a worker once for several statements. Neither may be noticed where somebody would wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import ENDLESS, NUMBERS, OtherProcess

if TYPE_CHECKING:
    from backends import Backend

    import aiolibsql

COUNT = f"{NUMBERS} SELECT count(*) FROM (SELECT i FROM n LIMIT ?)"

pytestmark = pytest.mark.anyio


async def ask_in_order(conn: aiolibsql.Connection[Any], *statements: tuple[Any, ...]) -> list[int]:
    """Submit statements behind one that keeps the worker busy; return which have ended.

    The last of them does not end before it is cancelled.
    """
    ended: list[int] = []
    all_but_the_last = anyio.Event()

    async def ask(place: int, *statement: Any) -> None:
        # Read to its end, or it is not taken for quick the next time.
        await conn.fetch_all(*statement)
        ended.append(place)
        if len(ended) == len(statements):
            all_but_the_last.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for place, statement in enumerate([(COUNT, (100_000,)), *statements]):
                tasks.start_soon(ask, place, *statement)
                await anyio.sleep(0.001)
            await all_but_the_last.wait()
            tasks.cancel_scope.cancel()
    return sorted(ended)


async def test_quick_result_does_not_wait_for_a_query_that_was_quick_before(
    file_backend: Backend,
) -> None:
    sql = f"SELECT CASE WHEN ? THEN ({ENDLESS}) ELSE 7 END"
    async with file_backend.connect() as conn:
        for _ in range(5):
            assert await conn.fetch_all(sql, (False,)) == [(7,)]
            assert await conn.fetch_all("SELECT 7") == [(7,)]
        assert await ask_in_order(conn, ("SELECT 7",), (sql, (True,))) == [0, 1]
        assert await conn.fetch_scalar("SELECT 7") == 7


async def test_quick_result_does_not_wait_for_a_statement_that_waits_for_a_lock(
    file_backend: Backend,
) -> None:
    async with file_backend.connect(timeout=15) as conn:
        await conn.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        for _ in range(5):
            assert await conn.fetch_all("SELECT x FROM t") == [(1,)]
            assert await conn.fetch_all("SELECT 7") == [(7,)]
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN EXCLUSIVE")
            assert await ask_in_order(conn, ("SELECT 7",), ("SELECT x FROM t",)) == [0, 1]
            other.run("ROLLBACK")
        assert await conn.fetch_scalar("SELECT x FROM t") == 1


async def test_quick_result_does_not_wait_for_a_function_that_was_not_called_before(
    file_backend: Backend,
) -> None:
    heard = threading.Event()
    sql = "SELECT CASE WHEN ? THEN wait() ELSE 7 END"
    async with file_backend.connect() as conn:
        await conn.create_function("wait", 0, lambda: heard.wait(20))
        for _ in range(5):
            assert await conn.fetch_all(sql, (False,)) == [(7,)]
            assert await conn.fetch_all("SELECT 7") == [(7,)]

        async def ask() -> None:
            assert await conn.fetch_all("SELECT 7") == [(7,)]
            heard.set()

        async def ask_function() -> None:
            assert await conn.fetch_all(sql, (True,)) == [(1,)], "nobody was woken"

        async with anyio.create_task_group() as tasks:
            # Both come while the worker is busy, one behind the other.
            tasks.start_soon(conn.fetch_scalar, COUNT, (300_000,))
            for task in (ask, ask_function):
                await anyio.sleep(0.002)
                tasks.start_soon(task)


async def test_commit_does_not_wait_for_a_task_that_blocks_the_loop_for_its_lock(
    file_backend: Backend,
) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (x)")
        await conn.commit()

        written = 0
        is_on_its_way = False

        async def commit() -> None:
            nonlocal is_on_its_way
            await conn.fetch_scalar("SELECT 1")
            is_on_its_way = True
            await conn.commit()

        with OtherProcess(file_backend.path) as other:

            async def block() -> None:
                nonlocal written
                await conn.fetch_scalar("SELECT 2")
                # Trio wakes tasks in any order.
                if is_on_its_way:
                    other.run("INSERT INTO t VALUES (2)")
                    written += 1

            for _ in range(10):
                await conn.execute("INSERT INTO t VALUES (1)")
                is_on_its_way = False
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(commit)
                    tasks.start_soon(block)
        assert written
        assert await conn.fetch_scalar("SELECT count(*) FROM t") == 10 + written


async def test_many_tasks_on_many_connections_all_hear(file_backend: Backend) -> None:
    # More than a worker keeps to itself, and more than a turn holds back.
    heard = 0
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(file_backend.connect()) for _ in range(5)]

        async def ask(number: int) -> None:
            nonlocal heard
            for turn in range(20):
                conn = conns[(number + turn) % len(conns)]
                assert await conn.fetch_scalar("SELECT ?", (number,)) == number
                heard += 1

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(ask, number)
    assert heard == 800


async def test_task_that_goes_on_while_others_are_woken_may_block(file_backend: Backend) -> None:
    # A statement is on its way although another task of the same turn keeps the loop busy.
    async with file_backend.connect() as conn:
        done = 0

        async def ask() -> None:
            nonlocal done
            for _ in range(3):
                assert await conn.fetch_scalar("SELECT 7") == 7
                time.sleep(0.002)  # noqa: ASYNC251 - that is the point
                done += 1

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(ask)
        assert done == 60
