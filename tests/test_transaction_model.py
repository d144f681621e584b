"""Transactions beside the stdlib's ``sqlite3``: the same calls leave the same rows and states.

Blocks are modelled there by what they run here: BEGIN and COMMIT or ROLLBACK, SAVEPOINT and RELEASE
or ROLLBACK TO. Each driver has a file of its own. Differences that are kept out of the way:

* While a block is open, what would end its transaction or change its mode is refused; the model
  expects a ``ProgrammingError`` and leaves sqlite3 alone, which knows no blocks.
* Inside of a block that lost its transaction every statement raises; in sqlite3 it would run
  outside of one. Outside of blocks it raises once. The model follows the documented rule.
* An assignment to ``isolation_level`` or ``autocommit`` applies before the next operation: the
  model runs an empty statement after it.
* RELEASE and ROLLBACK TO by SQL name savepoints that SQL made in the same block: others' would end
  the block's own.
* Under ``autocommit=False`` no BEGIN, COMMIT or ROLLBACK is run as SQL, and no RELEASE that ends a
  transaction: where they leave none open, sqlite3's methods fail for good.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
EXAMPLES, STEPS = (2000, 100) if IS_SOAK else (80, 40)

DEEPEST = 3
VALUES = st.integers(0, 9)
LEVELS = st.sampled_from(["", None, "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
MODES = st.sampled_from(["DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
HAS_AUTOCOMMIT = sys.version_info >= (3, 12)
LEGACY = -1

WRITES = st.sampled_from(
    [
        "INSERT INTO t VALUES ({})",
        "INSERT INTO t VALUES ({}), ({} + 100) RETURNING x",
        "INSERT OR IGNORE INTO t VALUES ({})",
        "REPLACE INTO t VALUES ({})",
        "UPDATE t SET x = x + 10 WHERE x = {}",
        "DELETE FROM t WHERE x >= {}",
        "DELETE FROM t WHERE 0",
        "INSERT OR FAIL INTO t VALUES (50), ({}), (51)",
    ]
)
READS = st.sampled_from(["SELECT x FROM t ORDER BY x", "SELECT count(*), total(x) FROM t", ""])
ENDINGS = st.sampled_from(["BEGIN", "BEGIN IMMEDIATE", "COMMIT", "END", "ROLLBACK"])
SAVEPOINTS = st.sampled_from(["SAVEPOINT p", "RELEASE p", "ROLLBACK TO p"])
SCRIPTS = st.sampled_from(
    [
        "INSERT INTO t VALUES (200); DELETE FROM t WHERE x = 200;",
        "INSERT OR IGNORE INTO t VALUES (201)",
        "BEGIN; INSERT OR IGNORE INTO t VALUES (202); COMMIT",
        "SELECT 1; SELECT * FROM nowhere",
        "",
    ]
)


class Block(NamedTuple):
    """An open block: here, and what it is there."""

    ours: aiolibsql.Transaction[Any]
    # None: it began a transaction by BEGIN.
    savepoint: str | None
    # Its end is the end of the transaction.
    is_outermost: bool


class Machine(RuleBasedStateMachine):
    """Does to both connections whatever hypothesis thinks of."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.blocks: list[Block] = []
        self.is_lost = False
        # Of a transaction that no block began, and that SQLite ended in a block: told once more.
        self.owes_report = False
        self.autocommit: Any = LEGACY
        # The last savepoint that was made outside of a transaction began one.
        self.is_savepoint_outermost = False

    @initialize(level=LEVELS)
    def open(self, level: Any) -> None:
        folder = Path(self.folder.name)

        async def opened() -> aiolibsql.Connection[Any]:
            return await aiolibsql.connect(folder / "ours.db", isolation_level=level)

        self.ours = self.run(opened())
        self.theirs = sqlite3.connect(folder / "theirs.db", isolation_level=level)
        for sql in ("PRAGMA synchronous=OFF", "CREATE TABLE t (x UNIQUE)"):
            self.run(self.ours.execute(sql))
            self.theirs.execute(sql)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def await_it() -> Any:
            return await awaitable

        return self.loop.run_until_complete(await_it())

    @property
    def here(self) -> aiolibsql.Connection[Any]:
        """What takes part in the innermost block: by name, for each step is a task of its own."""
        return self.blocks[-1].ours if self.blocks else self.ours

    def refused(self, ours: Callable[[], Awaitable[Any]], kind: type[Exception]) -> None:
        with pytest.raises(kind):
            self.run(ours())

    def both(
        self, ours: Callable[[], Awaitable[Any]], theirs: Callable[[], Any], *, ends: bool = False
    ) -> None:
        """Do something to both; they give the same value or the same class of error.

        What ``ends`` transactions by itself does not lose one when it fails.
        """
        was_open = self.theirs.in_transaction
        try:
            expected = theirs()
        except (sqlite3.Error, sqlite3.Warning) as error:
            # An error of one Python version was a Warning in another.
            kind = sqlite3.ProgrammingError if isinstance(error, sqlite3.Warning) else type(error)
            with pytest.raises(kind) as caught:
                self.run(ours())
            assert isinstance(caught.value, aiolibsql.Error)
            assert "the transaction was rolled back" not in str(caught.value)
            if was_open and not self.theirs.in_transaction and not ends:
                self.lose()
            return
        assert self.run(ours()) == expected

    def lose(self) -> None:
        """SQLite has ended the transaction by itself."""
        if not self.blocks:
            self.owes_report = True
            return
        self.is_lost = True
        self.owes_report = not self.blocks[0].is_outermost

    def is_answered_by_a_loss(self, ours: Callable[[], Awaitable[Any]]) -> bool:
        """Do it only here if it has to raise because the transaction is gone."""
        if not self.is_lost and not self.owes_report:
            return False
        if not self.blocks:
            self.owes_report = False
        with pytest.raises(aiolibsql.OperationalError, match="the transaction was rolled back"):
            self.run(ours())
        if not self.blocks:
            self.keep_transaction_open()
        return True

    def keep_transaction_open(self) -> None:
        """Under ``autocommit=False`` one is open but for a loss to be told; sqlite3 begins none."""
        is_needed = self.autocommit is False and not self.owes_report
        if is_needed and not self.theirs.in_transaction:
            self.theirs.execute("BEGIN")

    def execute(self, sql: str) -> None:
        async def ours() -> Any:
            return await (await self.here.execute(sql)).fetchall()

        if not self.is_answered_by_a_loss(ours):
            self.both(ours, lambda: self.theirs.execute(sql).fetchall())

    @rule(sql=WRITES, value=VALUES)
    def write(self, sql: str, value: int) -> None:
        self.execute(sql.replace("{}", str(value)))

    @rule(sql=READS)
    def read(self, sql: str) -> None:
        self.execute(sql)

    @rule(verb=st.sampled_from(["INSERT OR ROLLBACK", "INSERT OR ABORT"]), value=VALUES)
    def conflict(self, verb: str, value: int) -> None:
        self.execute(f"{verb} INTO t VALUES ({value})")

    @rule(rows=st.lists(VALUES, max_size=4, unique=True))
    def replace_many(self, rows: list[int]) -> None:
        sql, parameters = "REPLACE INTO t VALUES (?)", [(row,) for row in rows]

        async def ours() -> int:
            return (await self.here.executemany(sql, parameters)).rowcount

        if not self.is_answered_by_a_loss(ours):
            self.both(ours, lambda: self.theirs.executemany(sql, parameters).rowcount)

    @rule(sql=SAVEPOINTS)
    def savepoint_by_sql(self, sql: str) -> None:
        if sql == "SAVEPOINT p" and not self.blocks:
            self.is_savepoint_outermost = not self.theirs.in_transaction
        self.execute(f"{sql}{len(self.blocks)}")

    @rule(sql=ENDINGS)
    def end_by_sql(self, sql: str) -> None:
        if self.blocks:
            error = aiolibsql.OperationalError if self.is_lost else aiolibsql.ProgrammingError
            self.refused(lambda: self.here.execute(sql), error)
        elif self.autocommit == LEGACY:
            if self.owes_report and sql == "ROLLBACK":
                # Settles it, as the method does; to sqlite3 it is an error.
                self.owes_report = False
                self.run(self.ours.execute(sql))
                return
            self.execute(sql)

    @rule(method=st.sampled_from(["commit", "rollback"]))
    def end(self, method: str) -> None:
        if self.blocks:
            error = aiolibsql.OperationalError if self.is_lost else aiolibsql.ProgrammingError
            self.refused(getattr(self.here, method), error)
            return
        ours = getattr(self.ours, method)
        if method == "rollback" and self.owes_report:
            self.owes_report = False
            self.keep_transaction_open()
        if not self.is_answered_by_a_loss(ours):
            self.both(ours, getattr(self.theirs, method))

    @rule(script=SCRIPTS)
    def executescript(self, script: str) -> None:
        if self.blocks:
            error = aiolibsql.OperationalError if self.is_lost else aiolibsql.ProgrammingError
            self.refused(lambda: self.here.executescript(script), error)
            return

        if self.autocommit is False and "BEGIN" in script:
            return

        async def ours() -> None:
            await self.ours.executescript(script)

        def theirs() -> None:
            self.theirs.executescript(script)

        if not self.is_answered_by_a_loss(ours):
            self.both(ours, theirs, ends=True)

    @rule(level=LEVELS)
    def assign_isolation_level(self, level: Any) -> None:
        if self.blocks:
            with pytest.raises(aiolibsql.ProgrammingError):
                self.ours.isolation_level = level
        elif not self.owes_report:
            self.ours.isolation_level = level
            self.theirs.isolation_level = level
            self.execute("")

    @precondition(lambda _: HAS_AUTOCOMMIT)
    @rule(mode=st.sampled_from([True, False, LEGACY]))
    def assign_autocommit(self, mode: Any) -> None:
        if self.blocks:
            with pytest.raises(aiolibsql.ProgrammingError):
                self.ours.autocommit = mode
        elif not self.owes_report:
            if mode is False and self.is_savepoint_outermost and self.theirs.in_transaction:
                self.execute("COMMIT")
            self.ours.autocommit = mode
            self.theirs.autocommit = mode  # type: ignore[attr-defined,unused-ignore]
            self.autocommit = mode
            self.execute("")

    @precondition(lambda self: len(self.blocks) < DEEPEST)
    @rule(mode=MODES)
    def enter_transaction(self, mode: Any) -> None:
        block = self.here.transaction(mode)
        if self.is_answered_by_a_loss(block.__aenter__):
            return
        if self.blocks:
            self.enter(block, f"block_{len(self.blocks)}")
        elif not self.theirs.in_transaction:
            self.enter(block, None, f"BEGIN {mode}")
        elif self.autocommit is False:
            # An open transaction that only read gives way; sqlite3 can't tell whether it did.
            self.run(self.ours.rollback())
            self.theirs.rollback()
            self.enter(block, None, "COMMIT", f"BEGIN {mode}")
        else:
            self.refused(block.__aenter__, aiolibsql.ProgrammingError)

    @precondition(lambda self: len(self.blocks) < DEEPEST)
    @rule(is_named=st.booleans())
    def enter_savepoint(self, is_named: bool) -> None:
        name = f"block_{len(self.blocks)}"
        block = self.here.savepoint(name if is_named else None)
        if not self.is_answered_by_a_loss(block.__aenter__):
            self.enter(block, name)

    def enter(self, block: aiolibsql.Transaction[Any], savepoint: str | None, *begin: str) -> None:
        is_outermost = savepoint is None or not self.theirs.in_transaction
        for sql in begin or (f"SAVEPOINT {savepoint}",):
            self.theirs.execute(sql)
        assert self.run(block.__aenter__()) is block
        self.blocks.append(Block(block, savepoint, is_outermost))

    @precondition(lambda self: self.blocks)
    @rule(is_kept=st.booleans())
    def leave(self, is_kept: bool) -> None:
        block = self.blocks.pop()
        error = None if is_kept else LookupError("mine")
        leaving = block.ours.__aexit__(type(error) if error else None, error, None)
        if self.is_lost:
            self.is_lost = bool(self.blocks)
            if is_kept:
                with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                    self.run(leaving)
            else:
                self.run(leaving)
            if not self.blocks:
                self.keep_transaction_open()
            return
        for sql in self.endings(block, is_kept=is_kept):
            self.theirs.execute(sql)
        self.run(leaving)
        self.keep_transaction_open()

    @staticmethod
    def endings(block: Block, *, is_kept: bool) -> list[str]:
        if block.savepoint is None:
            return ["COMMIT" if is_kept else "ROLLBACK"]
        release = f"RELEASE {block.savepoint}"
        return [release] if is_kept else [f"ROLLBACK TO {block.savepoint}", release]

    @invariant()
    def both_show_the_same(self) -> None:
        if not hasattr(self, "ours"):
            return
        assert self.ours.in_transaction == self.theirs.in_transaction
        assert self.ours.total_changes == self.theirs.total_changes
        if not self.is_lost and not self.owes_report:
            sql = "SELECT x FROM t ORDER BY x"
            assert self.run(self.here.fetch_all(sql)) == self.theirs.execute(sql).fetchall()
        for block in self.blocks:
            assert "(open)" in repr(block.ours)

    def teardown(self) -> None:
        if hasattr(self, "ours"):
            with warnings.catch_warnings():
                # What is open is thrown away.
                warnings.simplefilter("ignore", ResourceWarning)
                self.run(self.ours.close())
            self.theirs.close()
        self.folder.cleanup()


@pytest.mark.soak
@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 resets cursors at a rollback")
def test_transactions_and_blocks_leave_what_sqlite3_leaves() -> None:
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
