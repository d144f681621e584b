"""Loops that can't watch a descriptor, as Windows' proactor: a thread waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Coroutine

SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000000) "
    "SELECT count(*) FROM n"
)


class Proactor(asyncio.SelectorEventLoop):
    """A loop whose readers are its own business."""

    def add_reader(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def remove_reader(self, *_: object) -> NoReturn:
        raise NotImplementedError


def run(main: Coroutine[Any, Any, None]) -> None:
    loop = Proactor()
    try:
        loop.run_until_complete(asyncio.wait_for(main, 30))
    finally:
        loop.close()


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aiolibsql wakeups"]


def test_tasks_are_woken_and_the_thread_ends_with_the_loop() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            await conn.execute("CREATE TABLE t (x)")
            inserts = (conn.execute("INSERT INTO t VALUES (?)", (i,)) for i in range(200))
            await asyncio.gather(*inserts)
            assert await conn.fetch_scalar("SELECT count(*) FROM t") == 200
            rows = [row async for row in await conn.execute("SELECT x FROM t ORDER BY x")]
            assert rows == [(i,) for i in range(200)]
            assert len(listeners()) == 1

    run(main())
    until = time.monotonic() + 20
    while listeners() and time.monotonic() < until:
        time.sleep(0.05)
    assert listeners() == []


def test_loop_goes_on_while_a_query_runs_and_a_cancellation_reaches_it() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            query = asyncio.ensure_future(conn.fetch_scalar(SLOW))
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert not query.done()
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert await conn.fetch_scalar("SELECT 1") == 1

    run(main())


def test_loops_one_after_another_share_a_connection() -> None:
    conn = aiolibsql.connect(":memory:")

    async def begin() -> None:
        await conn
        await conn.execute("CREATE TABLE t (x)")

    async def end() -> None:
        await conn.execute("INSERT INTO t VALUES (1)")
        assert await conn.fetch_all("SELECT x FROM t") == [(1,)]
        await conn.commit()
        await conn.close()

    run(begin())
    run(end())
