"""Transaction modes: sqlite3's isolation levels and PEP 249's autocommit, with it as oracle."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from hypothesis import example, given, settings
from hypothesis import strategies as st

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

LEGACY = aiolibsql.LEGACY_TRANSACTION_CONTROL

# Any sequence of steps ends as it does in sqlite3.

Step = tuple[str, Any]

DATA: list[Step] = [
    ("execute", "INSERT INTO t VALUES (1)"),
    ("execute", "INSERT INTO t VALUES (2) RETURNING a"),
    ("execute", "UPDATE t SET a = a + 1"),
    ("execute", "DELETE FROM t WHERE a % 2"),
    ("execute", "DELETE FROM t WHERE 0"),
    ("execute", "SELECT count(*) FROM t"),
    ("execute", "CREATE TABLE IF NOT EXISTS u (a)"),
    ("execute", "DROP TABLE IF EXISTS u"),
    ("execute", "INSERT INTO nowhere VALUES (1)"),
    ("executemany", "INSERT INTO t VALUES (?)"),
    ("executescript", "INSERT INTO t VALUES (10); SELECT 1;"),
    ("commit", None),
    ("rollback", None),
]
VERBS: list[Step] = [
    ("execute", "BEGIN"),
    ("execute", "BEGIN IMMEDIATE"),
    ("execute", "COMMIT"),
    ("execute", "END"),
    ("execute", "ROLLBACK"),
    ("execute", "SAVEPOINT s"),
    ("execute", "RELEASE s"),
    ("execute", "ROLLBACK TO s"),
    ("executescript", "COMMIT"),
    ("executescript", "BEGIN; INSERT INTO t VALUES (20)"),
]
LEVELS: list[Step] = [
    ("isolation_level", level) for level in ("", None, "DEFERRED", "IMMEDIATE", "EXCLUSIVE")
]
AUTOCOMMIT: list[Step] = [("autocommit", mode) for mode in (True, False, LEGACY)]

legacy_steps = st.lists(st.sampled_from(DATA + VERBS + LEVELS), max_size=25)
# No verbs: where they left autocommit=False without a transaction, sqlite3's methods fail for good.
modern_steps = st.lists(st.sampled_from(DATA + LEVELS + AUTOCOMMIT), max_size=25)


def step_with_sqlite3(conn: sqlite3.Connection, step: Step) -> object:
    verb, argument = step
    try:
        if verb in ("isolation_level", "autocommit"):
            setattr(conn, verb, argument)
            return None
        if verb == "executemany":
            return conn.executemany(argument, [(5,), (6,)]).fetchall()
        arguments = () if argument is None else (argument,)
        result = getattr(conn, verb)(*arguments)
        return None if result is None else result.fetchall()
    except sqlite3.Error as error:
        return type(error).__name__


async def step_with_aiolibsql(conn: Connection, step: Step) -> object:
    verb, argument = step
    try:
        if verb in ("isolation_level", "autocommit"):
            setattr(conn, verb, argument)
            await conn.execute("")  # what the assignment is for runs before the next operation
            return None
        if verb == "executemany":
            return await (await conn.executemany(argument, [(5,), (6,)])).fetchall()
        arguments = () if argument is None else (argument,)
        result = await getattr(conn, verb)(*arguments)
        return None if result is None else await result.fetchall()
    except aiolibsql.Error as error:
        return type(error).__name__


async def compare(steps: list[Step], **options: Any) -> None:
    oracle = sqlite3.connect(":memory:", **options)
    try:
        async with aiolibsql.connect(":memory:", **options) as conn:
            for step in [("execute", "CREATE TABLE t (a)"), ("commit", None), *steps]:
                expected = step_with_sqlite3(oracle, step)
                assert await step_with_aiolibsql(conn, step) == expected, step
                assert conn.in_transaction == oracle.in_transaction, step
                assert conn.isolation_level == oracle.isolation_level, step
                assert conn.total_changes == oracle.total_changes, step
            rows = "SELECT a FROM t ORDER BY rowid"
            assert await conn.fetch_all(rows) == oracle.execute(rows).fetchall()
            oracle.rollback()
            await conn.rollback()
            assert await conn.fetch_all(rows) == oracle.execute(rows).fetchall()
    finally:
        oracle.close()


@settings(max_examples=300)
@given(steps=legacy_steps, level=st.sampled_from(["", None, "DEFERRED", "IMMEDIATE", "EXCLUSIVE"]))
@example(steps=DATA + VERBS + LEVELS, level="")
@example(steps=VERBS + DATA, level=None)
@example(steps=[DATA[0], ("isolation_level", None), DATA[0], ("rollback", None)], level="")
@example(steps=[("execute", "BEGIN"), DATA[0], ("isolation_level", None)], level=None)
@example(steps=[("execute", "SAVEPOINT s"), DATA[0], ("execute", "RELEASE s"), DATA[0]], level="")
async def test_legacy_steps_end_as_in_sqlite3(steps: list[Step], level: Any) -> None:
    await compare(steps, isolation_level=level)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the oracle's autocommit came with 3.12")
@settings(max_examples=300)
@given(steps=modern_steps, mode=st.sampled_from([True, False, LEGACY]))
@example(steps=DATA + AUTOCOMMIT + DATA + LEVELS, mode=False)
@example(steps=[DATA[0], ("autocommit", True), DATA[0], ("rollback", None)], mode=False)
async def test_autocommit_steps_end_as_in_sqlite3(steps: list[Step], mode: Any) -> None:
    await compare(steps, autocommit=mode)


# Legacy isolation levels.


async def test_default_mode_is_legacy_and_deferred(conn: Connection) -> None:
    assert conn.isolation_level == ""
    assert conn.autocommit == LEGACY
    assert not conn.in_transaction


@pytest.mark.parametrize("level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "immediate"])
@pytest.mark.parametrize("dml", ["INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t",
                                 "REPLACE INTO t VALUES (1)"])  # fmt: skip
async def test_dml_begins_a_transaction_and_nothing_else_does(
    backend: Backend, level: Any, dml: str
) -> None:
    others = ["CREATE TABLE t (a)", "SELECT * FROM t", "PRAGMA user_version", ""]
    if not backend.is_hosted:
        others.append("ANALYZE")
    async with backend.connect(isolation_level=level) as conn:
        for sql in others:
            await conn.execute(sql)
            assert not conn.in_transaction
        await conn.execute(dml)
        assert conn.in_transaction
        await conn.commit()
        assert not conn.in_transaction


async def test_isolation_level_none_commits_each_statement(shared_backend: Backend) -> None:
    async with (
        shared_backend.connect(isolation_level=None) as conn,
        shared_backend.second() as other,
    ):
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        assert not conn.in_transaction
        assert await other.fetch_all("SELECT * FROM t") == [(1,)]
        await conn.execute("BEGIN")
        await conn.execute("INSERT INTO t VALUES (2)")
        await conn.rollback()
        assert await conn.fetch_all("SELECT * FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("level", "reads", "writes"),
    [("DEFERRED", True, True), ("IMMEDIATE", True, False), ("EXCLUSIVE", False, False)],
)
@pytest.mark.parametrize("how", ["begin", "implicit"])
async def test_each_kind_of_begin_takes_its_lock(
    file_backend: Backend, level: Any, reads: bool, writes: bool, how: str
) -> None:
    async with (
        file_backend.connect(isolation_level=level) as conn,
        file_backend.second(timeout=0, isolation_level=None) as other,
    ):
        await conn.execute("CREATE TABLE t (a)")
        assert await other.fetch_all("SELECT * FROM t") == []
        if how == "begin":
            await conn.begin(level)
        else:
            await conn.execute("DELETE FROM t WHERE 0")
            writes = False
        assert conn.in_transaction
        for allowed, sql in [(reads, "SELECT * FROM t"), (writes, "INSERT INTO t VALUES (1)")]:
            if allowed:
                await other.fetch_all(sql)
            else:
                with pytest.raises(aiolibsql.TimeoutError):
                    await other.fetch_all(sql)
        await conn.rollback()
        await assert_healthy(other)


@pytest.mark.parametrize(("level", "error"), [("SOMETIMES", ValueError), ("\0", ValueError),
                                              (5, TypeError), (b"", TypeError)])  # fmt: skip
async def test_wrong_isolation_level_is_refused(
    conn: Connection, level: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="isolation_level"):
        conn.isolation_level = level
    with pytest.raises(error, match="isolation_level"):
        await aiolibsql.connect(":memory:", isolation_level=level)
    assert conn.isolation_level == ""


@pytest.mark.parametrize("mode", [2, -2, "x", None, 0.5])
async def test_wrong_autocommit_is_refused(conn: Connection, mode: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="autocommit"):
        conn.autocommit = mode
    with pytest.raises((ValueError, TypeError), match="autocommit"):
        await aiolibsql.connect(":memory:", autocommit=mode)
    assert conn.autocommit == LEGACY


# begin, commit, rollback.


@pytest.mark.parametrize("mode", ["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "immediate"])
async def test_begin_commit_keeps_and_begin_rollback_undoes(conn: Connection, mode: Any) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.begin(mode)
    await conn.execute("INSERT INTO t VALUES (1)")
    await conn.commit()
    await conn.begin(mode)
    await conn.execute("INSERT INTO t VALUES (2)")
    await conn.rollback()
    assert await conn.fetch_all("SELECT * FROM t") == [(1,)]
    await assert_healthy(conn)


async def test_begin_twice_is_an_error_that_changes_nothing(conn: Connection) -> None:
    await conn.begin()
    assert conn.in_transaction
    with pytest.raises(aiolibsql.OperationalError, match="within a transaction"):
        await conn.begin()
    assert conn.in_transaction
    await conn.rollback()
    await assert_healthy(conn)


async def test_begin_in_an_unknown_mode_is_refused(conn: Connection) -> None:
    with pytest.raises((ValueError, aiolibsql.ProgrammingError), match="SOMETIMES"):
        await conn.begin("SOMETIMES")  # type: ignore[arg-type]
    await assert_healthy(conn)


async def test_commit_and_rollback_without_a_transaction_do_nothing(conn: Connection) -> None:
    await conn.commit()
    await conn.rollback()
    assert not conn.in_transaction
    await assert_healthy(conn)


async def test_commit_that_fails_leaves_the_transaction_open(backend: Backend) -> None:
    async with backend.enforcing() as conn:
        await conn.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
        await conn.execute("CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
        await conn.execute("INSERT INTO c VALUES (1)")
        with pytest.raises(aiolibsql.IntegrityError, match="FOREIGN KEY"):
            await conn.commit()
        assert conn.in_transaction
        await conn.execute("INSERT INTO p VALUES (1)")
        await conn.commit()
        await assert_healthy(conn)


# PEP 249's autocommit, on every Python version.


async def test_autocommit_false_always_has_a_transaction(shared_backend: Backend) -> None:
    async with shared_backend.connect(autocommit=False) as conn, shared_backend.second() as other:
        assert conn.autocommit is False
        assert conn.in_transaction
        await conn.execute("CREATE TABLE t (a)")
        assert await other.fetch_all("SELECT name FROM sqlite_master") == []
        await conn.commit()
        assert conn.in_transaction
        assert await other.fetch_all("SELECT name FROM sqlite_master") == [("t",)]
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.rollback()
        assert conn.in_transaction
        assert await conn.fetch_all("SELECT * FROM t") == []
        await conn.rollback()


@pytest.mark.parametrize("verb", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("method", ["commit", "rollback"])
async def test_autocommit_false_has_a_transaction_again_after_one_ended_by_a_verb(
    backend: Backend, verb: str, method: str
) -> None:
    async with backend.connect(autocommit=False) as conn:
        await conn.execute(verb)
        assert not conn.in_transaction  # as in sqlite3
        await getattr(conn, method)()
        assert conn.in_transaction
        await conn.execute("CREATE TABLE t (a)")
        await conn.rollback()
        assert await conn.fetch_all("SELECT name FROM sqlite_master") == []


async def test_isolation_level_none_commits_in_pep_249_mode_as_in_sqlite3(
    backend: Backend,
) -> None:
    async with backend.connect(autocommit=False) as conn:
        await conn.execute("CREATE TABLE t (a)")
        conn.isolation_level = None
        await conn.execute("SELECT 1")
        assert conn.in_transaction
        await conn.rollback()
        assert await conn.fetch_all("SELECT name FROM sqlite_master") == [("t",)]


async def test_autocommit_true_never_begins_and_its_methods_do_nothing(backend: Backend) -> None:
    async with backend.connect(autocommit=True, isolation_level="IMMEDIATE") as conn:
        assert conn.autocommit is True
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        assert not conn.in_transaction
        await conn.rollback()
        await conn.execute("BEGIN")
        await conn.execute("INSERT INTO t VALUES (2)")
        await conn.commit()
        await conn.rollback()
        assert conn.in_transaction
        await conn.execute("ROLLBACK")
        assert await conn.fetch_all("SELECT * FROM t") == [(1,)]


@pytest.mark.parametrize("given_as", [1, 0, True, False, LEGACY])
async def test_autocommit_given_as_a_number_is_the_same(given_as: Any) -> None:
    conn = await aiolibsql.connect(":memory:", autocommit=given_as)
    assert conn.autocommit == given_as
    assert conn.in_transaction == (given_as == 0)
    await conn.close()


# Assignments take effect before the next operation.


async def test_isolation_level_none_commits_before_the_next_operation(
    shared_backend: Backend,
) -> None:
    async with shared_backend.connect() as conn, shared_backend.second() as other:
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        conn.isolation_level = None
        assert conn.isolation_level is None
        await conn.rollback()  # too late: the assignment came first
        assert not conn.in_transaction
        assert await other.fetch_all("SELECT * FROM t") == [(1,)]


async def test_autocommit_true_commits_and_false_begins_before_the_next_operation(
    shared_backend: Backend,
) -> None:
    async with shared_backend.connect() as conn, shared_backend.second() as other:
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        conn.autocommit = True
        assert conn.autocommit is True
        await conn.execute("SELECT 1")
        assert not conn.in_transaction
        assert await other.fetch_all("SELECT * FROM t") == [(1,)]
        conn.autocommit = False
        await conn.execute("SELECT 1")
        assert conn.in_transaction
        await conn.execute("INSERT INTO t VALUES (2)")
        conn.autocommit = LEGACY
        await conn.execute("SELECT 1")
        assert conn.in_transaction
        await conn.rollback()
        assert not conn.in_transaction
        assert await other.fetch_all("SELECT * FROM t") == [(1,)]


async def test_failing_commit_of_an_assignment_is_the_next_operations_error(
    backend: Backend,
) -> None:
    async with backend.enforcing() as conn:
        await conn.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
        await conn.execute("CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
        await conn.execute("INSERT INTO c VALUES (1)")
        conn.isolation_level = None
        with pytest.raises(aiolibsql.IntegrityError, match="FOREIGN KEY"):
            await conn.execute("INSERT INTO p VALUES (2)")
        assert conn.in_transaction
        await conn.rollback()
        assert await conn.fetch_all("SELECT * FROM p") == []


@pytest.mark.parametrize("at_once", [False, True], ids=["execute", "executescript"])
async def test_release_of_the_outermost_savepoint_commits_and_is_no_loss(
    conn: Connection, at_once: bool
) -> None:
    await conn.execute("CREATE TABLE t (a)")
    statements = ["SAVEPOINT outermost", "INSERT INTO t VALUES (1)", "RELEASE outermost"]
    if at_once:
        await conn.executescript(";".join(statements))
    else:
        for sql in statements:
            await conn.execute(sql)
    assert not conn.in_transaction
    assert await conn.fetch_all("SELECT a FROM t") == [(1,)]
    await conn.commit()
    await assert_healthy(conn)


# A transaction that SQLite itself ended.

NEXT: dict[str, Callable[[Any], Awaitable[object]]] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (7)"),
    "read": lambda conn: conn.fetch_all("SELECT * FROM t"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(7,), (8,)]),
    "executescript": lambda conn: conn.executescript("INSERT INTO t VALUES (7)"),
    "commit": lambda conn: conn.commit(),
    "begin": lambda conn: conn.begin(),
}
ENDINGS = {
    "or rollback": "INSERT OR ROLLBACK INTO t VALUES (1)",
    "raise rollback": "INSERT INTO t VALUES (13)",
}
TABLES = """
    CREATE TABLE t (a UNIQUE);
    CREATE TRIGGER r BEFORE INSERT ON t WHEN new.a = 13 BEGIN
        SELECT RAISE(ROLLBACK, 'thirteen');
    END;
    INSERT INTO t VALUES (1);"""


async def lose(conn: Connection, how: str, begin: str | None) -> None:
    await conn.executescript(TABLES)
    await conn.commit()
    if begin is not None:
        await conn.execute(begin)
    await conn.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(aiolibsql.IntegrityError):
        await conn.execute(ENDINGS[how])


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("begin", [None, "BEGIN"], ids=["implicit", "bare"])
@pytest.mark.parametrize("use", NEXT.values(), ids=NEXT)
async def test_lost_transaction_is_reported_once_by_whatever_comes_next(
    conn: Connection, how: str, begin: str | None, use: Callable[[Any], Awaitable[object]]
) -> None:
    await lose(conn, how, begin)
    assert not conn.in_transaction
    with pytest.raises(aiolibsql.OperationalError, match="transaction was rolled back"):
        await use(conn)
    assert not conn.in_transaction
    assert await conn.fetch_all("SELECT a FROM t") == [(1,)]
    await assert_healthy(conn)


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("rollback", ["method", "statement"])
async def test_rollback_clears_a_lost_transaction(
    conn: Connection, how: str, rollback: str
) -> None:
    await lose(conn, how, None)
    if rollback == "method":
        await conn.rollback()
    else:
        await conn.execute("ROLLBACK")
    assert await conn.fetch_all("SELECT a FROM t") == [(1,)]
    await conn.execute("INSERT INTO t VALUES (3)")
    await conn.commit()
    await assert_healthy(conn)


async def test_lost_transaction_of_pep_249_mode_is_followed_by_a_new_one(
    backend: Backend,
) -> None:
    async with backend.connect(autocommit=False) as conn:
        await lose(conn, "or rollback", None)
        with pytest.raises(aiolibsql.OperationalError, match="transaction was rolled back"):
            await conn.execute("INSERT INTO t VALUES (7)")
        await conn.execute("INSERT INTO t VALUES (8)")
        assert conn.in_transaction
        await conn.rollback()
        assert await conn.fetch_all("SELECT a FROM t") == [(1,)]
        await conn.rollback()
