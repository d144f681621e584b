"""Async driver for SQLite and libSQL: one set of objects for asyncio, uvloop, trio and anyio."""

from __future__ import annotations

import collections.abc as _abc
import datetime as _datetime  # noqa: ICN001 - private, for it is no part of the API
import time as _time
from sqlite3 import PrepareProtocol
from typing import Final as _Final

from aiolibsql import _dates
from aiolibsql._aiolibsql import (
    PARSE_COLNAMES,
    PARSE_DECLTYPES,
    Connection,
    Cursor,
    Row,
    Transaction,
    adapt,
    adapters,
    complete_statement,
    converters,
    register_adapter,
    register_converter,
    sqlite_version,
)
from aiolibsql._connect import connect
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

register_adapter(Date, _dates.adapt_date)
register_adapter(Timestamp, _dates.adapt_datetime)
register_converter("date", _dates.convert_date)
register_converter("timestamp", _dates.convert_timestamp)


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
    "PARSE_COLNAMES",
    "PARSE_DECLTYPES",
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
    "PrepareProtocol",
    "ProgrammingError",
    "Row",
    "Time",
    "TimeFromTicks",
    "TimeoutError",
    "Timestamp",
    "TimestampFromTicks",
    "Transaction",
    "Warning",
    "__version__",
    "adapt",
    "adapters",
    "apilevel",
    "complete_statement",
    "connect",
    "converters",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]
