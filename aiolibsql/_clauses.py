"""SQL text and rows, put into the form that a caller needs: rapsqlite's helpers for that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Whatever text may hold what looks like the clause comes first, so that it is passed over whole. It
# is compiled when it is needed, as all patterns are: most programs that import this never need one.
_IN_CLAUSE = r"""(?xsi)
      '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | `(?:[^`]|``)*`
    | \[[^\]]*\]
    | --[^\n]*
    | /\*.*?(?:\*/|\Z)
    | (?P<clause>\bIN\s*\(\s*\?\s*\))
"""


def in_clause_query(sql: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Give the first ``IN (?)`` of a statement as many places as there are values (as rapsqlite).

    Strings, quoted names and comments are passed over.

    Args:
        sql: The statement.
        values: What is to be in the list.

    Returns:
        The statement with ``IN (?,?,…)``, and the values as a list.

    Raises:
        ValueError: If there is no value, or no ``IN (?)``.

    Example:
        ```python
        sql, values = aiolibsql.in_clause_query("SELECT * FROM planet WHERE id IN (?)", [1, 2, 3])
        planets = await conn.fetch_all(sql, values)
        ```
    """
    if not values:
        raise ValueError("in_clause_query needs at least one value")
    for found in re.finditer(_IN_CLAUSE, sql):
        if found["clause"]:
            places = ",".join("?" * len(values))
            return f"{sql[: found.start()]}IN ({places}){sql[found.end() :]}", list(values)
    raise ValueError("in_clause_query found no 'IN (?)' in the SQL")


def rows_to_dicts(
    rows: Iterable[Sequence[Any] | Mapping[str, Any]], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Turn rows into dicts (as rapsqlite).

    Args:
        rows: Tuples or other sequences, which take the names in ``columns``; or rows with keys of
            their own, such as `Row`.
        columns: The names.

    Returns:
        A dict for each row.

    Raises:
        ValueError: If a row has no keys and there are no ``columns``, or another number of them
            (rapsqlite returns nothing, or leaves values out).
    """
    dicts = []
    for row in rows:
        if hasattr(row, "keys"):
            dicts.append(dict(row))
        elif columns is None:
            raise ValueError("rows_to_dicts needs columns for rows that have no keys")
        elif len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} values, but there are {len(columns)} columns")
        else:
            dicts.append(dict(zip(columns, row, strict=True)))
    return dicts
