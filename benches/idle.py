"""A program that opens connections and lets them be: ``idle.py DRIVER RUNTIME FILE COUNT``.

Prints, as JSON, what they cost: threads of the process with all of them just used, and after some
seconds in which nothing happened; memory and open files of each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from registry import DRIVERS
from runtimes import RUNTIMES

PROCESS = Path("/proc/self")
PAUSE = 3.0  # in which threads may end that have nothing to do
SQL = "SELECT value FROM kv WHERE k = ?"


def count_of(kind: str) -> int:
    """Return how many threads (``task``) or open files (``fd``) the process has."""
    return len(list((PROCESS / kind).iterdir()))


def resident() -> int:
    """Return the bytes that the process has in memory."""
    pages = int((PROCESS / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(driver_name: str, runtime_name: str, path: str, count: int) -> dict[str, float]:
    """Open the connections and use each once."""
    driver = DRIVERS[driver_name]()
    runtime = RUNTIMES[runtime_name]()
    # What the first connection of a process brings is not counted.
    first = await driver.connect(path)
    await driver.fetch(first, SQL, (1,))
    await driver.close(first)
    files, memory = count_of("fd"), resident()
    conns = []
    for key in range(1, count + 1):
        conns.append(await driver.connect(path))
        ((value,),) = await driver.fetch(conns[-1], SQL, (key,))
        if not value:
            raise ValueError(f"found {value!r}")
    used = count_of("task")
    await runtime.sleep(PAUSE)
    return {
        "threads": used,
        "threads_idle": count_of("task"),
        "memory_each": max(0, resident() - memory) / count,
        "files_each": (count_of("fd") - files) / count,
    }


def main() -> None:
    """Measure and print, and leave no time for drivers that hang at the end."""
    driver, runtime, path, count = sys.argv[1:]
    found = RUNTIMES[runtime]().run(lambda: measure(driver, runtime, path, int(count)))
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
