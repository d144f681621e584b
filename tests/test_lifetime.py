"""Life and death: what connections cost as they come, stay and go."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from healthy import assert_healthy
from situations import ENDLESS, Attempt, attempt, attempt_cancelled

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
CYCLES = 10_000 if IS_SOAK else 300
IDLE = 1_000 if IS_SOAK else 50

soak = pytest.mark.soak
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def workers() -> int:
    """Count the driver's threads by their name; one that ends while it is looked at is none."""
    return sum(is_worker(task) for task in Path("/proc/self/task").iterdir())


def is_worker(task: Path) -> bool:
    try:
        return (task / "comm").read_text(encoding="ascii").startswith("aiolibsql-work")
    except OSError:
        return False


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for a worker thread to end; nothing in the process tells when it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@linux
@soak
@pytest.mark.anyio
async def test_descriptors_and_threads_stay_flat_while_connections_come_and_go(
    backend: Backend,
) -> None:
    async def cycle() -> None:
        async with backend.connect() as conn:
            assert await conn.fetch_all("SELECT 1") == [(1,)]

    await cycle()
    gc.collect()
    assert wait_until(lambda: workers() == 0)
    before, most_workers = descriptors(), 0
    for _ in range(CYCLES):
        await cycle()
        most_workers = max(most_workers, workers())
    gc.collect()
    assert descriptors() <= before
    # One at a time needs one; a few more may not have been given back yet.
    assert most_workers <= 10
    assert wait_until(lambda: workers() == 0)


@linux
@pytest.mark.anyio
async def test_forgotten_connections_give_their_descriptors_back(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (x)")
    gc.collect()
    before = descriptors()
    with pytest.warns(ResourceWarning):
        for _ in range(20):
            forgotten = await file_backend.connect()
            await forgotten.fetch_all("SELECT * FROM t")
            del forgotten
        gc.collect()
    assert wait_until(lambda: descriptors() <= before)


@linux
@pytest.mark.anyio
async def test_worker_threads_come_for_work_and_end_when_idle() -> None:
    assert wait_until(lambda: workers() == 0)
    connections = [await aiolibsql.connect(":memory:") for _ in range(30)]
    async with anyio.create_task_group() as tasks:
        for conn in connections:
            tasks.start_soon(attempt, conn.execute(ENDLESS), Attempt())
        await anyio.sleep(0.1)
        busy = workers()
        tasks.cancel_scope.cancel()
    assert busy >= 30, "a busy connection has no thread of its own"
    assert wait_until(lambda: workers() == 0), f"{workers()} did not end"
    for conn in connections:
        await assert_healthy(conn)
        await conn.close()


@linux
@soak
@pytest.mark.anyio
async def test_idle_connections_cost_a_descriptor_each_and_no_threads(tmp_path: Path) -> None:
    path = tmp_path / "test.db"

    async def opened() -> aiolibsql.Connection[Any]:
        conn = await aiolibsql.connect(path)
        await conn.execute("CREATE TABLE IF NOT EXISTS t (x)")
        assert await conn.fetch_all("SELECT * FROM t") == []
        return conn

    await (await opened()).close()
    gc.collect()
    before, bytes_before = descriptors(), resident_bytes()
    connections = [await opened() for _ in range(IDLE)]
    assert wait_until(lambda: workers() == 0)
    assert descriptors() == before + IDLE
    bytes_held = resident_bytes()
    assert (bytes_held - bytes_before) / IDLE < 250 * 1024
    for conn in connections[:: max(1, IDLE // 50)]:
        await assert_healthy(conn)
    # The allocator keeps what was freed; as many again take no more, once its gaps are filled.
    for _ in range(3):
        for conn in connections:
            await conn.close()
        assert descriptors() == before
        bytes_held = resident_bytes()
        connections = [await opened() for _ in range(IDLE)]
    assert resident_bytes() < bytes_held + 5 * 2**20 + IDLE * 10 * 1024
    for conn in connections:
        await conn.close()


@linux
@pytest.mark.parametrize("run", [asyncio.run, None], ids=["asyncio", "trio"])
def test_loops_that_come_and_go_leave_no_descriptor_behind(run: Any) -> None:
    async def opened() -> aiolibsql.Connection[Any]:
        return await aiolibsql.connect(":memory:")

    async def use() -> None:
        assert await conn.fetch_all("SELECT 1") == [(1,)]
        await attempt_cancelled(conn.execute(ENDLESS), lambda: anyio.sleep(0.001))

    def in_a_new_loop() -> None:
        trio.run(use) if run is None else run(use())

    conn = asyncio.run(opened())
    in_a_new_loop()
    gc.collect()
    before = descriptors()
    for _ in range(CYCLES // 6):
        in_a_new_loop()
    gc.collect()
    # What belonged to dead loops goes when the next loop comes.
    in_a_new_loop()
    assert descriptors() <= before + 2
    asyncio.run(conn.close())


@linux
@soak
@pytest.mark.anyio
async def test_cancelled_operations_leave_no_memory_behind(backend: Backend) -> None:
    async def cancel_some(conn: aiolibsql.Connection[Any], rounds: int) -> None:
        for _ in range(rounds):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(conn.fetch_all, "SELECT 'text', zeroblob(2000)")
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

    async with backend.connect() as conn:
        await cancel_some(conn, 30)
        await conn.fetch_all("SELECT 1")
        gc.collect()
        before = resident_bytes()
        await cancel_some(conn, 200)
        await conn.fetch_all("SELECT 1")
        gc.collect()
        assert resident_bytes() - before < 20 * 2**20
        await assert_healthy(conn)
