"""What a COMMIT waits for: our checkpoints, beside those that SQLite makes within it.

``python benches/commit_latency.py FOLDER``: prints medians and worst cases in milliseconds. Each
row of the table fills a page, so that every page written is another one, the dearest case.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Sequence

    Conn = aiolibsql.Connection[Any]

ROWS = 5000
UPDATE = "UPDATE t SET a = randomblob(3500) WHERE i = ?"


def empty(folder: Path) -> None:
    """Make a folder that has nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


async def opened(folder: Path, **options: Any) -> Conn:
    """Return a connection to a fresh WAL file of some 20 MB."""
    empty(folder)
    conn: Conn = await aiolibsql.connect(folder / "bench.db", isolation_level=None, **options)
    await conn.execute("PRAGMA journal_mode=wal")
    await conn.execute("PRAGMA synchronous=NORMAL")
    await conn.execute("CREATE TABLE t (i INTEGER PRIMARY KEY, a)")
    rows = [(number,) for number in range(ROWS)]
    await conn.executemany("INSERT INTO t VALUES (?, zeroblob(3500))", rows)
    await conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await asyncio.sleep(0.1)
    return conn


async def change(conn: Conn, first: int, pages: int) -> float:
    """Change pages in one transaction; return what its COMMIT took."""
    await conn.begin()
    for number in range(first, first + pages):
        await conn.execute(UPDATE, (number * 7 % ROWS,))
    began = time.perf_counter()
    await conn.commit()
    return time.perf_counter() - began


async def paced(folder: Path, pause: float, pragmas: dict[str, Any]) -> list[float]:
    """Commit 10 pages at a time with a pause after each, as a server does."""
    conn = await opened(folder, pragmas=pragmas)
    taken = []
    for number in range(400):
        taken.append(await change(conn, number * 10, 10))
        await asyncio.sleep(pause)
    await conn.close()
    return taken


async def checkpoints(folder: Path, pages: int, key: str | None) -> list[float]:
    """Write back a log of some pages, again and again."""
    conn = await opened(folder, pragmas={"wal_autocheckpoint": 0}, encryption_key=key)
    taken = []
    for number in range(15):
        await change(conn, number, pages)
        began = time.perf_counter()
        await conn.execute("PRAGMA wal_checkpoint(PASSIVE)")
        taken.append(time.perf_counter() - began)
    await conn.close()
    return taken


def show(name: str, taken: Sequence[float]) -> None:
    """Print one line."""
    ordered = sorted(taken)
    figures = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
    shown = "  ".join(f"{seconds * 1000:8.2f}" for seconds in figures)
    print(f"{name:44} {shown}")


async def main() -> None:
    """Measure in turn, so that a slow minute of the machine meets both sides."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir())
    folder = root / "aiolibsql-commit-latency"
    print(f"{'milliseconds':44} {'median':>8}  {'99 %':>8}  {'worst':>8}")
    for pause in (0.01, 0.0):
        sides: dict[str, list[float]] = {"ours": [], "SQLite's": []}
        for _ in range(3):
            sides["ours"] += await paced(folder, pause, {})
            sides["SQLite's"] += await paced(folder, pause, {"wal_autocheckpoint": 1000})
        for name, taken in sides.items():
            show(f"COMMIT, {pause * 1000:.0f} ms after the last, {name}", taken)
    for key in (None, "a key"):
        for pages in (250, 1000):
            kind = "encrypted" if key else "plain"
            show(f"checkpoint of {pages} pages, {kind}", await checkpoints(folder, pages, key))
    shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
