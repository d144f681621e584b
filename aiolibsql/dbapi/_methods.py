"""What `Connection` has beside the methods that are compiled: the exceptions, and `iterdump`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiolibsql import _dump, exceptions
from aiolibsql._aiolibsql import _dbapi

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from aiolibsql.dbapi import Connection, Cursor

_EXCEPTIONS = (
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
)


class _Awaitable:
    """A cursor whose methods are awaited, and never wait for a loop."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Cursor = _dbapi.Cursor(connection)

    async def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> _Awaitable:
        self._cursor.execute(sql, parameters)
        return self

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()


def _finish(coroutine: Coroutine[Any, Any, str]) -> str:
    """Run a coroutine that never waits for a loop to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return str(end.value)
    raise RuntimeError("it has waited")


def _statements(connection: Connection, pattern: str | None) -> Iterator[str]:
    statements = _dump.Statements(partial(_Awaitable, connection), pattern)
    while True:
        try:
            statement = _finish(statements.__anext__())
        except StopAsyncIteration:
            return
        yield statement


def iterdump(self: Connection, *, filter: str | None = None) -> Iterator[str]:  # noqa: A002
    """Iterate over the SQL text that makes the database again."""
    self.cursor().close()  # Raises where the connection can't be used.
    return _statements(self, filter)


def add_to_connection() -> None:
    """Put them on the class, which is the extension's."""
    for name in _EXCEPTIONS:
        setattr(_dbapi.Connection, name, getattr(exceptions, name))
    iterdump.__qualname__ = "Connection.iterdump"
    _dbapi.Connection.iterdump = iterdump
