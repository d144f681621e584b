"""How SQLite runs a statement, and how long it takes: rapsqlite's helpers for that."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from aiolibsql._aiolibsql import _fetch_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiolibsql._aiolibsql import Connection, _Pool
    from aiolibsql._pool import ConnectionPool
    from aiolibsql._types import Parameters

_RowT = TypeVar("_RowT")

# A scan that no index helps: "SCAN planet", but not "SCAN planet USING COVERING INDEX …", a virtual
# table's own "SCAN … VIRTUAL TABLE INDEX …", or rows of a statement's own: "SCAN CONSTANT ROW", or
# "SCAN 2-ROW VALUES CLAUSE", which was "SCAN 2 CONSTANT ROWS".
_SCAN = r"SCAN (?!(\d+ )?CONSTANT ROW|\d+-ROW VALUES)(?P<table>\S+)(?!.*\bINDEX\b)"
# SQLite makes an index for this one statement, and says for which columns.
_AUTOMATIC = (
    r"SEARCH (?P<table>\S+) USING AUTOMATIC (?:PARTIAL )?(?:COVERING )?INDEX \((?P<terms>.*)\)"
)
# logging.DEBUG
_DEBUG = 10
_INDEX = r" USING (?!AUTOMATIC ).*?(?:INDEX|PRIMARY KEY)"


class QueryPlan(TypedDict):
    """What `analyze_query_plan` returns.

    Attributes:
        rows: The rows of `Connection.explain_query_plan`.
        details: Their texts.
        uses_index: Whether an index or the primary key is used that is there already.
        table_scan: Whether a table is read from its beginning to its end.
    """

    rows: list[tuple[int, int, int, str]]
    details: list[str]
    uses_index: bool
    table_scan: bool


async def explain_query_plan(
    self: Connection[Any] | _Pool, sql: str, parameters: Parameters | None = None
) -> list[tuple[int, int, int, str]]:
    """Return the rows of EXPLAIN QUERY PLAN."""
    return await _fetch_plain(self, f"EXPLAIN QUERY PLAN {sql}", parameters)


async def analyze_query_plan(
    conn: Connection[Any] | ConnectionPool, sql: str, parameters: Parameters | None = None
) -> QueryPlan:
    """Tell how SQLite would run a statement (as rapsqlite).

    Args:
        conn: The connection, or a pool.
        sql: One statement; it is not executed.
        parameters: As for `Connection.execute`.

    Returns:
        The plan.

    Raises:
        Error: As for `Connection.execute`.

    Cancellation:
        As for `Connection.fetch_all`.
    """
    rows = await conn.explain_query_plan(sql, parameters)
    details = [row[3] for row in rows]
    return {
        "rows": rows,
        "details": details,
        "uses_index": any(re.search(_INDEX, detail) for detail in details),
        "table_scan": any(re.match(_SCAN, detail) for detail in details),
    }


async def suggest_indexes(
    conn: Connection[Any] | ConnectionPool, sql: str, parameters: Parameters | None = None
) -> list[dict[str, str]]:
    """Name the tables that a statement reads without an index (as rapsqlite).

    It looks at the query plan only. Where SQLite would make an index for the one statement, that
    index is suggested; for a plain scan the columns are for the reader to choose.

    Args:
        conn: The connection, or a pool.
        sql: One statement; it is not executed.
        parameters: As for `Connection.execute`.

    Returns:
        For each such table a dict of ``table`` (its alias, if the statement gives it one),
        ``column`` (several with commas between, or empty) and ``suggestion``.

    Raises:
        Error: As for `Connection.execute`.

    Cancellation:
        As for `Connection.fetch_all`.
    """
    suggestions = []
    for detail in (await analyze_query_plan(conn, sql, parameters))["details"]:
        if automatic := re.match(_AUTOMATIC, detail):
            table = automatic["table"]
            columns = re.findall(r"(\w+)[=<>]", automatic["terms"])
            suggestion = f"CREATE INDEX idx_{'_'.join([table, *columns])} ON {table}"
            suggestion += f"({', '.join(columns)})"
        elif scan := re.match(_SCAN, detail):
            table, columns = scan["table"], []
            suggestion = f"CREATE INDEX on {table}, on columns of its WHERE, JOIN or ORDER BY"
        else:
            continue
        suggestions.append({"table": table, "column": ", ".join(columns), "suggestion": suggestion})
    return suggestions


def log_query(sql: str, seconds: float, rows: int, error: BaseException | None) -> None:
    """Write a statement to the logger ``aiolibsql.query``, at the level DEBUG.

    A hook: ``conn.on_query(aiolibsql.log_query)`` has each statement logged. Parameters are never.

    Args:
        sql: The statement.
        seconds: How long it took.
        rows: How many rows it returned, or changed.
        error: What it raised.
    """
    from aiolibsql._logs import write  # noqa: PLC0415 - see there

    what = f"{rows} rows" if error is None else type(error).__name__
    write("query", _DEBUG, f"{seconds:.6f} s, {what}: {sql}")


@overload
async def timed_fetch_all(
    conn: Connection[_RowT],
    sql: str,
    parameters: Parameters | None = None,
    on_timing: None = None,
) -> tuple[list[_RowT], float]: ...


@overload
async def timed_fetch_all(
    conn: ConnectionPool,
    sql: str,
    parameters: Parameters | None = None,
    on_timing: None = None,
) -> tuple[list[Any], float]: ...


@overload
async def timed_fetch_all(
    conn: Connection[_RowT],
    sql: str,
    parameters: Parameters | None = None,
    *,
    on_timing: Callable[[float, str], object],
) -> list[_RowT]: ...


@overload
async def timed_fetch_all(
    conn: ConnectionPool,
    sql: str,
    parameters: Parameters | None = None,
    *,
    on_timing: Callable[[float, str], object],
) -> list[Any]: ...


async def timed_fetch_all(
    conn: Connection[Any] | ConnectionPool,
    sql: str,
    parameters: Parameters | None = None,
    on_timing: Callable[[float, str], object] | None = None,
) -> list[Any] | tuple[list[Any], float]:
    """Return all rows of a statement and the time that took (as rapsqlite).

    The time is that of the await: also of operations of the connection that were before it, and of
    the event loop's other tasks.

    Args:
        conn: The connection, or a pool.
        sql: One statement.
        parameters: As for `Connection.execute`.
        on_timing: Called with the seconds and the SQL.

    Returns:
        The rows if there is an ``on_timing``, else a tuple of the rows and the seconds.

    Raises:
        Error: As for `Connection.execute`.

    Cancellation:
        As for `Connection.fetch_all`.
    """
    began = time.perf_counter()
    rows = await conn.fetch_all(sql, parameters)
    seconds = time.perf_counter() - began
    if on_timing is None:
        return rows, seconds
    on_timing(seconds, sql)
    return rows
