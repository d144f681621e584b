"""Forks: what a child may use, what it is refused, and that neither process waits for the other.

Every test forks in a process of its own, which has no threads but the driver's.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
FORKS = 1000 if IS_SOAK else 50
STARTS = 200 if IS_SOAK else 6

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that forks")

COMMON = """
import asyncio, gc, os, signal, sys, threading, time, traceback
import aiolibsql

path = sys.argv[1]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
signal.alarm(40)

def fork(work, *args, seconds=10):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(seconds)
    status = 1
    try:
        work(*args)
        gc.collect()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

def wait(pid):
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"

def in_child(work, *args):
    wait(fork(work, *args))

def run(function, *args):
    async def main():
        return await asyncio.wait_for(function(*args), 25)
    return asyncio.run(main())

async def fails(awaitable, part):
    try:
        await awaitable
    except aiolibsql.OperationalError as error:
        assert part in str(error), error
    else:
        raise AssertionError("not refused")

async def opened(path=path, **options):
    conn = await aiolibsql.connect(path, **options)
    await conn.execute("CREATE TABLE IF NOT EXISTS t (x)")
    await conn.execute("INSERT INTO t VALUES (1), (2), (3)")
    await conn.commit()
    return conn

async def works(path=":memory:", **options):
    async with aiolibsql.connect(path, **options) as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS works (x)", timeout=5)
        await conn.execute("INSERT INTO works VALUES (1)")
        await conn.commit()
        return await conn.fetch_scalar("SELECT count(*) FROM works", timeout=5)
"""


def run_script(tmp_path: Path, script: str, *, seconds: float = 50) -> str:
    """Run a script that forks; return what it printed. It must end well and complain of nothing."""
    file = tmp_path / "script.py"
    file.write_text(COMMON + textwrap.dedent(script), encoding="utf-8")
    ended = subprocess.run(
        # Newer Pythons warn of any fork of a process with threads.
        [sys.executable, "-W", "default", "-W", "ignore::DeprecationWarning", str(file), "test.db"],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=seconds,
    )
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


def rows_of(folder: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(folder / "test.db")) as conn:
        return conn.execute(sql).fetchall()


# What a child does with an open connection, a cursor with rows and a suspended operation of its
# parent's.
USES = {
    "execute": "await fails(conn.execute('SELECT 1'), INHERITED)",
    "executemany": "await fails(conn.executemany('INSERT INTO t VALUES (?)', [(1,)]), INHERITED)",
    "executescript": "await fails(conn.executescript('SELECT 1'), INHERITED)",
    "commit": "await fails(conn.commit(), INHERITED)",
    "rollback": "await fails(conn.rollback(), INHERITED)",
    "open again": "await fails(conn, INHERITED)",
    "interrupt": "await fails(conn.interrupt(), INHERITED)",
    "close": "await fails(conn.close(), INHERITED)",
    "cursor's execute": "await fails(cursor.execute('SELECT 1'), INHERITED)",
    "fetchone": "await fails(cursor.fetchone(), INHERITED)",
    "fetchmany": "await fails(cursor.fetchmany(2), INHERITED)",
    "fetchall": "await fails(cursor.fetchall(), INHERITED)",
    "fetch sent ahead": "await fails(ahead.fetchone(), INHERITED)",
    "async for": "await fails(anext(aiter(cursor)), INHERITED)",
    "async for that has begun": "await fails(anext(rows), INHERITED)",
    "cursor's close": "await cursor.close()",
    "operation not awaited": "await fails(fresh, INHERITED)",
    "operation continued": """
        try:
            suspended.send(None)
        except aiolibsql.OperationalError as error:
            assert INHERITED in str(error)
        else:
            raise AssertionError("went on")
        """,
    "operation told to stop": """
        try:
            suspended.throw(KeyError("mine"))
        except KeyError:
            pass
        """,
    "operation closed": "suspended.close()",
    "task cancelled": "task.cancel()",
    "properties": """
        for name in ("in_transaction", "total_changes"):
            try:
                getattr(conn, name)
            except aiolibsql.OperationalError as error:
                assert INHERITED in str(error)
        try:
            conn.cursor()
        except aiolibsql.OperationalError as error:
            assert INHERITED in str(error)
        repr(conn), conn.closed, cursor.description, cursor.rowcount
        """,
    "leaving the block": """
        for block in (conn, cursor):
            await fails(block.__aenter__(), INHERITED)
            await block.__aexit__(KeyError, KeyError(), None)
        await cursor.__aexit__(None, None, None)
        await fails(conn.__aexit__(None, None, None), INHERITED)
        """,
    "forgetting": """
        conn = cursor = ahead = rows = fresh = suspended = None
        gc.collect()
        """,
}

INHERITED_OBJECTS = """
INHERITED = "opened before a fork"

async def prepare():
    global conn, cursor, ahead, rows, fresh, suspended, task
    conn = await opened()
    cursor = await conn.execute("SELECT t.x FROM t, t AS u, t AS v, t AS w, t AS y")
    ahead = await conn.execute("SELECT t.x FROM t, t AS u, t AS v, t AS w, t AS y")
    await ahead.fetchone()
    rows = aiter(await conn.execute("SELECT t.x FROM t, t AS u, t AS v, t AS w, t AS y"))
    await anext(rows)
    fresh = conn.execute("SELECT 1")
    suspended = conn.execute(ENDLESS)
    suspended.send(None)
    other = conn.execute(ENDLESS)
    task = asyncio.ensure_future(other)
    await asyncio.sleep(0.02)

async def use():
    global conn, cursor, ahead, rows, fresh, suspended
{use}

async def end():
    fresh.close()
    suspended.close()
    task.cancel()
    await asyncio.wait([task])
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3
    await conn.close()

loop = asyncio.new_event_loop()
loop.run_until_complete(prepare())
in_child(run, use)
in_child(lambda: in_child(run, use))
loop.run_until_complete(end())
loop.close()
"""


@pytest.mark.parametrize("use", USES)
def test_inherited_object_raises_at_once_and_dies_in_silence(tmp_path: Path, use: str) -> None:
    body = textwrap.indent(textwrap.dedent(USES[use]), "    ")
    run_script(tmp_path, INHERITED_OBJECTS.replace("{use}", body))


@pytest.mark.parametrize("debug", [False, True])
def test_child_that_goes_on_in_the_loop_of_its_parent(tmp_path: Path, debug: bool) -> None:
    script = """
    async def main(debug):
        asyncio.get_running_loop().set_debug(debug)
        asyncio.get_running_loop().slow_callback_duration = 60
        conn = await opened()
        for turns in range(3):
            for _ in range(turns):
                await asyncio.sleep(0)
            if not (pid := os.fork()):
                try:
                    await fails(conn.execute("SELECT 1"), "opened before a fork")
                    await fails(conn.close(), "opened before a fork")
                    os._exit(0)
                except BaseException as error:
                    print(repr(error), flush=True)
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
        await conn.close()

    asyncio.run(main(DEBUG))
    """
    run_script(tmp_path, script.replace("DEBUG", str(debug)))


def test_fork_with_a_callback_in_flight(tmp_path: Path) -> None:
    script = """
    go = asyncio.Event()
    begun = asyncio.Event()

    async def own(value):
        begun.set()
        await go.wait()
        return value

    async def prepare():
        global conn, task
        conn = await opened()
        await conn.create_function("own", 1, own)
        task = asyncio.ensure_future(conn.fetch_scalar("SELECT own(7)"))
        await begun.wait()

    async def end():
        go.set()
        assert await task == 7
        await conn.close()

    def child():
        run(works)
        run(lambda: fails(conn.execute("SELECT own(1)"), "opened before a fork"))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(prepare())
    in_child(child)
    in_child(lambda: in_child(child))
    loop.run_until_complete(end())
    loop.close()
    """
    run_script(tmp_path, script)


@pytest.mark.parametrize("waits", [False, True])
def test_callback_that_forks(tmp_path: Path, waits: bool) -> None:
    script = """
    async def own():
        global pid
        if (pid := os.fork()) == 0:
            signal.alarm(10)
        if WAITS:
            await asyncio.sleep(0.01)
        return 7

    async def main():
        conn = await opened()
        await conn.create_function("own", 0, own)
        try:
            assert await conn.fetch_scalar("SELECT own()") == 7
            assert pid
        except aiolibsql.OperationalError as error:
            assert not pid and "opened before a fork" in str(error)
            os._exit(0)
        wait(pid)
        await conn.close()

    asyncio.run(main())
    """
    run_script(tmp_path, script.replace("WAITS", str(waits)))


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_child_that_goes_on_in_its_parents_loop_is_not_left_hanging(
    tmp_path: Path, runtime: str
) -> None:
    script = """
    conn = asyncio.run(opened())

    async def query():
        await fails(conn.execute(ENDLESS), "opened before a fork")

    async def in_asyncio():
        task = asyncio.ensure_future(query())
        await asyncio.sleep(0.02)
        if (pid := os.fork()) == 0:
            signal.alarm(10)
            await task
            os._exit(0)
        wait(pid)
        task.cancel()
        await asyncio.wait([task])
        await conn.close()

    async def in_trio():
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(query)
            await trio.sleep(0.02)
            if (pid := os.fork()) == 0:
                signal.alarm(10)
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()
                await fails(aiolibsql.connect(":memory:"), "before a fork")
                os._exit(0)
            wait(pid)
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await conn.close()

    """
    start = {
        "asyncio": "asyncio.run(in_asyncio())",
        "trio": "import trio; trio.run(in_trio)",
    }
    run_script(tmp_path, textwrap.dedent(script) + start[runtime])


def test_connection_made_before_the_fork_but_never_used_opens_in_the_child(
    tmp_path: Path,
) -> None:
    run_script(
        tmp_path,
        """
        app = aiolibsql.connect(path)
        cursor = app.cursor()

        async def use():
            async with app:
                await cursor.execute("SELECT 1", timeout=5)
                assert await cursor.fetchall() == [(1,)]

        for _ in range(3):
            in_child(run, use)
        run(use)
        """,
    )


# How a child tries to open the file `path`, a database that was open at the fork.
OPENINGS = {
    "by its path": "await fails(aiolibsql.connect(path), REFUSED)",
    "again": """
        for _ in range(3):
            await fails(aiolibsql.connect(path), REFUSED)
        """,
    "by a symbolic link": "await fails(aiolibsql.connect('link.db'), REFUSED)",
    "by a hard link": "await fails(aiolibsql.connect('hard.db'), REFUSED)",
    "by a URI": "await fails(aiolibsql.connect('file:test.db?mode=ro', uri=True), REFUSED)",
    "through the shared cache": """
        await fails(aiolibsql.connect('file:test.db?cache=shared', uri=True), REFUSED)
        """,
    "without locks": """
        await fails(aiolibsql.connect('file:test.db?nolock=1', uri=True), REFUSED)
        await fails(aiolibsql.connect('file:test.db?immutable=1', uri=True), REFUSED)
        await fails(aiolibsql.connect('file:test.db?vfs=unix-dotfile', uri=True), REFUSED)
        """,
    "by ATTACH": """
        async with aiolibsql.connect(":memory:") as conn:
            await fails(conn.execute("ATTACH 'test.db' AS other"), REFUSED)
            assert len(await conn.fetch_all("PRAGMA database_list")) == 1
        """,
    "by ATTACH with a parameter": """
        async with aiolibsql.connect("another.db") as conn:
            await fails(conn.execute("ATTACH ? AS other", (path,)), REFUSED)
        """,
    "what the parent had attached": """
        await fails(aiolibsql.connect("attached.db"), REFUSED)
        """,
    "by VACUUM INTO": """
        async with aiolibsql.connect(":memory:") as conn:
            await fails(conn.execute("VACUUM INTO 'test.db'"), "")
        """,
}


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("opening", OPENINGS)
def test_file_that_was_open_at_the_fork_is_refused(
    tmp_path: Path, opening: str, journal: str
) -> None:
    body = textwrap.indent(textwrap.dedent(OPENINGS[opening]), "    ")
    script = """
REFUSED = "open when this process was forked"

async def prepare():
    conn = await opened(pragmas={"journal_mode": "JOURNAL"})
    await conn.execute("ATTACH 'attached.db' AS attached")
    await conn.execute("CREATE TABLE attached.t (x)")
    shared = await aiolibsql.connect("file:test.db?cache=shared", uri=True)
    os.symlink("test.db", "link.db")
    os.link("test.db", "hard.db")
    return conn, shared

async def use():
{use}
    assert await works() == 1
    assert await works(f"{os.getpid()}.db") == 1

async def end():
    for conn in connections:
        assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3
        await conn.close()
    await works("test.db")

connections = run(prepare)
in_child(run, use)
in_child(lambda: in_child(run, use))
run(end)
in_child(run, works, "test.db")
"""
    run_script(tmp_path, script.replace("{use}", body).replace("JOURNAL", journal))
    rows = rows_of(tmp_path, "SELECT x FROM t")
    assert rows == [(1,), (2,), (3,)]


def test_parents_close_can_not_take_a_childs_commits_away(tmp_path: Path) -> None:
    # The child would find the file locked by itself, take no lock, write to the -wal file and be
    # told of success; the parent, last to close as far as it knows, unlinks the -wal file.
    run_script(
        tmp_path,
        """
        async def write():
            await fails(aiolibsql.connect(path, timeout=5), "was open when this process was forked")

        conn = asyncio.run(opened(pragmas={"journal_mode": "wal"}))
        pid = fork(run, write)
        wait(pid)
        run(conn.close)
        assert not os.path.exists("test.db-wal")
        """,
    )
    rows = rows_of(tmp_path, "SELECT x FROM t")
    assert rows == [(1,), (2,), (3,)]


def test_workers_of_a_preloaded_server_commit_side_by_side(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        async def preload():
            conn = await opened(pragmas={"journal_mode": "wal"})
            await conn.fetch_all("SELECT * FROM t", timeout=5)  # starts the thread of the deadlines
            await conn.close()

        async def serve(worker):
            async with aiolibsql.connect(path, timeout=30) as conn:
                for number in range(50):
                    await conn.execute("INSERT INTO t VALUES (?)", (f"{worker}/{number}",))
                    await conn.commit()

        run(preload)
        workers = [fork(run, serve, number, seconds=30) for number in range(4)]
        for pid in workers:
            wait(pid)

        async def count():
            async with aiolibsql.connect(path) as conn:
                return await conn.fetch_scalar("SELECT count(DISTINCT x) FROM t")
        print(run(count))
        """,
    )
    assert int(printed) == 3 + 4 * 50


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_multiprocessing_by_fork_works_in_each_child(tmp_path: Path, runtime: str) -> None:
    script = """
    import multiprocessing, trio

    async def write(number):
        async with aiolibsql.connect(path, timeout=30) as conn:
            await conn.execute("INSERT INTO t VALUES (?)", (number,), timeout=20)
            await conn.commit()

    def job(number):
        signal.alarm(20)
        START
        return number

    async def prepare():
        await (await opened()).close()
        held = await aiolibsql.connect("held.db")
        await held.execute("CREATE TABLE held (x)", timeout=5)
        return held

    held = run(prepare)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert sorted(pool.map(job, range(20))) == list(range(20))
    run(held.close)
    """
    start = {"asyncio": "asyncio.run(write(number))", "trio": "trio.run(write, number)"}
    run_script(tmp_path, textwrap.dedent(script).replace("START", start[runtime]))
    rows = rows_of(tmp_path, "SELECT count(*) FROM t")
    assert rows == [(3 + 20,)]


def test_process_wide_state_works_in_the_child(tmp_path: Path) -> None:
    # Idle threads, the deadlines' thread, the line before a lock, and the ports of loops: all were
    # in use in the parent.
    run_script(
        tmp_path,
        """
        async def use(path):
            one, two = await opened(path), await opened(path, timeout=30)
            await one.execute("INSERT INTO t VALUES (4)")
            waits = asyncio.ensure_future(two.execute("INSERT INTO t VALUES (5)"))
            await asyncio.sleep(0.05)
            try:
                await one.fetch_all(ENDLESS, timeout=0.05)
            except aiolibsql.TimeoutError:
                pass
            await one.commit()
            await asyncio.wait_for(waits, 5)
            await two.commit()
            await asyncio.gather(one.close(), two.close())

        async def trio_use():
            await works("trio.db")

        def everything(path):
            import trio

            run(use, path)
            trio.run(trio_use)

        everything("parent.db")
        in_child(everything, "child.db")
        in_child(lambda: (everything("child.db"), in_child(everything, "grandchild.db")))
        everything("parent.db")
        """,
    )


def test_operations_of_the_parent_complete_over_forks(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        async def main():
            connections = [await opened() for _ in range(3)]
            stop = False

            async def work(conn):
                rounds = 0
                while not stop:
                    assert await conn.fetch_scalar("SELECT count(*) FROM t", timeout=20) == 9
                    rounds += 1
                return rounds

            tasks = [asyncio.ensure_future(work(conn)) for conn in connections]
            many = connections[0].executemany(
                "INSERT INTO temp.u VALUES (?)", ((i,) for i in range(20_000)))
            await connections[0].execute("CREATE TEMP TABLE u (x)")
            many = asyncio.ensure_future(many)
            for _ in range(50):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                await asyncio.sleep(0.001)
                wait(pid)
            await asyncio.wait_for(many, 20)
            stop = True
            assert all(rounds > 3 for rounds in await asyncio.gather(*tasks))
            for conn in connections:
                await conn.rollback()
                await conn.close()

        asyncio.run(main())
        """,
    )


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600 if IS_SOAK else 60)
def test_every_child_of_a_busy_process_can_open_a_database(tmp_path: Path) -> None:
    # Each lock that a thread might hold at the moment of the fork, SQLite's own among them, would
    # be held for ever in the child.
    script = """
    stop = False

    async def open_and_close(number):
        while not stop:
            async with aiolibsql.connect(f"{number}.db", pragmas={"journal_mode": "wal"}) as conn:
                await conn.execute("CREATE TABLE IF NOT EXISTS t (x)")
                await conn.execute("INSERT INTO t SELECT random()")
                await conn.execute("ATTACH ':memory:' AS other")
                await conn.commit()

    async def ask(number):
        async with aiolibsql.connect(f"asked{number}.db") as conn:
            await conn.execute("CREATE TABLE IF NOT EXISTS t AS SELECT random() AS x")
            while not stop:
                await conn.fetch_all("SELECT x, randomblob(9000) FROM t ORDER BY x", timeout=30)

    async def busy(first):
        jobs = [open_and_close(first + number) for number in range(6)]
        await asyncio.gather(*jobs, ask(first))

    threads = [threading.Thread(target=asyncio.run, args=[busy(first)]) for first in (0, 10)]
    for thread in threads:
        thread.start()
    signal.alarm(0)
    slowest = 0
    try:
        for _ in range(FORKS):
            begun = time.monotonic()
            in_child(run, works, "child.db")
            slowest = max(slowest, time.monotonic() - begun)
    finally:
        stop = True
    print(slowest)
    """
    script = textwrap.dedent(script)
    printed = run_script(tmp_path, script.replace("FORKS", str(FORKS)), seconds=500)
    assert float(printed) < 10
    # The first forks meet what is made at first use.
    for number in range(STARTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        printed = run_script(folder, script.replace("FORKS", "4"))
        assert float(printed) < 10


@pytest.mark.parametrize("ending", ["pass", "sys.exit()", "raise KeyboardInterrupt"])
def test_child_that_ends_normally_says_nothing_of_its_parents_connections(
    tmp_path: Path, ending: str
) -> None:
    run_script(
        tmp_path,
        f"""
        async def main():
            global left, cursor
            left = await opened()
            cursor = await left.execute("SELECT t.x FROM t, t AS u, t AS v, t AS w, t AS y")
            async with aiolibsql.connect("block.db") as conn:
                await conn.execute("CREATE TABLE t (x)")
                await conn.execute("INSERT INTO t VALUES (1)")
                async with conn.execute("SELECT 1"), conn.cursor():
                    if os.fork() == 0:
                        sys.exit(0)
                    os.wait()
                if (pid := os.fork()) == 0:
                    sys.exit(0)
                wait(pid)
                assert conn.in_transaction

        asyncio.run(main())
        if (pid := os.fork()) == 0:
            try:
                {ending}
            except KeyboardInterrupt:
                pass
            sys.exit(0)
        wait(pid)
        run(left.close)
        """,
    )


def test_child_tells_its_parents_hooks_nothing(tmp_path: Path) -> None:
    """A statement that the parent reads has not ended when the child drops its copy."""
    run_script(
        tmp_path,
        """
        many = ENDLESS.replace("count(*)", "i")
        told = []

        async def main():
            conn = await opened()
            conn.on_query(lambda *statement: told.append(statement[0]))
            cursors = [await conn.execute(many)]

            def child():
                cursors.clear()
                gc.collect()
                assert told == [], told

            in_child(child)
            await cursors.pop().close()
            assert told == [many], told
            await conn.close()

        run(main)
        """,
    )
