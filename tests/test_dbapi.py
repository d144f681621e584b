"""`aiolibsql.dbapi`: what CPython's tests of `sqlite3` do not look at, or is ours alone."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from situations import ENDLESS, NUMBERS, OtherProcess

from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# What a hang is told from, in seconds.
LONG = 20.0


@pytest.fixture
def conn() -> Iterator[dbapi.Connection]:
    connection = dbapi.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE TABLE t (x)")
    yield connection
    connection.close()


class Thread:
    """A thread whose result, or exception, is had by waiting for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._value


def begun(conn: dbapi.Connection) -> Callable[[], None]:
    """Add a function that notes its first call to an endless query; return what waits for it."""
    event = threading.Event()

    def note() -> int:
        event.set()
        return 1

    conn.create_function("note", 0, note)

    def wait() -> None:
        assert event.wait(LONG)

    return wait


NOTED = f"{NUMBERS} SELECT count(*) FROM n WHERE i > 1 OR note()"


def test_another_thread_is_refused_unless_it_was_allowed() -> None:
    with contextlib.closing(dbapi.connect(":memory:")) as conn:
        with pytest.raises(dbapi.ProgrammingError, match="created in thread id") as caught:
            Thread(lambda: conn.execute("SELECT 1")).result()
        assert str(threading.get_ident()) in str(caught.value)


def test_threads_share_a_connection(conn: dbapi.Connection) -> None:
    conn.isolation_level = None

    def work(number: int) -> int:
        total = 0
        for i in range(200):
            conn.execute("INSERT INTO t VALUES (?)", (number * 1000 + i,))
            rows = conn.execute("SELECT x FROM t WHERE x = ?", (number * 1000 + i,)).fetchall()
            total += len(rows)
        return total

    threads = [Thread(lambda number=number: work(number)) for number in range(4)]  # type: ignore[misc]
    assert [thread.result() for thread in threads] == [200] * 4
    assert conn.execute("SELECT count(DISTINCT x) FROM t").fetchone() == (800,)


def test_a_cursor_is_used_by_one_thread_at_a_time(conn: dbapi.Connection) -> None:
    wait = begun(conn)
    cursor = conn.cursor()
    thread = Thread(lambda: cursor.execute(NOTED))
    wait()
    with pytest.raises(dbapi.ProgrammingError, match="Recursive use of cursors"):
        cursor.execute("SELECT 1")
    conn.interrupt()
    with pytest.raises(dbapi.OperationalError, match="interrupted"):
        thread.result()


def test_other_threads_go_on_while_a_statement_runs(conn: dbapi.Connection) -> None:
    wait = begun(conn)
    thread = Thread(lambda: conn.execute(NOTED))
    wait()
    ticks = 0
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        ticks += 1
    assert thread.is_alive()
    # Bound: with the interpreter's lock held there would be none.
    assert ticks > 1000
    conn.interrupt()
    with pytest.raises(dbapi.OperationalError) as caught:
        thread.result()
    assert caught.value.sqlite_errorname == "SQLITE_INTERRUPT"


def test_statements_of_other_threads_wait_their_turn(conn: dbapi.Connection) -> None:
    wait = begun(conn)
    thread = Thread(lambda: conn.execute(NOTED))
    wait()
    others = [Thread(lambda: conn.execute("SELECT 2").fetchone()) for _ in range(3)]
    time.sleep(0.05)
    assert all(other.is_alive() for other in others)
    # What runs is stopped, what waits is not.
    conn.interrupt()
    with pytest.raises(dbapi.OperationalError, match="interrupted"):
        thread.result()
    assert [other.result() for other in others] == [(2,)] * 3


def test_a_wait_for_a_lock_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    path = str(tmp_path / "file.db")
    with contextlib.closing(dbapi.connect(path)) as setup:
        setup.execute("PRAGMA journal_mode=WAL")
        setup.execute("CREATE TABLE t (x)")
    with (
        OtherProcess(tmp_path / "file.db") as other,
        contextlib.closing(dbapi.connect(path, timeout=60, check_same_thread=False)) as writer,
        contextlib.closing(dbapi.connect(path)) as reader,
    ):
        other.run("BEGIN IMMEDIATE")
        thread = Thread(lambda: writer.execute("INSERT INTO t VALUES (1)"))
        for _ in range(100):
            assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert thread.is_alive()
        other.run("ROLLBACK")
        thread.result()
        writer.commit()
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)


class Alarm(Exception):  # noqa: N818 - it is no error
    pass


@contextlib.contextmanager
def alarm(seconds: float, handler: Callable[[], object]) -> Iterator[None]:
    """Have the handler of a signal called in the main thread, after a while."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def raise_alarm() -> None:
    raise Alarm


def test_a_signal_stops_a_statement(conn: dbapi.Connection) -> None:
    with alarm(0.1, raise_alarm), pytest.raises(Alarm):
        conn.execute(ENDLESS)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_signal_stops_what_has_no_end(conn: dbapi.Connection) -> None:
    with alarm(0.1, raise_alarm), pytest.raises(Alarm):
        conn.execute(f"{NUMBERS} SELECT i FROM n").fetchall()
    with alarm(0.1, raise_alarm), pytest.raises(Alarm):
        conn.executemany("INSERT INTO t VALUES (?)", itertools.repeat((1,)))
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_signal_is_not_lost_in_a_callback_of_the_collector(conn: dbapi.Connection) -> None:
    def callback(_phase: str, _info: dict[str, int]) -> None:
        """Be Python code, in which a handler may be called."""

    gc.callbacks.append(callback)
    try:
        with alarm(0.1, raise_alarm), pytest.raises(Alarm):
            conn.execute(f"{NUMBERS} SELECT i FROM n").fetchall()
    finally:
        gc.callbacks.remove(callback)


def test_a_signal_whose_handler_returns_stops_nothing(conn: dbapi.Connection) -> None:
    calls: list[int] = []
    with alarm(0.1, lambda: calls.append(1)):
        while not calls:
            count = conn.execute(f"{NUMBERS[:-1]} LIMIT 3000000) SELECT count(*) FROM n")
            assert count.fetchone() == (3000000,)


def test_a_signal_stops_a_wait_for_a_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "file.db")
    with (
        OtherProcess(tmp_path / "file.db") as other,
        contextlib.closing(dbapi.connect(path, timeout=600)) as conn,
    ):
        conn.execute("CREATE TABLE t (x)")
        other.run("BEGIN IMMEDIATE")
        with alarm(0.1, raise_alarm), pytest.raises(Alarm):
            conn.execute("INSERT INTO t VALUES (1)")
        other.run("ROLLBACK")
        conn.execute("INSERT INTO t VALUES (1)")
        conn.commit()


def test_a_signal_stops_a_wait_for_ones_turn(conn: dbapi.Connection) -> None:
    wait = begun(conn)
    thread = Thread(lambda: conn.execute(NOTED))
    wait()
    with alarm(0.1, raise_alarm), pytest.raises(Alarm):
        conn.execute("INSERT INTO t VALUES (1)")
    assert thread.is_alive()
    conn.interrupt()
    with pytest.raises(dbapi.OperationalError, match="interrupted"):
        thread.result()
    # It never ran.
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_the_handler_of_a_signal_can_not_use_the_connection(conn: dbapi.Connection) -> None:
    with (
        alarm(0.1, lambda: conn.execute("SELECT 1")),
        pytest.raises(dbapi.ProgrammingError, match="a callback can't use the connection"),
    ):
        conn.execute(ENDLESS)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def run(source: str, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False, **how)


def test_control_c_stops_a_statement() -> None:
    source = f"""
    from aiolibsql import dbapi
    conn = dbapi.connect(":memory:")
    conn.create_function("started", 0, lambda: print("started", flush=True))
    try:
        conn.execute("{NUMBERS} SELECT count(*) FROM n WHERE i > 1 OR started()")
    except KeyboardInterrupt:
        print(conn.execute("SELECT 'stopped'").fetchone()[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LONG)
    assert (process.returncode, output) == (0, "stopped\n")


def test_what_is_no_error_leaves_a_callback_as_it_is(conn: dbapi.Connection) -> None:
    def leave() -> None:
        raise SystemExit(3)

    conn.create_function("leave", 0, leave)
    with pytest.raises(SystemExit):
        conn.execute("SELECT leave()")
    conn.set_trace_callback(lambda _: leave())
    with pytest.raises(SystemExit):
        conn.execute("SELECT 1")
    conn.set_trace_callback(None)
    assert conn.execute("SELECT 1").fetchone() == (1,)


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


def test_callbacks_run_on_the_callers_thread_in_its_context(conn: dbapi.Connection) -> None:
    threads = []

    def note() -> None:
        threads.append(threading.get_ident())
        VARIABLE.set("set by the callback")

    conn.create_function("note", 0, note)
    conn.execute("SELECT note()")
    Thread(lambda: conn.execute("SELECT note()")).result()
    assert threads[0] == threading.get_ident() != threads[1]
    assert VARIABLE.get() == "set by the callback"


USES: dict[str, Callable[[dbapi.Connection], object]] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda conn: conn.executescript("SELECT 1"),
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "close": lambda conn: conn.close(),
    "create_function": lambda conn: conn.create_function("f", 0, print),
    "isolation_level": lambda conn: setattr(conn, "isolation_level", None),
    "autocommit": lambda conn: setattr(conn, "autocommit", True),
}


@pytest.mark.parametrize("use", USES)
def test_a_callback_can_not_use_its_connection(conn: dbapi.Connection, use: str) -> None:
    conn.create_function("use", 0, lambda: USES[use](conn))
    with pytest.raises(dbapi.OperationalError) as caught:
        conn.execute("SELECT use()")
    assert isinstance(caught.value.__cause__, dbapi.ProgrammingError)
    assert conn.isolation_level == ""
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_callback_may_use_another_connection(conn: dbapi.Connection) -> None:
    with contextlib.closing(dbapi.connect(":memory:")) as other:
        conn.create_function("ask", 0, lambda: other.execute("SELECT 3").fetchone()[0])
        assert conn.execute("SELECT ask()").fetchone() == (3,)


def test_a_cursor_that_dies_in_a_callback_is_reset_after_it(conn: dbapi.Connection) -> None:
    conn.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(500)])
    conn.commit()
    cursors = [conn.execute("SELECT x FROM t")]
    conn.create_function("drop_it", 0, cursors.clear)
    conn.execute("SELECT drop_it()")
    conn.execute("DROP TABLE t")


SETTERS: dict[str, Callable[[dbapi.Connection, Any], object]] = {
    "create_function": lambda conn, call: conn.create_function("f", 0, call),
    "create_collation": lambda conn, call: conn.create_collation("f", call),
    "create_aggregate": lambda conn, call: conn.create_aggregate(
        "f", 0, type("Aggregate", (), {"step": call, "finalize": call})
    ),
    "create_window_function": lambda conn, call: conn.create_window_function(
        "f", 0, type("Window", (), {"value": call})
    ),
    "set_authorizer": lambda conn, call: conn.set_authorizer(call),
    "set_trace_callback": lambda conn, call: conn.set_trace_callback(call),
    "set_progress_handler": lambda conn, call: conn.set_progress_handler(call, 1),
}


@pytest.mark.parametrize("setter", SETTERS)
def test_async_callbacks_are_refused(conn: dbapi.Connection, setter: str) -> None:
    async def callback(*_: object) -> None:
        pass

    with pytest.raises(dbapi.NotSupportedError, match="async def"):
        SETTERS[setter](conn, callback)


def test_the_iterable_of_executemany_may_use_the_connection(conn: dbapi.Connection) -> None:
    conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(2500)))
    conn.execute("CREATE TABLE copy (x)")
    rows = conn.execute("SELECT x FROM t ORDER BY x")
    cursor = conn.executemany("INSERT INTO copy VALUES (?)", rows)
    assert cursor.rowcount == 2500
    assert conn.execute("SELECT count(*), sum(x) FROM copy").fetchone() == (2500, 2499 * 1250)


MODES: list[dict[str, Any]] = [{}, {"isolation_level": None}, {"isolation_level": "IMMEDIATE"}]
PARAMETERS = st.one_of(
    st.tuples(st.integers(0, 5)), st.tuples(), st.just((object(),)), st.just((2**70,))
)


@given(rows=st.lists(PARAMETERS, max_size=6), mode=st.sampled_from(MODES), raises=st.booleans())
def test_executemany_leaves_what_sqlite3_leaves(
    rows: list[Any], mode: dict[str, Any], raises: bool
) -> None:
    def iterate() -> Iterator[Any]:
        yield from rows
        if raises:
            raise KeyError

    seen = []
    for module in (sqlite3, dbapi):
        with contextlib.closing(module.connect(":memory:", **mode)) as conn:
            conn.execute("CREATE TABLE t (x UNIQUE)")
            error = ""
            cursor = conn.cursor()
            try:
                cursor.executemany("INSERT INTO t VALUES (?)", iterate())
            except Exception as caught:
                error = next(
                    base.__name__
                    for base in type(caught).__mro__
                    if base.__module__ in {"sqlite3", "builtins"}
                )
            kept = conn.execute("SELECT x FROM t").fetchall()
            seen.append((error, conn.in_transaction, kept, error or cursor.rowcount))
    # The older of sqlite3's have an InterfaceError for what has no type.
    seen[0] = (seen[0][0].replace("InterfaceError", "ProgrammingError"), *seen[0][1:])
    assert seen[1][:3] == seen[0][:3]


def test_slow_rows_are_not_waited_for(conn: dbapi.Connection) -> None:
    calls = itertools.count()

    def slow(i: int) -> int:
        next(calls)
        time.sleep(0.01)
        return i

    conn.create_function("slow", 1, slow)
    cursor = conn.execute(f"{NUMBERS} SELECT slow(i) FROM n")
    assert cursor.fetchone() == (1,)
    assert next(calls) <= 5
    assert next(cursor) == (2,)
    cursor.close()


def test_a_forgotten_connection_is_closed_with_a_warning(tmp_path: Path) -> None:
    path = str(tmp_path / "file.db")
    conn = dbapi.connect(path)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("CREATE TABLE t (x)")
    with pytest.warns(ResourceWarning, match=r"dbapi\.Connection.*was deleted.* use '\.close"):
        del conn
        gc.collect()
    # At once, not some time later on another thread.
    assert not os.path.exists(path + "-wal")  # noqa: PTH110 - a name, not a path


def test_a_closed_connection_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conn = dbapi.connect(":memory:")
        conn.execute("CREATE TABLE t (x)")
        conn.execute("INSERT INTO t VALUES (1)")
        conn.close()
        conn.close()
        del conn
        gc.collect()


def test_backup_leaves_both_connections_usable(conn: dbapi.Connection) -> None:
    conn.executemany("INSERT INTO t VALUES (zeroblob(3000))", [()] * 20)
    conn.commit()
    steps: list[tuple[int, int, int]] = []
    with contextlib.closing(dbapi.connect(":memory:")) as target:
        conn.backup(target, pages=5, progress=lambda *step: steps.append(step))
        assert steps[-1][:2] == (101, 0)
        assert len(steps) > 2
        assert target.execute("SELECT count(*) FROM t").fetchone() == (20,)
        target.execute("INSERT INTO t VALUES (1)")
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (20,)


def test_the_target_of_a_backup_can_not_be_used_meanwhile(conn: dbapi.Connection) -> None:
    conn.executemany("INSERT INTO t VALUES (zeroblob(3000))", [()] * 20)
    conn.commit()
    with contextlib.closing(dbapi.connect(":memory:", check_same_thread=False)) as target:
        with pytest.raises(dbapi.ProgrammingError, match="a callback can't use the connection"):
            conn.backup(target, pages=5, progress=lambda *_: target.execute("SELECT 1"))
        assert target.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        # Other threads wait for its end.
        others: list[Thread] = []

        def progress(*_: int) -> None:
            if not others:
                others.append(Thread(lambda: target.execute("SELECT count(*) FROM t").fetchone()))
            assert others[0].is_alive()

        conn.backup(target, pages=5, progress=progress)
        assert others[0].result() == (20,)


def test_errors_are_those_of_sqlite3_too(conn: dbapi.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        conn.execute("SELECT * FROM nothing")
    with pytest.raises(sqlite3.IntegrityError):
        conn.executescript("CREATE TABLE u (x UNIQUE); INSERT INTO u VALUES (1), (1)")


def test_nothing_runs_beside_the_callers_thread(tmp_path: Path) -> None:
    source = """
    import os, sys
    from aiolibsql import dbapi
    conn = dbapi.connect(sys.argv[1])
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("CREATE TABLE t (x)")
    conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(5000)))
    conn.commit()
    assert len(conn.execute("SELECT x FROM t").fetchall()) == 5000
    conn.create_function("f", 0, lambda: 1)
    assert conn.execute("SELECT f()").fetchone() == (1,)
    if os.path.exists("/proc/self/task"):
        print(len(os.listdir("/proc/self/task")), end=" ")
    conn.close()
    print("asyncio.events" in sys.modules)
    """
    done = run(source, str(tmp_path / "file.db"))
    assert done.stdout in {"1 False\n", "False\n"}, done.stderr


def test_the_log_of_a_writer_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    with contextlib.closing(dbapi.connect(str(path), isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("CREATE TABLE t (x)")
        for _ in range(60):
            conn.execute("INSERT INTO t VALUES (zeroblob(400000))")
        # 60 times 100 pages of 4 KiB were written.
        assert (tmp_path / "file.db-wal").stat().st_size < 16 << 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that forks")
def test_a_child_is_refused_and_closes_nothing(tmp_path: Path) -> None:
    source = """
    import gc, os, sys
    from aiolibsql import dbapi
    conn = dbapi.connect(sys.argv[1])
    conn.execute("CREATE TABLE t (x)")
    conn.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(500)])
    cursor = conn.execute("SELECT x FROM t")
    pid = os.fork()
    if not pid:
        for work in (lambda: conn.execute("SELECT 1"), conn.commit, cursor.fetchall, conn.close):
            try:
                work()
            except dbapi.OperationalError as error:
                assert "fork" in str(error)
            else:
                os._exit(1)
        with dbapi.connect(":memory:") as fresh:
            assert fresh.execute("SELECT 1").fetchone() == (1,)
        fresh.close()
        del conn, cursor
        gc.collect()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(cursor.fetchall()) == 500
    conn.commit()
    conn.close()
    """
    done = run(source, str(tmp_path / "file.db"))
    assert done.returncode == 0, done.stderr


LEFT = {
    "idle": "",
    "with an open transaction": "conn.execute('INSERT INTO t VALUES (2)')",
    "with an open cursor": f"cursor = conn.execute('{NUMBERS} SELECT i FROM n')",
    "with a statement of a daemon thread": f"""
thread = threading.Thread(target=lambda: conn.execute("{NOTED}"), daemon=True)
event = threading.Event()
conn.create_function("note", 0, event.set)
thread.start()
event.wait()
""",
    "with threads that wait for their turn": f"""
event = threading.Event()
conn.create_function("note", 0, event.set)
for _ in range(4):
    threading.Thread(target=lambda: conn.execute("{NOTED}"), daemon=True).start()
event.wait()
""",
}


@pytest.mark.parametrize("how", LEFT)
def test_the_interpreter_ends_with_a_connection_left_open(tmp_path: Path, how: str) -> None:
    path = str(tmp_path / "file.db")
    source = f"""
import sys, threading
from aiolibsql import dbapi
conn = dbapi.connect(sys.argv[1], check_same_thread=False)
conn.execute("PRAGMA journal_mode=WAL")
conn.execute("CREATE TABLE t (x)")
conn.execute("INSERT INTO t VALUES (1)")
conn.commit()
{LEFT[how]}
print("done")
"""
    done = run(source, path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    with contextlib.closing(sqlite3.connect(path)) as check:
        assert check.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_an_encrypted_file_needs_its_key(tmp_path: Path) -> None:
    path = str(tmp_path / "file.db")
    with contextlib.closing(dbapi.connect(path, encryption_key="secret")) as conn:
        conn.execute("CREATE TABLE t (x)")
    with pytest.raises(dbapi.DatabaseError, match="encryption key is wrong"):
        dbapi.connect(path)
    with contextlib.closing(dbapi.connect(path, encryption_key="secret")) as conn:
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
