"""`Connection.iterdump`: a database as the SQL text that makes it again.

Its text is that of `sqlite3.Connection.iterdump` in Python 3.13 on every version, statement for
statement. It reads through the connection's public methods only, so it runs wherever they do.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from aiolibsql._aiolibsql import Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Connection

_SCHEMA = "SELECT name, type, sql FROM sqlite_master WHERE sql NOT NULL AND type {} {} {}"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Dump:
    """The statements that make a database again: for ``async for``, or awaited as a list.

    Like every result of the connection it does nothing before that.
    """

    def __init__(self, connection: Connection[Any], pattern: str | None) -> None:
        """Take what is to be dumped.

        Args:
            connection: The connection.
            pattern: A LIKE pattern for names, or None for everything.
        """
        self._connection = connection
        self._pattern = pattern

    def __aiter__(self) -> AsyncIterator[str]:
        """Return the statements one by one."""
        return Statements(partial(Cursor, self._connection), self._pattern)

    def __await__(self) -> Generator[Any, Any, list[str]]:
        """Return all statements."""
        return self._collect().__await__()

    async def _collect(self) -> list[str]:
        return [statement async for statement in self]


class Statements:
    """One iteration. No async generator, for trio warns of those that are left in the middle."""

    def __init__(self, new_cursor: Callable[[], Any], pattern: str | None) -> None:
        """Take what makes cursors, and a LIKE pattern for names, or None for everything."""
        self._new_cursor = new_cursor
        self._pattern = pattern
        self._ready: deque[str] = deque()
        # The rows of the table that is being dumped.
        self._rows: Cursor[tuple[str]] | None = None
        # What is still to be done; each step adds statements, rows or further steps.
        self._steps: deque[Callable[[], Awaitable[None]]] = deque([self._begin, self._tables])
        self._sequences: list[str] = []
        self._is_schema_writable = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            return await self._next()
        except BaseException:
            # What comes after an error or a cancellation would not be a whole dump.
            self._rows = None
            self._steps.clear()
            raise

    async def _next(self) -> str:
        while not self._ready:
            if self._rows is not None:
                row = await self._rows.fetchone()
                if row is not None:
                    return row[0]
                self._rows = None
            elif self._steps:
                await self._steps.popleft()()
            else:
                raise StopAsyncIteration
        return self._ready.popleft()

    def _cursor(self) -> Cursor[tuple[Any, ...]]:
        cursor: Cursor[tuple[Any, ...]] = self._new_cursor()
        cursor.row_factory = None
        return cursor

    async def _fetch(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        cursor = await self._cursor().execute(sql, parameters)
        return await cursor.fetchall()

    async def _objects(self, kinds: str, order: str) -> list[tuple[Any, ...]]:
        # An empty pattern is none, as in sqlite3.
        if self._pattern:
            sql = _SCHEMA.format(kinds, "AND name LIKE ?", order)
            return await self._fetch(sql, (self._pattern,))
        return await self._fetch(_SCHEMA.format(kinds, "", order))

    async def _begin(self) -> None:
        if await self._fetch("PRAGMA foreign_key_check"):
            self._ready.append("PRAGMA foreign_keys=OFF;")
        self._ready.append("BEGIN TRANSACTION;")

    async def _tables(self) -> None:
        for name, _, sql in await self._objects("== 'table'", "ORDER BY name"):
            self._steps.append(partial(self._table, name, sql))
        self._steps.append(self._end)

    async def _table(self, name: str, sql: str) -> None:
        if name == "sqlite_sequence":
            # After all rows, whose INSERTs write to it too.
            rows = await self._fetch("SELECT * FROM sqlite_sequence")
            self._sequences.append('DELETE FROM "sqlite_sequence";')
            self._sequences += [
                f'INSERT INTO "sqlite_sequence" VALUES({_text(table)},{number});'
                for table, number in rows
            ]
            return
        if name == "sqlite_stat1":
            self._ready.append('ANALYZE "sqlite_master";')
        elif name.startswith("sqlite_"):
            return
        elif sql.startswith("CREATE VIRTUAL TABLE"):
            if not self._is_schema_writable:
                self._is_schema_writable = True
                self._ready.append("PRAGMA writable_schema=ON;")
            self._ready.append(
                "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql)"
                f"VALUES('table',{_text(name)},{_text(name)},0,{_text(sql)});"
            )
        else:
            self._ready.append(f"{sql};")
        self._steps.appendleft(partial(self._insert_rows, _name(name)))

    async def _insert_rows(self, table: str) -> None:
        columns = await self._fetch(f"PRAGMA table_info({table})")
        # SQLite writes the statements, to the last character: copying one may take long.
        values = "||','||".join(f"quote({_name(str(column[1]))})" for column in columns)
        prefix = _text(f"INSERT INTO {table} VALUES(")
        sql = f"SELECT {prefix}||{values}||');' FROM {table}"  # noqa: S608 - all of it is quoted
        self._rows = await self._cursor().execute(sql)

    async def _end(self) -> None:
        others = await self._objects("IN ('index', 'trigger', 'view')", "")
        self._ready.extend(f"{sql};" for _, _, sql in others)
        if self._is_schema_writable:
            self._ready.append("PRAGMA writable_schema=OFF;")
        self._ready.extend(self._sequences)
        self._ready.append("COMMIT;")
