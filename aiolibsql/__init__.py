"""Async driver for SQLite and libSQL: one set of objects for asyncio, uvloop, trio and anyio."""

from __future__ import annotations

import collections.abc as _abc
import datetime as _datetime  # noqa: ICN001 - private, for it is no part of the API
import time as _time
from typing import Final as _Final

from aiolibsql._aiolibsql import (
    Connection,
    Cursor,
    PreparedQuery,
    Row,
    Transaction,
    complete_statement,
    sqlite_version,
)
from aiolibsql._cache import SQLiteCache
from aiolibsql._clauses import in_clause_query, rows_to_dicts
from aiolibsql._connect import connect
from aiolibsql._diagnostics import QueryPlan, analyze_query_plan, suggest_indexes, timed_fetch_all
from aiolibsql._methods import add_to_connection as _add_to_connection
from aiolibsql._retries import transaction_retry, transaction_with_timeout
from aiolibsql._streaming import RowChunks, execute_iter, paginate
from aiolibsql._version import __version__
from aiolibsql.exceptions import (
    ConnectionClosedError,
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - the name is part of the contract; it is a builtins.TimeoutError too
    Warning,  # noqa: A004 - PEP 249's name
)

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 3

LEGACY_TRANSACTION_CONTROL: _Final = -1
VERSION: str = __version__
_abc.Sequence.register(Row)
_add_to_connection()

sqlite_version_info: tuple[int, ...] = tuple(int(part) for part in sqlite_version.split("."))

Date = _datetime.date
Time = _datetime.time
Timestamp = _datetime.datetime
Binary = memoryview
STRING = str
BINARY = memoryview
NUMBER = float
DATETIME = _datetime.datetime
ROWID = int


def DateFromTicks(ticks: float) -> _datetime.date:  # noqa: N802 - PEP 249's name
    """Return the local date of a number of seconds since the epoch, as PEP 249."""
    return Date(*_time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> _datetime.time:  # noqa: N802 - PEP 249's name
    """Return the local time of day of a number of seconds since the epoch, as PEP 249."""
    return Time(*_time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> _datetime.datetime:  # noqa: N802 - PEP 249's name
    """Return the local date and time of a number of seconds since the epoch, as PEP 249."""
    return Timestamp(*_time.localtime(ticks)[:6])


__all__ = [
    "BINARY",
    "DATETIME",
    "LEGACY_TRANSACTION_CONTROL",
    "NUMBER",
    "ROWID",
    "STRING",
    "VERSION",
    "Binary",
    "Connection",
    "ConnectionClosedError",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "PreparedQuery",
    "ProgrammingError",
    "QueryPlan",
    "Row",
    "RowChunks",
    "SQLiteCache",
    "Time",
    "TimeFromTicks",
    "TimeoutError",
    "Timestamp",
    "TimestampFromTicks",
    "Transaction",
    "Warning",
    "__version__",
    "analyze_query_plan",
    "apilevel",
    "complete_statement",
    "connect",
    "execute_iter",
    "in_clause_query",
    "paginate",
    "paramstyle",
    "rows_to_dicts",
    "sqlite_version",
    "sqlite_version_info",
    "suggest_indexes",
    "threadsafety",
    "timed_fetch_all",
    "transaction_retry",
    "transaction_with_timeout",
]
