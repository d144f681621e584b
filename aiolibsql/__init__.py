"""Async driver for SQLite and libSQL: one set of objects for asyncio, uvloop, trio and anyio."""

from __future__ import annotations

import collections.abc as _abc
import datetime as _datetime  # noqa: ICN001 - private, for it is no part of the API
import time as _time
from typing import Final as _Final

from aiolibsql._aiolibsql import (
    Blob,
    Connection,
    Cursor,
    Row,
    Transaction,
    complete_statement,
    sqlite_version,
)
from aiolibsql._connect import connect
from aiolibsql._settings import (
    SQLITE_DBCONFIG_DEFENSIVE,
    SQLITE_DBCONFIG_DQS_DDL,
    SQLITE_DBCONFIG_DQS_DML,
    SQLITE_DBCONFIG_ENABLE_FKEY,
    SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER,
    SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
    SQLITE_DBCONFIG_ENABLE_QPSG,
    SQLITE_DBCONFIG_ENABLE_TRIGGER,
    SQLITE_DBCONFIG_ENABLE_VIEW,
    SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,
    SQLITE_DBCONFIG_LEGACY_FILE_FORMAT,
    SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
    SQLITE_DBCONFIG_RESET_DATABASE,
    SQLITE_DBCONFIG_REVERSE_SCANORDER,
    SQLITE_DBCONFIG_STMT_SCANSTATUS,
    SQLITE_DBCONFIG_TRIGGER_EQP,
    SQLITE_DBCONFIG_TRUSTED_SCHEMA,
    SQLITE_DBCONFIG_WRITABLE_SCHEMA,
    SQLITE_LIMIT_ATTACHED,
    SQLITE_LIMIT_COLUMN,
    SQLITE_LIMIT_COMPOUND_SELECT,
    SQLITE_LIMIT_EXPR_DEPTH,
    SQLITE_LIMIT_FUNCTION_ARG,
    SQLITE_LIMIT_LENGTH,
    SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
    SQLITE_LIMIT_SQL_LENGTH,
    SQLITE_LIMIT_TRIGGER_DEPTH,
    SQLITE_LIMIT_VARIABLE_NUMBER,
    SQLITE_LIMIT_VDBE_OP,
    SQLITE_LIMIT_WORKER_THREADS,
)
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
    "SQLITE_DBCONFIG_DEFENSIVE",
    "SQLITE_DBCONFIG_DQS_DDL",
    "SQLITE_DBCONFIG_DQS_DML",
    "SQLITE_DBCONFIG_ENABLE_FKEY",
    "SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER",
    "SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION",
    "SQLITE_DBCONFIG_ENABLE_QPSG",
    "SQLITE_DBCONFIG_ENABLE_TRIGGER",
    "SQLITE_DBCONFIG_ENABLE_VIEW",
    "SQLITE_DBCONFIG_LEGACY_ALTER_TABLE",
    "SQLITE_DBCONFIG_LEGACY_FILE_FORMAT",
    "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE",
    "SQLITE_DBCONFIG_RESET_DATABASE",
    "SQLITE_DBCONFIG_REVERSE_SCANORDER",
    "SQLITE_DBCONFIG_STMT_SCANSTATUS",
    "SQLITE_DBCONFIG_TRIGGER_EQP",
    "SQLITE_DBCONFIG_TRUSTED_SCHEMA",
    "SQLITE_DBCONFIG_WRITABLE_SCHEMA",
    "SQLITE_LIMIT_ATTACHED",
    "SQLITE_LIMIT_COLUMN",
    "SQLITE_LIMIT_COMPOUND_SELECT",
    "SQLITE_LIMIT_EXPR_DEPTH",
    "SQLITE_LIMIT_FUNCTION_ARG",
    "SQLITE_LIMIT_LENGTH",
    "SQLITE_LIMIT_LIKE_PATTERN_LENGTH",
    "SQLITE_LIMIT_SQL_LENGTH",
    "SQLITE_LIMIT_TRIGGER_DEPTH",
    "SQLITE_LIMIT_VARIABLE_NUMBER",
    "SQLITE_LIMIT_VDBE_OP",
    "SQLITE_LIMIT_WORKER_THREADS",
    "STRING",
    "VERSION",
    "Binary",
    "Blob",
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
    "apilevel",
    "complete_statement",
    "connect",
    "paramstyle",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]
