"""ConnectionPool under load: thousands of tasks, and others that write to the same file.

Nothing is timed but by bounds against hangs. How long operations took is logged:
``--log-cli-level=INFO`` shows it.
"""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(240 if IS_SOAK else 60),
]

TASKS = 2000
SCHEMA = (
    "CREATE TABLE cell (k INTEGER PRIMARY KEY, v)",
    "CREATE TABLE other (v)",
    "INSERT INTO other VALUES (0)",
)
UPDATE = "UPDATE cell SET v = v + 1 WHERE k = ?"
READ = "SELECT v FROM cell WHERE k = ?"
MIB = 1 << 20
LOG = logging.getLogger(__name__)

# Another process, with the stdlib's sqlite3, which holds the lock for less than 50 ms at a time.
LOCKS = """
import random, sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
chance = random.Random(1)
end = time.monotonic() + float(sys.argv[2])
count = 0
print("ready", flush=True)
while time.monotonic() < end:
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("UPDATE other SET v = v + 1")
    time.sleep(chance.uniform(0, 0.045))
    conn.execute("COMMIT")
    count += 1
    time.sleep(0.005)
print(count, flush=True)
conn.close()
"""

# Another process with a pool, whose tasks do what those of this one do.
POOL = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
import aiolibsql
from test_pool_loads import Load
async def main():
    async with aiolibsql.create_pool(sys.argv[1]) as pool:
        load = Load(pool, 10**6, 500)
        await load.prepare()
        print("ready", flush=True)
        await load.run(float(sys.argv[2]))
        await load.check()
        print(sum(load.counts), flush=True)
asyncio.run(main())
"""


def resident() -> int:
    """Return the bytes of memory that this process has, 0 where the system doesn't say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Load:
    """Tasks that read and write through a pool, each a row of its own, until the time is up."""

    def __init__(self, pool: aiolibsql.ConnectionPool, first: int = 0, tasks: int = TASKS) -> None:
        self.pool = pool
        self.first = first
        self.counts = [0] * tasks
        # How many operations took so many milliseconds.
        self.waits: dict[str, Counter[int]] = {"read": Counter(), "write": Counter()}
        self.growth = 0

    async def prepare(self) -> None:
        keys = [(self.first + task,) for task in range(len(self.counts))]
        await self.pool.executemany("INSERT INTO cell VALUES (?, 0)", keys)

    async def run(self, seconds: float) -> None:
        """Run the tasks; `growth` is how much memory came after the first third."""
        end = time.monotonic() + seconds
        async with anyio.create_task_group() as group:
            for task in range(len(self.counts)):
                group.start_soon(self._work, task, end)
            await anyio.sleep(seconds / 3)
            before = resident()
            await anyio.sleep(max(0.0, end - time.monotonic()))
            self.growth = resident() - before

    async def _work(self, task: int, end: float) -> None:
        key = (self.first + task,)
        dice = random.Random(task)
        while time.monotonic() < end or not self.counts[task]:
            began = time.perf_counter()
            cursor = await self.pool.execute(UPDATE, key)
            self._note("write", began)
            assert cursor.rowcount == 1
            self.counts[task] += 1
            for _ in range(dice.randrange(1, 5)):
                began = time.perf_counter()
                # Its own writes are seen, and nobody else writes there.
                assert await self.pool.fetch_scalar(READ, key) == self.counts[task]
                self._note("read", began)

    def _note(self, kind: str, began: float) -> None:
        self.waits[kind][int((time.perf_counter() - began) * 1000)] += 1

    async def check(self) -> None:
        """Fail unless all that was acknowledged is there, and everybody had a turn."""
        rows = await self.pool.fetch_all(
            "SELECT v FROM cell WHERE k BETWEEN ? AND ? ORDER BY k",
            (self.first, self.first + len(self.counts) - 1),
        )
        assert [v for (v,) in rows] == self.counts
        # First come, first served: nobody has much more than another.
        assert max(self.counts) <= 2 * min(self.counts) + 8
        assert self.pool.stats().in_use == self.pool.stats().waiting == 0

    def report(self, seconds: float) -> None:
        """Log rates, and the milliseconds within which 99 of 100 operations ended."""
        for kind, waits in self.waits.items():
            taken = sorted(waits.elements())
            rate, half, most = len(taken) / seconds, len(taken) // 2, len(taken) * 99 // 100
            LOG.info(
                "%s: %.0f/s, ms: median %d, p99 %d, worst %d",
                kind, rate, taken[half], taken[most], taken[-1],
            )  # fmt: skip
        fewest, most = min(self.counts), max(self.counts)
        LOG.info("%d to %d turns, memory grew by %d KiB", fewest, most, self.growth >> 10)


class Other:
    """Another process that uses the file for some seconds, and then tells how much it did."""

    def __init__(self, script: str, path: Path | None, seconds: float) -> None:
        arguments = [str(path), str(seconds), str(Path(__file__).parent)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
        )

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    async def wait_until_ready(self) -> None:
        assert await anyio.to_thread.run_sync(self._read) == "ready"

    async def count(self) -> int:
        """Wait for its end, and return how often it wrote."""
        count = await anyio.to_thread.run_sync(self._read)
        assert self._process.wait(20) == 0
        return int(count)

    def stop(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def seconds(anyio_backend: tuple[str, dict[str, Any]]) -> float:
    """Return how long the load lasts: a soak takes its time on one event loop."""
    return 30.0 if IS_SOAK and anyio_backend == ("asyncio", {"use_uvloop": False}) else 1.5


async def prepare(pool: aiolibsql.ConnectionPool) -> None:
    for sql in SCHEMA:
        await pool.execute(sql)


async def test_two_thousand_tasks(file_backend: Backend, seconds: float) -> None:
    async with aiolibsql.create_pool(file_backend.path) as pool:
        await prepare(pool)
        load = Load(pool)
        await load.prepare()
        await load.run(seconds)
        await load.check()
    load.report(seconds)
    assert load.growth < 16 * MIB


async def test_two_thousand_tasks_while_another_process_writes(
    file_backend: Backend, seconds: float
) -> None:
    async with aiolibsql.create_pool(file_backend.path) as pool:
        await prepare(pool)
        load = Load(pool)
        await load.prepare()
        other = Other(LOCKS, file_backend.path, seconds)
        try:
            await other.wait_until_ready()
            await load.run(seconds)
            count = await other.count()
        finally:
            other.stop()
        await load.check()
        assert await pool.fetch_scalar("SELECT v FROM other") == count > 0
    load.report(seconds)
    LOG.info("the other process: %d writes", count)
    assert load.growth < 16 * MIB


async def test_two_pools_on_one_file(file_backend: Backend, seconds: float) -> None:
    async with (
        aiolibsql.create_pool(file_backend.path, 4) as first,
        aiolibsql.create_pool(file_backend.path, 4) as second,
    ):
        await prepare(first)
        loads = [Load(first, 0, TASKS // 2), Load(second, TASKS, TASKS // 2)]
        for load in loads:
            await load.prepare()
        async with anyio.create_task_group() as group:
            for load in loads:
                group.start_soon(load.run, seconds)
        for load in loads:
            await load.check()
            load.report(seconds)


async def test_two_processes_with_a_pool_each(file_backend: Backend, seconds: float) -> None:
    async with aiolibsql.create_pool(file_backend.path) as pool:
        await prepare(pool)
        load = Load(pool, tasks=500)
        await load.prepare()
        other = Other(POOL, file_backend.path, seconds)
        try:
            await other.wait_until_ready()
            await load.run(seconds)
            count = await other.count()
        finally:
            other.stop()
        await load.check()
        total = await pool.fetch_scalar("SELECT sum(v) FROM cell")
        assert total == count + sum(load.counts)
    load.report(seconds)
    LOG.info("the other process: %d writes", count)
