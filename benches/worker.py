"""A measured process: it runs one case with one driver, a round whenever the command says so.

The command starts it with the interpreter of the driver's environment. Everything happens on one
thread, the event loop's, which waits for the command between the rounds.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from cases import Bench, Case
from catalogue import CATALOGUE
from channel import ROUND, Failure, Order, Ready
from registry import DRIVERS
from runtimes import RUNTIMES

if TYPE_CHECKING:
    from measure import Sample

FIRST = 20  # operations of the first attempt to find out how many a round has
LONG_ENOUGH = 0.5  # of a round's time, to tell from it


async def warm_up(case: Case, bench: Bench, seconds: float) -> Sample | None:
    """Find how many operations take a round's time; or run a round, if that is the case's own."""
    if not case.is_scaled:
        return await case.work(bench)
    gauge = case.gauge or case.work
    bench.operations = min(FIRST, bench.size)
    while True:
        took = (await gauge(bench))["time"] * bench.operations
        if took >= seconds * LONG_ENOUGH:
            # Again, for it may have been the cold caches or another program.
            took = min(took, (await gauge(bench))["time"] * bench.operations)
        if took >= seconds * LONG_ENOUGH:
            break
        bench.operations *= 2
    bench.operations = max(1, round(bench.operations * seconds / took))
    return None


async def serve(order: Order, case: Case, bench: Bench, answers: TextIO) -> None:
    """Connect, get warm, and run rounds until the command has enough."""
    driver = bench.driver
    bench.conn = await driver.connect(bench.path)
    # A replica's file is written by its syncs alone.
    is_own_file = not case.transport and not driver.is_replica
    pragmas = ("synchronous = NORMAL", "wal_autocheckpoint = 0") if is_own_file else ()
    for pragma in pragmas:
        await driver.fetch(bench.conn, f"PRAGMA {pragma}")
    seconds = case.seconds or order.seconds * case.stretch
    began = time.perf_counter()
    first = await warm_up(case, bench, seconds)
    took = time.perf_counter() - began if first else seconds
    if case.is_frozen:
        gc.collect()
        gc.freeze()
    ready = Ready(driver.version(), platform.python_version(), bench.operations, took, first)
    print(json.dumps(asdict(ready)), file=answers, flush=True)
    for line in sys.stdin:
        if json.loads(line) != ROUND:
            break
        gc.collect()
        print(json.dumps(await case.work(bench)), file=answers, flush=True)
    await driver.close(bench.conn)


def main() -> None:
    """Do what the first line of stdin orders."""
    # A driver that prints something must not disturb the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        order = Order(**json.loads(sys.stdin.readline()))
        os.sched_setaffinity(0, order.cores)
        case = CATALOGUE[order.case]
        runtime = RUNTIMES[order.runtime]()
        bench = Bench(DRIVERS[order.driver](), runtime, order.path, order.size, 1)
        bench.driver.version()  # what is missing is said in its own words
        runtime.run(lambda: serve(order, case, bench, answers))
    except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it is reported
        failure = Failure(f"{type(error).__name__}: {error}")
        print(json.dumps(asdict(failure)), file=answers, flush=True)
    # Some drivers crash or hang when the interpreter ends; that is not what is measured.
    os._exit(0)


if __name__ == "__main__":
    main()
