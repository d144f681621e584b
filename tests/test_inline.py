"""``inline_budget``: quick reads run on the thread that awaits them, and only a clock can tell.

What is not quick this time, would wait for a lock or the disk, or is no plain read, is executed by
a worker, from its beginning.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import textwrap
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from healthy import assert_healthy
from situations import ENDLESS, PROMPT, OtherProcess

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
SECONDS = 60.0 if IS_SOAK else 1.5
BUDGET = 4000
READ = "SELECT v FROM t WHERE k = ?"
# Quick as long as the parameter is false.
MAYBE_ENDLESS = f"SELECT CASE WHEN ? THEN ({ENDLESS}) ELSE 7 END"
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT {}"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads that don't wait are Linux's")


async def fill(conn: Conn) -> None:
    await conn.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
    await conn.executemany("INSERT INTO t VALUES (?, ?)", ((k, f"v{k}") for k in range(100)))
    await conn.commit()


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    async with backend.connect(inline_budget=BUDGET) as connection:
        await fill(connection)
        yield connection
        await connection.rollback()


def sleeps_of_workers() -> dict[str, int]:
    """Return how often each of the driver's threads has gone to sleep."""
    sleeps = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text().startswith("aiolibsql"):
                status = (task / "status").read_text()
                count = status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]
                sleeps[task.name] = int(count)
    return sleeps


async def runs_here(method: Callable[..., Awaitable[Any]], sql: str, parameters: Any = ()) -> bool:
    """Tell whether a statement runs on this thread, once it is known to be quick.

    A worker that executes it sleeps before the next time. On a busy machine a few go there which
    need not.
    """
    times = 30
    for _ in range(3):
        await method(sql, parameters)
    await anyio.sleep(0.01)
    before = sleeps_of_workers()
    for _ in range(times):
        await method(sql, parameters)
        await anyio.sleep(0.001)
    # Those of connections before end meanwhile, or sleep for reasons of their own.
    after = sleeps_of_workers()
    return max((after[name] - before.get(name, 0) for name in after), default=0) < times / 2


@on_linux
async def test_quick_read_runs_on_the_thread_that_awaits_it(conn: Conn) -> None:
    cursor = conn.cursor()
    for method in (
        conn.execute,
        cursor.execute,
        conn.execute_fetchall,
        conn.fetch_all,
        conn.fetch_one,
        conn.fetch_optional,
        conn.fetch_scalar,
    ):
        assert await runs_here(method, READ, (7,)), method


@on_linux
async def test_without_the_option_nothing_runs_there(backend: Backend) -> None:
    async with backend.connect() as conn:
        await fill(conn)
        assert not await runs_here(conn.fetch_all, READ, (7,))


async def test_values_are_those_that_a_worker_reads(conn: Conn) -> None:
    for k in [*range(100), -1] * 3:
        row = None if k < 0 else (f"v{k}",)
        cursor = await conn.execute(READ, (k,))
        assert cursor.description is not None
        assert (cursor.description[0][0], cursor.rowcount) == ("v", -1)
        assert await cursor.fetchone() == row
        assert await cursor.fetchone() is None
        assert await conn.fetch_all(READ, [k]) == [row][: k >= 0]
        assert await conn.fetch_optional(READ, (k,)) == row
        assert [found async for found in await conn.execute(READ, (k,))] == [row][: k >= 0]
    for value in (None, True, 1, 2**62, 1.5, "é\0", b"\0x"):
        for _ in range(4):
            assert await conn.fetch_scalar("SELECT ?", (value,)) == value


async def test_cursor_is_used_again(conn: Conn) -> None:
    cursor = conn.cursor()
    for k in range(20):
        await cursor.execute(READ, (k,))
        if k % 3:
            assert await cursor.fetchall() == [(f"v{k}",)]
        await cursor.execute("SELECT k FROM t ORDER BY k")
        if k % 2:
            assert await cursor.fetchone() == (0,)


async def test_reads_see_what_was_written_before(conn: Conn) -> None:
    for number in range(50):
        await conn.execute("UPDATE t SET v = ? WHERE k = 5", (str(number),))
        assert await conn.fetch_scalar(READ, (5,)) == str(number)
        await conn.commit()
        for _ in range(3):
            assert await conn.fetch_scalar(READ, (5,)) == str(number)


@on_linux
@pytest.mark.parametrize(
    "sql",
    [
        NUMBERS.format(17, "i FROM n"),
        NUMBERS.format(2000, "max(i) FROM n"),
        "SELECT value FROM json_each('[1]')",
        "PRAGMA user_version",
        "UPDATE t SET v = v WHERE k = 1 RETURNING k",
        "INSERT INTO t (v) VALUES ('x')",
    ],
    ids=["rows", "steps", "virtual-table", "pragma", "returning", "insert"],
)
async def test_what_may_take_long_or_writes_runs_on_a_worker(conn: Conn, sql: str) -> None:
    conn.isolation_level = None
    assert not await runs_here(conn.fetch_all, sql)


@on_linux
@pytest.mark.parametrize(
    "what",
    ["ATTACH ':memory:' AS other", "PRAGMA mmap_size = 1000000", "BEGIN"],
    ids=["attach", "mmap", "transaction"],
)
async def test_connection_that_may_wait_or_be_disturbed_asks_its_worker(
    conn: Conn, what: str
) -> None:
    await conn.execute(what)
    assert not await runs_here(conn.fetch_all, READ, (1,))


@on_linux
async def test_callbacks_adapters_and_blocks_are_left_to_a_worker(backend: Backend) -> None:
    async with backend.connect(inline_budget=BUDGET) as conn:
        await fill(conn)
        async with conn.transaction():
            assert not await runs_here(conn.fetch_all, READ, (1,))
        open_cursor = await conn.execute("SELECT k FROM t")
        await open_cursor.fetchone()
        assert not await runs_here(conn.fetch_all, READ, (1,))
        await open_cursor.close()
        assert await runs_here(conn.fetch_all, READ, (1,))
        for parameters in ((bytearray(b"1"),), [1]):
            assert not await runs_here(conn.fetch_all, READ, parameters)
        await conn.create_function("twice", 1, lambda x: 2 * x)
        assert not await runs_here(conn.fetch_all, READ, (1,))
        assert await conn.fetch_scalar("SELECT twice(2)") == 4


async def test_parameters_are_those_of_the_call(conn: Conn) -> None:
    for _ in range(3):
        await conn.fetch_scalar("SELECT ?", (1,))
    given: Any = bytearray(b"before")
    operation = conn.fetch_scalar("SELECT ?", (given,))
    given[:] = b"after!"
    assert await operation == b"before"


async def test_errors_are_those_of_a_worker(conn: Conn) -> None:
    for _ in range(3):
        assert await conn.fetch_scalar("SELECT abs(?)", (-1,)) == 1
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        await conn.execute("SELECT abs(?)", (-(2**63),))
    for _ in range(3):
        await conn.fetch_all(READ, (1,))
    with pytest.raises(aiolibsql.ProgrammingError, match="uses 1, and there are 2"):
        await conn.fetch_all(READ, (1, 2))
    with pytest.raises(OverflowError):
        await conn.fetch_all(READ, (2**64,))
    await assert_healthy(conn)


async def test_query_that_is_not_quick_this_time_can_be_cancelled(conn: Conn) -> None:
    for _ in range(3):
        for _ in range(3):
            assert await conn.fetch_scalar(MAYBE_ENDLESS, (False,)) == 7
        began = time.perf_counter()
        with anyio.move_on_after(0.05) as scope:
            await conn.fetch_scalar(MAYBE_ENDLESS, (True,))
        assert scope.cancelled_caught
        assert time.perf_counter() - began < 0.05 + 10 * PROMPT
        await assert_healthy(conn)
    with pytest.raises(aiolibsql.TimeoutError):
        await conn.execute(MAYBE_ENDLESS, (True,), timeout=0.05)


async def test_cancelled_before_it_runs_it_has_not_run(conn: Conn) -> None:
    for _ in range(3):
        await conn.fetch_all(READ, (1,))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await conn.fetch_all(READ, (1,))
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    await assert_healthy(conn)


async def test_loop_goes_on_while_tasks_read_and_read(conn: Conn) -> None:
    late = []
    done = False

    async def tick() -> None:
        while not done:
            began = time.perf_counter()
            await anyio.sleep(0.001)
            late.append(time.perf_counter() - began - 0.001)

    async def read() -> None:
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            assert await conn.fetch_scalar(READ, (9,)) == "v9"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        async with anyio.create_task_group() as readers:
            for _ in range(20):
                readers.start_soon(read)
        done = True
    # A bound on starving, not on speed.
    assert len(late) > 20
    assert sorted(late)[len(late) // 2] < 0.005


async def test_lock_of_another_process_is_waited_for_by_a_worker(file_backend: Backend) -> None:
    async with file_backend.connect(inline_budget=BUDGET, timeout=0.3) as conn:
        await fill(conn)
        for _ in range(3):
            assert await conn.fetch_scalar(READ, (1,)) == "v1"
        if file_backend.key is not None:
            pytest.skip("the other process has no key")
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN EXCLUSIVE", "UPDATE t SET v = 'new' WHERE k = 1")
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    await anyio.sleep(0.01)
                    turns += 1

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count)
                with pytest.raises(aiolibsql.TimeoutError):
                    await conn.fetch_scalar(READ, (1,))
                tasks.cancel_scope.cancel()
            assert turns > 5
            other.run("COMMIT")
            for _ in range(3):
                assert await conn.fetch_scalar(READ, (1,)) == "new"


async def test_schema_that_another_connection_changed_is_read_by_a_worker(
    file_backend: Backend,
) -> None:
    async with (
        file_backend.connect(inline_budget=BUDGET) as conn,
        file_backend.second(isolation_level=None) as other,
    ):
        await fill(conn)
        for number in range(5):
            for _ in range(3):
                await conn.fetch_all("SELECT * FROM t WHERE k = 1")
            await other.execute(f"ALTER TABLE t ADD COLUMN c{number} DEFAULT {number}")
            cursor = await conn.execute("SELECT * FROM t WHERE k = 1")
            assert cursor.description is not None
            assert cursor.description[-1][0] == f"c{number}"
            assert await cursor.fetchone() == (1, "v1", *range(number + 1))


async def test_closed_connection_says_so(backend: Backend) -> None:
    conn = await backend.connect(inline_budget=BUDGET)
    for _ in range(3):
        await conn.fetch_scalar("SELECT 1")
    pending = conn.fetch_scalar("SELECT 1")
    await conn.close()
    for operation in (pending, conn.fetch_scalar("SELECT 1")):
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await operation


@pytest.mark.parametrize(
    ("budget", "error"),
    [(-1, ValueError), (2**32, ValueError), ("x", TypeError), (1.5, TypeError), (None, TypeError)],
    ids=["negative", "large", "str", "float", "none"],
)
async def test_budget_is_a_number_of_steps(budget: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        aiolibsql.connect(":memory:", inline_budget=budget)


async def test_what_has_no_use_for_a_budget_refuses_it(tmp_path: Path) -> None:
    remote = "libsql://127.0.0.1"
    with pytest.raises(aiolibsql.ProgrammingError, match="inline_budget"):
        aiolibsql.connect(remote, inline_budget=1)
    with pytest.raises(aiolibsql.ProgrammingError, match="inline_budget"):
        aiolibsql.connect(tmp_path / "r.db", sync_url=remote, inline_budget=1)
    with pytest.raises(aiolibsql.NotSupportedError, match="inline_budget"):
        aiolibsql.create_pool(tmp_path / "p.db", inline_budget=1)


@on_linux
async def test_file_system_that_cannot_tell_leaves_all_to_the_worker() -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("no tmpfs")
    path = shm / f"aiolibsql-{os.getpid()}-{random.randrange(10**9)}.db"
    try:
        async with aiolibsql.connect(path, inline_budget=BUDGET) as conn:
            await fill(conn)
            assert not await runs_here(conn.fetch_all, READ, (1,))
    finally:
        path.unlink(missing_ok=True)


def value(key: int, number: int) -> str:
    return f"{key}:{number}:{'x' * ((key * 31 + number * 7) % 300)}"


def is_value(key: int, text: str) -> bool:
    return text == value(key, int(text.split(":")[1]))


async def read_at_random(conn: Conn, rows: int, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        key = random.randrange(rows)
        if count % 3 == 0:
            cursor = await conn.execute(READ, (key,))
            row = await cursor.fetchone()
            assert row is not None
            assert is_value(key, row[0])
        elif count % 3 == 1:
            assert is_value(key, await conn.fetch_scalar(READ, (key,)))
        else:
            found = await conn.fetch_all("SELECT k, v FROM t WHERE k >= ? LIMIT 4", (key,))
            assert found
            assert all(is_value(*row) for row in found)
        count += 1
    return count


async def write_at_random(conn: Conn, rows: int, until: float) -> None:
    number = 0
    while time.perf_counter() < until:
        number += 1
        async with conn.transaction():
            for key in random.sample(range(rows), 30):
                await conn.execute("UPDATE t SET v = ? WHERE k = ?", (value(key, number), key))
        await anyio.sleep(0.003)


async def forget_pages(paths: list[Path], until: float) -> None:
    """Have the system drop what it holds of files in memory, again and again."""
    # Closed at the end of the process: to close one lets go of the locks of SQLite in it.
    descriptors = [os.open(path, os.O_RDONLY) for path in paths if path.exists()]
    while time.perf_counter() < until:
        for descriptor in descriptors:
            await anyio.to_thread.run_sync(os.fdatasync, descriptor)
            os.posix_fadvise(descriptor, random.choice([0, 2**20]), 0, os.POSIX_FADV_DONTNEED)
        await anyio.sleep(0.003)


@pytest.mark.soak
@on_linux
@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize(("connections", "tasks"), [(1, 100), (8, 8)], ids=["one", "eight"])
@pytest.mark.timeout(SECONDS + 60)
async def test_cold_pages_and_writers_leave_every_value_right(
    file_backend: Backend, journal: str, connections: int, tasks: int
) -> None:
    rows = 10_000
    path = file_backend.path
    assert path is not None
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(file_backend.connect(isolation_level=None))
        await writer.execute(f"PRAGMA journal_mode={journal}")
        await writer.execute("PRAGMA synchronous=OFF")
        await writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        await writer.executemany(
            "INSERT INTO t VALUES (?, ?)", ((key, value(key, 0)) for key in range(rows))
        )
        readers = [
            await stack.enter_async_context(
                file_backend.second(inline_budget=BUDGET, timeout=30, pragmas={"cache_size": 10})
            )
            for _ in range(connections)
        ]
        until = time.perf_counter() + SECONDS
        async with anyio.create_task_group() as group:
            group.start_soon(write_at_random, writer, rows, until)
            group.start_soon(forget_pages, [path, Path(f"{path}-wal")], until)
            for number in range(tasks):
                group.start_soon(read_at_random, readers[number % connections], rows, until)
        for conn in (*readers, writer):
            assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"


PROGRAM = textwrap.dedent("""
    import asyncio, os, sys
    import aiolibsql

    async def ask(conn):
        await conn.fetch_all("SELECT count(*) FROM t")

    async def main():
        async with aiolibsql.connect(sys.argv[1], inline_budget=4000) as conn:
            await conn.execute("CREATE TABLE t (x)")
            for _ in range(5):
                assert await conn.fetch_all("SELECT count(*) FROM t") == [(0,)]
            for _ in range(10):
                pid = os.fork()
                if not pid:
                    code = 1
                    try:
                        asyncio.run(ask(conn))
                    except aiolibsql.OperationalError:
                        code = 0
                    finally:
                        os._exit(code)
                assert os.waitpid(pid, 0)[1] == 0
                assert await conn.fetch_all("SELECT count(*) FROM t") == [(0,)]
        print("done")

    asyncio.run(main())
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that forks")
def test_child_of_a_fork_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "f.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
