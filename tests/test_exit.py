"""Exits: how a process ends with connections open, and what it leaves behind.

Each test ends interpreters of its own, many of them in a soak.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
EXITS = 12 if IS_SOAK else 2

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
    "waiting for another process's lock": """
        await conn.rollback()
        leave(hold_lock())
        start(conn.execute("INSERT INTO kept VALUES (4)"))
        await sleep(0.02)
        """,
    "commit that waits for a reader": """
        other = await aiolibsql.connect(sys.argv[1])
        leave(other)
        leave(await other.execute("SELECT a.x FROM kept AS a, kept AS b, kept AS c"))
        start(conn.commit())
        await sleep(0.02)
        """,
    "executemany in the middle": """
        def rows():
            while True:
                yield (5,)
        start(conn.executemany("INSERT INTO kept VALUES (?)", rows()))
        await sleep(0.02)
        """,
    "executemany that waits for its rows": """
        async def rows():
            yield (6,)
            await sleep(600)
        start(conn.executemany("INSERT INTO kept VALUES (?)", rows()))
        await sleep(0.02)
        """,
    "tasks that never rest": """
        async def work():
            while True:
                async for row in await conn.execute(THOUSAND):
                    pass
                await conn.fetch_all("SELECT 1", timeout=5)
        for _ in range(5):
            start(work())
        await sleep(0.05)
        """,
    "a block that is left with a task running": """
        async with aiolibsql.connect(sys.argv[1]) as inner:
            start(inner.execute(ENDLESS.replace("FROM n)", "FROM n LIMIT 300000)")))
            await sleep(0.02)
            raise SystemExit(0)
        """,
    "a block that is never left": """
        await aiolibsql.connect(sys.argv[1]).__aenter__()
        await aiolibsql.connect(":memory:").__aenter__()
        """,
    "many connections": """
        for _ in range(60):
            leave(await aiolibsql.connect(sys.argv[1]))
            leave(await left[-1].execute(THOUSAND))
        """,
    "an exception": """
        raise SystemExit(0)
        """,
    "closed connection": """
        await conn.rollback()
        await conn.close()
        """,
}

# Others that may keep the -wal file, or whose COMMIT may come first: where readers do not stop it.
KEEP_WAL = {"waiting for another process's lock"}
MAY_COMMIT = {"commit that waits for a reader"}

COMMON = """
import atexit, subprocess, sys, time
atexit.register(lambda: print(time.time()))  # registered first, so it comes last
import aiolibsql
atexit.register(lambda: print(time.time()))

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
THOUSAND = ENDLESS.replace("count(*) FROM n", "i FROM n LIMIT 1000")
left = []
leave = left.append

HOLD = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE');"
    "print(flush=True); sys.stdin.read()"
)
def hold_lock():
    pipe = subprocess.PIPE
    holder = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD, sys.argv[1]], stdin=pipe, stdout=pipe)
    holder.stdout.readline()
    return holder

async def prepare():
    conn = await aiolibsql.connect(sys.argv[1], pragmas={"journal_mode": sys.argv[2]})
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


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(600 if IS_SOAK else 60)
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
        ended = run_to_end(script, database, ["wal", "delete"][round_ % 2])
        assert ended.returncode == 0, ended.stderr
        begun, done = map(float, ended.stdout.split())
        assert done - begun < 0.9, "our part of the exit went to its bound"
        may_keep = KEEP_WAL if ending in KEEP_WAL else set()
        left = {path.name.removeprefix(f"{round_}.db") for path in tmp_path.glob(f"{round_}.db-*")}
        assert may_keep or left == set(), "it was not closed"
        conn = sqlite3.connect(database)
        kept = conn.execute("SELECT x FROM kept").fetchall()
        assert kept == [(1,)] or (ending in MAY_COMMIT and kept == [(1,), (2,)])
        conn.execute("INSERT INTO kept VALUES (9)")  # no lock was left behind
        conn.close()


def run_to_end(script: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run a script whose exit is the test: no panic, no abort, no hang."""
    ended = subprocess.run(
        [sys.executable, str(script), *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "panicked" not in ended.stderr
    assert "Fatal" not in ended.stderr
    assert "FATAL" not in ended.stderr
    return ended


# How the main thread ends, and what its parent is told.
STATUSES = {
    "return": ("pass", 0),
    "exception": ("raise KeyError(1)", 1),
    "sys.exit(3)": ("sys.exit(3)", 3),
    "sys.exit in a task": (
        "await asyncio.gather(exits()) if 'asyncio' in globals() else sys.exit(4)",
        4,
    ),
    "SIGINT": ("import os, signal; os.kill(os.getpid(), signal.SIGINT); await sleep(10)", -2),
    "os._exit": ("import os; os._exit(5)", 5),
}


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(600 if IS_SOAK else 60)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_exit_status_stays_the_scripts_own(tmp_path: Path, runtime: str, status: str) -> None:
    action, expected = STATUSES[status]
    script = tmp_path / "script.py"
    text = f"""
from {runtime} import sleep
import {runtime}

async def exits():
    sys.exit(4)

async def main():
    conn = await prepare()
    cursor = await conn.execute(THOUSAND)
    {action}

{runtime}.run({"main()" if runtime == "asyncio" else "main"})
"""
    script.write_text(COMMON + text, encoding="utf-8")
    for round_ in range(EXITS):
        database = tmp_path / f"{round_}.db"
        ended = run_to_end(script, database, "wal")
        assert ended.returncode == expected, ended.stderr
        conn = sqlite3.connect(database)
        assert conn.execute("SELECT x FROM kept").fetchall() == [(1,)]
        conn.close()


# What a daemon thread does when the interpreter is finalised under it.
DAEMONS = {
    "queries": "await conn.fetch_all(THOUSAND)",
    "iterates": "[row async for row in await conn.execute(THOUSAND)]",
    "sleeps in a row factory": "await conn.fetch_all('SELECT 1')",
    "sleeps in a task that was resumed": "await conn.fetch_all(THOUSAND); time.sleep(1.3)",
    "sleeps in executemany's iterable": """await conn.executemany(
            'INSERT INTO t VALUES (?)', (time.sleep(1.3) or (n,) for n in range(3)))""",
    "opens connections": "await (await aiolibsql.connect(':memory:')).close()",
}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600 if IS_SOAK else 60)
@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_daemon_thread_at_work_while_the_interpreter_is_finalised_aborts_nothing(
    tmp_path: Path, runtime: str, daemon: str
) -> None:
    # Before Python 3.14 it is ended by unwinding its stack, which must not meet a frame of Rust's.
    script = tmp_path / "script.py"
    pause = 1.3 if "factory" in daemon else 0
    text = f"""
import {runtime}, os, threading, types

ready = threading.Event()

def factory(cursor, row):
    time.sleep({pause})
    return row

async def main():
    conn = await aiolibsql.connect(":memory:", autocommit=True)
    await conn.execute("CREATE TABLE t (x)")
    if {pause}:
        conn.row_factory = factory
    async def work():
        while True:
            {DAEMONS[daemon]}
    ready.set()
    await work()

class SlowToGo:
    def __del__(self, sleep=time.sleep, write=os.write):
        sleep(0.6)
        write(1, b"finalised")

# In a module of its own, which is cleared while threads are being ended.
module = sys.modules["to_go"] = types.ModuleType("to_go")
module.object = SlowToGo()
del module

run = lambda: {runtime}.run({"main()" if runtime == "asyncio" else "main"})
threading.Thread(target=run, daemon=True).start()
assert ready.wait(20)
time.sleep(0.05)
"""
    script.write_text(COMMON + text, encoding="utf-8")
    for _ in range(EXITS):
        ended = run_to_end(script)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.endswith("finalised")


def test_connection_left_open_at_exit_is_named_in_a_resource_warning(tmp_path: Path) -> None:
    script = COMMON + "import asyncio\nasyncio.run(prepare())\n"
    database = tmp_path / "left.db"
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", script, str(database), "wal"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("ResourceWarning") == 1
    assert f"<aiolibsql.Connection '{database}'> was left open at exit" in ended.stderr
    assert not (tmp_path / "left.db-wal").exists()


def test_warning_turned_into_an_error_at_exit_neither_hangs_nor_changes_the_status(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(COMMON + "import asyncio\nasyncio.run(prepare())\nsys.exit(7)\n")
    ended = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(script), tmp_path / "left.db", "wal"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 7
    assert "was left open at exit" in ended.stderr
    assert not (tmp_path / "left.db-wal").exists()


def test_handlers_of_the_program_may_use_the_driver_before_and_after_ours(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    text = """
import asyncio

async def use():
    async with aiolibsql.connect(":memory:") as conn:
        return await conn.fetch_scalar("SELECT 1")

def late():
    print(asyncio.run(use()))

atexit.register(late)
"""
    early = "import atexit\natexit.register(lambda: late())\n"
    script.write_text(early + COMMON + text, encoding="utf-8")
    ended = run_to_end(script)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in ended.stdout.split() if line == "1"] == ["1", "1"]
