"""A connection with what the shell knows besides: settings, outputs, and how errors are told."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TextIO

import aiolibsql
from aiolibsql.shell.commands import run_command
from aiolibsql.shell.errors import Failure, UsageError, message_of
from aiolibsql.shell.modes import MODES
from aiolibsql.shell.output import Output
from aiolibsql.shell.progress import counted
from aiolibsql.shell.statements import Splitter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiolibsql.shell.database import Database
from aiolibsql.shell.statements import Item

# Rows that decide how wide the columns of a table are; then as many are written at once.
_FIRST_OF_FILE = 10_000
_BATCH = 1000
_DEEPEST = 20
# Statements of a script that may go out together.
_TOGETHER = 200
_INSERT = re.compile(r"(?i)insert\b")
_RETURNING = re.compile(r"(?i)\breturning\b")


@dataclass
class Settings:
    """What `.mode` and others change.

    Attributes:
        mode: The name of one of `MODES`.
        null: The text for NULL, or None for the mode's own.
        has_header: Whether the names of columns are written.
        has_timer: Whether each statement's time is written.
        keeps_going: Whether a script goes on after an error.
    """

    mode: str = "table"
    null: str | None = None
    has_header: bool = True
    has_timer: bool = False
    keeps_going: bool = False


class Session:
    """One run of the shell.

    Attributes:
        conn: The open connection.
        database: What it is a connection to.
        settings: What commands change.
        is_interactive: Whether somebody types.
        ask_secret: Asks for something that is not shown, or None where there is nobody to ask.
        has_failed: Whether anything went wrong.
    """

    def __init__(
        self,
        conn: aiolibsql.Connection[Any],
        database: Database,
        settings: Settings,
        streams: tuple[TextIO, TextIO] | None = None,
    ) -> None:
        """Take an open connection.

        Args:
            conn: The connection, of ``isolation_level=None``.
            database: What it is a connection to.
            settings: What commands change.
            streams: For results and for errors; the standard ones unless given.
        """
        out, err = streams or (sys.stdout, sys.stderr)
        self.conn = conn
        self.database = database
        self.settings = settings
        self.out: Output = Output(out)
        self.err: Output = Output(err)
        self.is_interactive: bool = False
        self.ask_secret: Callable[[str], Awaitable[str]] | None = None
        self.has_failed: bool = False
        self._depth = 0

    async def run(self, item: Item) -> None:
        """Run a statement or a command.

        Raises:
            Failure: If it goes wrong, with its place.
            Leave: If the session is to end.
        """
        was_in_transaction = self.conn.in_transaction
        began = time.monotonic()
        try:
            if item.is_command:
                await run_command(self, item.text)
            else:
                await self.show(item.text)
        except BrokenPipeError:
            raise  # nobody reads what we write
        except (aiolibsql.Error, OSError, UsageError, ValueError, OverflowError) as error:
            await self._tell_of_rollback(was_in_transaction)
            is_typed = self.is_interactive and not self._depth
            raise Failure(None if is_typed else item.place, message_of(error)) from error
        except asyncio.CancelledError:
            await self._tell_of_rollback(was_in_transaction)
            raise
        finally:
            if self.settings.has_timer:
                self.out.note(f"Run time: {time.monotonic() - began:.3f} s")
            self.out.flush()

    async def _tell_of_rollback(self, was_in_transaction: bool) -> None:
        """Say so if SQLite has rolled back what the user had begun."""
        if not was_in_transaction or self.conn.closed:
            return
        if not await self._is_in_transaction():
            self.err.note("The transaction was rolled back.", "yellow")

    async def _is_in_transaction(self) -> bool:
        """Tell whether one is open once a statement that was cancelled is really over.

        The statement after a transaction that SQLite has ended raises, to tell a program so. Here
        that is this one.
        """
        with contextlib.suppress(aiolibsql.Error):
            await self.conn.fetch_scalar("SELECT 1")
        return self.conn.in_transaction

    async def show(self, sql: str) -> None:
        """Run one statement and write its rows."""
        async with self.conn.execute(sql) as cursor:
            if cursor.description is None:
                if self.is_interactive and cursor.rowcount >= 0:
                    self.out.note(f"({counted(cursor.rowcount, 'row')} changed)")
                return
            columns = [column[0] for column in cursor.description]
            make = MODES[self.settings.mode]
            writer = make(self.out, columns, self.settings.null, self.settings.has_header)
            count, size = 0, _BATCH if self.out.is_terminal else _FIRST_OF_FILE
            while True:
                rows = await cursor.fetchmany(size)
                if not rows and count:
                    break
                writer.rows(rows)
                count += len(rows)
                if len(rows) < size:
                    break
                size = _BATCH
                await asyncio.sleep(0)  # for Control-C
            writer.end()
            if self.is_interactive:
                self.out.note(f"({counted(count, 'row')})")

    async def run_all(self, splitter: Splitter, text: str, is_end: bool) -> None:
        """Run what a piece of text completes, up to the first error.

        Raises:
            Failure: At the first error, unless the session keeps going.
        """
        items = [*splitter.feed(text), *(splitter.finish() if is_end else ())]
        done = 0
        while done < len(items):
            try:
                done += await self._run_together(items[done : done + _TOGETHER])
                if done < len(items):
                    done += 1
                    await self.run(items[done - 1])
            except Failure as failure:  # noqa: PERF203 - it is about one item
                if not self.settings.keeps_going:
                    raise
                self.report(failure)

    async def _run_together(self, items: list[Item]) -> int:
        """Run the INSERTs that come first, if they are in a transaction, in one trip.

        The rows of a dump are a million of them. Nothing of this can be seen: if one fails, all are
        undone, and run again one by one as any other statement.

        Returns:
            How many statements are done.
        """
        is_seen = (self.is_interactive and not self._depth) or self.settings.has_timer
        if is_seen or not self.conn.in_transaction:
            return 0
        inserts = [item.text for item in takewhile(_is_plain_insert, items)]
        if len(inserts) < 2:  # noqa: PLR2004 - one is no more than itself
            return 0
        try:
            await self.conn.batch(inserts)
        except aiolibsql.Error as error:
            if await self._is_in_transaction():
                return 0
            await self._tell_of_rollback(was_in_transaction=True)
            raise Failure(items[0].place, message_of(error)) from error
        except asyncio.CancelledError:
            await self._tell_of_rollback(was_in_transaction=True)
            raise
        return len(inserts)

    async def read(self, path: Path) -> None:
        """Run what a file has in it.

        Raises:
            Failure: At the first error, with its place in the file.
        """
        if self._depth >= _DEEPEST:
            raise UsageError(f".read is nested more than {_DEEPEST} times")
        self._depth += 1
        try:
            splitter = Splitter(str(path))
            with path.open(encoding="utf-8-sig") as file:
                while text := file.read(1 << 20):
                    await self.run_all(splitter, text, is_end=False)
                await self.run_all(splitter, "", is_end=True)
        finally:
            self._depth -= 1

    def report(self, failure: Failure) -> None:
        """Tell of an error."""
        self.has_failed = True
        self.out.flush()
        self.err.note(str(failure), "bold red")
        self.err.flush()

    def say(self, text: str) -> None:
        """Write what is no result: to the terminal, or with the errors."""
        (self.out if self.out.is_terminal else self.err).note(text)

    async def close(self) -> bool:
        """Close the connection, and say so if a transaction was open.

        Returns:
            Whether nothing was lost.
        """
        was_in_transaction = not self.conn.closed and self.conn.in_transaction
        if was_in_transaction:
            await self.conn.rollback()
            self.err.note("The transaction was not committed: it was rolled back.", "yellow")
        await self.conn.close()
        return not was_in_transaction


def _is_plain_insert(item: Item) -> bool:
    return _INSERT.match(item.text) is not None and _RETURNING.search(item.text) is None
