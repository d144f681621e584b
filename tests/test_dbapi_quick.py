"""`aiolibsql.dbapi`: quick queries go a short way, and come to what the long one comes to.

A query goes it from its second execution on, with the same text object. So every case runs it again
and again; a text that was never seen goes the long way.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from situations import OtherProcess

from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POINT = "SELECT k, v FROM t WHERE k = ?"

# Each is one object, as a literal in a program is.
QUERIES = (
    POINT,
    "SELECT ?, typeof(?1)",
    "SELECT v FROM t ORDER BY k",
    "SELECT * FROM t WHERE k = ?",
    "SELECT v AS 'a', k AS 'b' FROM t WHERE k > ? ORDER BY k LIMIT 16",
    "SELECT last_insert_rowid(), total_changes()",
    "SELECT abs(?)",
    "SELECT CAST(x'ff' AS TEXT)",
    "SELECT 1 WHERE 0",
    "VALUES (1), (2)",
    "SELECT missing FROM t",
    "PRAGMA user_version",
)
PARAMETERS = st.one_of(
    st.none(),
    st.tuples(),
    st.tuples(st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.integers(0, 20)),
    st.tuples(
        st.sampled_from([2**70, object(), "\ud800", b"", b"\x00\xff", "", "é\0", True, None])
    ),
    st.tuples(st.floats(), st.integers(0, 3)),
    st.lists(st.integers(0, 20), max_size=2),
    st.just(iter(())),
)
CHANGES = (
    "INSERT INTO t (v) VALUES ('new')",
    "UPDATE t SET v = v || '.' WHERE k = 1",
    "DELETE FROM t WHERE k = 2",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ALTER TABLE t ADD COLUMN more",
    "DROP TABLE IF EXISTS u",
)
FETCHES: tuple[Callable[[Any], Any], ...] = (
    lambda cursor: cursor.fetchone(),
    lambda cursor: cursor.fetchmany(2),
    lambda cursor: cursor.fetchall(),
    lambda cursor: next(cursor, "end"),
    list,
    lambda cursor: cursor.close(),
)
SETTINGS: tuple[Callable[[Any], Any], ...] = (
    lambda conn: setattr(conn, "text_factory", bytes),
    lambda conn: setattr(conn, "text_factory", lambda text: text[:1]),
    lambda conn: setattr(conn, "text_factory", str),
    lambda conn: setattr(conn, "row_factory", lambda _, row: list(row)),
    lambda conn: setattr(conn, "row_factory", None),
    lambda conn: setattr(conn, "isolation_level", None),
    lambda conn: setattr(conn, "isolation_level", "IMMEDIATE"),
    lambda conn: conn.commit(),
    lambda conn: conn.rollback(),
)
STEPS = st.one_of(
    st.tuples(st.just("query"), st.sampled_from(QUERIES), PARAMETERS),
    st.tuples(st.just("query"), st.sampled_from(QUERIES[:4]), st.tuples(st.integers(0, 4))),
    st.tuples(st.just("again"), st.sampled_from(QUERIES), PARAMETERS),
    st.tuples(st.just("change"), st.sampled_from(CHANGES), st.none()),
    st.tuples(st.just("fetch"), st.sampled_from(FETCHES), st.none()),
    st.tuples(st.just("set"), st.sampled_from(SETTINGS), st.none()),
)


def name_of(error: BaseException) -> str:
    """Return the class of an error that both modules know."""
    names = (
        base.__name__ for base in type(error).__mro__ if base.__module__ in {"sqlite3", "builtins"}
    )
    # The older of sqlite3's have an InterfaceError for what has no type.
    return next(names).replace("InterfaceError", "ProgrammingError")


def play(
    module: Any,
    steps: list[tuple[str, Any, Any]],
    detect_types: int,
    text: Callable[[str], str] = lambda sql: sql,
    *,
    renews: bool = False,
) -> list[Any]:
    """Return what can be seen of a connection and its cursor after each step.

    With ``renews`` an error is followed by a new cursor, and its class is not told: rows of the
    execution before a refused one are there still, where sqlite3 has thrown them away, and of two
    things that are wrong each looks at another one first.
    """
    seen: list[Any] = []
    with contextlib.closing(module.connect(":memory:", detect_types=detect_types)) as conn:
        conn.executescript("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        conn.executemany("INSERT INTO t VALUES (?, ?)", [(k, f"value {k}") for k in range(1, 25)])
        conn.commit()
        cursor = conn.cursor()
        for kind, what, parameters in steps:
            given_ = () if parameters is None else (parameters,)
            value, error = None, ""
            try:
                if kind == "query":
                    cursor = conn.execute(text(what), *given_)
                elif kind == "again":
                    cursor.execute(text(what), *given_)
                elif kind == "change":
                    cursor = conn.execute(what)
                else:
                    value = what(cursor if kind == "fetch" else conn)
            except Exception as raised:
                value, error = name_of(raised), str(raised)
                if renews:
                    value, cursor = "error", conn.cursor()
            changed = (conn.in_transaction, conn.total_changes)
            state = (cursor.description, cursor.rowcount, cursor.lastrowid)
            seen.append((kind, value, changed, state, error))
    return seen


@given(steps=st.lists(STEPS, max_size=12), detect_types=st.sampled_from([0, 0, 0, 3]))
def test_the_short_way_leads_where_the_long_one_and_sqlite3_get(
    steps: list[tuple[str, Any, Any]], detect_types: int
) -> None:
    # Twice, so that what is executed once is executed again.
    steps = [step for step in steps for _ in (1, 2)]
    # An object of its own each time, which is not known.
    long = play(dbapi, steps, detect_types, lambda sql: "".join(list(sql)))
    assert play(dbapi, steps, detect_types) == long
    theirs = play(sqlite3, steps, detect_types, renews=True)
    ours = play(dbapi, steps, detect_types, renews=True)
    assert [seen[:3] for seen in ours] == [seen[:3] for seen in theirs]


# Counts as far as it is told to, so it may be quick one time and have no end the next.
COUNT = """
    SELECT count(*) FROM (
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n
    )
"""
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.db"
    with contextlib.closing(dbapi.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        conn.executemany("INSERT INTO t VALUES (?, ?)", [(k, f"{k} " * 300) for k in range(400)])
        conn.commit()
    return path


@pytest.fixture
def conn(path: Path) -> Iterator[dbapi.Connection]:
    connection = dbapi.connect(path, check_same_thread=False)
    make_quick(connection)
    yield connection
    connection.close()


def make_quick(conn: dbapi.Connection) -> None:
    for _ in range(3):
        assert conn.execute(POINT, (1,)).fetchone() == (1, "1 " * 300)
        assert conn.execute(COUNT, (1,)).fetchone() == (1,)
        assert conn.execute(NUMBERS, (2,)).fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("rows", [15, 16, 17, 64, 65, 5000])
def test_all_rows_come_if_they_are_more_than_the_last_time(
    conn: dbapi.Connection, rows: int
) -> None:
    for _ in range(3):
        assert conn.execute(NUMBERS, (rows,)).fetchall() == [(i,) for i in range(1, rows + 1)]
        assert conn.execute(NUMBERS, (2,)).fetchall() == [(1,), (2,)]


def test_a_query_that_takes_longer_than_the_last_time_comes_to_its_end(
    conn: dbapi.Connection,
) -> None:
    for count in (100, 1, 1000, 1, 100_000, 1):
        assert conn.execute(COUNT, (count,)).fetchone() == (count,)


def test_one_that_has_no_end_this_time_is_interrupted(conn: dbapi.Connection) -> None:
    with ThreadPoolExecutor() as threads:
        endless = threads.submit(conn.execute, COUNT, (-1,))
        while not endless.done():
            time.sleep(0.01)
            conn.interrupt()
        with pytest.raises(dbapi.OperationalError, match="interrupted"):
            endless.result()
    make_quick(conn)


def test_a_signal_stops_one_that_has_no_end_this_time(conn: dbapi.Connection) -> None:
    class Alarm(Exception):  # noqa: N818 - it is no error
        pass

    def stop(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Alarm):
            conn.execute(COUNT, (-1,))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    make_quick(conn)


def test_threads_that_share_a_connection_get_their_own_rows(conn: dbapi.Connection) -> None:
    def read(first: int) -> None:
        for k in range(first, 400, 4):
            assert conn.execute(POINT, (k,)).fetchone() == (k, f"{k} " * 300)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read, range(4)))


def test_who_waits_for_a_statement_gets_the_connection_after_it(conn: dbapi.Connection) -> None:
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(conn.execute, COUNT, (300_000,))
        assert conn.execute(POINT, (5,)).fetchone() == (5, "5 " * 300)
        assert slow.result().fetchone() == (300_000,)


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    with (
        contextlib.closing(dbapi.connect(path, timeout=0.05)) as conn,
        OtherProcess(path) as other,
    ):
        conn.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        for _ in range(3):
            assert conn.execute(POINT, (1,)).fetchone() is None
        other.run("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(dbapi.OperationalError, match="locked"):
            conn.execute(POINT, (1,))
        assert time.monotonic() - began >= 0.05
        timer = threading.Timer(0.02, other.run, ["ROLLBACK"])
        timer.start()
        conn.execute("PRAGMA busy_timeout = 20000")
        assert conn.execute(POINT, (1,)).fetchone() is None
        timer.join()


def test_a_transaction_keeps_what_it_has_seen_first(conn: dbapi.Connection, path: Path) -> None:
    with OtherProcess(path) as other:
        conn.execute("BEGIN")
        assert conn.execute(POINT, (2,)).fetchone() == (2, "2 " * 300)
        other.run("UPDATE t SET v = 'new'")
        assert conn.execute(POINT, (2,)).fetchone() == (2, "2 " * 300)
        conn.rollback()
        assert conn.execute(POINT, (2,)).fetchone() == (2, "new")
        other.run("ALTER TABLE t RENAME COLUMN v TO w")
        with pytest.raises(dbapi.OperationalError, match="no such column: v"):
            conn.execute(POINT, (2,))


def test_what_calls_somebody_calls_him(conn: dbapi.Connection) -> None:
    heard: list[str] = []
    conn.set_trace_callback(heard.append)
    conn.execute(POINT, (1,))
    conn.set_trace_callback(None)
    assert heard == ["SELECT k, v FROM t WHERE k = 1"]
    conn.set_progress_handler(lambda: 1, 1)
    with pytest.raises(dbapi.OperationalError, match="interrupted"):
        conn.execute(POINT, (1,))
    conn.set_progress_handler(None, 1)
    conn.create_function("count", 1, lambda _: "mine")
    conn.set_authorizer(lambda *_: dbapi.SQLITE_DENY)
    with pytest.raises(dbapi.DatabaseError, match="not authorized"):
        conn.execute(POINT, (1,))


def test_a_value_of_a_class_of_its_own_is_adapted(conn: dbapi.Connection) -> None:
    class Key(int):
        def __conform__(self, _protocol: object) -> int:
            return 7

    assert conn.execute(POINT, (Key(1),)).fetchone() == (7, "7 " * 300)


def test_a_query_that_writes_in_a_transaction_is_a_part_of_it(conn: dbapi.Connection) -> None:
    merge = "SELECT optimize(words) FROM words LIMIT 1"
    conn.execute("CREATE VIRTUAL TABLE words USING fts4 (text)")
    conn.execute("INSERT INTO words VALUES ('one')")
    for number in range(1, 40):
        conn.execute("UPDATE t SET v = ? WHERE k = 1", (str(number),))
        texts = (" ".join(f"{number}w{word}" for word in range(number)) for _ in range(number))
        conn.executemany("INSERT INTO words VALUES (?)", ((text,) for text in texts))
        assert conn.execute(merge).fetchone()[0].startswith("Index ")
        assert conn.in_transaction
        changes = conn.total_changes
        assert conn.execute("SELECT total_changes()").fetchone() == (changes,)
        assert conn.execute(POINT, (1,)).fetchone() == (1, str(number))


@pytest.mark.parametrize(
    "sql", [POINT, "SELECT k FROM t WHERE k >= ?", "UPDATE t SET v = 1 WHERE k > ?"]
)
def test_what_a_closed_cursor_has_executed_can_still_be_asked(sql: str) -> None:
    seen = []
    for module in (dbapi, sqlite3):
        with contextlib.closing(module.connect(":memory:")) as conn:
            conn.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
            conn.executemany("INSERT INTO t (k) VALUES (?)", [(k,) for k in range(100)])
            for _ in range(3):
                cursor = conn.execute(sql, (1,))
                cursor.close()
                seen.append((cursor.description, cursor.rowcount, cursor.lastrowid))
                with pytest.raises(module.ProgrammingError, match="closed cursor"):
                    cursor.fetchone()
            # No statement reads any more.
            conn.execute("DROP TABLE t")
    assert seen[:3] == seen[3:]


# The first places of SQLite's table of functions, which never change.
EXTENSION = """
typedef int (*exec_t)(void *, const char *, void *, void *, void *);
typedef int (*create_t)(
    void *, const char *, int, int, void *, void (*)(void *, int, void **), void *, void *
);
typedef void (*result_t)(void *, int);
static void *database, **functions;
static void fill(void *context, int count, void **arguments) {
    const char *sql = "INSERT INTO filled WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
        " FROM n LIMIT 2000) SELECT i FROM n";
    int code = ((exec_t)functions[55])(database, sql, 0, 0, 0);
    ((result_t)functions[82])(context, code);
}
int sqlite3_extension_init(void *db, char **message, void **api) {
    database = db, functions = api;
    return ((create_t)api[45])(db, "fill", 0, 1, 0, fill, 0, 0);
}
"""


def test_a_function_of_an_extension_may_write(conn: dbapi.Connection, tmp_path: Path) -> None:
    source, library = tmp_path / "fill.c", tmp_path / "fill.so"
    source.write_text(EXTENSION, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    conn.enable_load_extension(True)
    conn.load_extension(str(library))
    conn.execute("CREATE TABLE filled (i)")
    for times in range(1, 5):
        conn.execute("UPDATE t SET v = ? WHERE k = 1", (str(times),))
        assert conn.execute("SELECT fill()").fetchone() == (0,)
        assert conn.in_transaction
        assert conn.execute("SELECT count(*) FROM filled").fetchone() == (2000 * times,)
        assert conn.execute(POINT, (1,)).fetchone() == (1, str(times))


def test_a_length_that_is_allowed_no_more_is_refused(conn: dbapi.Connection) -> None:
    conn.setlimit(dbapi.SQLITE_LIMIT_SQL_LENGTH, 10)
    with pytest.raises(dbapi.DataError, match="query string is too large"):
        conn.execute(POINT, (1,))


def test_a_connection_that_is_closed_or_anothers_is_refused(path: Path) -> None:
    conn = dbapi.connect(path)
    make_quick(conn)
    cursor = conn.execute(POINT, (1,))
    with ThreadPoolExecutor() as threads:
        for use in (lambda: conn.execute(POINT, (1,)), cursor.fetchone):
            with pytest.raises(dbapi.ProgrammingError, match="created in a thread"):
                threads.submit(use).result()
    conn.close()
    for use in (lambda: conn.execute(POINT, (1,)), cursor.fetchone):
        with pytest.raises(dbapi.ProgrammingError, match="closed database"):
            use()


def test_autocommit_false_begins_its_transaction(path: Path) -> None:
    with contextlib.closing(dbapi.connect(path, autocommit=False)) as conn:
        make_quick(conn)
        conn.commit()
        assert conn.in_transaction
        assert conn.execute(POINT, (1,)).fetchone() == (1, "1 " * 300)


def test_rows_of_the_last_execution_are_gone(conn: dbapi.Connection) -> None:
    cursor = conn.execute(NUMBERS, (5000,))
    assert cursor.fetchone() == (1,)
    assert cursor.execute(POINT, (3,)).fetchall() == [(3, "3 " * 300)]
    assert cursor.execute(POINT, (4,)) is cursor
    assert cursor.execute(POINT, (5,)).fetchall() == [(5, "5 " * 300)]
    # No statement reads any more.
    conn.execute("DROP TABLE t")
