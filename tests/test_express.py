"""Express: quick queries of many connections share a thread, and nobody can tell.

One that is not quick this time, or waits for a lock, or is no query at all, must not hold up the
others, and each connection keeps the order of its own statements.
"""

from __future__ import annotations

import random
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, OtherProcess

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]

CONNECTIONS = 8
# Quick as long as the parameter is false.
MAYBE_ENDLESS = f"SELECT CASE WHEN ? THEN ({ENDLESS}) ELSE 7 END"


@pytest.fixture
async def conns(file_backend: Backend) -> AsyncIterator[list[Conn]]:
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(file_backend.connect(timeout=15))
            for _ in range(CONNECTIONS)
        ]
        await connections[0].executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        yield connections


async def ask(conn: Conn, sql: str, parameters: tuple[Any, ...], answer: Any, times: int) -> None:
    for _ in range(times):
        assert await conn.fetch_all(sql, parameters) == [(answer,)]


async def ask_all(
    conns: list[Conn], sql: str, parameters: tuple[Any, ...] = (), *, answer: Any, times: int = 100
) -> None:
    """Have each connection asked by a task of its own, all of them by turns."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for conn in conns:
                tasks.start_soon(ask, conn, sql, parameters, answer, times)


def thread_names() -> set[str]:
    return {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
async def test_quick_queries_of_many_connections_share_a_thread(conns: list[Conn]) -> None:
    await ask_all(conns, "SELECT 7", answer=7)
    assert "aiolibsql-expre" in thread_names()


async def test_query_that_is_slow_this_time_holds_up_nobody(conns: list[Conn]) -> None:
    await ask_all(conns, MAYBE_ENDLESS, (False,), answer=7)
    for slow, *others in (conns, conns[::-1]):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.fetch_all, MAYBE_ENDLESS, (True,))
            await ask_all(others, MAYBE_ENDLESS, (False,), answer=7)
            tasks.cancel_scope.cancel()
        await assert_healthy(slow)
        await ask_all(conns, MAYBE_ENDLESS, (False,), answer=7)


async def test_query_that_waits_for_a_lock_holds_up_nobody(
    file_backend: Backend, conns: list[Conn]
) -> None:
    async with aiolibsql.connect(":memory:") as another:
        await ask_all([*conns, another], "SELECT 7", answer=7)
        await ask_all(conns, "SELECT x FROM t", answer=1)
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN EXCLUSIVE")
            async with anyio.create_task_group() as tasks:
                for conn in conns:
                    tasks.start_soon(partial(ask, conn, "SELECT x FROM t", (), 1, 1))
                await ask_all([another], "SELECT 7", answer=7)
                other.run("ROLLBACK")
    await ask_all(conns, "SELECT x FROM t", answer=1)


async def test_each_connection_keeps_its_order(conns: list[Conn]) -> None:
    async def count_up(conn: Conn, name: str) -> None:
        conn.isolation_level = None
        await conn.execute(f"CREATE TEMP TABLE {name} (x)")
        for number in range(60):
            assert await conn.fetch_all(f"SELECT count(*) FROM {name}") == [(number,)]
            await conn.execute(f"INSERT INTO {name} VALUES (?)", (number,))

    async with anyio.create_task_group() as tasks:
        for place, conn in enumerate(conns):
            tasks.start_soon(count_up, conn, f"t{place}")


async def test_connections_come_and_go_meanwhile(file_backend: Backend, conns: list[Conn]) -> None:
    async def come_and_go() -> None:
        for _ in range(10):
            async with file_backend.connect() as conn:
                await ask(conn, "SELECT x FROM t", (), 1, 5)

    await ask_all(conns, "SELECT x FROM t", answer=1)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(come_and_go)
            tasks.start_soon(partial(ask_all, conns, "SELECT x FROM t", answer=1))


@pytest.mark.parametrize("seed", range(5))
async def test_cancelled_in_the_middle_of_anything(conns: list[Conn], seed: int) -> None:
    chooser = random.Random(seed)

    async def use(conn: Conn) -> None:
        for _ in range(30):
            choice = chooser.random()
            with anyio.move_on_after(chooser.choice([0, 0.0001, 0.001, 20])):
                if choice < 0.8:
                    await ask(conn, MAYBE_ENDLESS, (False,), 7, 3)
                elif choice < 0.9:
                    await conn.fetch_scalar("SELECT count(*) FROM t")
                else:
                    with anyio.move_on_after(0.002):
                        await conn.fetch_all(MAYBE_ENDLESS, (True,))

    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks:
            for conn in conns:
                tasks.start_soon(use, conn)
    for conn in conns:
        await assert_healthy(conn)
