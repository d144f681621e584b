"""Load a Cargo.lock into a database file, then use that file under four event loops.

    python quickstart.py [CARGO_LOCK [DATABASE]]

Without arguments it reads the Cargo.lock of the repository that it lies in and makes the database
in a temporary folder. The coroutine ``tour`` is the same for asyncio, uvloop, trio and anyio; only
starting several jobs at once and giving up on one after a while differ, so each runtime brings its
own two functions for that.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiolibsql

Job = Callable[[], Coroutine[Any, Any, None]]

SCHEMA = """
PRAGMA journal_mode = WAL;
DROP TABLE IF EXISTS review;
DROP TABLE IF EXISTS edge;
DROP TABLE IF EXISTS package;
CREATE TABLE package (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (name, version)
);
CREATE TABLE edge (
    dependent INTEGER NOT NULL REFERENCES package,
    dependency INTEGER NOT NULL REFERENCES package,
    PRIMARY KEY (dependent, dependency)
) WITHOUT ROWID;
CREATE TABLE review (
    id INTEGER PRIMARY KEY,
    package INTEGER NOT NULL REFERENCES package,
    runtime TEXT NOT NULL
);
"""

MOST_WANTED = """
SELECT name, version, count(*) AS dependents
FROM edge JOIN package ON package.id = edge.dependency
GROUP BY package.id
ORDER BY dependents DESC, name
LIMIT 3
"""

# Everything that a package needs, directly or not.
CLOSURE = """
WITH RECURSIVE needed (id) AS (
    SELECT ?
    UNION
    SELECT dependency FROM edge JOIN needed ON dependent = needed.id
)
SELECT count(*) - 1 FROM needed
"""

REVIEWS = "SELECT count(*) FROM review WHERE runtime = ?"

ENDLESS = """
WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter)
SELECT count(*) FROM counter
"""

TRANSACTIONS = 40
ROWS_EACH = 25


@dataclass(frozen=True)
class Package:
    """One entry of a Cargo.lock; a dependency is "name" or "name version"."""

    name: str
    version: str
    dependencies: tuple[str, ...]


def read_lock(text: str) -> list[Package]:
    """Parse a Cargo.lock."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - Python 3.10 has none

        return [
            Package(entry["name"], entry["version"], tuple(entry.get("dependencies", ())))
            for entry in tomllib.loads(text)["package"]
        ]
    return list(read_lock_lines(text))


def read_lock_lines(text: str) -> Iterator[Package]:
    """Parse a Cargo.lock by its lines: cargo writes one key, or one element, on each."""
    for block in text.split("[[package]]\n")[1:]:
        keys: dict[str, str] = {}
        dependencies = []
        for line in block.splitlines():
            key, equals, value = line.partition(" = ")
            if line.startswith(' "'):
                dependencies.append(line.strip(' ",'))
            elif equals:
                keys[key] = value.strip('"')
        yield Package(keys["name"], keys["version"], tuple(dependencies))


async def load(database: Path, packages: list[Package]) -> None:
    """Write packages and edges in one transaction."""
    ids = {(package.name, package.version): id_ for id_, package in enumerate(packages, 1)}
    only = {package.name: ids[package.name, package.version] for package in packages}
    edges = []
    for package in packages:
        for dependency in package.dependencies:
            name, *version = dependency.split(" ")
            needed = ids[name, version[0]] if version else only[name]
            edges.append((ids[package.name, package.version], needed))

    async with aiolibsql.connect(database, foreign_keys=True) as conn:
        await conn.executescript(SCHEMA)
        await conn.begin("IMMEDIATE")
        await conn.executemany(
            "INSERT INTO package (id, name, version) VALUES (?, ?, ?)",
            ((id_, name, version) for (name, version), id_ in ids.items()),
        )
        await conn.executemany("INSERT INTO edge VALUES (?, ?)", edges)
        await conn.commit()
    print(f"loaded {len(packages)} packages and {len(edges)} edges into {database}")


@dataclass(frozen=True)
class Runtime:
    """What an event loop brings of its own.

    Attributes:
        name: What to call it.
        run: Starts a loop and runs a coroutine function with its arguments.
        together: Runs jobs at the same time and waits for all of them.
        give_up_after: Cancels a job after so many seconds; tells whether it had to.
    """

    name: str
    run: Callable[..., Any]
    together: Callable[..., Awaitable[None]]
    give_up_after: Callable[[float, Job], Awaitable[bool]]


async def tour(database: Path, runtime: Runtime) -> None:
    """Read and write concurrently, roll back, iterate and cancel."""
    async with aiolibsql.connect(database, foreign_keys=True) as writer:
        await read_while_writing(database, writer, runtime)
        await roll_back(writer)
        await iterate(writer)
        await cancel(writer, runtime)


async def read_while_writing(
    database: Path, writer: aiolibsql.Connection[Any], runtime: Runtime
) -> None:
    """Read on three connections for as long as a fourth one writes."""
    packages = await writer.fetch_scalar("SELECT count(*) FROM package")
    reads = 0
    states = set()
    writing = True

    async def write() -> None:
        nonlocal writing
        try:
            for _ in range(TRANSACTIONS):
                await writer.begin("IMMEDIATE")
                await writer.executemany(
                    "INSERT INTO review (package, runtime) VALUES (?, ?)",
                    ((1 + row % packages, runtime.name) for row in range(ROWS_EACH)),
                )
                await writer.commit()
        finally:
            writing = False

    async def read() -> None:
        nonlocal reads
        async with aiolibsql.connect(database) as reader:
            while writing:
                await reader.fetch_scalar(CLOSURE, (1 + reads % packages,))
                states.add(await reader.fetch_scalar(REVIEWS, (runtime.name,)))
                reads += 2

    start = time.perf_counter()
    await runtime.together(write, read, read, read)
    elapsed = time.perf_counter() - start
    broken = [state for state in states if state % ROWS_EACH]
    if broken:
        message = f"readers saw parts of a transaction: {broken}"
        raise AssertionError(message)
    print(
        f"  {TRANSACTIONS} transactions of {ROWS_EACH} rows beside {reads} reads on 3 connections"
        f" in {elapsed * 1000:.0f} ms; the readers saw {len(states)} states, all whole"
    )


async def roll_back(conn: aiolibsql.Connection[Any]) -> None:
    """Delete everything, then think better of it."""
    count = "SELECT count(*) FROM review"
    before = await conn.fetch_scalar(count)
    await conn.begin("IMMEDIATE")
    await conn.execute("DELETE FROM review")
    inside = await conn.fetch_scalar(count)
    await conn.rollback()
    after = await conn.fetch_scalar(count)
    if (inside, after) != (0, before):
        message = f"{before} rows, {inside} in the transaction, {after} after its rollback"
        raise AssertionError(message)
    print(f"  rollback: {before} reviews before, {inside} in the transaction, {after} after it")


async def iterate(conn: aiolibsql.Connection[Any]) -> None:
    """Walk over rows as they come."""
    wanted = []
    async with conn.execute(MOST_WANTED) as cursor:
        async for name, version, dependents in cursor:
            wanted.append(f"{name} {version} ({dependents})")
    print(f"  most wanted: {', '.join(wanted)}")


async def cancel(conn: aiolibsql.Connection[Any], runtime: Runtime) -> None:
    """Stop a query that would never end, and use its connection at once."""
    patience = 0.2

    async def endless() -> None:
        await conn.execute(ENDLESS)

    start = time.perf_counter()
    if not await runtime.give_up_after(patience, endless):
        message = "an endless query ended"
        raise AssertionError(message)
    stopped = time.perf_counter()
    await conn.fetch_scalar("SELECT 1")
    usable = time.perf_counter()
    print(
        f"  endless query: given up after {patience * 1000:.0f} ms, back"
        f" {(stopped - start - patience) * 1000:.1f} ms later, the connection usable"
        f" {(usable - stopped) * 1000:.1f} ms after that"
    )


def with_asyncio(name: str, run: Callable[..., Any]) -> Runtime:
    """Describe asyncio, on any loop that speaks its protocol."""

    async def together(*jobs: Job) -> None:
        await asyncio.gather(*(job() for job in jobs))

    async def give_up_after(seconds: float, job: Job) -> bool:
        try:
            await asyncio.wait_for(job(), seconds)
        except asyncio.TimeoutError:  # the builtin one only since Python 3.11
            return True
        return False

    return Runtime(name, lambda main, *args: run(main(*args)), together, give_up_after)


def with_uvloop() -> Runtime:
    """Describe uvloop: asyncio's functions on another loop."""
    import uvloop  # noqa: PLC0415 - may be missing

    return with_asyncio("uvloop", uvloop.run)


def with_trio() -> Runtime:
    """Describe trio."""
    import trio  # noqa: PLC0415 - may be missing

    async def together(*jobs: Job) -> None:
        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(job)

    async def give_up_after(seconds: float, job: Job) -> bool:
        with trio.move_on_after(seconds) as scope:
            await job()
        return scope.cancelled_caught

    return Runtime("trio", trio.run, together, give_up_after)


def with_anyio() -> Runtime:
    """Describe anyio."""
    import anyio  # noqa: PLC0415 - may be missing

    async def together(*jobs: Job) -> None:
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(job)

    async def give_up_after(seconds: float, job: Job) -> bool:
        with anyio.move_on_after(seconds) as scope:
            await job()
        return scope.cancelled_caught

    return Runtime("anyio", anyio.run, together, give_up_after)


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "asyncio": lambda: with_asyncio("asyncio", asyncio.run),
    "uvloop": with_uvloop,
    "trio": with_trio,
    "anyio": with_anyio,
}


def main() -> None:
    """Load the file, then tour it once per installed runtime."""
    repository = Path(__file__).resolve().parents[2]
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else repository / "Cargo.lock"
    with tempfile.TemporaryDirectory() as folder:
        database = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder, "cargo.db")  # noqa: PLR2004
        print(f"aiolibsql {aiolibsql.__version__} with SQLite {aiolibsql.sqlite_version}")
        asyncio.run(load(database, read_lock(lock.read_text(encoding="utf-8"))))
        for name, describe in RUNTIMES.items():
            if importlib.util.find_spec(name) is None:
                print(f"{name}: not installed, skipped")
                continue
            print(f"{name}:")
            runtime = describe()
            runtime.run(tour, database, runtime)


if __name__ == "__main__":
    main()
