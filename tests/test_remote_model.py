"""A database at a server beside the stdlib's ``sqlite3``: the same calls give the same results."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.anyio

TABLES = "CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE, y NOT NULL DEFAULT 0 CHECK (y < 9))"
VALUES = st.one_of(
    st.none(),
    st.integers(0, 9),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.binary(max_size=5),
)
SMALL = st.integers(0, 9)

STATEMENTS = st.one_of(
    st.tuples(st.just("INSERT INTO t (x) VALUES (?)"), st.tuples(VALUES)),
    st.tuples(st.just("INSERT INTO t (x, y) VALUES (?, ?)"), st.tuples(SMALL, SMALL)),
    st.tuples(st.just("INSERT OR IGNORE INTO t (x) VALUES (?)"), st.tuples(SMALL)),
    st.tuples(st.just("REPLACE INTO t (x) VALUES (?)"), st.tuples(SMALL)),
    st.tuples(st.just("INSERT INTO t (x) VALUES (?), (?)"), st.tuples(SMALL, SMALL)),
    st.tuples(st.just("UPDATE t SET y = ? WHERE x > ?"), st.tuples(SMALL, SMALL)),
    st.tuples(st.just("UPDATE t SET x = ? RETURNING id, x"), st.tuples(SMALL)),
    st.tuples(st.just("DELETE FROM t WHERE x = ?"), st.tuples(SMALL)),
    st.tuples(st.just("SELECT x, y, typeof(x) FROM t ORDER BY id"), st.just(())),
    st.tuples(st.just("SELECT ? AS a, typeof(?2) AS b, 1 AS a"), st.tuples(VALUES, VALUES)),
    st.tuples(st.just("SELECT x FROM t WHERE x = ?"), st.tuples(VALUES)),
    st.tuples(st.sampled_from(["SELECT * FROM nowhere", "SELECT nothing FROM t", "selec 1", "",
                               "-- nothing", "CREATE TABLE IF NOT EXISTS u (a)",
                               "DROP TABLE IF EXISTS u", "SAVEPOINT p", "RELEASE p",
                               "ROLLBACK TO p", "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]),
              st.just(())),
)  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("execute"), STATEMENTS),
    st.tuples(st.just("executemany"), st.lists(st.tuples(SMALL), min_size=1, max_size=4)),
    st.tuples(st.sampled_from(["commit", "rollback"]), st.none()),
)
LEVELS = st.sampled_from(["", "IMMEDIATE", None])


def told(cursor: Any) -> Any:
    """Return what a cursor tells of its statement, without its rows."""
    names = cursor.description and [column[0] for column in cursor.description]
    return names, cursor.rowcount


def failed(error: sqlite3.Error) -> Any:
    """Return what an error tells: its family and, where Python has it, which constraint."""
    family = next(kind for kind in type(error).__mro__ if kind.__module__ == "sqlite3")
    name = getattr(error, "sqlite_errorname", None) if sys.version_info >= (3, 11) else None
    # Servers do not tell a primary key from a unique column, nor most other names.
    return family, name if (name or "").startswith("SQLITE_CONSTRAINT") else None


class Model:
    """The stdlib's connection, with this driver's documented difference: executemany is atomic,
    and undoes the BEGIN too that it ran."""

    def __init__(self, level: Any) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=level)
        self.conn.execute(TABLES)

    def do(self, what: str, argument: Any) -> Any:
        if what in {"commit", "rollback"}:
            return getattr(self.conn, what)()
        if what == "execute":
            cursor = self.conn.execute(*argument)
            rows = cursor.fetchall()
            return rows, told(cursor), cursor.lastrowid if is_insert(argument[0]) else None
        begins = not self.conn.in_transaction and self.conn.isolation_level is not None
        if begins:
            self.conn.execute(f"BEGIN {self.conn.isolation_level}")
        self.conn.execute("SAVEPOINT model")
        try:
            cursor = self.conn.executemany("INSERT INTO t (x) VALUES (?)", argument)
        except sqlite3.Error:
            self.conn.execute("ROLLBACK TO model")
            self.conn.execute("RELEASE model")
            if begins:
                self.conn.rollback()
            raise
        self.conn.execute("RELEASE model")
        return told(cursor)


def is_insert(sql: str) -> bool:
    return sql.startswith("INSERT INTO")


async def do(conn: aiolibsql.Connection[Any], what: str, argument: Any) -> Any:
    if what in {"commit", "rollback"}:
        await getattr(conn, what)()
        return None
    if what == "execute":
        cursor = await conn.execute(*argument)
        rows = await cursor.fetchall()
        return rows, told(cursor), cursor.lastrowid if is_insert(argument[0]) else None
    return told(await conn.executemany("INSERT INTO t (x) VALUES (?)", argument))


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(level=LEVELS, steps=st.lists(STEPS, max_size=15))
async def test_steps_do_what_they_do_in_sqlite3(
    hosted: Backend, level: str | None, steps: list[tuple[str, Any]]
) -> None:
    model = Model(level)
    async with hosted.connect(isolation_level=level) as conn:
        await conn.execute("DROP TABLE IF EXISTS t")
        await conn.execute("DROP TABLE IF EXISTS u")
        await conn.execute(TABLES)
        try:
            for what, argument in steps:
                expected: Any = None
                found: Any = None
                try:
                    expected = model.do(what, argument)
                except sqlite3.Error as error:
                    expected = failed(error)
                try:
                    found = await do(conn, what, argument)
                except aiolibsql.Error as error:
                    found = failed(error)
                assert found == expected, (what, argument)
                assert conn.in_transaction == model.conn.in_transaction, (what, argument)
            rows = model.conn.execute("SELECT * FROM t ORDER BY id").fetchall()
            assert await conn.fetch_all("SELECT * FROM t ORDER BY id") == rows
        finally:
            model.conn.close()
            await conn.rollback()
