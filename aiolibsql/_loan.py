"""Blocks that borrow a connection of a pool, and what the running task has borrowed."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Literal

from aiolibsql.exceptions import Error, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from aiolibsql._aiolibsql import Connection, Transaction
    from aiolibsql._pool import ConnectionPool

    _Held = tuple[tuple[ConnectionPool, Connection[Any], bool], ...]

# What the running task has borrowed: pool, connection, and whether it is a reader.
_held: contextvars.ContextVar[_Held] = contextvars.ContextVar("aiolibsql.held", default=())


def held_of(pool: ConnectionPool) -> Iterator[tuple[Connection[Any], bool]]:
    """Yield what the running task has borrowed of a pool, the last first, and whether it reads."""
    for owner, connection, readonly in reversed(_held.get()):
        # A task that was started in a block may outlive it.
        if owner is pool and pool._is_lent(connection):  # noqa: SLF001
            yield connection, readonly


class Loan:
    """A connection that is borrowed for a block."""

    def __init__(self, pool: ConnectionPool, readonly: bool) -> None:
        self._pool = pool
        self._readonly = readonly
        self._connection: Connection[Any] | None = None
        self._is_own = False

    async def __aenter__(self) -> Connection[Any]:
        if self._connection is not None:
            raise ProgrammingError("a block of read() or write() can be entered once")
        for connection, readonly in held_of(self._pool):
            if self._readonly or not readonly:
                self._connection = connection
                return connection
        self._connection = await self._pool.acquire(self._readonly)
        self._is_own = True
        _held.set((*_held.get(), (self._pool, self._connection, self._readonly)))
        return self._connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        connection = self._connection
        if not self._is_own or connection is None:
            return
        _held.set(tuple(held for held in _held.get() if held[1] is not connection))
        try:
            if exc_type is None and not connection.closed and connection.in_transaction:
                await connection.commit()
        finally:
            await self._pool.release(connection)


class PoolTransaction:
    """A transaction block on a borrowed connection."""

    def __init__(
        self, pool: ConnectionPool, mode: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "READ"]
    ) -> None:
        self._loan = Loan(pool, mode == "READ")
        self._mode = mode
        self._block: Transaction[Any] | None = None

    async def __aenter__(self) -> Transaction[Any]:
        connection = await self._loan.__aenter__()
        try:
            self._block = connection.transaction(self._mode)
            return await self._block.__aenter__()
        except BaseException as error:
            await self._loan.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._block is None:
            return
        try:
            await self._block.__aexit__(exc_type, exc, tb)
        finally:
            await self._loan.__aexit__(Error, None, None)
