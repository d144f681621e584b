"""A driver that costs next to nothing: the rows of a query are there since it ran the first time.

What is left is what the caller takes by himself, below which no driver can bring it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from drivers import Stdlib


class Replayed(Stdlib):
    """The standard library's, but a SELECT that ran before gives the same rows again."""

    name = "rows-there"


class ReplayedConnection(sqlite3.Connection):
    """A connection that remembers results."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.results: dict[tuple[str, tuple[Any, ...]], tuple[Any, list[Any]]] = {}

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that looks there first."""
        return super().cursor(factory or ReplayedCursor)


class ReplayedCursor(sqlite3.Cursor):
    """A cursor whose rows of a SELECT are in a list."""

    connection: ReplayedConnection
    _result: tuple[Any, list[Any]] | None = None

    def execute(self, sql: str, parameters: Any = ()) -> ReplayedCursor:
        """Execute a statement, a SELECT only the first time."""
        self._result = None
        if not sql.startswith("SELECT"):
            return super().execute(sql, parameters)
        known = self.connection.results
        key = (sql, tuple(parameters))
        if key not in known:
            super().execute(sql, parameters)
            known[key] = (super().description, super().fetchall())
        self._result = known[key]
        return self

    @property
    def description(self) -> Any:
        """The columns."""
        return self._result[0] if self._result else super().description

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self._result[1] if self._result else super().fetchall()
