"""`SQLiteCache`: values under keys in a table, each for a time of its own (as rapsqlite)."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from aiolibsql._aiolibsql import _Pool
from aiolibsql.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from aiolibsql._aiolibsql import Connection, Cursor
    from aiolibsql._pool import ConnectionPool

T = TypeVar("T")

_SQLITE_ERROR = 1  # SQLite's result code for a table that is not there, among other things
_TABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,99}"


class SQLiteCache:
    """A cache of bytes by text keys in a table of the connection's database (as rapsqlite).

    The table is made when something is first written. Outside of a transaction each change is
    committed by itself; inside one it is part of that, and is undone with it. Times to live are
    measured by the system's clock, so that they hold across processes and restarts.

    Args:
        connection: The connection, a `Transaction`, or a pool.
        table_name: The table; letters, digits and underscores. rapsqlite's cache tables can be
            used.

    Raises:
        TypeError: If ``table_name`` is not a str.
        ValueError: If it is no such name.

    Example:
        ```python
        cache = aiolibsql.SQLiteCache(conn)
        await cache.set("weather", b"sunny", ttl=600)
        assert await cache.get("weather") == b"sunny"
        ```
    """

    def __init__(
        self,
        connection: Connection[Any] | ConnectionPool,
        *,
        table_name: str = "rapsqlite_cache",
    ) -> None:
        if not isinstance(table_name, str):
            raise TypeError("table_name must be a str")
        if not re.fullmatch(_TABLE_NAME, table_name):
            raise ValueError(
                "table_name must consist of 1 to 100 letters, digits and underscores, and not "
                "begin with a digit"
            )
        self._connection = connection
        self._table = table_name

    async def initialize(self) -> None:
        """Make the table, unless it is there.

        Raises:
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.transaction`: all of it is kept or nothing.
        """
        async with self._block() as block:
            await self._create(block)

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if there is none or its time is over.

        Args:
            key: The key.

        Raises:
            TypeError: If the key is not a str.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """
        sql = (
            f'SELECT value FROM "{self._table}" '  # noqa: S608 - a checked name
            "WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
        )
        request = (sql, (_key(key), time.time()))
        conn = self._connection
        return await self._unless_missing(
            conn, lambda: conn.fetch_blob(*request), lambda: _nothing(None)
        )

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Store a value under a key, in place of the one before.

        Args:
            key: The key.
            value: The value.
            ttl: Seconds until it is forgotten; None for never, 0 for at once.

        Raises:
            TypeError: If the key is not a str, the value not bytes, or ``ttl`` not a number.
            ValueError: If ``ttl`` is negative or not finite.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.transaction`: all of it is kept or nothing.
        """
        if not isinstance(value, bytes):
            raise TypeError("the value must be bytes")
        expires_at = None if ttl is None else time.time() + _seconds(ttl)
        await self._write(
            f'INSERT INTO "{self._table}" (key, value, expires_at) '  # noqa: S608 - a checked name
            "VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value, expires_at = excluded.expires_at",
            (_key(key), value, expires_at),
        )

    async def delete(self, key: str) -> bool:
        """Forget a key, and tell whether there was a row for it.

        Args:
            key: The key.

        Raises:
            TypeError: If the key is not a str.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.transaction`: it is kept or not done.
        """
        sql = f'DELETE FROM "{self._table}" WHERE key = ?'  # noqa: S608 - a checked name
        return (await self._write(sql, (_key(key),))).rowcount > 0

    async def cleanup_expired(self, *, limit: int = 1000) -> int:
        """Delete values whose time is over, the oldest first.

        Args:
            limit: How many at most, so that the write lock is not held for long.

        Returns:
            How many were deleted.

        Raises:
            TypeError: If ``limit`` is not an int.
            ValueError: If it is less than 1.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.transaction`: all of it is kept or nothing.
        """
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError("limit must be an int")
        if limit < 1:
            raise ValueError("limit must be at least 1")
        sql = (
            f'DELETE FROM "{self._table}" WHERE key IN (SELECT key FROM "{self._table}" '  # noqa: S608 - a checked name
            "WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?)"
        )
        return (await self._write(sql, (time.time(), limit))).rowcount

    def _block(self) -> AbstractAsyncContextManager[Connection[Any]]:
        """Return a block that is one transaction, or a part of the one around it."""
        if isinstance(self._connection, _Pool):
            return self._connection.transaction()
        return self._connection.savepoint()

    async def _write(self, sql: str, parameters: tuple[Any, ...]) -> Cursor[Any]:
        async with self._block() as block:

            async def create_and_write() -> Cursor[Any]:
                await self._create(block)
                return await block.execute(sql, parameters)

            # The write comes first: beginning with a read would let another writer come between.
            return await self._unless_missing(
                block, lambda: block.execute(sql, parameters), create_and_write
            )

    async def _unless_missing(
        self,
        conn: Connection[Any] | ConnectionPool,
        work: Callable[[], Awaitable[T]],
        otherwise: Callable[[], Awaitable[T]],
    ) -> T:
        """Await the work, or something else where the table is missing, perhaps by a rollback."""
        try:
            return await work()
        except OperationalError as error:
            if error.sqlite_errorcode != _SQLITE_ERROR or await conn.get_tables(self._table):
                raise
        return await otherwise()

    async def _create(self, block: Connection[Any]) -> None:
        await block.execute(
            f'CREATE TABLE IF NOT EXISTS "{self._table}" '
            "(key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires_at REAL)"
        )
        await block.execute(
            f'CREATE INDEX IF NOT EXISTS "{self._table}_expires_at" '
            f'ON "{self._table}" (expires_at) WHERE expires_at IS NOT NULL'
        )


async def _nothing(value: T) -> T:
    return value


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError("the key must be a str")
    return key


def _seconds(ttl: object) -> float:
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise TypeError("ttl must be a number or None")
    try:
        seconds = float(ttl)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("ttl must be finite and not negative")
    return seconds
