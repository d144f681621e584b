"""Instructions for one operation, by callgrind: what a busy machine does not change.

``python benches/instructions.py`` compares with the figures that are kept for this Python and this
kind of machine, and fails if one has grown; ``--record`` keeps new ones. Each subject runs in two
lengths, so that the difference has no start in it, with all threads on one processor. Threads take
turns by the clock even there, so the least of several runs counts: one, if it is within the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
from data import big_rows
from drivers import BIG, Aiolibsql, Dbapi, Driver, Stdlib

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEPT = Path(__file__).with_name("instructions.json")
LIMIT = 1.05
RUNS = 3
SIZE = 12_000
TASKS = 100
TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


class CallgrindError(Exception):
    """A run under callgrind ended otherwise than it should."""


async def points(driver: Driver, conn: Any, count: int) -> None:
    """Select rows by their key, one after the other."""
    await driver.points(conn, range(1, count + 1))


async def points_of_tasks(driver: Driver, conn: Any, count: int) -> None:
    """The same in 100 tasks."""
    share = count // TASKS
    keys = [range(first, first + share) for first in range(1, count, share)]
    await asyncio.gather(*[driver.points(conn, part) for part in keys])


async def fetchall(driver: Driver, conn: Any, count: int) -> None:
    """Fetch rows in one list."""
    assert len(await driver.fetch(conn, f"{BIG} LIMIT {count}")) == count  # noqa: S101


async def iterate(driver: Driver, conn: Any, count: int) -> None:
    """Go through rows one after the other."""
    row = await driver.iterate(conn, f"{BIG} LIMIT {count}")
    assert row[0] == count  # noqa: S101


async def executemany(driver: Driver, conn: Any, count: int) -> None:
    """Insert rows in one transaction."""
    await driver.insert_all(conn, big_rows(SIZE)[:count])


@dataclass(frozen=True)
class Subject:
    """Something that is counted, in two lengths."""

    title: str
    driver: type[Driver]
    work: Callable[[Driver, Any, int], Awaitable[None]]
    few: int = 1_000
    many: int = 3_000


ROWS = partial(Subject, few=2_000, many=SIZE)
SUBJECTS = {
    "point": Subject("point SELECT, one task", Aiolibsql, points),
    "tasks": Subject("point SELECT, 100 tasks", Aiolibsql, points_of_tasks),
    "blocking": Subject("point SELECT, aiolibsql.dbapi", Dbapi, points),
    "fetchall": ROWS("a row of fetchall", Aiolibsql, fetchall),
    "iterate": ROWS("a row of async for", Aiolibsql, iterate),
    "executemany": ROWS("a row of executemany", Aiolibsql, executemany),
    "sqlite3": Subject("point SELECT, sqlite3: what the interpreter does", Stdlib, points),
}


async def work(subject: Subject, path: str, count: int) -> None:
    """Run a subject: what a counted process does."""
    driver = subject.driver()
    conn = await driver.connect(path)
    await subject.work(driver, conn, count)
    await driver.close(conn)


def instructions_of_run(name: str, original: Path, count: int) -> list[int]:
    """Return the instructions of a process that runs a subject, those of each thread."""
    path = data.copy(original, original.parent, name)
    out = original.parent / "callgrind"
    out.mkdir(exist_ok=True)
    command = [
        "valgrind", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=yes",
        f"--callgrind-out-file={out / 'out'}",
        sys.executable, __file__, "--run", name, str(path), str(count),
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 - our own words
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    if done.returncode:
        raise CallgrindError(done.stderr[-500:])
    files = sorted(out.glob("out-*"))
    totals = [int(TOTALS.findall(file.read_text(encoding="utf-8"))[-1]) for file in files]
    shutil.rmtree(out)
    return totals


def count(name: str, original: Path) -> dict[str, int]:
    """Return the instructions for one operation: on the loop's thread, and on all others."""
    subject = SUBJECTS[name]
    few, many = (
        instructions_of_run(name, original, length) for length in (subject.few, subject.many)
    )
    operations = subject.many - subject.few
    loop = (many[0] - few[0]) // operations
    return {"loop": loop, "workers": (sum(many) - sum(few)) // operations - loop}


def total(counted: dict[str, int]) -> int:
    """Return all instructions of an operation."""
    return counted["loop"] + counted["workers"]


def least(name: str, original: Path, runs: int, enough: float) -> dict[str, int]:
    """Return the least of some runs; of fewer if one has at most so many instructions."""
    found = count(name, original)
    for _ in range(runs - 1):
        if total(found) <= enough:
            break
        found = min(found, count(name, original), key=total)
    return found


def environment() -> str:
    """Name what the figures depend on, besides this project."""
    return f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep what is found")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="one subject")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of which the least counts")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the file of figures")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, path, length = options.run
        asyncio.run(work(SUBJECTS[name], path, int(length)))
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed, so instructions are not counted")
        return 0
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    everything = json.loads(options.kept.read_text(encoding="utf-8"))
    known = everything.get(environment(), {})
    grown = []
    with tempfile.TemporaryDirectory(prefix="benches-") as folder:
        original = Path(folder) / "original.db"
        data.make(original, SIZE)
        for name in options.only or SUBJECTS:
            before = None if options.record else known.get(name)
            limit = total(before) * LIMIT if before else 0.0
            found = least(name, original, options.runs, limit)
            compared = f"{total(found) / total(before) - 1:+7.1%}" if before else " " * 7
            print(
                f"{total(found):>8,} {compared}  {SUBJECTS[name].title} "
                f"(loop {found['loop']:,}, workers {found['workers']:,})", flush=True,
            )  # fmt: skip
            if before and total(found) > limit:
                grown.append(name)
            known[name] = found
    if options.record:
        everything[environment()] = known
        text = json.dumps(dict(sorted(everything.items())), indent=1)
        options.kept.write_text(f"{text}\n", encoding="utf-8")
    elif environment() not in everything:
        print(f"nothing is kept for {environment()}; --record does that")
    if grown:
        print(f"grown by more than {LIMIT - 1:.0%}: {', '.join(grown)}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
