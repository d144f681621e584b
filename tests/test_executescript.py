"""Executescript: many statements in one go, with the stdlib's `sqlite3` as oracle."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

SCRIPTS = {
    "empty": "",
    "only comments": "-- nothing\n/* at all */ ;;",
    "several": "CREATE TABLE t (a); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);",
    "last without semicolon": "CREATE TABLE t (a); INSERT INTO t VALUES (1)",
    "rows are dropped": "SELECT 1; VALUES (1), (2); CREATE TABLE t (a)",
    "semicolons in text": "CREATE TABLE t (a); INSERT INTO t VALUES ('a;b -- c;'), (\"d;\");",
    "trigger": """
        CREATE TABLE t (a); CREATE TABLE log (a);
        CREATE TRIGGER r AFTER INSERT ON t BEGIN
            INSERT INTO log VALUES (new.a); INSERT INTO log VALUES (-new.a);
        END;
        INSERT INTO t VALUES (5);""",
    "transaction": "BEGIN; CREATE TABLE t (a); INSERT INTO t VALUES (1); COMMIT;",
    "transaction left open": "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1);",
    "transaction rolled back": "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1); ROLLBACK;",
    "error in the middle": "CREATE TABLE t (a); INSERT INTO nowhere VALUES (1); DROP TABLE t;",
    "error in a transaction": "CREATE TABLE t (a UNIQUE); BEGIN; INSERT INTO t VALUES (1);"
                              "INSERT INTO t VALUES (1); COMMIT;",
    "syntax error at the end": "CREATE TABLE t (a); CREATE TABL u (a);",
    "incomplete": "CREATE TABLE t (a); CREATE TABLE u (",
    "unbound parameter": "CREATE TABLE t (a); INSERT INTO t VALUES (?);",
    "astral": "CREATE TABLE \"😀\" (a); INSERT INTO \"😀\" VALUES ('é𝄞');",
}  # fmt: skip

SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY rowid"


@pytest.mark.local("parameters in scripts; comments in schemas")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("isolation_level", ["", None])
@pytest.mark.parametrize("pending", [False, True], ids=["idle", "pending changes"])
async def test_script_does_what_it_does_in_sqlite3(
    backend: Backend, script: str, isolation_level: Any, pending: bool
) -> None:
    oracle = sqlite3.connect(":memory:", isolation_level=isolation_level)
    async with backend.connect(isolation_level=isolation_level) as conn:
        setup = ["CREATE TABLE before (a)"]
        setup += ["INSERT INTO before VALUES (1)"] if pending else []
        for sql in setup:
            oracle.execute(sql)
            await conn.execute(sql)
        theirs, ours = oracle.cursor(), conn.cursor()
        expected: type[Exception] | None = None
        try:
            theirs.executescript(script)
        except sqlite3.Error as error:
            expected = type(error)
        if expected is None:
            assert await ours.executescript(script) is ours
        else:
            with pytest.raises(expected):
                await ours.executescript(script)
        assert conn.in_transaction == oracle.in_transaction
        assert ours.description == theirs.description
        assert ours.lastrowid == theirs.lastrowid
        assert await ours.fetchall() == theirs.fetchall() == []

        await conn.rollback()
        oracle.rollback()
        schema = oracle.execute(SCHEMA).fetchall()
        assert await conn.fetch_all(SCHEMA) == schema
        for _, name, _ in (row for row in schema if row[0] == "table"):
            contents = f'SELECT * FROM "{name}"'
            assert await conn.fetch_all(contents) == oracle.execute(contents).fetchall(), name
        await assert_healthy(conn)
    oracle.close()


async def test_script_commits_a_pending_transaction_first(file_backend: Backend) -> None:
    async with file_backend.connect() as conn, file_backend.second() as other:
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        assert conn.in_transaction
        await conn.executescript("SELECT 1")
        assert not conn.in_transaction
        assert await other.fetch_all("SELECT * FROM t") == [(1,)]


async def test_script_in_pep_249_mode_commits_nothing(file_backend: Backend) -> None:
    async with file_backend.connect(autocommit=False) as conn, file_backend.second() as other:
        await conn.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        assert conn.in_transaction
        assert await other.fetch_all("SELECT name FROM sqlite_master") == []
        await conn.rollback()
        assert await conn.fetch_all("SELECT name FROM sqlite_master") == []


async def test_script_of_thousands_of_statements_runs_whole(conn: Connection) -> None:
    inserts = "".join(f"INSERT INTO t VALUES ({number});\n" for number in range(10_000))
    await conn.executescript(f"BEGIN; CREATE TABLE t (a);\n{inserts} COMMIT;")
    assert await conn.fetch_all("SELECT count(*), sum(a) FROM t") == [(10_000, 9_999 * 5_000)]


@pytest.mark.parametrize(
    "broken", ["INSERT INTO", "SELECT 1 FROM", "selec", "DELETE FROM t WHERE ("]
)
@pytest.mark.parametrize("rest", ["", "; INSERT INTO t VALUES (3)"])
async def test_statement_that_breaks_off_is_an_error_and_nothing_after_it_runs(
    conn: Connection, broken: str, rest: str
) -> None:
    await conn.execute("CREATE TABLE t (a)")
    with pytest.raises(aiolibsql.OperationalError):
        await conn.executescript(f"INSERT INTO t VALUES (1); {broken}{rest}")
    assert await conn.fetch_all("SELECT a FROM t WHERE a <> 1") == []
    await assert_healthy(conn)


async def test_script_counts_what_it_changes(conn: Connection) -> None:
    await conn.executescript(
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); UPDATE t SET a = 3"
    )
    assert conn.total_changes == 4


@pytest.mark.local("other words")
async def test_error_names_what_it_met(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="no such table: nowhere") as caught:
        await conn.executescript("SELECT 1; SELECT * FROM nowhere; SELECT 2;")
    assert "nowhere" in str(caught.value.sql)
    with pytest.raises(aiolibsql.OperationalError, match="incomplete input"):
        await conn.executescript("CREATE TABLE t (")
    await assert_healthy(conn)


@pytest.mark.parametrize("script", [b"SELECT 1", None, 5])
async def test_script_must_be_text(conn: Connection, script: Any) -> None:
    with pytest.raises(TypeError):
        await conn.executescript(script)


async def test_nul_in_a_script_is_refused_and_nothing_runs(conn: Connection) -> None:
    with pytest.raises((ValueError, aiolibsql.ProgrammingError)):
        await conn.executescript("CREATE TABLE t (a);\0 CREATE TABLE u (a);")
    assert await conn.fetch_all("SELECT name FROM sqlite_master") == []


async def test_surrogates_in_a_script_are_an_encode_error(conn: Connection) -> None:
    with pytest.raises(UnicodeEncodeError):
        await conn.executescript("SELECT '\ud800'")
