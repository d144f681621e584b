"""Row 16: a point SELECT of a replica, beside the same of a file and of the stdlib's ``sqlite3``.

``python -m benches.replica http://127.0.0.1:8080`` uses the (empty) database of a server. Each
driver has a file of its own; rounds are interleaved, and the median of each driver's is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiolibsql

ROWS = 100_000
READS = 5_000
ROUNDS = 7
SQL = "SELECT value FROM kv WHERE k = ?"


async def fill(url: str) -> None:
    """Make the table at the server, unless it is there."""
    async with aiolibsql.connect(url, autocommit=True) as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS kv (k INTEGER PRIMARY KEY, value TEXT)")
        if await conn.fetch_scalar("SELECT count(*) FROM kv") != ROWS:
            await conn.execute("DELETE FROM kv")
            await conn.executemany(
                "INSERT INTO kv VALUES (?, ?)", [(k, f"value {k}") for k in range(ROWS)]
            )


async def read(conn: aiolibsql.Connection[Any], keys: list[int]) -> float:
    """Read rows one after the other; microseconds for each."""
    begin = time.perf_counter()
    for key in keys:
        cursor = await conn.execute(SQL, (key,))
        await cursor.fetchone()
    return (time.perf_counter() - begin) / len(keys) * 1e6


def read_stdlib(conn: sqlite3.Connection, keys: list[int]) -> float:
    """Do the same with the stdlib."""
    begin = time.perf_counter()
    for key in keys:
        conn.execute(SQL, (key,)).fetchone()
    return (time.perf_counter() - begin) / len(keys) * 1e6


async def main(url: str) -> None:
    """Measure and print."""
    await fill(url)
    chance = random.Random(16)  # noqa: S311
    taken: dict[str, list[float]] = {"stdlib": [], "file": [], "replica": []}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        async with aiolibsql.connect(place / "replica.db", sync_url=url) as replica:
            for name in ("file.db", "stdlib.db"):
                async with aiolibsql.connect(place / name) as copy:
                    await replica.backup(copy)
                    await copy.execute("PRAGMA journal_mode = wal")
            stdlib = sqlite3.connect(place / "stdlib.db")
            async with aiolibsql.connect(place / "file.db") as file:
                for _ in range(ROUNDS):
                    keys = [chance.randrange(ROWS) for _ in range(READS)]
                    taken["stdlib"].append(read_stdlib(stdlib, keys))
                    taken["file"].append(await read(file, keys))
                    taken["replica"].append(await read(replica, keys))
            stdlib.close()
    base = statistics.median(taken["stdlib"])
    for name, rounds in taken.items():
        median = statistics.median(rounds)
        print(f"{name:8} {median:6.2f} us  {median / base:5.2f} x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the server's database")
    asyncio.run(main(parser.parse_args().url))
