"""The exceptions of PEP 249, each a subclass of the one of that name in `sqlite3`.

Errors are classified by SQLite's result code, never by their message.
"""

from __future__ import annotations

import builtins
import sqlite3


class Warning(sqlite3.Warning):  # noqa: A001 - PEP 249's name
    """An important warning. Raised by nothing here; PEP 249 wants the name."""


class Error(sqlite3.Error):
    """The base of all errors.

    Attributes:
        sqlite_errorcode: SQLite's extended result code, or None for errors of the driver itself.
        sqlite_errorname: Its name, such as ``"SQLITE_CONSTRAINT_UNIQUE"``, or None.
        sql: The statement that was running, or None.
        server_code: A server's own name for the error, such as ``"STREAM_EXPIRED"``, or None.
        code: A stable name for the error: `sqlite_errorname` if it has one, else `server_code`.
    """

    sqlite_errorcode: int | None = None
    sqlite_errorname: str | None = None
    sql: str | None = None
    server_code: str | None = None

    @property
    def code(self) -> str | None:
        """A stable name for the error."""
        return self.sqlite_errorname or self.server_code


class InterfaceError(Error, sqlite3.InterfaceError):
    """SQLite was used in a way that it does not allow."""


class DatabaseError(Error, sqlite3.DatabaseError):
    """The database has a problem, such as a file that is not a database."""


class DataError(DatabaseError, sqlite3.DataError):
    """A value does not fit, such as a text longer than SQLite's limit."""


class OperationalError(DatabaseError, sqlite3.OperationalError):
    """The database could not do it: no such table, a full disk, an interruption."""


class IntegrityError(DatabaseError, sqlite3.IntegrityError):
    """A constraint failed."""


class InternalError(DatabaseError, sqlite3.InternalError):
    """SQLite, or a worker of the driver, met an error of its own."""


class ProgrammingError(DatabaseError, sqlite3.ProgrammingError):
    """The API was used wrongly: too few parameters, two statements in one call, a closed cursor."""


class NotSupportedError(DatabaseError, sqlite3.NotSupportedError):
    """The backend can't do this."""


class ConnectionClosedError(ProgrammingError, ValueError):
    """The connection was used after it was closed, or before it was opened."""

    @property
    def code(self) -> str:
        """A stable name for the error."""
        return "CLIENT_CLOSED"


class TimeoutError(OperationalError, builtins.TimeoutError):  # noqa: A001 - also the builtin one
    """A lock was not free in time, or an operation did not finish within its `timeout`.

    As a `builtins.TimeoutError` it is an `OSError` too.
    """


class PoolTimeout(OperationalError, builtins.TimeoutError):  # noqa: N818 - psycopg's name
    """No connection of the pool came free in time, or too many wait for one already."""


class PoolClosed(ProgrammingError):  # noqa: N818 - psycopg's name
    """The pool was used after it was closed."""


class ConnectError(OperationalError):
    """A server can't be reached, or its connection was lost.

    The message says so if a request was on its way and may have been carried out.
    """


class AuthError(OperationalError):
    """A server refused the token or password, or they do not allow this."""


class SyncError(OperationalError):
    """A replica can't be brought up to date.

    Raised by a read that follows a write, the write was done; the message says so.
    """


class StreamExpiredError(OperationalError):
    """A server forgot a connection that was idle for too long, and with it its open transaction."""
