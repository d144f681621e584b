"""Without trio and anyio: everything that asyncio alone can do.

Stands alone, for the suite's own fixtures need both.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import aiolibsql
from aiolibsql.client import create_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
FOREIGN = ("trio", "anyio", "sniffio", "uvloop")


@pytest.fixture(autouse=True)
def _no_foreign_module_is_imported() -> Iterator[None]:
    yield
    assert not [name for name in FOREIGN if name in sys.modules]


@pytest.mark.parametrize("name", ["trio", "anyio", "prompt_toolkit", "rich"])
def test_the_environment_lacks_them(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def test_library_itself_needs_nothing() -> None:
    needed = importlib.metadata.requires("aiolibsql") or []
    assert [name for name in needed if "extra ==" not in name] == []


def test_shell_runs_statements_without_its_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "aiolibsql"]
    done = subprocess.run(
        [*command, "test.db", "-c", "CREATE TABLE t (a); INSERT INTO t VALUES ('日本'), (NULL)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert done.stdout + done.stderr == b""
    done = subprocess.run(
        [*command, "test.db", "--json"],
        cwd=tmp_path,
        input=b"SELECT * FROM t;",
        check=True,
        capture_output=True,
    )
    assert done.stdout.decode() == '[\n{"a": "日本"},\n{"a": null}\n]\n'


def test_import_and_use_need_none_of_them(tmp_path: Path) -> None:
    program = f"""if 1:
        import asyncio, sys
        for name in {FOREIGN}:
            sys.modules[name] = None  # importing it would fail
        import aiolibsql

        async def main():
            async with aiolibsql.connect(sys.argv[1]) as conn:
                await conn.execute("CREATE TABLE t (a)")
                await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
                return [row async for row in await conn.execute("SELECT a FROM t")]

        assert asyncio.run(main()) == [(1,), (2,)]
    """
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "test.db")]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("database", ["test.db", ":memory:"])
def test_file_and_memory_are_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with aiolibsql.connect(database) as conn:
            await conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
            assert await conn.execute_insert("INSERT INTO t (a) VALUES (?)", ("x",)) == (1,)
            await conn.executemany("INSERT INTO t (a) VALUES (?)", ((n,) for n in range(999)))
            await conn.commit()
            async with conn.execute("SELECT a FROM t ORDER BY id") as cursor:
                assert await cursor.fetchone() == ("x",)
                assert await cursor.fetchmany(2) == [(0,), (1,)]
                assert [row async for row in cursor] == [(n,) for n in range(2, 999)]
            await conn.execute("DELETE FROM t")
            await conn.rollback()
            assert await conn.fetch_scalar("SELECT count(*) FROM t") == 1_000
            with pytest.raises(aiolibsql.OperationalError, match="no such table: nowhere"):
                await conn.execute("SELECT * FROM nowhere")
        assert conn.closed

    asyncio.run(main())


def test_gather_and_tasks_take_operations() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            operations = [conn.fetch_scalar("SELECT ?", (number,)) for number in range(100)]
            assert await asyncio.gather(*operations) == list(range(100))
            task: asyncio.Task[Any] = asyncio.create_task(conn.execute("SELECT 'task'"))
            assert await (await task).fetchall() == [("task",)]
            assert await asyncio.wait_for(conn.fetch_scalar("SELECT 7"), 5) == 7

    asyncio.run(main())


def test_wait_for_stops_a_running_query_and_the_connection_lives() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            started = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(conn.execute(ENDLESS), 0.1)
            assert await conn.fetch_scalar("SELECT 1") == 1
            assert time.monotonic() - started < 5
            await conn.execute("CREATE TABLE t (a)")

    asyncio.run(main())


def test_cancelled_task_is_cancelled_and_its_queued_operation_never_runs() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            running: asyncio.Task[Any] = asyncio.create_task(conn.execute(ENDLESS))
            await asyncio.sleep(0)
            queued: asyncio.Task[Any] = asyncio.create_task(conn.execute("CREATE TABLE t (a)"))
            await asyncio.sleep(0)
            queued.cancel()
            running.cancel()
            results = await asyncio.gather(running, queued, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 2
            assert await conn.fetch_all("SELECT name FROM sqlite_master") == []
            assert not conn.in_transaction

    asyncio.run(main())


def test_loop_runs_while_a_query_does() -> None:
    async def main() -> None:
        async with aiolibsql.connect(":memory:") as conn:
            running: asyncio.Task[Any] = asyncio.create_task(conn.execute(ENDLESS))
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not running.done()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(main())


@pytest.mark.parametrize("url", ["file:test.db", "file::memory:"])
def test_client_needs_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with create_client(url) as client:
            await client.execute("CREATE TABLE t (a)")
            calls = (client.execute("INSERT INTO t VALUES (?)", [n]) for n in range(20))
            await asyncio.gather(*calls)
            with client.transaction() as transaction:
                await transaction.execute("INSERT INTO t VALUES (20)")
                await transaction.commit()
            waiting = [asyncio.create_task(client.execute(ENDLESS)) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert [row[0] for row in await client.execute("SELECT a FROM t")] == [*range(21)]

    asyncio.run(main())


def test_one_connection_serves_one_loop_after_another() -> None:
    connection = aiolibsql.connect(":memory:")

    async def count() -> Any:
        conn = await connection
        await conn.execute("CREATE TABLE IF NOT EXISTS t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.commit()
        return await conn.fetch_scalar("SELECT count(*) FROM t")

    async def close() -> None:
        await connection.close()

    assert [asyncio.run(count()) for _ in range(3)] == [1, 2, 3]
    asyncio.run(close())
