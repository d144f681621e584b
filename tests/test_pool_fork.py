"""ConnectionPool: a fork leaves the pool to the parent."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_touch_the_pool_of_its_parent(tmp_path: Path, is_used: bool) -> None:
    pool = aiolibsql.create_pool(tmp_path / "test.db", 3)

    async def prepare() -> None:
        await pool
        if is_used:
            await pool.execute("CREATE TABLE t (x)")
            await pool.execute("INSERT INTO t VALUES (1)")

    async def use() -> list[Any]:
        return [
            type(outcome).__name__
            for outcome in await asyncio.gather(
                pool.execute("SELECT 1"),
                pool.execute("INSERT INTO t VALUES (2)"),
                pool.acquire(),
                return_exceptions=True,
            )
        ]

    asyncio.run(prepare())
    child = os.fork()
    if child == 0:
        is_refused = False
        try:
            is_refused = asyncio.run(use()) == ["OperationalError"] * 3
        finally:
            sys.stdout.flush()
            os._exit(0 if is_refused else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0

    async def finish() -> None:
        assert await pool.fetch_all("SELECT name FROM sqlite_schema") == [("t",)] * is_used
        await pool.close()

    asyncio.run(finish())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_give_back_what_its_parent_has_borrowed(tmp_path: Path) -> None:
    pool = aiolibsql.create_pool(tmp_path / "test.db", 3, min_size=1, max_idle=60)

    async def borrow() -> list[aiolibsql.Connection[Any]]:
        await pool
        await pool.execute("CREATE TABLE t (x)")
        return [await pool.acquire(), await pool.acquire(readonly=True)]

    lent = asyncio.run(borrow())
    child = os.fork()
    if child == 0:
        is_right = False
        try:
            lent.clear()
            stats = pool.stats()
            is_right = stats.size == stats.in_use == 0 and "0 of 3" in repr(pool)
        finally:
            os._exit(0 if is_right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0

    async def finish() -> None:
        assert pool.stats().in_use == 2
        await lent[0].execute("INSERT INTO t VALUES (1)")
        await lent[0].commit()
        for connection in lent:
            await pool.release(connection)
        assert pool.stats().in_use == 0
        assert await pool.fetch_all("SELECT x FROM t") == [(1,)]
        await pool.close()

    asyncio.run(finish())
