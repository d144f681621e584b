"""Connection and cursors beside the stdlib's ``sqlite3``: the same calls give the same answers.

One difference is kept out of the way: sqlite3 reads one row ahead, aiolibsql a batch, so a table
that a cursor is still reading from is not changed before that cursor was read to its end.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
EXAMPLES, STEPS = (2000, 100) if IS_SOAK else (60, 30)

CURSORS = st.integers(0, 2)
KEYS = st.integers(1, 12)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)
SELECTS = st.sampled_from(
    [
        ("SELECT id, v FROM t WHERE id >= ? ORDER BY id", 1),
        ("SELECT v, v AS v, id + ? AS 'a b' FROM t ORDER BY id DESC", 1),
        ("SELECT count(*), total(id) FROM t", 0),
        ("SELECT a.id, b.id FROM t a, t b WHERE a.id <= ? ORDER BY 1, 2", 1),
        ("SELECT id FROM t WHERE 0", 0),
        ("WITH big(i) AS (VALUES (1), (2)) SELECT big.i, t.id FROM big, t ORDER BY 1, 2", 0),
        ("VALUES (1, 'x'), (2, NULL)", 0),
        ("-- a comment first\nSELECT id FROM t ORDER BY id", 0),
        ("EXPLAIN QUERY PLAN SELECT 1 WHERE 0", 0),
    ]
)
FAILING = st.sampled_from(
    [
        "SELECT * FROM missing",
        "INSERT INTO t VALUES (1, 2, 3)",
        "SELEC 1",
        "SELECT ?",
        "SELECT 1; SELECT 2",
        "INSERT INTO strict_t VALUES (-1)",
    ]
)


class Pair(NamedTuple):
    """The same cursor in both drivers."""

    ours: aiolibsql.Cursor[Any]
    theirs: sqlite3.Cursor


class Machine(RuleBasedStateMachine):
    """Does to both connections whatever hypothesis thinks of."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.ours = self.run(self.opened())
        self.theirs = sqlite3.connect(":memory:")
        for sql in (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
            "CREATE TABLE strict_t (n CHECK (n > 0))",
        ):
            self.run(self.ours.execute(sql))
            self.theirs.execute(sql)
        self.pairs = [Pair(self.ours.cursor(), self.theirs.cursor()) for _ in range(3)]

    @staticmethod
    async def opened() -> aiolibsql.Connection[Any]:
        return await aiolibsql.connect(":memory:", isolation_level="")

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def await_it() -> Any:
            return await awaitable

        return self.loop.run_until_complete(await_it())

    def both(self, ours: Callable[[], Awaitable[Any]], theirs: Callable[[], Any]) -> Any:
        """Do something to both; they give the same value or the same class of error."""
        try:
            expected = theirs()
        except (sqlite3.Error, sqlite3.Warning) as error:
            # An error of one Python version was a Warning in another.
            kind = sqlite3.ProgrammingError if isinstance(error, sqlite3.Warning) else type(error)
            with pytest.raises(kind) as caught:
                self.run(ours())
            assert isinstance(caught.value, aiolibsql.Error)
            return None
        got = self.run(ours())
        if not isinstance(expected, sqlite3.Cursor):
            assert got == expected
            assert repr(got) == repr(expected), "equal, but of other types"
        return got

    def finish_reading(self) -> None:
        """Read every cursor to its end, as the module says."""
        for pair in self.pairs:
            self.both(pair.ours.fetchall, pair.theirs.fetchall)

    def execute(self, cursor: int, sql: str, *parameters: Any) -> None:
        pair = self.pairs[cursor]
        self.both(
            lambda: pair.ours.execute(sql, parameters),
            lambda: pair.theirs.execute(sql, parameters),
        )

    def write(self, cursor: int, sql: str, *parameters: Any) -> None:
        self.finish_reading()
        self.execute(cursor, sql, *parameters)

    @initialize(rows=st.lists(VALUES, max_size=12))
    def fill(self, rows: list[Any]) -> None:
        pair = self.pairs[0]
        sql = "INSERT INTO t (v) VALUES (?)"
        self.both(
            lambda: pair.ours.executemany(sql, [(row,) for row in rows]),
            lambda: pair.theirs.executemany(sql, [(row,) for row in rows]),
        )

    @rule(cursor=CURSORS, key=KEYS, value=VALUES, verb=st.sampled_from(["INSERT", "REPLACE"]))
    def insert(self, cursor: int, key: int, value: Any, verb: str) -> None:
        self.write(cursor, f"{verb} INTO t VALUES (?, ?)", key, value)

    @rule(cursor=CURSORS, value=VALUES)
    def insert_with_a_new_key(self, cursor: int, value: Any) -> None:
        self.write(cursor, "INSERT INTO t (v) VALUES (?)", value)

    @rule(cursor=CURSORS, key=KEYS, value=VALUES)
    def update(self, cursor: int, key: int, value: Any) -> None:
        self.write(cursor, "UPDATE t SET v = ? WHERE id >= ?", value, key)

    @rule(cursor=CURSORS, key=KEYS)
    def delete(self, cursor: int, key: int) -> None:
        self.write(cursor, "DELETE FROM t WHERE id = ?", key)

    @rule(cursor=CURSORS, rows=st.lists(st.tuples(KEYS, VALUES), max_size=5))
    def replace_many(self, cursor: int, rows: list[tuple[int, Any]]) -> None:
        self.finish_reading()
        pair = self.pairs[cursor]
        sql = "REPLACE INTO t VALUES (?, ?)"
        self.both(
            lambda: pair.ours.executemany(sql, rows), lambda: pair.theirs.executemany(sql, rows)
        )

    @rule(cursor=CURSORS, select=SELECTS, key=KEYS)
    def select(self, cursor: int, select: tuple[str, int], key: int) -> None:
        sql, parameters = select
        self.execute(cursor, sql, *[key] * parameters)

    @rule(cursor=CURSORS, sql=FAILING)
    def fail(self, cursor: int, sql: str) -> None:
        self.finish_reading()
        self.execute(cursor, sql)

    @rule(cursor=CURSORS)
    def fetchone(self, cursor: int) -> None:
        pair = self.pairs[cursor]
        self.both(pair.ours.fetchone, pair.theirs.fetchone)

    @rule(cursor=CURSORS, size=st.integers(0, 5))
    def fetchmany(self, cursor: int, size: int) -> None:
        pair = self.pairs[cursor]
        # A size of 0 fetches everything in sqlite3 up to 3.14, and nothing elsewhere.
        self.both(lambda: pair.ours.fetchmany(size or 1), lambda: pair.theirs.fetchmany(size or 1))

    @rule(cursor=CURSORS)
    def fetchall(self, cursor: int) -> None:
        pair = self.pairs[cursor]
        self.both(pair.ours.fetchall, pair.theirs.fetchall)

    @rule()
    def begin(self) -> None:
        self.both(lambda: self.ours.execute("BEGIN"), lambda: self.theirs.execute("BEGIN"))

    @rule()
    def commit(self) -> None:
        self.both(self.ours.commit, self.theirs.commit)

    @rule()
    def rollback(self) -> None:
        self.finish_reading()
        self.both(self.ours.rollback, self.theirs.rollback)

    @invariant()
    def both_show_the_same(self) -> None:
        assert self.ours.in_transaction == self.theirs.in_transaction
        assert self.ours.total_changes == self.theirs.total_changes
        for pair in self.pairs:
            assert pair.ours.description == pair.theirs.description
            assert pair.ours.rowcount == pair.theirs.rowcount
            assert pair.ours.lastrowid == pair.theirs.lastrowid

    def teardown(self) -> None:
        async def close() -> None:
            await self.ours.rollback()
            await self.ours.close()

        self.run(close())
        self.theirs.close()


def test_write_refused_for_its_parameters_leaves_the_transaction_that_sqlite3_leaves() -> None:
    async def ours() -> bool:
        async with aiolibsql.connect(":memory:") as conn:
            await conn.execute("CREATE TABLE t (v)")
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.execute("INSERT INTO t VALUES (?)")
            return conn.in_transaction

    theirs = sqlite3.connect(":memory:")
    theirs.execute("CREATE TABLE t (v)")
    with pytest.raises(sqlite3.ProgrammingError):
        theirs.execute("INSERT INTO t VALUES (?)")
    in_transaction = theirs.in_transaction
    theirs.close()
    assert asyncio.run(ours()) == in_transaction


@pytest.mark.soak
@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 resets cursors at a rollback")
def test_connection_and_cursors_answer_as_sqlite3_does() -> None:
    Machine.loop = asyncio.new_event_loop()
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Machine.loop.close()
