"""What `Connection` has beside the methods that are compiled: the exceptions, and `iterdump`."""

from __future__ import annotations

import functools
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from aiolibsql import _dump, exceptions
from aiolibsql._aiolibsql import _dbapi
from aiolibsql.dbapi._backup import backup

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from aiolibsql.dbapi import Connection, Cursor

DEPRECATES = sys.version_info >= (3, 13)

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


def iterdump(self: Connection, *, filter: str | None = None) -> Iterator[str]:
    """Iterate over the SQL text that makes the database again."""
    self.cursor().close()  # Raises where the connection can't be used.
    return _statements(self, filter)


# Parameters that Python 3.13 wants to be given by position. It says so in these words.
_BY_POSITION = {
    "create_function": ("name", "narg", "func"),
    "create_aggregate": ("name", "n_arg", "aggregate_class"),
    "set_authorizer": ("authorizer_callback",),
    "set_progress_handler": ("progress_handler",),
    "set_trace_callback": ("trace_callback",),
}
_BY_KEYWORD = (
    "'timeout', 'detect_types', 'isolation_level', 'check_same_thread', 'factory', "
    "'cached_statements' and 'uri'"
)


def _joined(names: tuple[str, ...]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _by_position(name: str) -> Callable[..., Any]:
    """Return a method that warns of keywords, as that of `sqlite3`."""
    method = getattr(_dbapi.Connection, name)
    names = _BY_POSITION[name]
    plural = "s" if names[1:] else ""
    message = (
        f"Passing keyword argument{plural} {_joined(names)} to _sqlite3.Connection.{name}() is "
        f"deprecated. Parameter{plural} {_joined(names)} will become positional-only in "
        "Python 3.15."
    )

    @functools.wraps(method)
    def checked(self: Connection, *args: Any, **keywords: Any) -> Any:
        if not keywords.keys().isdisjoint(names):
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        return method(self, *args, **keywords)

    return checked


def _by_keyword(called: str) -> str:
    return (
        f"Passing more than 1 positional argument to {called}() is deprecated. Parameters "
        f"{_BY_KEYWORD} will become keyword-only parameters in Python 3.15."
    )


def connect(*args: Any, **kwargs: Any) -> Any:
    """Open a database, as `sqlite3.connect`."""
    if len(args) > 1:
        warnings.warn(_by_keyword("sqlite3.connect"), DeprecationWarning, stacklevel=2)
    return _dbapi.connect(*args, **kwargs)


def _initialise(self: Connection, /, *args: Any, **kwargs: Any) -> None:
    # Else connect() has said it.
    if len(args) > 1 and type(self) is not _dbapi.Connection:
        warnings.warn(_by_keyword("_sqlite3.Connection"), DeprecationWarning, stacklevel=2)
    _init(self, *args, **kwargs)


_init = _dbapi.Connection.__init__


def add_to_connection() -> None:
    """Put them on the class, which is the extension's."""
    for name in _EXCEPTIONS:
        setattr(_dbapi.Connection, name, getattr(exceptions, name))
    iterdump.__qualname__ = "Connection.iterdump"
    _dbapi.Connection.iterdump = iterdump
    backup.__qualname__ = "Connection.backup"
    _dbapi.Connection.backup = backup
    if DEPRECATES:
        _dbapi.Connection.__init__ = functools.wraps(_init)(_initialise)
        for name in _BY_POSITION:
            setattr(_dbapi.Connection, name, _by_position(name))
