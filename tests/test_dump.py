"""iterdump, whose text is compared with the stdlib's."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

# The versions before have other texts for virtual tables, foreign keys and sqlite_sequence.
newest = pytest.mark.skipif(sys.version_info < (3, 13), reason="the text is Python 3.13's")

SIMPLE = """
CREATE TABLE t (a, b TEXT, "c d" BLOB);
INSERT INTO t VALUES (1, 'it''s', x'00ff'), (NULL, 'zwei'||char(10)||'Zeilen', 1.5);
INSERT INTO t VALUES (9007199254740993, '', x'');
CREATE TABLE "odd ""name" ("select" INTEGER PRIMARY KEY);
INSERT INTO "odd ""name" VALUES (7);
CREATE TABLE empty (a);
CREATE INDEX i ON t (a);
CREATE VIEW v AS SELECT a FROM t;
CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM empty; END;
"""
SCRIPTS = {
    "nothing": "",
    "simple": SIMPLE,
    "sequence": """
        CREATE TABLE s (a INTEGER PRIMARY KEY AUTOINCREMENT, b);
        INSERT INTO s (b) VALUES ('x'), ('y');
        DELETE FROM s;
    """,
    "statistics": SIMPLE + "ANALYZE;",
    "virtual": "CREATE VIRTUAL TABLE f USING fts4(x); INSERT INTO f VALUES ('words');",
    "violation": """
        CREATE TABLE p (a PRIMARY KEY);
        CREATE TABLE c (a REFERENCES p);
        INSERT INTO c VALUES (1);
    """,
}
needs_newest = {"sequence", "virtual", "violation"}
not_at_servers = {"statistics", "violation"}


def stdlib(script: str) -> Any:
    conn = sqlite3.connect(":memory:")
    conn.executescript(script)
    return conn


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("row_factory", [None, aiolibsql.Row], ids=["tuple", "Row"])
async def test_iterdump_gives_the_text_of_sqlite3(
    backend: Backend, name: str, row_factory: Any
) -> None:
    if name in needs_newest and sys.version_info < (3, 13):
        pytest.skip("the text is Python 3.13's")
    if backend.is_hosted and name in not_at_servers:
        pytest.skip("no ANALYZE, and foreign keys are enforced")
    theirs = stdlib(SCRIPTS[name])
    async with backend.connect(row_factory=row_factory) as conn:
        await conn.executescript(SCRIPTS[name])
        expected = list(theirs.iterdump())
        assert await conn.iterdump() == expected
        assert [statement async for statement in conn.iterdump()] == expected
        await assert_healthy(conn)
    theirs.close()


@pytest.mark.local("foreign keys are enforced")
async def test_iterdump_text_of_sequences_virtual_tables_and_violations(conn: Conn) -> None:
    """The parts for which only the newest stdlib is an oracle."""
    for name in sorted(needs_newest):
        await conn.executescript(SCRIPTS[name])
    dump = await conn.iterdump()
    assert dump[:2] == ["PRAGMA foreign_keys=OFF;", "BEGIN TRANSACTION;"]
    assert dump[-4:] == [
        "PRAGMA writable_schema=OFF;",
        'DELETE FROM "sqlite_sequence";',
        "INSERT INTO \"sqlite_sequence\" VALUES('s',2);",
        "COMMIT;",
    ]
    assert "PRAGMA writable_schema=ON;" in dump


@newest
@pytest.mark.parametrize("pattern", ["t", "%", "nothing", "e%", "", None])
async def test_iterdump_filter_does_as_sqlite3(conn: Conn, pattern: str | None) -> None:
    theirs = stdlib(SIMPLE)
    await conn.executescript(SIMPLE)
    assert await conn.iterdump(filter=pattern) == list(theirs.iterdump(filter=pattern))
    theirs.close()


async def test_iterdump_filter_takes_a_pattern_of_names(conn: Conn) -> None:
    await conn.executescript(SIMPLE)
    assert await conn.iterdump(filter="emp%") == [
        "BEGIN TRANSACTION;",
        "CREATE TABLE empty (a);",
        "COMMIT;",
    ]


async def test_iterdump_makes_the_database_again(conn: Conn) -> None:
    await conn.executescript(SIMPLE)
    dump = await conn.iterdump()
    async with aiolibsql.connect(":memory:") as copy:
        await copy.executescript("\n".join(dump))
        assert await copy.iterdump() == dump
        rows = "SELECT * FROM t ORDER BY rowid"
        assert await copy.fetch_all(rows) == await conn.fetch_all(rows)


async def test_iterdump_that_is_left_holds_nothing(conn: Conn) -> None:
    await conn.executescript(SIMPLE)
    async for statement in conn.iterdump():
        if statement.startswith("INSERT"):
            break
    with anyio.CancelScope() as scope:
        async for _ in conn.iterdump():
            scope.cancel()
    assert scope.cancel_called
    await conn.rollback()
    await assert_healthy(conn)


async def test_iterdump_of_a_closed_connection_raises(backend: Backend) -> None:
    conn = await backend.connect()
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.iterdump()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        async for _ in conn.iterdump():
            pass
