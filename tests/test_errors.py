"""Errors: every result code has its class, every message its culprit, and nothing goes by words."""

from __future__ import annotations

import builtins
import copy
import pickle
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql
from aiolibsql._aiolibsql import _error_for_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

# Classes.

PRIMARY: dict[str, tuple[int, type[BaseException]]] = {
    "ERROR": (1, aiolibsql.OperationalError),
    "INTERNAL": (2, aiolibsql.InternalError),
    "PERM": (3, aiolibsql.OperationalError),
    "ABORT": (4, aiolibsql.OperationalError),
    "BUSY": (5, aiolibsql.TimeoutError),
    "LOCKED": (6, aiolibsql.TimeoutError),
    "NOMEM": (7, MemoryError),
    "READONLY": (8, aiolibsql.OperationalError),
    "INTERRUPT": (9, aiolibsql.OperationalError),
    "IOERR": (10, aiolibsql.OperationalError),
    "CORRUPT": (11, aiolibsql.DatabaseError),
    "NOTFOUND": (12, aiolibsql.InternalError),
    "FULL": (13, aiolibsql.OperationalError),
    "CANTOPEN": (14, aiolibsql.OperationalError),
    "PROTOCOL": (15, aiolibsql.OperationalError),
    "EMPTY": (16, aiolibsql.OperationalError),
    "SCHEMA": (17, aiolibsql.OperationalError),
    "TOOBIG": (18, aiolibsql.DataError),
    "CONSTRAINT": (19, aiolibsql.IntegrityError),
    "MISMATCH": (20, aiolibsql.IntegrityError),
    "MISUSE": (21, aiolibsql.InterfaceError),
    "NOLFS": (22, aiolibsql.DatabaseError),
    "AUTH": (23, aiolibsql.DatabaseError),
    "FORMAT": (24, aiolibsql.DatabaseError),
    "RANGE": (25, aiolibsql.InterfaceError),
    "NOTADB": (26, aiolibsql.DatabaseError),
}

# Extended codes, by their number above the primary one: the n-th has code primary | n << 8.
EXTENDED: dict[str, list[str]] = {
    "ERROR": ["MISSING_COLLSEQ", "RETRY", "SNAPSHOT"],
    "ABORT": ["", "ROLLBACK"],
    "BUSY": ["RECOVERY", "SNAPSHOT", "TIMEOUT"],
    "LOCKED": ["SHAREDCACHE", "VTAB"],
    "READONLY": ["RECOVERY", "CANTLOCK", "ROLLBACK", "DBMOVED", "CANTINIT", "DIRECTORY"],
    "IOERR": [
        "READ", "SHORT_READ", "WRITE", "FSYNC", "DIR_FSYNC", "TRUNCATE", "FSTAT", "UNLOCK",
        "RDLOCK", "DELETE", "BLOCKED", "NOMEM", "ACCESS", "CHECKRESERVEDLOCK", "LOCK", "CLOSE",
        "DIR_CLOSE", "SHMOPEN", "SHMSIZE", "SHMLOCK", "SHMMAP", "SEEK", "DELETE_NOENT", "MMAP",
        "GETTEMPPATH", "CONVPATH", "VNODE", "AUTH", "BEGIN_ATOMIC", "COMMIT_ATOMIC",
        "ROLLBACK_ATOMIC", "DATA", "CORRUPTFS", "IN_PAGE",
    ],
    "CORRUPT": ["VTAB", "SEQUENCE", "INDEX"],
    "CANTOPEN": ["NOTEMPDIR", "ISDIR", "FULLPATH", "CONVPATH", "DIRTYWAL", "SYMLINK"],
    "CONSTRAINT": [
        "CHECK", "COMMITHOOK", "FOREIGNKEY", "FUNCTION", "NOTNULL", "PRIMARYKEY", "TRIGGER",
        "UNIQUE", "VTAB", "ROWID", "PINNED", "DATATYPE",
    ],
    "AUTH": ["USER"],
}  # fmt: skip

CODES = [(f"SQLITE_{name}", code, cls) for name, (code, cls) in PRIMARY.items()]
CODES += [
    (f"SQLITE_{primary}_{name}", PRIMARY[primary][0] | number << 8, PRIMARY[primary][1])
    for primary, names in EXTENDED.items()
    for number, name in enumerate(names, 1)
    if name
]


@pytest.mark.parametrize(("name", "code", "cls"), CODES, ids=[name for name, *_ in CODES])
def test_result_code_becomes_its_class_and_carries_its_name(
    name: str, code: int, cls: type[BaseException]
) -> None:
    # The words must not matter.
    error = _error_for_code(code, "database is locked: constraint failed: no such table")
    assert type(error) is cls
    assert str(error) == "database is locked: constraint failed: no such table"
    if isinstance(error, aiolibsql.Error):
        assert error.sqlite_errorcode == code
        assert error.sqlite_errorname == name


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 has had the codes since 3.11")
def test_walked_codes_are_all_that_sqlite3_knows() -> None:
    known = {
        name: value
        for name, value in vars(sqlite3).items()
        if name.startswith("SQLITE_")
        and any(f"{name}_".startswith(f"SQLITE_{primary}_") for primary in PRIMARY)
    }
    walked = {code[0]: code[1] for code in CODES}
    assert len(known) > 80
    assert {name: walked.get(name) for name in known} == known


@pytest.mark.parametrize("code", [5 | 250 << 8, 19 | 250 << 8, 1 | 250 << 8, 200])
def test_unknown_code_takes_the_class_of_its_primary_one(code: int) -> None:
    classes = dict(PRIMARY.values())
    error = _error_for_code(code, "new in a later SQLite")
    assert type(error) is classes.get(code & 0xFF, aiolibsql.DatabaseError)
    assert isinstance(error, aiolibsql.Error)
    assert error.sqlite_errorcode == code


PEP_249 = [
    "Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError",
    "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError",
]  # fmt: skip


@pytest.mark.parametrize("name", PEP_249)
def test_class_of_pep_249_is_below_that_of_sqlite3(name: str) -> None:
    ours, theirs = getattr(aiolibsql, name), getattr(sqlite3, name)
    assert issubclass(ours, theirs)
    for other in PEP_249:
        expected = issubclass(theirs, getattr(sqlite3, other))
        assert issubclass(ours, getattr(aiolibsql, other)) == expected, other


def test_added_classes_have_their_bases() -> None:
    assert issubclass(aiolibsql.ConnectionClosedError, aiolibsql.ProgrammingError)
    assert issubclass(aiolibsql.ConnectionClosedError, ValueError)
    assert issubclass(aiolibsql.TimeoutError, aiolibsql.OperationalError)
    assert issubclass(aiolibsql.TimeoutError, builtins.TimeoutError)
    assert aiolibsql.ConnectionClosedError("x").code == "CLIENT_CLOSED"
    for name in ("ConnectError", "AuthError", "StreamExpiredError"):
        assert getattr(aiolibsql, name).__bases__ == (aiolibsql.OperationalError,)


def test_code_is_sqlites_name_or_the_servers() -> None:
    error = aiolibsql.OperationalError("no")
    assert error.code is None
    error.server_code = "STREAM_EXPIRED"
    assert error.code == "STREAM_EXPIRED"
    error.sqlite_errorname = "SQLITE_BUSY"
    assert error.code == "SQLITE_BUSY"


@pytest.mark.parametrize(
    "name", [*PEP_249, "TimeoutError", "ConnectionClosedError", "ConnectError"]
)
def test_error_survives_pickling_and_copying(name: str) -> None:
    error = getattr(aiolibsql, name)("what, then with what")
    error.sqlite_errorcode, error.sqlite_errorname, error.sql = 2067, "SQLITE_X", "SELECT 1"
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error) == "what, then with what"
        assert again.args == error.args
        assert (again.sqlite_errorcode, again.sqlite_errorname, again.sql) == (
            2067, "SQLITE_X", "SELECT 1",
        )  # fmt: skip


async def test_error_of_a_statement_survives_pickling(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await conn.execute("SELECT * FROM nowhere")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is aiolibsql.OperationalError
    assert str(again) == "no such table: nowhere"
    assert again.sqlite_errorname == "SQLITE_ERROR"
    assert again.sql == "SELECT * FROM nowhere"


# By code, never by words.


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM locked_things", "no such table: locked_things"),
        ('SELECT * FROM "database is locked"', "no such table: database is locked"),
        ("SELECT busy FROM (SELECT 1)", "no such column: busy"),
        ("SELECT * FROM no_such_constraint_table", "no such table: no_such_constraint_table"),
        ("SELECT unique_constraint_failed()", "no such function: unique_constraint_failed"),
        ("SELECT nope", "no such column: nope"),
        ("INSERT INTO timeout VALUES (1)", "no such table: timeout"),
    ],
)
async def test_words_in_a_message_decide_nothing(conn: Connection, sql: str, message: str) -> None:
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await conn.execute(sql)
    assert type(caught.value) is aiolibsql.OperationalError
    assert not isinstance(caught.value, builtins.TimeoutError)
    # A server may add where it is.
    assert str(caught.value).split(" (at offset")[0] == message
    assert caught.value.sqlite_errorcode == 1
    assert caught.value.sqlite_errorname == "SQLITE_ERROR"
    assert caught.value.sql == sql
    await assert_healthy(conn)


# Constraints.

SCHEMA = """
    CREATE TABLE p (id INTEGER PRIMARY KEY);
    CREATE TABLE t (u UNIQUE, n NOT NULL DEFAULT 0, c CHECK (c > 0), p REFERENCES p);
    CREATE TABLE k (a TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE s (i INTEGER) STRICT;
    CREATE TRIGGER r BEFORE DELETE ON p BEGIN SELECT RAISE(ABORT, 'p is kept'); END;
    INSERT INTO p VALUES (1);
    INSERT INTO k VALUES ('a');
    INSERT INTO t (u) VALUES (1);"""
CONSTRAINTS = [
    ("INSERT INTO t (u) VALUES (1)", "CONSTRAINT_UNIQUE", "t.u"),
    ("INSERT INTO t (n) VALUES (NULL)", "CONSTRAINT_NOTNULL", "t.n"),
    ("INSERT INTO t (c) VALUES (-1)", "CONSTRAINT_CHECK", "c > 0"),
    ("INSERT INTO t (p) VALUES (7)", "CONSTRAINT_FOREIGNKEY", "FOREIGN KEY"),
    ("INSERT INTO p VALUES (1)", "CONSTRAINT_PRIMARYKEY", "p.id"),
    ("INSERT INTO k VALUES ('a')", "CONSTRAINT_PRIMARYKEY", "k.a"),
    ("UPDATE p SET rowid = 'x'", "MISMATCH", "datatype mismatch"),
    ("INSERT INTO s VALUES ('x')", "CONSTRAINT_DATATYPE", "s.i"),
    ("DELETE FROM p", "CONSTRAINT_TRIGGER", "p is kept"),
]
# Servers tell the primary code only; the rest is learnt from the words.
AT_SERVERS = {"CONSTRAINT_PRIMARYKEY": "CONSTRAINT_UNIQUE", "CONSTRAINT_TRIGGER": "CONSTRAINT"}


@pytest.mark.parametrize(("sql", "name", "culprit"), CONSTRAINTS)
async def test_constraint_error_names_constraint_and_culprit(
    backend: Backend, sql: str, name: str, culprit: str
) -> None:
    async with backend.enforcing() as conn:
        await conn.executescript(SCHEMA)
        changes = conn.total_changes
        with pytest.raises(aiolibsql.IntegrityError) as caught:
            await conn.execute(sql)
        assert type(caught.value) is aiolibsql.IntegrityError
        told = AT_SERVERS.get(name, name) if backend.is_hosted else name
        assert caught.value.sqlite_errorname == f"SQLITE_{told}"
        assert culprit in str(caught.value)
        assert caught.value.sql == sql
        await conn.rollback()
        assert conn.total_changes == changes
        await assert_healthy(conn)


# Locks and time limits.

LOCKER = """if 1:
    import sqlite3, sys
    conn = sqlite3.connect(sys.argv[1], isolation_level=None)
    conn.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.readline()
    conn.execute("COMMIT")
    conn.close()
    print("released", flush=True)
"""


@pytest.fixture
def locker(file_backend: Backend) -> Iterator[subprocess.Popen[str]]:
    """Return another process that holds the file's lock until it is sent a line."""
    command = [sys.executable, "-c", LOCKER, str(file_backend.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("sql", ["SELECT * FROM sqlite_master", "CREATE TABLE t (a)"])
async def test_lock_of_another_process_past_the_timeout_is_a_timeout_error(
    file_backend: Backend, locker: subprocess.Popen[str], sql: str
) -> None:
    async with file_backend.connect(timeout=0.3) as conn:
        started = time.monotonic()
        with pytest.raises(aiolibsql.TimeoutError, match="database is locked") as caught:
            await conn.execute(sql)
        assert 0.25 < time.monotonic() - started < 5
        assert isinstance(caught.value, builtins.TimeoutError)
        assert caught.value.sqlite_errorname == "SQLITE_BUSY"
        assert caught.value.sql == sql
        release(locker)
        locker.wait()
        await assert_healthy(conn)


async def test_lock_released_within_the_timeout_is_waited_for(
    file_backend: Backend, locker: subprocess.Popen[str]
) -> None:
    async with file_backend.connect(timeout=30) as conn:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conn.execute, "CREATE TABLE t (a)")
            await anyio.wait_all_tasks_blocked()
            release(locker)
        assert await conn.fetch_all("SELECT * FROM t") == []
        await assert_healthy(conn)


async def test_lock_of_an_own_connection_past_the_timeout_is_a_timeout_error(
    file_backend: Backend,
) -> None:
    async with file_backend.connect() as holder, file_backend.second(timeout=0.1) as conn:
        await holder.execute("CREATE TABLE t (a)")
        await holder.begin("IMMEDIATE")
        for use in (conn.begin("IMMEDIATE"), conn.execute("INSERT INTO t VALUES (1)"),
                    conn.executemany("INSERT INTO t VALUES (?)", [(1,)])):  # fmt: skip
            with pytest.raises(aiolibsql.TimeoutError):
                await use
            await conn.rollback()
        await holder.rollback()
        await assert_healthy(conn)


async def test_pragma_busy_timeout_sets_the_timeout(file_backend: Backend) -> None:
    async with file_backend.connect() as holder, file_backend.second(timeout=300) as conn:
        await holder.begin("EXCLUSIVE")
        await conn.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("CREATE TABLE t (a)")
        await holder.rollback()
        await assert_healthy(conn)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.local("a statement that never ends")
async def test_timeout_of_a_call_ends_a_running_statement(conn: Connection) -> None:
    for use in (conn.execute(ENDLESS, timeout=0.1), conn.fetch_all(ENDLESS, timeout=0.1),
                conn.cursor().execute(ENDLESS, timeout=0.1),
                conn.executescript(ENDLESS, timeout=0.1)):  # fmt: skip
        started = time.monotonic()
        with pytest.raises(aiolibsql.TimeoutError):
            await use
        assert 0.09 < time.monotonic() - started < 3
        await assert_healthy(conn)


async def test_timeout_of_a_call_ends_a_wait_for_a_lock(file_backend: Backend) -> None:
    async with file_backend.connect() as holder, file_backend.second(timeout=300) as conn:
        await holder.begin("EXCLUSIVE")
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("CREATE TABLE t (a)", timeout=0.1)
        await holder.rollback()
        await assert_healthy(conn)


@pytest.mark.local("a statement that never ends")
async def test_interrupt_ends_the_running_statement(conn: Connection) -> None:
    caught: list[aiolibsql.OperationalError] = []

    async def run() -> None:
        with pytest.raises(aiolibsql.OperationalError, match="interrupted") as raised:
            await conn.execute(ENDLESS)
        caught.append(raised.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        while not caught:  # an interrupt before the statement runs has nothing to end
            await conn.interrupt()
            await anyio.sleep(0.001)
    assert caught[0].sqlite_errorname == "SQLITE_INTERRUPT"
    assert not isinstance(caught[0], aiolibsql.TimeoutError)
    await assert_healthy(conn)


# A full and a read-only database.


@pytest.mark.local("PRAGMAs that set something")
@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "in a transaction"])
async def test_full_database_names_it_and_leaves_nothing_half_done(
    backend: Backend, begin: bool
) -> None:
    async with backend.connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES ('kept')")
        await conn.execute("PRAGMA max_page_count = 20")
        if begin:
            await conn.begin()
            await conn.execute("INSERT INTO t VALUES ('small')")
        fill = (
            "WITH n(i) AS (VALUES (1), (2), (3), (4)) INSERT INTO t SELECT zeroblob(40000) FROM n"
        )
        with pytest.raises(aiolibsql.OperationalError, match="full") as caught:
            await conn.execute(fill)
        assert caught.value.sqlite_errorname == "SQLITE_FULL"
        if begin and not conn.in_transaction:
            with pytest.raises(aiolibsql.OperationalError, match="transaction was rolled back"):
                await conn.execute("INSERT INTO t VALUES ('slipped')")
        await conn.rollback()
        assert await conn.fetch_all("SELECT a FROM t") == [("kept",)]
        await conn.execute("PRAGMA max_page_count = 10000")
        await assert_healthy(conn)


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (1)", "CREATE TABLE u (a)", "DROP TABLE t",
                                 "PRAGMA user_version = 5"])  # fmt: skip
async def test_read_only_database_refuses_to_write(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "test.db"
    async with aiolibsql.connect(path) as conn:
        await conn.execute("CREATE TABLE t (a)")
    async with aiolibsql.connect(path.as_uri() + "?mode=ro", uri=True) as conn:
        with pytest.raises(aiolibsql.OperationalError, match="readonly database") as caught:
            await conn.execute(sql)
        assert caught.value.sqlite_errorname == "SQLITE_READONLY"
        await conn.rollback()
        assert await conn.fetch_all("SELECT * FROM t") == []
        await assert_healthy(conn, is_writable=False)


def test_exceptions_are_attributes_of_connection_as_in_sqlite3() -> None:
    names = [name for name in dir(sqlite3.Connection) if name[0].isupper()]
    assert len(names) == 10
    for name in names:
        assert getattr(aiolibsql.Connection, name) is getattr(aiolibsql, name)
