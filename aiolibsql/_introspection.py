"""What a database consists of: rapsqlite's `get_tables` to `get_schema`.

They are methods of Connection and ConnectionPool. They ask SQLite's schema table and its
table-valued PRAGMA functions, by statements that no row factory and no text factory has a say in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiolibsql._aiolibsql import _fetch_plain

if TYPE_CHECKING:
    from aiolibsql._aiolibsql import Connection, _Pool

# In LIKE, "_" alone would stand for any character.
_NAMES = (
    "SELECT name FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
    "AND (?2 IS NULL OR name = ?2 COLLATE NOCASE) ORDER BY name"
)
_INDEXES = (
    'SELECT s.name, s.tbl_name, l."unique", s.sql '
    "FROM sqlite_schema AS s JOIN pragma_index_list(s.tbl_name) AS l ON l.name = s.name "
    "WHERE s.type = 'index' AND s.sql IS NOT NULL "
    "AND (?1 IS NULL OR s.tbl_name = ?1 COLLATE NOCASE) ORDER BY s.name"
)


async def _dicts(
    conn: Connection[Any] | _Pool,
    sql: str,
    parameters: tuple[str | None, ...],
    columns: tuple[str, ...],
) -> list[dict[str, Any]]:
    rows = await _fetch_plain(conn, sql, parameters)
    return [dict(zip(columns, row, strict=True)) for row in rows]


async def _pragma(
    conn: Connection[Any] | _Pool, function: str, argument: str, *columns: str
) -> list[dict[str, Any]]:
    """Return the rows of a table-valued PRAGMA function, whose columns are named as its keys."""
    names = ", ".join(f'"{column}"' for column in columns)
    sql = f"SELECT {names} FROM pragma_{function}(?)"  # noqa: S608 - both are from this file
    return await _dicts(conn, sql, (argument,), columns)


async def get_tables(self: Connection[Any] | _Pool, name: str | None = None) -> list[str]:
    """Return the names of the tables."""
    return [row[0] for row in await _fetch_plain(self, _NAMES, ("table", name))]


async def get_views(self: Connection[Any] | _Pool, name: str | None = None) -> list[str]:
    """Return the names of the views."""
    return [row[0] for row in await _fetch_plain(self, _NAMES, ("view", name))]


async def get_table_info(self: Connection[Any] | _Pool, table_name: str) -> list[dict[str, Any]]:
    """Return the columns of a table, as ``PRAGMA table_info``."""
    columns = ("cid", "name", "type", "notnull", "dflt_value", "pk")
    return await _pragma(self, "table_info", table_name, *columns)


async def get_table_xinfo(self: Connection[Any] | _Pool, table_name: str) -> list[dict[str, Any]]:
    """Return the columns of a table with the hidden ones, as ``PRAGMA table_xinfo``."""
    columns = ("cid", "name", "type", "notnull", "dflt_value", "pk", "hidden")
    return await _pragma(self, "table_xinfo", table_name, *columns)


async def get_indexes(
    self: Connection[Any] | _Pool, table_name: str | None = None
) -> list[dict[str, Any]]:
    """Return the indexes that were made by CREATE INDEX."""
    return await _dicts(self, _INDEXES, (table_name,), ("name", "table", "unique", "sql"))


async def get_index_list(self: Connection[Any] | _Pool, table_name: str) -> list[dict[str, Any]]:
    """Return all indexes of a table, as ``PRAGMA index_list``."""
    return await _pragma(
        self, "index_list", table_name, "seq", "name", "unique", "origin", "partial"
    )


async def get_index_info(self: Connection[Any] | _Pool, index_name: str) -> list[dict[str, Any]]:
    """Return the columns of an index, as ``PRAGMA index_info``."""
    return await _pragma(self, "index_info", index_name, "seqno", "cid", "name")


async def get_foreign_keys(self: Connection[Any] | _Pool, table_name: str) -> list[dict[str, Any]]:
    """Return the foreign keys of a table, as ``PRAGMA foreign_key_list``."""
    columns = ("id", "seq", "table", "from", "to", "on_update", "on_delete", "match")
    return await _pragma(self, "foreign_key_list", table_name, *columns)


async def get_schema(self: Connection[Any], table_name: str | None = None) -> dict[str, Any]:
    """Return the tables, or everything about one table."""
    if table_name is None:
        return {"tables": [{"name": name} for name in await get_tables(self)]}
    # One snapshot, or another connection's ALTER could come between the parts.
    async with self.savepoint() as block:
        columns = await get_table_info(block, table_name)
        if not columns:
            return {}
        return {
            "table_name": table_name,
            "columns": columns,
            "indexes": await get_indexes(block, table_name),
            "foreign_keys": await get_foreign_keys(block, table_name),
        }
