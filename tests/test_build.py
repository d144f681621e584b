"""The build: SQLite compiled with our flags, and behaving as stock SQLite where libSQL's do not."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

PRESENT = {
    "DQS=3", "ENABLE_COLUMN_METADATA", "ENABLE_DBSTAT_VTAB", "ENABLE_FTS5", "ENABLE_MATH_FUNCTIONS",
    "ENABLE_NORMALIZE", "ENABLE_PREUPDATE_HOOK", "ENABLE_RTREE", "ENABLE_STAT4",
}  # fmt: skip
ABSENT = {"DQS=0", "ENABLE_FILEIO", "ENABLE_MEMORY_MANAGEMENT", "THREADSAFE=0"}


async def test_compile_options_are_ours(conn: Connection) -> None:
    options = {option for (option,) in await conn.fetch_all("PRAGMA compile_options")}
    assert options >= PRESENT
    assert not options & ABSENT


@pytest.mark.parametrize(
    "call",
    ["readfile('/etc/hosts')", "writefile('x', 'y')", "edit('x')", "lsmode(1)", "load_it('x')"],
)
async def test_function_that_touches_files_is_unknown(conn: Connection, call: str) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="no such function"):
        await conn.execute(f"SELECT {call}")


async def test_load_extension_from_sql_is_not_allowed(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="not authorized"):
        await conn.execute("SELECT load_extension('x')")


@pytest.mark.parametrize("module", ["fsdir", "csv", "zipfile"])
async def test_module_that_touches_files_is_unknown(conn: Connection, module: str) -> None:
    with pytest.raises(aiolibsql.OperationalError, match=r"no such table|no such module"):
        await conn.execute(f"SELECT * FROM {module}('.')")
    with pytest.raises(aiolibsql.OperationalError, match="no such module"):
        await conn.execute(f"CREATE VIRTUAL TABLE temp.v USING {module}(filename='x')")


async def test_double_quoted_strings_are_as_in_stock_sqlite(conn: Connection) -> None:
    assert await conn.fetch_all('SELECT "x"') == [("x",)]
    await conn.execute('CREATE TABLE t (a DEFAULT "y")')
    await conn.execute('CREATE INDEX i ON t (a) WHERE a <> "z"')
    await conn.execute("INSERT INTO t DEFAULT VALUES")
    assert await conn.fetch_all('SELECT "a" FROM t WHERE "a" = "y"') == [("y",)]


KEYS = """
    CREATE TABLE p (id INTEGER PRIMARY KEY);
    CREATE TABLE c (p REFERENCES p);"""


async def test_foreign_keys_are_off_by_default(conn: Connection) -> None:
    assert await conn.fetch_all("PRAGMA foreign_keys") == [(0,)]
    await conn.executescript(KEYS)
    await conn.execute("INSERT INTO c VALUES (99)")
    await conn.commit()


async def test_foreign_keys_are_on_when_asked_for(backend: Backend) -> None:
    async with backend.connect(foreign_keys=True) as conn:
        assert await conn.fetch_all("PRAGMA foreign_keys") == [(1,)]
        await conn.executescript(KEYS)
        with pytest.raises(aiolibsql.IntegrityError, match="FOREIGN KEY"):
            await conn.execute("INSERT INTO c VALUES (99)")
        await conn.rollback()
        await assert_healthy(conn)


async def test_foreign_keys_are_on_when_asked_for_in_pep_249_mode(backend: Backend) -> None:
    async with backend.connect(foreign_keys=True, autocommit=False) as conn:
        assert await conn.fetch_all("PRAGMA foreign_keys") == [(1,)]


async def test_recursive_triggers_are_off_by_default(conn: Connection) -> None:
    assert await conn.fetch_all("PRAGMA recursive_triggers") == [(0,)]
    await conn.executescript("""
        CREATE TABLE t (a);
        CREATE TRIGGER r AFTER INSERT ON t WHEN new.a < 5 BEGIN
            INSERT INTO t VALUES (new.a + 1);
        END;
        INSERT INTO t VALUES (1);""")
    assert await conn.fetch_all("SELECT a FROM t") == [(1,), (2,)]


async def test_memory_mapped_io_is_off_by_default(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        assert await conn.fetch_all("PRAGMA mmap_size") == [(0,)]


async def test_extensions_of_the_library_work(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT round(sin(pi() / 2), 9), ceil(1.2)") == [(1.0, 2.0)]
    assert await conn.fetch_all("SELECT json_extract('{\"a\": [1, 2]}', '$.a[1]')") == [(2,)]
    await conn.execute("CREATE VIRTUAL TABLE f USING fts5(body)")
    await conn.execute("INSERT INTO f VALUES ('the quick brown fox')")
    assert await conn.fetch_scalar("SELECT count(*) FROM f WHERE f MATCH 'quick'") == 1


async def test_version_is_that_of_the_engine(conn: Connection) -> None:
    version = await conn.fetch_scalar("SELECT sqlite_version()")
    assert aiolibsql.sqlite_version == version
    assert aiolibsql.sqlite_version_info == tuple(map(int, version.split(".")))


# Two readers at once.

WORK = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
    SELECT sum(t.a) FROM n JOIN t ON t.id = n.i % 1000"""


async def read(conn: Connection, times: int) -> None:
    for _ in range(times):
        await conn.fetch_all(WORK)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
async def test_two_readers_scale(file_backend: Backend) -> None:
    async with file_backend.connect() as one, file_backend.second() as other:
        await one.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        await one.executemany("INSERT INTO t VALUES (?, ?)", ((i, i) for i in range(1000)))
        await one.commit()
        ratios = []
        for _ in range(30):  # other programs may want the cores
            started = time.perf_counter()
            await read(one, 30)
            alone = time.perf_counter() - started
            started = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for conn in (one, other):
                    tasks.start_soon(functools.partial(read, conn, 30))
            ratios.append((time.perf_counter() - started) / alone)
            if ratios[-1] < 1.7:
                return
    pytest.fail(f"two readers take {ratios} times as long as one: something serialises them")
