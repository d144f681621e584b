"""Blocking driver for SQLite and libSQL: PEP 249, with the names and the semantics of `sqlite3`.

It is the engine of `aiolibsql` without an event loop: statements run on the thread that calls, which
lets go of the interpreter meanwhile. Code for `sqlite3` runs with ``import aiolibsql.dbapi as
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
connect = _dbapi.connect
enable_callback_tracebacks = _dbapi.enable_callback_tracebacks

_methods.add_to_connection()
