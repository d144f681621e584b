"""Life and death: what connections cost as they come and go, and how a process ends with them."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from healthy import assert_healthy
from situations import ENDLESS, Attempt, attempt, attempt_cancelled

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Backend

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
CYCLES = 10_000 if IS_SOAK else 300
EXITS = 50 if IS_SOAK else 3

soak = pytest.mark.soak
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def workers() -> int:
    """Count the driver's threads by their name; one that ends while it is looked at is none."""
    return sum(is_worker(task) for task in Path("/proc/self/task").iterdir())


def is_worker(task: Path) -> bool:
    try:
        return (task / "comm").read_text(encoding="ascii").startswith("aiolibsql-work")
    except OSError:
        return False


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for a worker thread to end; nothing in the process tells when it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@linux
@soak
@pytest.mark.anyio
async def test_descriptors_and_threads_stay_flat_while_connections_come_and_go(
    backend: Backend,
) -> None:
    async def cycle() -> None:
        async with backend.connect() as conn:
            assert await conn.fetch_all("SELECT 1") == [(1,)]

    await cycle()
    gc.collect()
    assert wait_until(lambda: workers() == 0)
    before, most_workers = descriptors(), 0
    for _ in range(CYCLES):
        await cycle()
        most_workers = max(most_workers, workers())
    gc.collect()
    assert descriptors() <= before
    # One at a time needs one; a few more may not have been given back yet.
    assert most_workers <= 10
    assert wait_until(lambda: workers() == 0)


@linux
@pytest.mark.anyio
async def test_forgotten_connections_give_their_descriptors_back(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.execute("CREATE TABLE t (x)")
    gc.collect()
    before = descriptors()
    with pytest.warns(ResourceWarning):
        for _ in range(20):
            forgotten = await file_backend.connect()
            await forgotten.fetch_all("SELECT * FROM t")
            del forgotten
        gc.collect()
    assert wait_until(lambda: descriptors() <= before)


@linux
@pytest.mark.anyio
async def test_worker_threads_come_for_work_and_end_when_idle() -> None:
    assert wait_until(lambda: workers() == 0)
    connections = [await aiolibsql.connect(":memory:") for _ in range(30)]
    async with anyio.create_task_group() as tasks:
        for conn in connections:
            tasks.start_soon(attempt, conn.execute(ENDLESS), Attempt())
        await anyio.sleep(0.1)
        busy = workers()
        tasks.cancel_scope.cancel()
    assert busy >= 30, "a busy connection has no thread of its own"
    assert wait_until(lambda: workers() == 0), f"{workers()} did not end"
    for conn in connections:
        await assert_healthy(conn)
        await conn.close()


@linux
@pytest.mark.parametrize("run", [asyncio.run, None], ids=["asyncio", "trio"])
def test_loops_that_come_and_go_leave_no_descriptor_behind(run: Any) -> None:
    async def opened() -> aiolibsql.Connection[Any]:
        return await aiolibsql.connect(":memory:")

    async def use() -> None:
        assert await conn.fetch_all("SELECT 1") == [(1,)]
        await attempt_cancelled(conn.execute(ENDLESS), lambda: anyio.sleep(0.001))

    def in_a_new_loop() -> None:
        trio.run(use) if run is None else run(use())

    conn = asyncio.run(opened())
    in_a_new_loop()
    gc.collect()
    before = descriptors()
    for _ in range(CYCLES // 6):
        in_a_new_loop()
    gc.collect()
    # What belonged to dead loops goes when the next loop comes.
    in_a_new_loop()
    assert descriptors() <= before + 2
    asyncio.run(conn.close())


@linux
@soak
@pytest.mark.anyio
async def test_cancelled_operations_leave_no_memory_behind(backend: Backend) -> None:
    async def cancel_some(conn: aiolibsql.Connection[Any], rounds: int) -> None:
        for _ in range(rounds):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(conn.fetch_all, "SELECT 'text', zeroblob(2000)")
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

    async with backend.connect() as conn:
        await cancel_some(conn, 30)
        await conn.fetch_all("SELECT 1")
        gc.collect()
        before = resident_bytes()
        await cancel_some(conn, 200)
        await conn.fetch_all("SELECT 1")
        gc.collect()
        assert resident_bytes() - before < 20 * 2**20
        await assert_healthy(conn)


# What a process may leave behind when its main function returns. Each goes on from a connection
# to a file with one committed row and one that is not.
ENDINGS = {
    "open cursor": """
        cursor = await conn.execute(THOUSAND)
        leave(cursor)
        assert await cursor.fetchone() == (1,)
        """,
    "open transaction": """
        await conn.execute("INSERT INTO kept VALUES (3)")
        """,
    "cancelled query": """
        await cancelled(conn.execute(ENDLESS))
        """,
    "query cancelled at the very end": """
        start(conn.execute(ENDLESS))
        await sleep(0.02)
        """,
    "pending operations": """
        for _ in range(50):
            start(conn.execute("SELECT 1"))
        """,
    "pending operations behind an endless query": """
        start(conn.execute(ENDLESS))
        await sleep(0.02)
        for _ in range(50):
            start(conn.execute("SELECT 1"))
        await sleep(0)
        """,
    "waiting for a lock": """
        other = await aiolibsql.connect(sys.argv[1], timeout=600)
        leave(other)
        start(other.execute("INSERT INTO kept VALUES (4)"))
        await sleep(0.02)
        """,
    "an exception": """
        raise SystemExit(0)
        """,
    "closed connection": """
        await conn.rollback()
        await conn.close()
        """,
}

COMMON = """
import sys
import aiolibsql

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
THOUSAND = ENDLESS.replace("count(*) FROM n", "i FROM n LIMIT 1000")
left = []
leave = left.append

async def prepare():
    conn = await aiolibsql.connect(sys.argv[1])
    leave(conn)
    await conn.execute("CREATE TABLE IF NOT EXISTS kept (x)")
    await conn.execute("INSERT INTO kept VALUES (1)")
    await conn.commit()
    await conn.execute("INSERT INTO kept VALUES (2)")
    return conn
"""

# Each defines main(), start(), sleep() and cancelled() for its runtime, and has main run.
RUNTIMES = {
    "asyncio": """
import asyncio
from asyncio import sleep
def start(operation):
    leave(asyncio.ensure_future(operation))
async def cancelled(operation):
    task = asyncio.ensure_future(operation)
    await sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
async def main():
    conn = await prepare()
{body}
asyncio.run(main())
""",
    "asyncio, loop never closed": """
import asyncio
from asyncio import sleep
def start(operation):
    leave(asyncio.ensure_future(operation))
async def cancelled(operation):
    task = asyncio.ensure_future(operation)
    await sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
async def main():
    conn = await prepare()
{body}
loop = asyncio.new_event_loop()
leave(loop)
loop.run_until_complete(main())
""",
    "trio": """
import trio
from trio import sleep
async def quietly(operation):
    await operation
async def cancelled(operation):
    with trio.move_on_after(0.02):
        await operation
async def main():
    global start
    conn = await prepare()
    async with trio.open_nursery() as nursery:
        start = lambda operation: nursery.start_soon(quietly, operation)
        nursery.cancel_scope.deadline = trio.current_time() + 20
        await body(conn)
        nursery.cancel_scope.cancel()
async def body(conn):
{body}
    await sleep(0)
try:
    trio.run(main)
except BaseException as group:
    # By its method: on 3.10 exception groups are a backport's.
    assert group.split(SystemExit)[1] is None
""",
    "a daemon thread's loop": """
import asyncio, threading
from asyncio import sleep
ready = threading.Event()
def start(operation):
    leave(asyncio.ensure_future(operation))
async def cancelled(operation):
    task = asyncio.ensure_future(operation)
    await sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
async def main():
    conn = await prepare()
    try:
        await body(conn)
    finally:
        ready.set()
    await sleep(600)
async def body(conn):
{body}
thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
thread.start()
assert ready.wait(20)
""",
}


@soak
@pytest.mark.slow
@pytest.mark.timeout(60 * (20 if IS_SOAK else 1))
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_process_ends_cleanly_and_keeps_what_was_committed(
    tmp_path: Path, runtime: str, ending: str
) -> None:
    body = textwrap.indent(textwrap.dedent(ENDINGS[ending]), "    ")
    script = tmp_path / "script.py"
    script.write_text(COMMON + RUNTIMES[runtime].replace("{body}", body), encoding="utf-8")
    for round_ in range(EXITS):
        database = tmp_path / f"{round_}.db"
        ended = subprocess.run(
            [sys.executable, str(script), str(database)],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert ended.returncode == 0, ended.stderr
        assert "panicked" not in ended.stderr
        assert "Fatal Python error" not in ended.stderr
        conn = sqlite3.connect(database)
        assert conn.execute("SELECT x FROM kept").fetchall() == [(1,)]
        conn.execute("INSERT INTO kept VALUES (9)")  # no lock was left behind
        conn.close()


def test_connection_left_open_at_exit_is_named_in_a_resource_warning(tmp_path: Path) -> None:
    script = COMMON + "import asyncio\nasyncio.run(prepare())\n"
    database = tmp_path / "left.db"
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", script, str(database)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 0, ended.stderr
    assert "ResourceWarning" in ended.stderr
    assert "left.db" in ended.stderr
