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
    Blob,
    Connection,
    Cursor,
    PoolCursor,
    PreparedQuery,
    Row,
    Transaction,
    adapt,
    adapters,
    complete_statement,
    converters,
    enable_callback_tracebacks,
    register_adapter,
    register_converter,
    sqlite_version,
)
from aiolibsql._cache import SQLiteCache
from aiolibsql._clauses import in_clause_query, rows_to_dicts
from aiolibsql._connect import connect, connect_memory
from aiolibsql._constants import *  # noqa: F403 - nothing else is in there
from aiolibsql._diagnostics import (
    QueryPlan,
    analyze_query_plan,
    log_query,
    suggest_indexes,
    timed_fetch_all,
)
from aiolibsql._methods import add_to_connection as _add_to_connection
from aiolibsql._pool import ConnectionPool, create_pool
from aiolibsql._pool_stats import PoolStats
from aiolibsql._replicas import SyncResult, SyncStats
from aiolibsql._retries import transaction_retry, transaction_with_timeout
from aiolibsql._row_factories import (
    class_row,
    dict_row,
    namedtuple_row,
    scalar_row,
    tuple_row,
)
from aiolibsql._streaming import RowChunks, execute_iter, paginate
from aiolibsql._vectors import vector32, vector64
from aiolibsql._version import __version__
from aiolibsql.exceptions import (
    AuthError,
    ConnectError,
    ConnectionClosedError,
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    PoolClosed,
    PoolTimeout,
    ProgrammingError,
    StreamExpiredError,
    SyncError,
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
    "AuthError",
    "Binary",
    "Blob",
    "ConnectError",
    "Connection",
    "ConnectionClosedError",
    "ConnectionPool",
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
    "PoolClosed",
    "PoolCursor",
    "PoolStats",
    "PoolTimeout",
    "PrepareProtocol",
    "PreparedQuery",
    "ProgrammingError",
    "QueryPlan",
    "Row",
    "RowChunks",
    "SQLiteCache",
    "StreamExpiredError",
    "SyncError",
    "SyncResult",
    "SyncStats",
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
    "analyze_query_plan",
    "apilevel",
    "class_row",
    "complete_statement",
    "connect",
    "connect_memory",
    "converters",
    "create_pool",
    "dict_row",
    "enable_callback_tracebacks",
    "execute_iter",
    "in_clause_query",
    "log_query",
    "namedtuple_row",
    "paginate",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "rows_to_dicts",
    "scalar_row",
    "sqlite_version",
    "sqlite_version_info",
    "suggest_indexes",
    "threadsafety",
    "timed_fetch_all",
    "transaction_retry",
    "transaction_with_timeout",
    "tuple_row",
    "vector32",
    "vector64",
]

# Those of _constants: checkers want to see the names.
__all__ += [
    "SQLITE_ABORT",
    "SQLITE_ABORT_ROLLBACK",
    "SQLITE_ALTER_TABLE",
    "SQLITE_ANALYZE",
    "SQLITE_ATTACH",
    "SQLITE_AUTH",
    "SQLITE_AUTH_USER",
    "SQLITE_BUSY",
    "SQLITE_BUSY_RECOVERY",
    "SQLITE_BUSY_SNAPSHOT",
    "SQLITE_BUSY_TIMEOUT",
    "SQLITE_CANTOPEN",
    "SQLITE_CANTOPEN_CONVPATH",
    "SQLITE_CANTOPEN_DIRTYWAL",
    "SQLITE_CANTOPEN_FULLPATH",
    "SQLITE_CANTOPEN_ISDIR",
    "SQLITE_CANTOPEN_NOTEMPDIR",
    "SQLITE_CANTOPEN_SYMLINK",
    "SQLITE_CONSTRAINT",
    "SQLITE_CONSTRAINT_CHECK",
    "SQLITE_CONSTRAINT_COMMITHOOK",
    "SQLITE_CONSTRAINT_DATATYPE",
    "SQLITE_CONSTRAINT_FOREIGNKEY",
    "SQLITE_CONSTRAINT_FUNCTION",
    "SQLITE_CONSTRAINT_NOTNULL",
    "SQLITE_CONSTRAINT_PINNED",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
    "SQLITE_CONSTRAINT_ROWID",
    "SQLITE_CONSTRAINT_TRIGGER",
    "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_CONSTRAINT_VTAB",
    "SQLITE_CORRUPT",
    "SQLITE_CORRUPT_INDEX",
    "SQLITE_CORRUPT_SEQUENCE",
    "SQLITE_CORRUPT_VTAB",
    "SQLITE_CREATE_INDEX",
    "SQLITE_CREATE_TABLE",
    "SQLITE_CREATE_TEMP_INDEX",
    "SQLITE_CREATE_TEMP_TABLE",
    "SQLITE_CREATE_TEMP_TRIGGER",
    "SQLITE_CREATE_TEMP_VIEW",
    "SQLITE_CREATE_TRIGGER",
    "SQLITE_CREATE_VIEW",
    "SQLITE_CREATE_VTABLE",
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
    "SQLITE_DELETE",
    "SQLITE_DENY",
    "SQLITE_DETACH",
    "SQLITE_DONE",
    "SQLITE_DROP_INDEX",
    "SQLITE_DROP_TABLE",
    "SQLITE_DROP_TEMP_INDEX",
    "SQLITE_DROP_TEMP_TABLE",
    "SQLITE_DROP_TEMP_TRIGGER",
    "SQLITE_DROP_TEMP_VIEW",
    "SQLITE_DROP_TRIGGER",
    "SQLITE_DROP_VIEW",
    "SQLITE_DROP_VTABLE",
    "SQLITE_EMPTY",
    "SQLITE_ERROR",
    "SQLITE_ERROR_MISSING_COLLSEQ",
    "SQLITE_ERROR_RETRY",
    "SQLITE_ERROR_SNAPSHOT",
    "SQLITE_FORMAT",
    "SQLITE_FULL",
    "SQLITE_FUNCTION",
    "SQLITE_IGNORE",
    "SQLITE_INSERT",
    "SQLITE_INTERNAL",
    "SQLITE_INTERRUPT",
    "SQLITE_IOERR",
    "SQLITE_IOERR_ACCESS",
    "SQLITE_IOERR_AUTH",
    "SQLITE_IOERR_BEGIN_ATOMIC",
    "SQLITE_IOERR_BLOCKED",
    "SQLITE_IOERR_CHECKRESERVEDLOCK",
    "SQLITE_IOERR_CLOSE",
    "SQLITE_IOERR_COMMIT_ATOMIC",
    "SQLITE_IOERR_CONVPATH",
    "SQLITE_IOERR_CORRUPTFS",
    "SQLITE_IOERR_DATA",
    "SQLITE_IOERR_DELETE",
    "SQLITE_IOERR_DELETE_NOENT",
    "SQLITE_IOERR_DIR_CLOSE",
    "SQLITE_IOERR_DIR_FSYNC",
    "SQLITE_IOERR_FSTAT",
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_GETTEMPPATH",
    "SQLITE_IOERR_IN_PAGE",
    "SQLITE_IOERR_LOCK",
    "SQLITE_IOERR_MMAP",
    "SQLITE_IOERR_NOMEM",
    "SQLITE_IOERR_RDLOCK",
    "SQLITE_IOERR_READ",
    "SQLITE_IOERR_ROLLBACK_ATOMIC",
    "SQLITE_IOERR_SEEK",
    "SQLITE_IOERR_SHMLOCK",
    "SQLITE_IOERR_SHMMAP",
    "SQLITE_IOERR_SHMOPEN",
    "SQLITE_IOERR_SHMSIZE",
    "SQLITE_IOERR_SHORT_READ",
    "SQLITE_IOERR_TRUNCATE",
    "SQLITE_IOERR_UNLOCK",
    "SQLITE_IOERR_VNODE",
    "SQLITE_IOERR_WRITE",
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
    "SQLITE_LOCKED",
    "SQLITE_LOCKED_SHAREDCACHE",
    "SQLITE_LOCKED_VTAB",
    "SQLITE_MISMATCH",
    "SQLITE_MISUSE",
    "SQLITE_NOLFS",
    "SQLITE_NOMEM",
    "SQLITE_NOTADB",
    "SQLITE_NOTFOUND",
    "SQLITE_NOTICE",
    "SQLITE_NOTICE_RBU",
    "SQLITE_NOTICE_RECOVER_ROLLBACK",
    "SQLITE_NOTICE_RECOVER_WAL",
    "SQLITE_OK",
    "SQLITE_OK_LOAD_PERMANENTLY",
    "SQLITE_OK_SYMLINK",
    "SQLITE_PERM",
    "SQLITE_PRAGMA",
    "SQLITE_PROTOCOL",
    "SQLITE_RANGE",
    "SQLITE_READ",
    "SQLITE_READONLY",
    "SQLITE_READONLY_CANTINIT",
    "SQLITE_READONLY_CANTLOCK",
    "SQLITE_READONLY_DBMOVED",
    "SQLITE_READONLY_DIRECTORY",
    "SQLITE_READONLY_RECOVERY",
    "SQLITE_READONLY_ROLLBACK",
    "SQLITE_RECURSIVE",
    "SQLITE_REINDEX",
    "SQLITE_ROW",
    "SQLITE_SAVEPOINT",
    "SQLITE_SCHEMA",
    "SQLITE_SELECT",
    "SQLITE_TOOBIG",
    "SQLITE_TRANSACTION",
    "SQLITE_UPDATE",
    "SQLITE_WARNING",
    "SQLITE_WARNING_AUTOINDEX",
]
