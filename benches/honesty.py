"""The detector: how late a ticker of the same loop is during each method, at the most.

Two cases. `methods` calls what most drivers have, on every driver; `every-method` all that is
public of this one, by the table of the tests. Each with little and with much data. A sample has the
worst lateness for each method and amount; what a driver does not have is not in it.
Thread: the loop's, in a measured process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from cases import Bench, Case
from data import big_rows
from drivers import BIG, INSERT, OURS, POINT, REFERENCE

if TYPE_CHECKING:
    from measure import Sample

SMALL, LARGE = "small", "large"
FEW = 10
BLOB = 100  # bytes for each row's worth: 1 kB, and 10 MB for 100,000 rows
PAUSE = 0.05
LIMIT = 20  # seconds for a method; what takes longer counts as failed
AMONG = frozenset(
    {OURS, REFERENCE, "aiosqlite", "apsw.aio", "sqlite-anyio", "rapsqlite", "pyturso", "upstream"}
)

Work = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Call:
    """A connection, and how many rows its methods get."""

    bench: Bench
    conn: Any
    count: int

    @property
    def limited(self) -> str:
        """A SELECT of so many rows."""
        return f"{BIG} LIMIT {self.count}"

    @property
    def blob(self) -> bytes:
        """A value as large as all that."""
        return bytes(self.count * BLOB)

    async def execute(self, sql: str, *parameters: Any) -> Any:
        """Execute a statement as the driver does it."""
        return await settled(self.conn.execute(sql, *parameters))

    async def begin(self) -> None:
        """Begin a transaction, and write."""
        if hasattr(self.conn, "begin"):
            await settled(self.conn.begin())
        else:
            await self.execute("BEGIN")
        for row in big_rows(FEW):
            await self.execute(INSERT, row)
        big = f"INSERT INTO sink SELECT i, f, t, b FROM big LIMIT {self.count}"  # noqa: S608
        await self.execute(big)

    async def end(self, how: str) -> None:
        """Commit or roll back, by the method if there is one."""
        method = getattr(self.conn, how.lower(), None)
        await (settled(method()) if method else self.execute(how))


async def settled(made: Any) -> Any:
    """Return what was made, awaited if it can be."""
    return await made if inspect.isawaitable(made) else made


# Each gives what is measured, in the middle of what comes before and after.


async def nothing(call: Call) -> AsyncIterator[Work]:
    yield lambda: call.bench.runtime.sleep(PAUSE)


async def connect(call: Call) -> AsyncIterator[Work]:
    made: list[Any] = []

    async def work() -> None:
        made.append(await call.bench.driver.connect(call.bench.path))

    yield work
    await call.bench.driver.close(made.pop())


async def close(call: Call) -> AsyncIterator[Work]:
    conn = await call.bench.driver.connect(call.bench.path)
    await settled(conn.execute(POINT, (1,)))
    yield lambda: call.bench.driver.close(conn)


async def execute(call: Call) -> AsyncIterator[Work]:
    yield lambda: call.execute(
        "SELECT count(*) FROM kv CROSS JOIN big WHERE kv.k <= 10 AND big.i <= ?", (call.count,)
    )


async def execute_blob(call: Call) -> AsyncIterator[Work]:
    row = (1, 1.0, "", call.blob)
    await call.begin()
    yield lambda: call.execute(INSERT, row)
    await call.end("ROLLBACK")


async def fetchone(call: Call) -> AsyncIterator[Work]:
    cursor = await call.execute(call.limited)
    yield lambda: settled(cursor.fetchone())
    await settled(cursor.close())


async def fetchone_blob(call: Call) -> AsyncIterator[Work]:
    cursor = await call.execute(f"SELECT zeroblob({call.count * BLOB})")
    yield lambda: settled(cursor.fetchone())
    await settled(cursor.close())


async def fetchmany(call: Call) -> AsyncIterator[Work]:
    cursor = await call.execute(call.limited)
    yield lambda: settled(cursor.fetchmany(call.count))
    await settled(cursor.close())


async def fetchall(call: Call) -> AsyncIterator[Work]:
    rows: list[Any] = []

    async def work() -> None:
        # What frees them is no part of the method.
        rows.append(await call.bench.driver.fetch(call.conn, call.limited))

    yield work


async def iterate(call: Call) -> AsyncIterator[Work]:
    yield lambda: call.bench.driver.iterate(call.conn, call.limited)


async def executemany(call: Call) -> AsyncIterator[Work]:
    rows = big_rows(call.count)
    yield lambda: call.bench.driver.insert_all(call.conn, rows)
    await call.bench.driver.fetch(call.conn, "DELETE FROM sink")


async def executescript(call: Call) -> AsyncIterator[Work]:
    insert = "INSERT INTO sink VALUES (1, 0.5, 'text', x'00');\n"
    script = f"BEGIN;\n{insert * call.count}COMMIT;"
    yield lambda: settled(call.conn.executescript(script))
    await call.bench.driver.fetch(call.conn, "DELETE FROM sink")


async def commit(call: Call) -> AsyncIterator[Work]:
    await call.begin()
    yield lambda: call.end("COMMIT")
    await call.bench.driver.fetch(call.conn, "DELETE FROM sink")


async def rollback(call: Call) -> AsyncIterator[Work]:
    await call.begin()
    yield lambda: call.end("ROLLBACK")


async def call_function(call: Call) -> AsyncIterator[Work]:
    create = getattr(call.conn, "create_function", None)
    if create:
        await settled(create("mine", 1, abs))
    else:
        await settled(call.conn.create_scalar_function("mine", abs, 1))
    sql = f"SELECT sum(mine(i)) FROM (SELECT i FROM big LIMIT {call.count})"  # noqa: S608
    yield lambda: call.bench.driver.fetch(call.conn, sql)


async def backup(call: Call) -> AsyncIterator[Work]:
    path = call.bench.path if call.count > FEW else f"{call.bench.path}.small"
    source = await call.bench.driver.connect(path)
    target = await call.bench.driver.connect(":memory:")
    yield lambda: settled(source.backup(target))
    await call.bench.driver.close(source)
    await call.bench.driver.close(target)


async def iterdump(call: Call) -> AsyncIterator[Work]:
    conn = call.conn
    if call.count <= FEW:
        conn = await call.bench.driver.connect(f"{call.bench.path}.small")

    async def work() -> None:
        lines = conn.iterdump()
        if hasattr(lines, "__aiter__"):
            async for _line in lines:
                pass
        else:
            for _line in lines:
                pass

    yield work
    if conn is not call.conn:
        await call.bench.driver.close(conn)


async def serialize(call: Call) -> AsyncIterator[Work]:
    conn = call.conn
    if call.count <= FEW:
        conn = await call.bench.driver.connect(f"{call.bench.path}.small")
    # apsw wants the name.
    yield lambda: settled(conn.serialize(*(["main"] if "apsw" in call.bench.driver.name else [])))
    if conn is not call.conn:
        await call.bench.driver.close(conn)


METHODS: dict[str, Callable[[Call], AsyncIterator[Work]]] = {
    "nothing, for comparison": nothing,
    "`connect`": connect,
    "`close`": close,
    "`execute`, a SELECT that scans": execute,
    "`execute`, an INSERT of a blob": execute_blob,
    "`fetchone`": fetchone,
    "`fetchone`, a blob": fetchone_blob,
    "`fetchmany`": fetchmany,
    "`fetchall`": fetchall,
    "`async for`": iterate,
    "`executemany`": executemany,
    "`executescript`": executescript,
    "`commit`": commit,
    "`rollback`": rollback,
    "a Python function in SQL": call_function,
    "`backup`": backup,
    "`iterdump`": iterdump,
    "`serialize`": serialize,
}


def key_of(name: str, amount: str) -> str:
    """Return the name of a measure: what was called, and with how much."""
    return f"{name} | {amount}"


async def worst_during(bench: Bench, work: Work) -> float:
    """Return the worst lateness during a piece of work, which starts with no garbage."""
    gc.collect()
    _, lateness = await bench.runtime.tick_during(work)
    return max(lateness)


async def small_file(bench: Bench) -> None:
    """Make a file with few rows, once."""
    path = Path(f"{bench.path}.small")
    if not path.exists():  # noqa: ASYNC240 - before anything is measured
        conn = await bench.driver.connect(str(path))
        await bench.driver.fetch(conn, "CREATE TABLE t (x)")
        await bench.driver.fetch(conn, "INSERT INTO t VALUES (1)")
        await bench.driver.close(conn)


async def methods(bench: Bench) -> Sample:
    """Call what most drivers have."""
    await small_file(bench)
    sample: Sample = {}
    for name, method in METHODS.items():
        for amount, count in ((SMALL, FEW), (LARGE, bench.size)):
            try:
                with anyio.fail_after(LIMIT):
                    sample[key_of(name, amount)] = await _of_method(bench, method, count)
            except Exception:  # noqa: PERF203 - each on its own
                if bench.driver.name == OURS:
                    raise
                break
    sample["worst"] = max(sample.values())
    return sample


async def _of_method(
    bench: Bench, method: Callable[[Call], AsyncIterator[Work]], count: int
) -> float:
    # A connection of its own: what one method leaves is not the next one's.
    conn = await bench.driver.connect(bench.path)
    found = 0.0
    try:
        async for work in method(Call(bench, conn, count)):
            found = await worst_during(bench, work)
    finally:
        with contextlib.suppress(Exception):
            await bench.driver.close(conn)
    return found


def table_of_tests() -> Any:
    """Return the module with every public method and a use of each."""
    folder = str(Path(__file__).resolve().parent.parent / "tests")
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that no test's name hides one of ours
    return importlib.import_module("every_method")


NUMBERS = itertools.count()
FILL = """
INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT i FROM n LIMIT {rows};
UPDATE b SET data = zeroblob({bytes});
"""


async def every_method(bench: Bench) -> Sample:
    """Use every public method of this driver, as the tests do; pools have those of connections."""
    tests = table_of_tests()
    # A use of the table makes it with the standard library, which would block.
    serialized = tests.serialized()
    tests.serialized = lambda: serialized
    pool_class = importlib.import_module("aiolibsql").ConnectionPool
    sample: Sample = {}
    for amount, count in ((SMALL, FEW), (LARGE, bench.size)):
        for key, use in tests.TABLE.items():
            sample[key_of(key, amount)] = await _of_use(bench, tests, use, count)
            kind, _, name = key.partition(".")
            # What a pool has under the same name takes the same arguments.
            is_shared = kind == "Connection" and use.before is None and not name.startswith("_")
            if is_shared and hasattr(pool_class, name) and name not in ("close", "rekey"):
                shared = key_of(f"ConnectionPool.{name}", amount)
                sample[shared] = await _of_use(bench, tests, use, count, is_pool=True)
    sample["worst"] = max(sample.values())
    return sample


async def _of_use(
    bench: Bench, tests: Any, use: Any, count: int, *, is_pool: bool = False
) -> float:
    module = importlib.import_module("aiolibsql")
    path = Path(f"{bench.path}.{next(NUMBERS)}")
    on_file = use.on_file or is_pool
    base = await module.connect(path if on_file else ":memory:", isolation_level=None, timeout=60)
    try:
        await base.executescript(tests.SCHEMA)
        if count > FEW:
            await base.executescript(FILL.format(rows=count, bytes=count * BLOB))
        if is_pool:
            await base.close()
            base = await module.create_pool(path, 2)
        world = tests.World(base, base, path if on_file else None)
        if use.before is not None:
            await use.before(world)

        async def work() -> None:
            made = use.make(world)
            if not use.is_sync:
                await made

        return await worst_during(bench, lambda: _as_expected(use, work, is_pool=is_pool))
    finally:
        await _leave(base)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)  # noqa: ASYNC240 - after all of it


async def _as_expected(use: Any, work: Work, *, is_pool: bool) -> None:
    """Do it; an exception that the table knows is a result, and a pool may refuse."""
    expected = use.value
    is_error = isinstance(expected, type) and issubclass(expected, BaseException)
    try:
        await work()
    except Exception as error:
        if not (is_pool or (is_error and isinstance(error, expected))):
            raise


async def _leave(base: Any) -> None:
    """Close what a use was made on, whatever the use has left open."""
    with contextlib.suppress(Exception):
        if base.in_transaction:
            await base.rollback()
    with contextlib.suppress(Exception):
        await base.close()


DETECTORS = (
    Case(
        "methods", 9, "lateness during what most drivers have", methods, measures=("worst",),
        among=AMONG,
    ),
    Case(
        "every-method", 9, "lateness during every public method", every_method,
        measures=("worst",), only=OURS,
    ),
)  # fmt: skip
