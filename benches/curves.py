"""The curves: how a figure changes with the number of tasks, connections, rows or writers.

A point is a case like those of the rows, and runs as they do; a curve knows which case belongs to
which number. Thread: the loop's, in a measured process. Must not know: how a curve is drawn.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cases import Bench, Case, connections, expect, points_of_tasks, pool_insert
from drivers import OURS, REFERENCE, SyncDriver
from measure import Sample, Stopwatch
from pools import UNGROUPED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    class Work(Protocol):
        """What a point runs: so many of what the curve is about."""

        def __call__(self, bench: Bench, count: int) -> Awaitable[Sample]:
            """Do it, and return what it took."""


IDLE = Path(__file__).with_name("idle.py")
MEMORY = Path("/proc/meminfo")
ROW = 1_000  # bytes of memory that a fetched row may take, at the most of all drivers

TASKS = (1, 3, 10, 30, 100, 300, 1000)
CONNECTIONS = (1, 2, 4, 8, 16, 32, 64)
ROWS = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
REPEATED = 10_000  # fewer rows are fetched again and again, as long as a round takes
LONG = 10_000_000  # so many take too long for a short run, and for drivers that are slow
IDLES = (1, 10, 100, 1000)

HOPPING = frozenset({OURS, REFERENCE, "aiosqlite", "apsw.aio", "rapsqlite", "upstream"})
FETCHING = frozenset({OURS, REFERENCE, "aiosqlite", "apsw.aio", "pyturso"})
QUICK = frozenset({OURS, REFERENCE, "aiosqlite"})
WRITING = frozenset({OURS, UNGROUPED, "aiosqlite", "aiosqlitepool"})
OPENING = HOPPING | {"pyturso", "sqlite-anyio"}


class TooLittleMemoryError(Exception):
    """What would be fetched might not fit into the machine's memory."""


@dataclass(frozen=True)
class Curve:
    """A figure for each of several numbers of something."""

    key: str
    title: str
    unit: str
    """What the numbers count."""
    points: dict[int, Case]
    measure: str = "time"


def available() -> float:
    """Return the bytes of memory that are free; infinite where Linux doesn't say."""
    try:
        lines = MEMORY.read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    return next(float(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024


def query(bench: Bench, count: int) -> tuple[str, int]:
    """Return a SELECT of so many rows of `big`, over and over, and how many there are."""
    passes = -(-count // bench.size)
    sql = f"SELECT i, f, t, b FROM kv CROSS JOIN big WHERE kv.k <= {passes} LIMIT {count}"  # noqa: S608
    return sql, min(count, bench.size**2)


async def tasks(bench: Bench, count: int) -> Sample:
    """Some tasks select rows by their key on one connection."""
    keys = bench.keys()
    if not isinstance(bench.driver, SyncDriver):
        keys *= -(-count // len(keys))  # each task has one at least
    with Stopwatch() as watch:
        await points_of_tasks(bench, keys, count)
    return watch.sample(len(keys))


async def fetchall(bench: Bench, count: int) -> Sample:
    """Fetch so many rows in one list."""
    sql, there = query(bench, count)
    if available() < there * ROW:
        raise TooLittleMemoryError(f"{there:,} rows might need {there * ROW / 1e9:.1f} GB")
    with Stopwatch() as watch:
        for _ in range(bench.operations):
            found = len(await bench.driver.fetch(bench.conn, sql))
    expect(found, there)
    return watch.sample(bench.operations)


async def iterate(bench: Bench, count: int) -> Sample:
    """Go through so many rows one after the other."""
    sql, there = query(bench, count)
    with Stopwatch() as watch:
        for _ in range(bench.operations):
            row = await bench.driver.iterate(bench.conn, sql)
    expect(row[0], (there - 1) % bench.size + 1)
    return watch.sample(bench.operations)


async def writers(bench: Bench, count: int) -> Sample:
    """Some tasks insert rows through a pool, each row in a transaction of its own."""
    return await pool_insert(bench, "FULL", count)


async def idle(bench: Bench, count: int) -> Sample:
    """Open so many connections, and let them be, in a process that has done nothing else."""
    name, runtime = bench.driver.name, bench.runtime.name
    command = [sys.executable, str(IDLE), name, runtime, bench.path, str(count)]
    # Nothing else runs in the loop meanwhile.
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221, S603
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample


def _cases(
    key: str,
    numbers: Sequence[int],
    work: Work,
    among: frozenset[str],
    *,
    is_scaled: bool = True,
    stretch: int = 1,
    is_pooled: bool = False,
    measures: tuple[str, ...] = ("time", "cpu_loop", "cpu_workers"),
) -> dict[int, Case]:
    """Return a case for each number."""
    return {
        number: Case(
            f"{key}-{number}", 0, f"{key}: {number:,}", partial(work, count=number),
            among=among, is_scaled=is_scaled, stretch=stretch, is_pooled=is_pooled,
            measures=measures,
        )
        for number in numbers
    }  # fmt: skip


def _of_rows(key: str, work: Work, among: frozenset[str]) -> dict[int, Case]:
    few = [number for number in ROWS if number <= REPEATED]
    many = [number for number in ROWS if REPEATED < number < LONG]
    measures = ("time", "memory")
    cases = _cases(key, few, work, among, measures=measures)
    cases |= _cases(key, many, work, among, is_scaled=False, measures=measures)
    cases[LONG] = Case(
        f"{key}-{LONG}", 0, f"{key}: {LONG:,}", partial(work, count=LONG),
        among=QUICK, measures=measures, is_in_short=False,
    )  # fmt: skip
    return cases


IDLE_MEASURES = ("threads", "threads_idle", "memory_each", "files_each")
CURVES = (
    Curve(
        "tasks", "Point SELECTs of many tasks on one connection", "tasks",
        _cases("at-tasks", TASKS, tasks, HOPPING),
    ),
    Curve(
        "connections", "Point SELECTs of one task on each of many connections", "connections",
        _cases("at-connections", CONNECTIONS, connections, HOPPING),
    ),
    Curve(
        "fetchall", "`fetchall` of many rows", "rows",
        _of_rows("at-fetchall", fetchall, FETCHING),
    ),
    Curve(
        "iterate", "`async for` over many rows", "rows",
        _of_rows("at-iterate", iterate, FETCHING - {"pyturso"}),
    ),
    Curve(
        "writers", "Autocommit INSERTs of many tasks through a pool, `synchronous=FULL`", "tasks",
        _cases("at-writers", TASKS, writers, WRITING, stretch=4, is_pooled=True),
    ),
)  # fmt: skip
IDLES_CURVE = Curve(
    "idle", "Open connections that nobody uses", "connections",
    _cases("at-idle", IDLES, idle, OPENING, is_scaled=False, measures=IDLE_MEASURES),
    measure="memory_each",
)  # fmt: skip
