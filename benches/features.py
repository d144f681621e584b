"""What the drivers can do that has no figure: the table in the README.

    python benches/features.py [--upstream-python OTHER/bin/python]

Each is tried with a driver in a process of its own, which may block, crash or hang.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers import Aiolibsql, Aiosqlite, ApswAio, Driver, Rapsqlite, SqliteAnyio, Upstream
from runtimes import Asyncio, Runtime, Trio, Uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Some seconds of work.
LONG = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 12000000)
SELECT count(*) FROM n
"""
SHORTER = LONG.replace("12000000", "2000000")
PATIENCE = 1.0
LIMIT = 60.0


class LibsqlClient(Driver):
    """The libsql-client package, with a file."""

    name = "libsql-client"
    distribution = "libsql-client"
    module = "libsql_client"

    async def connect(self, path: str) -> Any:
        """Open the file."""
        return importlib.import_module(self.module).create_client(f"file:{path}")

    async def close(self, conn: Any) -> None:
        """Close the client."""
        await conn.close()

    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""
        return [tuple(row) for row in (await conn.execute(sql, parameters)).rows]

    points = iterate = insert_each = insert_all = Driver.ready_steps  # type: ignore[assignment]


DRIVERS = {
    driver.name: driver
    for driver in (
        *(Aiolibsql, Aiosqlite, SqliteAnyio, ApswAio),
        *(Rapsqlite, LibsqlClient, Upstream),
    )
}


async def answers(driver: Driver, conn: Any, _runtime: Runtime) -> bool:
    """Work at all."""
    return [tuple(row) for row in await driver.fetch(conn, "SELECT 1 + 1")] == [(2,)]


async def leaves_the_loop_alone(driver: Driver, conn: Any, runtime: Runtime) -> bool:
    """Let other tasks run while a query does."""
    began = time.perf_counter()
    _, lateness = await runtime.tick_during(lambda: driver.fetch(conn, SHORTER))
    return bool(lateness) and max(lateness) < (time.perf_counter() - began) / 2


async def stops_a_cancelled_query(driver: Driver, conn: Any, runtime: Runtime) -> bool:
    """Answer the next query soon after one was cancelled that takes long."""
    cancelled, _ = await runtime.cancel_after(0.3, lambda: driver.fetch(conn, LONG))
    await driver.fetch(conn, "SELECT 1")
    return time.perf_counter() - cancelled < PATIENCE


async def keeps_tasks_apart(driver: Driver, conn: Any, runtime: Runtime) -> bool:
    """Keep what another task writes when a transaction of the first one is rolled back."""
    blocks: dict[str, Callable[[], Any]] = {
        "aiolibsql": lambda: conn.transaction("IMMEDIATE"),
        "apsw.aio": lambda: conn,
        "rapsqlite": lambda: conn.transaction(),  # noqa: PLW0108 - conn may have none
    }
    if driver.name not in blocks:
        return False  # it has no such block
    await driver.fetch(conn, "CREATE TABLE t (a)")

    async def fail() -> None:
        try:
            async with blocks[driver.name]():
                await driver.fetch(conn, "INSERT INTO t VALUES (1)")
                await runtime.sleep(0.3)
                raise LookupError  # noqa: TRY301 - what is tried
        except LookupError:
            pass

    async def write() -> None:
        await runtime.sleep(0.1)
        await driver.fetch(conn, "INSERT INTO t VALUES (2)")

    await runtime.gather([fail, write])
    return [tuple(row) for row in await driver.fetch(conn, "SELECT a FROM t")] == [(2,)]


async def has_vectors(driver: Driver, conn: Any, _runtime: Runtime) -> bool:
    """Know libSQL's vectors."""
    return bool(await driver.fetch(conn, "SELECT vector_extract(vector32('[1,2]'))"))


FEATURES: dict[str, tuple[type[Runtime], Callable[[Driver, Any, Runtime], Awaitable[bool]]]] = {
    "runs under asyncio": (Asyncio, answers),
    "runs under uvloop": (Uvloop, answers),
    "runs under trio": (Trio, answers),
    "a query leaves the loop to other tasks": (Asyncio, leaves_the_loop_alone),
    "a cancelled query stops": (Asyncio, stops_a_cancelled_query),
    "a transaction's rollback spares what other tasks write": (Asyncio, keeps_tasks_apart),
    "libSQL's vectors": (Asyncio, has_vectors),
}


def attempt(name: str, feature: str) -> None:
    """Try a feature in this process; print its outcome."""
    kind, trial = FEATURES[feature]
    driver, runtime = DRIVERS[name](), kind()
    driver.version()

    async def main() -> bool:
        conn = await driver.connect(str(Path(folder, "features.db")))
        try:
            return await trial(driver, conn, runtime)
        finally:
            await driver.close(conn)

    with tempfile.TemporaryDirectory() as folder:
        print("yes" if runtime.run(main) else "no", flush=True)


def outcome(python: str, name: str, feature: str) -> tuple[str, str]:
    """Try a feature in a process of its own; return yes, no or a dash, and what it has to say."""
    command = [python, str(Path(__file__)), "--try", name, feature]
    # This project's package is not to be found where the other one of its name is tried.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if python == sys.executable:
        environment = dict(os.environ)
    try:
        done = subprocess.run(  # noqa: S603 - this file
            command, capture_output=True, text=True, timeout=LIMIT, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return "no", f"did not end within {LIMIT:.0f} s"
    said = done.stderr.strip().splitlines()
    if done.stdout.strip() in {"yes", "no"}:
        return done.stdout.strip(), ""
    return "no", said[-1] if said else f"ended with {done.returncode}"


def main() -> None:
    """Try everything and print a table, with the errors below it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream-python", help="the interpreter that has the other aiolibsql")
    parser.add_argument("--peers", help="names, with commas between", default=",".join(DRIVERS))
    parser.add_argument("--try", nargs=2, dest="one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        attempt(*arguments.one)
        return
    names = [
        name
        for name in arguments.peers.split(",")
        if arguments.upstream_python or DRIVERS[name].environment != "upstream"
    ]
    print("| |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    notes = []
    for feature in FEATURES:
        cells = []
        for name in names:
            other = DRIVERS[name].environment == "upstream"
            python = arguments.upstream_python if other else sys.executable
            cell, note = outcome(python, name, feature)
            cells.append(cell)
            if note:
                notes.append(f"{name}, {feature}: {note}")
        print(f"| {feature} |", " | ".join(cells), "|", flush=True)
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
