"""Blocking driver for SQLite and libSQL: PEP 249, with the names and the semantics of `sqlite3`.

It is the engine of `aiolibsql` without an event loop: statements run on the thread that calls,
which lets go of the interpreter meanwhile. Code for `sqlite3` runs with ``import aiolibsql.dbapi as
sqlite3``. A connection is either one of these or one of `aiolibsql.connect`, never both.
"""

from __future__ import annotations

import sys as _sys
import warnings as _warnings
from typing import Any as _Any

from aiolibsql import (
    LEGACY_TRANSACTION_CONTROL,
    PARSE_COLNAMES,
    PARSE_DECLTYPES,
    Binary,
    Date,
    DateFromTicks,
    PrepareProtocol,
    Row,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    adapt,
    adapters,
    complete_statement,
    converters,
    register_adapter,
    register_converter,
    sqlite_version,
    sqlite_version_info,
)
from aiolibsql._aiolibsql import _dbapi
from aiolibsql._constants import *  # noqa: F403 - nothing else is in there
from aiolibsql.dbapi import _methods
from aiolibsql.exceptions import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - PEP 249's name
)

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 3

Connection = _dbapi.Connection
Cursor = _dbapi.Cursor
Blob = _dbapi.Blob
connect = _methods.connect if _methods.DEPRECATES else _dbapi.connect
enable_callback_tracebacks = _dbapi.enable_callback_tracebacks

dbapi2 = _sys.modules[__name__]

_methods.add_to_connection()

# What `sqlite3` has no more, or not for long.
_VERSION = "2.6.0"
_IS_WARNED_OF = _sys.version_info >= (3, 12)


def __getattr__(name: str) -> _Any:
    if name == "OptimizedUnicode" and not _IS_WARNED_OF:
        message = "OptimizedUnicode is deprecated and will be removed in Python 3.12; use str"
        _warnings.warn(message, DeprecationWarning, stacklevel=2)
        return str
    if name in {"version", "version_info"}:
        if _IS_WARNED_OF:
            message = f"{name} is deprecated and will be removed in Python 3.14"
            _warnings.warn(message, DeprecationWarning, stacklevel=2)
        return _VERSION if name == "version" else tuple(map(int, _VERSION.split(".")))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
