"""What a connection has counted, asked in turn with its other operations (as rapsqlite)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiolibsql._aiolibsql import _fetch_plain

if TYPE_CHECKING:
    from aiolibsql._aiolibsql import Connection


async def _number(conn: Connection[Any], sql: str) -> int:
    ((number,),) = await _fetch_plain(conn, sql)
    assert isinstance(number, int)  # noqa: S101 - for type checkers
    return number


async def changes(self: Connection[Any]) -> int:
    """Return how many rows the last write has changed."""
    return await _number(self, "SELECT changes()")


async def last_insert_rowid(self: Connection[Any]) -> int:
    """Return the rowid that was inserted last."""
    return await _number(self, "SELECT last_insert_rowid()")


async def total_changes_async(self: Connection[Any]) -> int:
    """Return how many rows were changed since the connection was opened."""
    return await _number(self, "SELECT total_changes()")


async def in_transaction_async(self: Connection[Any]) -> bool:
    """Tell whether a transaction is open once the operations before have ended."""
    await _number(self, "SELECT 1")
    return self.in_transaction
