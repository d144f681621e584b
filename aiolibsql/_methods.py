"""Methods of `Connection` that are written in Python, and so of `Transaction` too.

They stand on the class itself, for the classes are the extension's and have no place for a mixin
between them. The stub describes them with the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aiolibsql import (
    _backup,
    _counters,
    _diagnostics,
    _introspection,
    _streaming,
    exceptions,
)
from aiolibsql._aiolibsql import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from aiolibsql._aiolibsql import Cursor, Operation
    from aiolibsql._types import Parameters

_RowT = TypeVar("_RowT")


def execute_iter(
    self: Connection[_RowT],
    sql: str,
    parameters: Parameters | None = None,
    chunk_size: int | None = None,
) -> _streaming.RowChunks[_RowT]:
    """Iterate over the rows of a statement in chunks."""
    return _streaming.RowChunks(self, sql, parameters, chunk_size)


def execute_many(
    self: Connection[_RowT],
    query: str,
    parameters: Iterable[Parameters] | AsyncIterable[Parameters],
) -> Operation[Cursor[_RowT]]:
    """Execute one statement for each row of parameters."""
    return self.executemany(query, parameters)


def raw_fetch_scalar(
    self: Connection[Any], query: str, parameters: Parameters | None = None, blob: bool = False
) -> Operation[Any]:
    """Execute one statement and return the first value of its first row, or None."""
    fetch = self.fetch_blob if blob else self.fetch_scalar
    return fetch(query, parameters)


_METHODS = (
    execute_iter,
    execute_many,
    raw_fetch_scalar,
    _backup.backup,
    _counters.changes,
    _counters.in_transaction_async,
    _counters.last_insert_rowid,
    _counters.total_changes_async,
    _diagnostics.explain_query_plan,
    _introspection.get_foreign_keys,
    _introspection.get_index_info,
    _introspection.get_index_list,
    _introspection.get_indexes,
    _introspection.get_schema,
    _introspection.get_table_info,
    _introspection.get_table_xinfo,
    _introspection.get_tables,
    _introspection.get_views,
)


# As sqlite3, which follows PEP 249's optional extensions.
_EXCEPTIONS = (
    exceptions.DataError,
    exceptions.DatabaseError,
    exceptions.Error,
    exceptions.IntegrityError,
    exceptions.InterfaceError,
    exceptions.InternalError,
    exceptions.NotSupportedError,
    exceptions.OperationalError,
    exceptions.ProgrammingError,
    exceptions.Warning,
)


def add_to_connection() -> None:
    """Put them on the class."""
    for exception in _EXCEPTIONS:
        setattr(Connection, exception.__name__, exception)
    for method in _METHODS:
        # The name that the warning about one that was not awaited has.
        method.__qualname__ = f"Connection.{method.__name__}"
        setattr(Connection, method.__name__, method)
