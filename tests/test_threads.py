"""A connection belongs to no loop: several kinds of loop in several threads use it at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from healthy import assert_healthy
from situations import ENDLESS, NUMBERS

import aiolibsql

uvloop = pytest.importorskip("uvloop")

if TYPE_CHECKING:
    from backends import Backend

Conn = aiolibsql.Connection[Any]
Main = Callable[..., Coroutine[Any, Any, Any]]


def run_asyncio(main: Main, *args: Any) -> Any:
    return asyncio.run(main(*args))


def run_uvloop(main: Main, *args: Any) -> Any:
    return uvloop.run(main(*args))


def run_trio(main: Main, *args: Any) -> Any:
    return trio.run(main, *args)


def run_anyio_on_trio(main: Main, *args: Any) -> Any:
    return anyio.run(main, *args, backend="trio")


LOOPS = {
    "asyncio": run_asyncio,
    "uvloop": run_uvloop,
    "trio": run_trio,
    "anyio on trio": run_anyio_on_trio,
}


async def opened(backend: Backend) -> Conn:
    conn = await backend.connect(isolation_level=None)
    await backend.hurry(conn)
    await conn.execute("CREATE TABLE t (thread, i)")
    return conn


def in_threads(conn: Conn, main: Main) -> None:
    """Run a coroutine function in each kind of loop, in four threads that start together."""
    start = threading.Barrier(len(LOOPS))

    def thread(run: Any, number: int) -> None:
        start.wait(20)
        run(main, conn, number)

    with ThreadPoolExecutor(len(LOOPS)) as threads:
        futures = [threads.submit(thread, run, i) for i, run in enumerate(LOOPS.values())]
        for future in futures:
            future.result(50)


@pytest.mark.everywhere
def test_four_loops_in_four_threads_use_one_connection_at_once(backend: Backend) -> None:
    async def use(conn: Conn, number: int) -> None:
        for i in range(100):
            await conn.execute("INSERT INTO t VALUES (?, ?)", (number, i))
            assert await conn.fetch_one("SELECT ?, ?", (number, i)) == (number, i)
            last = "SELECT i FROM t WHERE thread = ? ORDER BY rowid DESC LIMIT 1"
            assert await conn.fetch_scalar(last, (number,)) == i

    conn = run_asyncio(opened, backend)
    in_threads(conn, use)
    rows = run_trio(conn.fetch_all, "SELECT thread, i FROM t ORDER BY thread, rowid")
    assert rows == [(number, i) for number in range(len(LOOPS)) for i in range(100)]
    run_trio(assert_healthy, conn)
    run_trio(conn.close)


@pytest.mark.everywhere
def test_four_loops_iterate_over_cursors_of_one_connection_at_once(backend: Backend) -> None:
    async def use(conn: Conn, number: int) -> None:
        first = number * 1000
        sql = f"{NUMBERS} SELECT i + ? FROM n LIMIT 500"
        for _ in range(5):
            async with conn.execute(sql, (first,)) as cursor:
                assert [i async for (i,) in cursor] == list(range(first + 1, first + 501))

    conn = run_asyncio(opened, backend)
    in_threads(conn, use)
    run_asyncio(assert_healthy, conn)
    run_asyncio(conn.close)


def test_cancellations_in_one_loop_leave_the_others_alone(backend: Backend) -> None:
    async def use(conn: Conn, number: int) -> None:
        for i in range(30):
            if number % 2:
                with anyio.move_on_after(0.002):
                    await conn.execute(ENDLESS)
            else:
                assert await conn.fetch_one("SELECT ?, ?", (number, i)) == (number, i)

    conn = run_asyncio(opened, backend)
    in_threads(conn, use)
    run_asyncio(assert_healthy, conn)
    run_asyncio(conn.close)


def test_operations_from_many_tasks_of_four_loops_keep_each_tasks_order(backend: Backend) -> None:
    async def task(conn: Conn, name: str) -> None:
        for i in range(10):
            await conn.execute("INSERT INTO t VALUES (?, ?)", (name, i))

    async def use(conn: Conn, number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for i in range(5):
                tasks.start_soon(task, conn, f"{number}/{i}")

    conn = run_asyncio(opened, backend)
    in_threads(conn, use)
    rows = run_asyncio(conn.fetch_all, "SELECT thread, i FROM t ORDER BY thread, rowid")
    names = sorted(f"{number}/{i}" for number in range(len(LOOPS)) for i in range(5))
    assert rows == [(name, i) for name in names for i in range(10)]
    run_asyncio(conn.close)


@pytest.mark.parametrize("closer", LOOPS)
@pytest.mark.parametrize("user", LOOPS)
@pytest.mark.parametrize("opener", LOOPS)
def test_connection_opened_used_and_closed_in_three_loops(
    backend: Backend, opener: str, user: str, closer: str
) -> None:
    async def open_() -> Conn:
        return await backend.connect()

    conn = LOOPS[opener](open_)
    LOOPS[user](assert_healthy, conn)
    LOOPS[closer](conn.close)
    assert conn.closed


@pytest.mark.parametrize("reader", LOOPS)
@pytest.mark.parametrize("starter", LOOPS)
def test_cursor_started_in_one_loop_is_read_in_another(
    backend: Backend, starter: str, reader: str
) -> None:
    async def start(conn: Conn) -> tuple[aiolibsql.Cursor[Any], list[Any]]:
        cursor = await conn.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
        rows = [await cursor.fetchone()]
        async for row in cursor:
            rows.append(row)
            if len(rows) == 70:
                break
        return cursor, rows

    async def read(cursor: aiolibsql.Cursor[Any]) -> list[Any]:
        rows = await cursor.fetchmany(100)
        return rows + [row async for row in cursor]

    async def open_() -> Conn:
        return await backend.connect()

    conn = LOOPS[starter](open_)
    cursor, rows = LOOPS[starter](start, conn)
    rows += LOOPS[reader](read, cursor)
    assert rows == [(i,) for i in range(1, 1001)]
    LOOPS[reader](assert_healthy, conn)
    LOOPS[reader](conn.close)


@pytest.mark.everywhere
def test_operation_made_in_one_thread_is_awaited_in_another(backend: Backend) -> None:
    conn = run_asyncio(opened, backend)
    operation = conn.execute("INSERT INTO t VALUES (1, 2)")

    async def await_it() -> None:
        await operation

    thread = threading.Thread(target=run_trio, args=(await_it,))
    thread.start()
    thread.join(20)
    assert run_asyncio(conn.fetch_all, "SELECT * FROM t") == [(1, 2)]
    run_asyncio(conn.close)
