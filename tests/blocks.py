"""What the tests of transaction blocks share: a process that looks on, and moments to cancel at.

Needs no event loop in particular at import; the helpers use anyio.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from situations import SLOW, Attempt, OtherProcess, attempt, attempt_cancelled, block_until, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends import Backend

    import aiolibsql


class Outsider(OtherProcess):
    """Another process for any number of files, one after the other."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        # A lock that was left behind is found soon.
        self.run("PRAGMA busy_timeout=3000")

    def rows(self, backend: Backend) -> list[Any]:
        """Return the values in the table t of a file; nobody may hold a write lock on it."""
        self._attach(backend)
        rows = self.run("BEGIN IMMEDIATE", "SELECT x FROM file.t ORDER BY rowid")
        self.release()
        return [value for (value,) in ast.literal_eval(rows)]

    def lock(self, backend: Backend) -> None:
        """Take a file's exclusive lock, which keeps out readers too, until ``release``."""
        self._attach(backend)
        self.run("BEGIN EXCLUSIVE")

    def read(self, backend: Backend) -> None:
        """Take a shared lock, which keeps COMMITs waiting, until ``release``."""
        self._attach(backend)
        self.run("BEGIN", "SELECT * FROM file.t")

    def release(self) -> None:
        """End the transaction and let go of the file."""
        self.run("ROLLBACK", "DETACH file")

    def _attach(self, backend: Backend) -> None:
        self.run(f"ATTACH '{backend.path}' AS file")


Kind = tuple[str, Any]

# Kinds of block, as a method of the connection and its argument. EXCLUSIVE waits when it begins.
WRITERS: list[Kind] = [
    ("transaction", "DEFERRED"),
    ("transaction", "IMMEDIATE"),
    ("savepoint", None),
]
KINDS: list[Kind] = [*WRITERS, ("transaction", "EXCLUSIVE"), ("transaction", "READ")]


def name_of(kind: object) -> str:
    """Return what pytest calls a kind of block."""
    return "-".join(str(part) for part in kind if part) if isinstance(kind, tuple) else ""


def block_of(conn: aiolibsql.Connection[Any], kind: Kind) -> aiolibsql.Transaction[Any]:
    """Return a new block of a kind."""
    method, argument = kind
    block: aiolibsql.Transaction[Any] = getattr(conn, method)(argument)
    return block


async def insert(conn: aiolibsql.Connection[Any], *values: Any) -> None:
    """Insert values into t, one statement each."""
    for value in values:
        await conn.execute("INSERT INTO t VALUES (?)", (value,))


async def xs(conn: aiolibsql.Connection[Any]) -> list[Any]:
    """Return the values in t."""
    return [value for (value,) in await conn.fetch_all("SELECT x FROM t ORDER BY rowid")]


async def cancelled_in_queue(
    conn: aiolibsql.Connection[Any],
    operation: Awaitable[Any],
    when: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint,
) -> Attempt:
    """Cancel an operation while it waits for a slow query of the same task's blocks to end."""
    slow = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.fetch_scalar(SLOW), slow)
        await turns()

        async def queued() -> None:
            await turns()
            assert slow.value is None, "the slow query is over: nothing was queued"
            await when()

        outcome = await attempt_cancelled(operation, queued)
    assert slow.value == 300000
    return outcome


async def cancelled_undelivered(
    conn: aiolibsql.Connection[Any], operation: Awaitable[Any], done: Callable[[], bool]
) -> Attempt:
    """Cancel an operation that its worker has done and whose task had no time to hear of it."""

    async def is_done() -> None:
        block_until(done)

    return await cancelled_in_queue(conn, operation, is_done)
