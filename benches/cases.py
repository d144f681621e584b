"""The cases: one function for each row of the goals, or for a part of a row.

A function does the work of one round with one driver and returns its measures in seconds, as a
rule for one operation. It looks at what the driver returned, so that nobody wins by doing less.
Thread: the loop's, in a measured process. Must not know: goals, rounds, other drivers.
"""

from __future__ import annotations

import importlib
import itertools
import random
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import big_row, big_rows, value_of
from drivers import BIG, INLINE, OURS, REFERENCE, REPLICA, STEPS, Driver, SyncDriver
from measure import Sample, Stopwatch
from pools import POOLS
from replayed import Replayed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from data import BigRow
    from pools import Pool
    from runtimes import Runtime

TASKS = 100
CONNECTIONS = 8
POOL = 9  # readers, or connections where all are alike: what pools of ten have
CLIENTS = 200
ONE_WRITES_OF = 10
SCANNERS = 4
MILLION = 10  # times the rows of `big`
MOST_INSERTED = 1000  # by a remote `executemany`
STEP_RESULTS = 500
CANCELS = 3
BEGUN = 0.02  # after that long, a query that was started runs

# As many rows are looked at as `big` has, once for each key up to the parameter.
SLOW = "SELECT count(*) FROM kv CROSS JOIN big WHERE kv.k <= ? AND big.i + kv.k < 0"
MILLION_ROWS = f"SELECT i, f, t, b FROM kv CROSS JOIN big WHERE kv.k <= {MILLION}"  # noqa: S608

# Some 5 ms over 100,000 rows; the result is too small to count.
SCAN = "SELECT count(*) FROM big WHERE i + ? < 0"

IMPORT = "import time{more}; began = time.perf_counter(); import {module}"
PRINT = "; print(time.perf_counter() - began)"


class WrongResultError(Exception):
    """A driver did something else than it was asked."""


@dataclass
class Bench:
    """What a case works with: one driver, one loop, one connection, so many operations."""

    driver: Driver
    runtime: Runtime
    path: str
    size: int
    operations: int
    conn: Any = None

    def keys(self) -> list[int]:
        """Return a key for each operation, all over the table and the same for every driver."""
        chooser = random.Random(self.operations)  # noqa: S311 - no secret
        return chooser.choices(range(1, self.size + 1), k=self.operations)

    @cached_property
    def _million_rows(self) -> list[list[BigRow]]:
        # Made once, in the warm-up: what an application inserts is of the heap that it freezes.
        rows = big_rows(self.size)
        return [rows] * MILLION if self.driver.takes_iterables else [rows * MILLION]

    def million_rows(self) -> Iterable[BigRow]:
        """Return the rows of `big` many times over, as a list if the driver needs one."""
        parts = self._million_rows
        return itertools.chain.from_iterable(parts) if self.driver.takes_iterables else parts[0]

    async def empty_sink(self, *, is_remote: bool = False) -> None:
        """Delete what a round has inserted, and leave nothing in the WAL of a file."""
        await self.driver.fetch(self.conn, "DELETE FROM sink")
        if is_remote:
            return
        await self.driver.fetch(self.conn, "PRAGMA wal_checkpoint(TRUNCATE)")

    async def expect_in_sink(self, count: int) -> None:
        """Check how many rows a round has inserted."""
        ((found,),) = await self.driver.fetch(self.conn, "SELECT count(*) FROM sink")
        expect(found, count)


def expect(found: object, wanted: object) -> None:
    """Check a result."""
    if found != wanted:
        raise WrongResultError(f"found {found!r:.80} instead of {wanted!r:.80}")


def expect_row(row: Any, wanted: tuple[Any, ...]) -> None:
    """Check a row, which may be a list."""
    expect(None if row is None else tuple(row), wanted)


async def point(bench: Bench) -> Sample:
    """One task selects rows by their key: ``execute``, then ``fetchone``."""
    keys = bench.keys()
    with Stopwatch() as watch:
        row = await bench.driver.points(bench.conn, keys)
    expect_row(row, (value_of(keys[-1]),))
    return watch.sample(len(keys))


async def tasks(bench: Bench) -> Sample:
    """The same by 100 tasks at once, which share the connection."""
    keys = bench.keys()
    with Stopwatch() as watch:
        await points_of_tasks(bench, keys)
    return watch.sample(len(keys))


async def points_of_tasks(bench: Bench, keys: list[int], count: int = TASKS) -> None:
    """Select rows by their key in so many tasks, without a clock."""
    if isinstance(bench.driver, SyncDriver):
        await bench.driver.points(bench.conn, keys)
        return
    shares = [share for number in range(count) if (share := keys[number::count])]
    await bench.runtime.gather([partial(bench.driver.points, bench.conn, keys) for keys in shares])


async def connections(bench: Bench, count: int = CONNECTIONS) -> Sample:
    """Some tasks, each on a connection of its own; a blocking driver has one connection."""
    keys = bench.keys()
    driver = bench.driver
    if isinstance(driver, SyncDriver):
        return await point(bench)
    conns = [await driver.connect(bench.path) for _ in range(count)]
    try:
        for conn in conns:
            await driver.points(conn, keys[:10])
        shares = [keys[number::count] for number in range(count)]
        works = [
            partial(driver.points, conn, share)
            for conn, share in zip(conns, shares, strict=True)
            if share
        ]
        with Stopwatch() as watch:
            await bench.runtime.gather(works)
    finally:
        for conn in conns:
            await driver.close(conn)
    return watch.sample(len(keys))


async def fetchall(bench: Bench) -> Sample:
    """All rows of ``big`` in one list."""
    with Stopwatch() as watch:
        rows = await bench.driver.fetch(bench.conn, BIG)
    expect(len(rows), bench.size)
    expect_row(rows[-1], big_row(bench.size))
    return watch.sample(1)


async def iterate(bench: Bench) -> Sample:
    """All rows of ``big``, one after the other: ``async for``, or ``for`` if blocking."""
    with Stopwatch() as watch:
        row = await bench.driver.iterate(bench.conn, BIG)
    expect_row(row, big_row(bench.size))
    return watch.sample(1)


async def step(bench: Bench) -> Sample:
    """One step of ``async for`` to a row that was fetched already."""
    count = min(STEP_RESULTS, bench.size)
    taken = statistics.median(await bench.driver.ready_steps(bench.conn, count))
    counting, bare = _time_of_loops()
    # What remains is what a loop without a body would take for a step.
    return {"step": (taken - counting + bare) / STEPS}


def _time_of_loops() -> tuple[float, float]:
    """Return the median seconds of a loop that counts like ``ready_steps``, and of a bare one."""
    counting, bare = [], []
    ready = [(None,)] * STEPS
    for _ in range(STEP_RESULTS):
        left = STEPS + 1
        began = time.perf_counter()
        for _row in ready:
            left -= 1
            if not left:
                break
        counting.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _row in ready:
            pass
        bare.append(time.perf_counter() - began)
    return statistics.median(counting), statistics.median(bare)


async def executemany(bench: Bench) -> Sample:
    """Insert as many rows as ``big`` has, in one transaction, and commit it."""
    await bench.empty_sink()
    rows = big_rows(bench.size)
    with Stopwatch() as watch:
        await bench.driver.insert_all(bench.conn, rows)
    await bench.expect_in_sink(bench.size)
    await bench.empty_sink()
    return watch.sample(1)


async def remote_executemany(bench: Bench) -> Sample:
    """Insert 1,000 rows at a server, in one transaction, and commit it."""
    await bench.empty_sink(is_remote=True)
    rows = big_rows(min(MOST_INSERTED, bench.size))
    with Stopwatch() as watch:
        await bench.driver.insert_all(bench.conn, rows)
    await bench.expect_in_sink(len(rows))
    return watch.sample(1)


async def insert(bench: Bench) -> Sample:
    """One task inserts rows, each in a transaction of its own."""
    await bench.empty_sink()
    rows = big_rows(bench.operations)
    with Stopwatch() as watch:
        await bench.driver.insert_each(bench.conn, rows)
    await bench.expect_in_sink(bench.operations)
    await bench.empty_sink()
    return watch.sample(bench.operations)


@asynccontextmanager
async def _pool(bench: Bench, readers: int, synchronous: str = "NORMAL") -> AsyncIterator[Pool]:
    """Open a pool for a round, and use each connection once."""
    pool = POOLS[bench.driver.name](bench.driver)
    pragmas = {"synchronous": synchronous, "wal_autocheckpoint": 0}
    await pool.open(bench.path, readers, pragmas)
    try:
        await bench.runtime.gather([partial(pool.point, 1)] * (4 * readers))
        await pool.insert(big_row(1))
        await bench.empty_sink()
        yield pool
    finally:
        await pool.close()


async def pool_insert(bench: Bench, synchronous: str = "NORMAL", count: int = TASKS) -> Sample:
    """Some tasks insert rows through a pool, each in a transaction of its own."""
    rows = big_rows(max(count, bench.operations))

    async def work(pool: Pool, share: list[BigRow]) -> None:
        for row in share:
            await pool.insert(row)

    async with _pool(bench, POOL, synchronous) as pool:
        shares = [rows[number::count] for number in range(count)]
        with Stopwatch() as watch:
            await bench.runtime.gather([partial(work, pool, share) for share in shares])
        await bench.expect_in_sink(len(rows))
        await bench.empty_sink()
    return watch.sample(len(rows))


async def pool_mixed(bench: Bench) -> Sample:
    """200 tasks use a pool, for nine point SELECTs and then an INSERT: how long they wait, too."""
    rounds = max(1, bench.operations // CLIENTS)
    waited: list[float] = []

    async def work(pool: Pool, number: int) -> None:
        for operation in range(number, number + rounds):
            key = 1 + (operation * 7919 + number * 104729) % bench.size
            began = time.perf_counter()
            if operation % ONE_WRITES_OF:
                expect_row(await pool.point(key), (value_of(key),))
            else:
                await pool.insert(big_row(key))
            waited.append(time.perf_counter() - began)

    writes = sum(
        operation % ONE_WRITES_OF == 0
        for number in range(CLIENTS)
        for operation in range(number, number + rounds)
    )
    async with _pool(bench, POOL) as pool:
        with Stopwatch() as watch:
            await bench.runtime.gather([partial(work, pool, number) for number in range(CLIENTS)])
        await bench.expect_in_sink(writes)
        await bench.empty_sink()
    waited.sort()
    return {"p99": waited[int(len(waited) * 0.99)], **watch.sample(len(waited))}


async def pool_scan(bench: Bench) -> Sample:
    """4 tasks look through a table again and again: with two readers, and with one."""
    count = max(SCANNERS, bench.operations // SCANNERS * SCANNERS)

    async def work(pool: Pool) -> None:
        for _ in range(count // SCANNERS):
            expect_row((await pool.fetch(SCAN, (1,)))[0], (0,))

    took = {}
    for readers in (2, 1):
        async with _pool(bench, readers) as pool:
            with Stopwatch() as watch:
                await bench.runtime.gather([partial(work, pool)] * SCANNERS)
        took[readers] = watch.sample(count)
    return {"of_one_reader": took[2]["time"] / took[1]["time"], **took[2]}


async def idle(bench: Bench) -> Sample:
    """Nothing but the ticker for half a second: what the machine itself does to it."""
    return await _lateness(bench, partial(bench.runtime.sleep, 0.5))


async def late_query(bench: Bench) -> Sample:
    """A query runs for a second."""
    return await _lateness(bench, partial(_slow_query, bench))


async def late_fetch(bench: Bench) -> Sample:
    """1,000,000 rows are fetched into one list."""
    rows: list[Any] = []

    async def work() -> None:
        # The list outlives the ticker: its end would be another stall.
        nonlocal rows
        rows = await bench.driver.fetch(bench.conn, MILLION_ROWS)

    sample = await _lateness(bench, work)
    expect(len(rows), MILLION * bench.size)
    return sample


async def late_insert(bench: Bench) -> Sample:
    """1,000,000 rows are inserted in one transaction."""
    await bench.empty_sink()
    rows = bench.million_rows()
    sample = await _lateness(bench, partial(bench.driver.insert_all, bench.conn, rows))
    await bench.expect_in_sink(MILLION * bench.size)
    await bench.empty_sink()
    return sample


async def streak_point(bench: Bench) -> Sample:
    """One task selects rows by their key without a pause."""
    keys = bench.keys()
    return await _lateness(bench, partial(bench.driver.points, bench.conn, keys), len(keys))


async def streak_tasks(bench: Bench) -> Sample:
    """100 tasks select rows by their key without a pause."""
    keys = bench.keys()
    return await _lateness(bench, partial(points_of_tasks, bench, keys), len(keys))


async def streak_iterate(bench: Bench) -> Sample:
    """``async for`` goes over rows that mostly are there."""
    return await _lateness(bench, partial(bench.driver.iterate, bench.conn, MILLION_ROWS))


async def _lateness(
    bench: Bench, work: Callable[[], Awaitable[Any]], operations: int = 1
) -> Sample:
    """Measure how late a 1 ms ticker of the same loop is while something else runs."""
    watch = Stopwatch()

    async def timed() -> None:
        with watch:
            await work()

    _, lateness = await bench.runtime.tick_during(timed)
    lateness.sort()
    return {
        "p99": lateness[int(len(lateness) * 0.99)],
        "worst": lateness[-1],
        **watch.sample(operations),
    }


async def _slow_query(bench: Bench) -> None:
    ((count,),) = await bench.driver.fetch(bench.conn, SLOW, (bench.operations,))
    expect(count, 0)


async def slow_query(bench: Bench) -> Sample:
    """Run the slow query by itself: an operation is one pass over ``big``."""
    with Stopwatch() as watch:
        await _slow_query(bench)
    return watch.sample(bench.operations)


async def orm_load(bench: Bench) -> Sample:
    """SQLAlchemy's ORM loads objects by one query."""
    orm = importlib.import_module("orm")
    sample: Sample
    sample, count, last = await orm.load(bench)
    expect(count, min(orm.LOADED, bench.size))
    expect_row(last, big_row(count))
    return sample


async def orm_insert(bench: Bench, work: str = "insert") -> Sample:
    """SQLAlchemy's ORM inserts objects, each by itself."""
    await bench.empty_sink()
    sample: Sample
    sample, count = await getattr(importlib.import_module("orm"), work)(bench)
    await bench.expect_in_sink(count)
    await bench.empty_sink()
    return sample


async def import_(bench: Bench) -> Sample:
    """Import the driver in a new interpreter, and in one that has asyncio already."""

    def seconds(more: str) -> float:
        text = IMPORT.format(module=bench.driver.module, more=more) + PRINT
        command = [sys.executable, "-c", text]
        # Where no folder is named like a driver.
        done = subprocess.run(  # noqa: S603 - our own text
            command, check=True, capture_output=True, cwd=Path(bench.path).parent
        )
        return float(done.stdout)

    return {"time": seconds(""), "after_asyncio": seconds(", asyncio")}


async def connect(bench: Bench) -> Sample:
    """Connect to a file, ``SELECT 1``, close."""
    with Stopwatch() as watch:
        for _ in range(bench.operations):
            conn = await bench.driver.connect(bench.path)
            ((one,),) = await bench.driver.fetch(conn, "SELECT 1")
            await bench.driver.close(conn)
    expect(one, 1)
    return watch.sample(bench.operations)


async def cancel(bench: Bench) -> Sample:
    """Cancel a running read, then use the connection again; both are timed from the cancel on."""
    raised, usable = [], []
    for _ in range(CANCELS):
        began, ended = await bench.runtime.cancel_after(BEGUN, partial(_slow_query, bench))
        ((one,),) = await bench.driver.fetch(bench.conn, "SELECT 1")
        usable.append(time.perf_counter() - began)
        raised.append(ended - began)
        expect(one, 1)
    return {"raised": statistics.median(raised), "usable": statistics.median(usable)}


@dataclass(frozen=True)
class Case:
    """A row of the goals, or a part of one: its function, and where it runs."""

    key: str
    row: int
    title: str
    work: Callable[[Bench], Awaitable[Sample]]
    runtimes: tuple[str, ...] = ("asyncio", "uvloop", "trio")
    regimes: tuple[str, ...] = ("free",)
    measures: tuple[str, ...] = ("time", "cpu_loop", "cpu_workers")
    """What a table shows."""
    is_scaled: bool = False
    """Whether there are as many operations as take a round's time."""
    seconds: float | None = None
    """A round's time, if it is another than the run's."""
    stretch: int = 1
    """How much longer than the run's a round's time is."""
    gauge: Callable[[Bench], Awaitable[Sample]] | None = None
    """What finds the number of operations, if not the work itself."""
    is_frozen: bool = False
    """Whether the heap was frozen, as an application does with ``gc.freeze``."""
    is_in_short: bool = True
    """Whether a short run has it."""
    only: str | None = None
    """The only driver, where the driver makes no difference."""
    among: frozenset[str] | None = None
    """The drivers that are compared, if not all."""
    is_pooled: bool = False
    """Whether many tasks share what the driver has for them."""
    is_blocking: bool = False
    """Whether blocking drivers are compared, with our blocking module among them."""
    transport: str | None = None
    """How a server is spoken to, as the scheme of its URL; None for a file."""
    reference: str = REFERENCE
    """The driver that the others' times are shown as multiples of."""


ON_ASYNCIO = ("asyncio", "uvloop")
ON_TRIO = ("trio",)
EVERY_REGIME = ("free", "pinned", "saturated")
WITH_INLINE = frozenset({OURS, INLINE, REFERENCE})
WITH_SQLALCHEMY = frozenset({OURS, REFERENCE, "aiosqlite"})
LATENESS = ("p99", "worst", "time", "loop_waited")
BY_SERVER = ("time", "cpu", "cpu_loop", "cpu_workers")


def _remote(transport: str, suffix: str, name: str) -> tuple[Case, ...]:
    """Return the cases of rows 13, 14 and 15 over one transport."""
    return (
        Case(
            f"remote-point{suffix}", 13, f"{name}: point SELECT, one task", point,
            measures=BY_SERVER, is_scaled=True, transport=transport, reference="bare",
        ),
        Case(
            f"remote-tasks{suffix}", 13, f"{name}: point SELECT, {TASKS} tasks on one connection",
            tasks, measures=BY_SERVER, is_scaled=True, transport=transport, reference="bare",
        ),
        Case(
            f"remote-fetchall{suffix}", 14, f"{name}: fetchall of half of big", fetchall,
            measures=BY_SERVER, transport=transport, reference="libsql",
        ),
        Case(
            f"remote-iterate{suffix}", 14, f"{name}: async for over half of big", iterate,
            measures=BY_SERVER, transport=transport, reference="libsql",
        ),
        Case(
            f"remote-executemany{suffix}", 15, f"{name}: executemany of 1,000 rows",
            remote_executemany, measures=BY_SERVER, transport=transport, reference="libsql",
        ),
    )  # fmt: skip


_CASES = (
    Case("point", 1, "point SELECT, one task", point, ON_ASYNCIO, EVERY_REGIME, is_scaled=True),
    Case("point-trio", 2, "point SELECT, one task", point, ON_TRIO, EVERY_REGIME, is_scaled=True),
    Case(
        "tasks", 3, f"point SELECT, {TASKS} tasks on one connection", tasks,
        regimes=("free", "pinned"), measures=("time", "cpu", "cpu_loop", "cpu_workers"),
        is_scaled=True,
    ),
    Case("connections", 4, f"{CONNECTIONS} connections × 1 task", connections, is_scaled=True),
    Case("fetchall", 5, "fetchall of big", fetchall, regimes=("free", "pinned")),
    Case("iterate", 6, "async for over big", iterate),
    Case("step", 6, "one step of async for, ready rows", step, measures=("step",)),
    Case("executemany", 7, "executemany of big's rows, one transaction", executemany),
    Case(
        "blocking-point", 8, "blocking point SELECT", point, ("asyncio",), ("free", "pinned"),
        is_scaled=True, is_blocking=True,
    ),
    Case(
        "blocking-fetchall", 8, "blocking fetchall of big", fetchall, ("asyncio",),
        ("free", "pinned"), is_blocking=True,
    ),
    Case(
        "blocking-iterate", 8, "for over big, blocking", iterate, ("asyncio",), is_blocking=True,
    ),
    Case(
        "blocking-executemany", 8, "blocking executemany of big's rows, one transaction",
        executemany, ("asyncio",), ("free", "pinned"), is_blocking=True,
    ),
    Case("idle", 9, "lateness: nothing runs", idle, measures=LATENESS, only="sqlite3"),
    Case(
        "late-query", 9, "lateness: a query of one second", late_query, measures=LATENESS,
        is_scaled=True, seconds=1.0, gauge=slow_query,
    ),
    Case("late-fetch", 9, "lateness: 10 × big fetched", late_fetch, measures=LATENESS),
    Case(
        "late-fetch-frozen", 9, "lateness: 10 × big fetched, heap frozen", late_fetch,
        measures=LATENESS, is_frozen=True, is_in_short=False,
    ),
    Case(
        "late-insert", 9, "lateness: 10 × big inserted", late_insert, measures=LATENESS,
        is_in_short=False,
    ),
    Case(
        "late-insert-frozen", 9, "lateness: 10 × big inserted, heap frozen", late_insert,
        measures=LATENESS, is_frozen=True, is_in_short=False,
    ),
    Case(
        "streak-point", 9, "lateness: a streak of point SELECTs, one task", streak_point,
        measures=LATENESS, is_scaled=True, stretch=4, gauge=point,
    ),
    Case(
        "streak-tasks", 9, f"lateness: a streak of point SELECTs, {TASKS} tasks", streak_tasks,
        measures=LATENESS, is_scaled=True, stretch=4, gauge=tasks,
    ),
    Case(
        "streak-iterate", 9, "lateness: a streak of ready rows, async for over 10 × big",
        streak_iterate, measures=LATENESS,
    ),
    Case(
        "pool-insert-full", 10, f"pool: autocommit INSERT, {TASKS} tasks, synchronous=FULL",
        partial(pool_insert, synchronous="FULL"), is_scaled=True, stretch=4, is_pooled=True,
    ),
    Case(
        "pool-insert", 10, f"pool: autocommit INSERT, {TASKS} tasks, synchronous=NORMAL",
        pool_insert, is_scaled=True, stretch=4, is_pooled=True,
    ),
    Case(
        "pool-mixed", 11, f"pool: 90 % point SELECTs, 10 % INSERTs, {CLIENTS} tasks", pool_mixed,
        measures=("time", "p99", "cpu_loop", "cpu_workers"), is_scaled=True, stretch=4,
        is_pooled=True,
    ),
    Case(
        "pool-scan", 12, "pool: scans with two readers, and with one", pool_scan,
        measures=("time", "of_one_reader", "cpu_loop", "cpu_workers"), is_scaled=True, stretch=2,
        is_pooled=True,
    ),
    *_remote("http", "", "HTTP"),
    *_remote("ws", "-ws", "WebSocket"),
    Case(
        "replica-point", 16, "point SELECT of a replica, one task", point,
        regimes=EVERY_REGIME, is_scaled=True, among=frozenset({OURS, REPLICA, REFERENCE}),
    ),
    Case(
        "import", 17, "import", import_, ("asyncio",), measures=("time", "after_asyncio"),
    ),
    Case("connect", 17, "connect + SELECT 1 + close", connect, is_scaled=True),
    Case(
        "orm-load", 18, "SQLAlchemy's ORM: 10,000 objects loaded by one query", orm_load,
        among=WITH_SQLALCHEMY | {Replayed.name},
    ),
    Case(
        "orm-insert", 18, "SQLAlchemy's ORM: 1,000 objects inserted one by one, one transaction",
        orm_insert, among=WITH_SQLALCHEMY,
    ),
    Case(
        "orm-commit", 18, "SQLAlchemy's ORM: 200 objects inserted, each in a session of its own",
        partial(orm_insert, work="commit"), among=WITH_SQLALCHEMY,
    ),
    Case("insert", 19, "autocommit INSERT, one task", insert, is_scaled=True),
    Case(
        "inline-point", 20, "point SELECT on the loop's thread, one task", point,
        regimes=EVERY_REGIME, is_scaled=True, among=WITH_INLINE,
    ),
    Case(
        "inline-tasks", 20, f"point SELECT on the loop's thread, {TASKS} tasks", tasks,
        regimes=EVERY_REGIME, is_scaled=True, among=WITH_INLINE,
    ),
    Case(
        "inline-connections", 20, f"on the loop's thread, {CONNECTIONS} connections × 1 task",
        connections, regimes=EVERY_REGIME, is_scaled=True, among=WITH_INLINE,
    ),
    Case(
        "inline-late-query", 20, "lateness: a query of one second", late_query,
        measures=LATENESS, is_scaled=True, seconds=1.0, gauge=slow_query, among=WITH_INLINE,
    ),
    Case(
        "inline-streak-point", 20, "lateness: a streak of point SELECTs, one task", streak_point,
        measures=LATENESS, is_scaled=True, stretch=4, gauge=point, among=WITH_INLINE,
    ),
    Case(
        "inline-streak-tasks", 20, f"lateness: a streak of point SELECTs, {TASKS} tasks",
        streak_tasks, measures=LATENESS, is_scaled=True, stretch=4, gauge=tasks,
        among=WITH_INLINE,
    ),
    Case(
        "cancel", 21, "cancel a running read", cancel, measures=("raised", "usable"),
        is_scaled=True, seconds=0.5, gauge=slow_query,
    ),
)  # fmt: skip
CASES: dict[str, Case] = {case.key: case for case in _CASES}
