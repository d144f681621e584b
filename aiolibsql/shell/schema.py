"""Commands that tell what a database consists of, and the names that completion offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiolibsql

if TYPE_CHECKING:
    from aiolibsql.shell.session import Session
    from aiolibsql.shell.words import Words

_GAP = 2


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


async def _databases(session: Session) -> list[str]:
    """Return the names of the databases that are attached; a server has one."""
    if session.database.is_remote:
        return ["main"]
    return [row[1] for row in await session.conn.fetch_all("PRAGMA database_list")]


async def _objects(session: Session, where: str, pattern: str | None) -> list[tuple[Any, ...]]:
    """Return database, name and SQL of what matches, in the order in which it was made."""
    found = []
    for database in await _databases(session):
        table = "sqlite_temp_schema" if database == "temp" else "sqlite_schema"
        sql = (
            f"SELECT name, sql FROM {quoted(database)}.{table} WHERE {where} "  # noqa: S608
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND (?1 IS NULL OR name LIKE ?1 OR tbl_name LIKE ?1)"
        )
        rows = await session.conn.fetch_all(sql, (pattern,))
        found += [(database, name, sql) for name, sql in rows]
    return found


async def _names(session: Session, where: str, pattern: str | None) -> list[str]:
    objects = await _objects(session, where, pattern)
    return sorted(
        name if database in {"main", "temp"} else f"{database}.{name}"
        for database, name, _ in objects
    )


def _columns(names: list[str], limit: int | None) -> str:
    """Return names in columns, as many as fit; one a line where nobody looks."""
    if not names:
        return ""
    size = max(map(len, names)) + _GAP
    count = max(1, (limit or 0) // size)
    height = -(-len(names) // count)
    lines = (names[row::height] for row in range(height))
    return "".join("".join(name.ljust(size) for name in line).rstrip() + "\n" for line in lines)


async def tables(session: Session, words: Words) -> None:
    """List tables and views."""
    pattern = words.optional()
    words.end()
    names = await _names(session, "type IN ('table', 'view')", pattern)
    session.out.write(_columns(names, session.out.width))


async def indexes(session: Session, words: Words) -> None:
    """List indexes."""
    table = words.optional()
    words.end()
    names = await _names(session, "type = 'index'", table)
    session.out.write(_columns(names, session.out.width))


async def schema(session: Session, words: Words) -> None:
    """Write the statements that made what matches."""
    pattern = words.optional()
    words.end()
    for _, _, sql in await _objects(session, "sql IS NOT NULL", pattern):
        session.out.write(f"{sql};\n")


async def explain(session: Session, words: Words) -> None:
    """Write the query plan of a statement as a tree."""
    statement = words.statement()
    if not statement:
        raise words.error("STATEMENT is missing")
    rows = await session.conn.fetch_all(f"EXPLAIN QUERY PLAN {statement}")
    branch, last, line = ("├─ ", "└─ ", "│  ") if session.out.has_boxes else ("|- ", "`- ", "|  ")
    children: dict[int, list[tuple[int, str]]] = {}
    for number, parent, _, text in rows:
        children.setdefault(parent, []).append((number, text))

    def write(parent: int, indent: str) -> None:
        nodes = children.get(parent, [])
        for index, (number, text) in enumerate(nodes):
            is_last = index == len(nodes) - 1
            session.out.write(f"{indent}{last if is_last else branch}{text}\n")
            write(number, indent + ("   " if is_last else line))

    session.out.write("QUERY PLAN\n")
    write(0, "")


async def names(
    conn: aiolibsql.Connection[Any], limit: int, timeout: float
) -> dict[str, list[str]]:
    """Return the columns of each table and view, for completion.

    Args:
        conn: The connection.
        limit: How many columns at most.
        timeout: Seconds that it may take.
    """
    where = "s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT ?"
    try:
        rows = await conn.fetch_all(
            "SELECT s.name, c.name FROM sqlite_schema AS s JOIN pragma_table_xinfo(s.name) AS c "  # noqa: S608
            f"WHERE {where}",
            (limit,),
            timeout=timeout,
        )
    except aiolibsql.OperationalError:
        # A view that is broken spoils it.
        sql = f"SELECT s.name, NULL FROM sqlite_schema AS s WHERE {where}"  # noqa: S608
        rows = await conn.fetch_all(sql, (limit,), timeout=timeout)
    found: dict[str, list[str]] = {}
    for table, column in rows:
        found.setdefault(table, []).extend([column] if column is not None else [])
    return found
