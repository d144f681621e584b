"""What a pool does with statements that is written in Python: several of them, and the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiolibsql import _batch, _diagnostics, _introspection, _streaming
from aiolibsql._aiolibsql import Cursor, PoolCursor, _Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from aiolibsql._aiolibsql import Operation
    from aiolibsql._pool import ConnectionPool
    from aiolibsql._types import BatchOperation, Parameters


async def executemany(
    pool: ConnectionPool,
    sql: str,
    parameters: Iterable[Parameters] | AsyncIterable[Parameters],
    timeout: float | None = None,
) -> PoolCursor[Any]:
    """Execute a statement for each row of parameters on the connection that writes."""
    async with pool.write() as connection:
        cursor = pool._cursor_on(connection)  # noqa: SLF001
        await Cursor.executemany(cursor, sql, parameters, timeout=timeout)
    return cursor


async def executebatch(
    pool: ConnectionPool, operations: Iterable[BatchOperation]
) -> PoolCursor[Any]:
    """Execute the operations in one block on the connection that writes."""
    statements = _batch.read(operations)
    async with pool.write() as connection:
        # Not the block's, whose end would be the cursor's.
        cursor = pool._cursor_on(connection)  # noqa: SLF001
        counts: list[int] = []
        async with connection.savepoint():
            for sql, parameters in statements:
                # Others use the connection when the caller reads the rows of the last one.
                is_last = len(counts) == len(statements) - 1
                execute = PoolCursor._execute_all if is_last else Cursor.execute  # noqa: SLF001
                await execute(cursor, sql, parameters)
                counts.append(cursor.rowcount)
        changed = [count for count in counts if count >= 0]
        cursor._set_rowcount(sum(changed) if changed else -1)  # noqa: SLF001
    return cursor


class PoolStatements(_Pool):
    """The methods of `ConnectionPool` that ask about the schema, and other drivers' names."""

    def execute_many(
        self, query: str, parameters: Iterable[Parameters] | AsyncIterable[Parameters]
    ) -> Operation[PoolCursor[Any]]:
        """Execute one statement for each row of parameters; `executemany` (as rapsqlite).

        Args:
            query: As for `executemany`.
            parameters: As for `executemany`.

        Raises:
            Error: As for `executemany`.

        Cancellation:
            As for `executemany`.
        """
        return self.executemany(query, parameters)

    def raw_fetch_scalar(
        self, query: str, parameters: Parameters | None = None, blob: bool = False
    ) -> Operation[Any]:
        """Execute one statement and return its first value, or None (as rapsqlite).

        Args:
            query: As for `execute`.
            parameters: As for `execute`.
            blob: Whether the value has to be a BLOB, as for `fetch_blob`.

        Returns:
            The value.

        Raises:
            Error: As for `fetch_scalar` and `fetch_blob`.

        Cancellation:
            As for `execute`.
        """
        fetch = self.fetch_blob if blob else self.fetch_scalar
        return fetch(query, parameters)

    def execute_iter(
        self, sql: str, parameters: Parameters | None = None, chunk_size: int | None = None
    ) -> _streaming.RowChunks[Any]:
        """Iterate over the rows of a statement in chunks, as `Connection.execute_iter`.

        The statement keeps its connection until the last chunk was taken or the iterator closed.

        Args:
            sql: As for `execute`.
            parameters: As for `execute`, but read at the first step.
            chunk_size: Rows in a chunk; None for ``iter_chunk_size``.

        Returns:
            An async iterator over lists of rows.

        Raises:
            ValueError: If ``chunk_size`` is less than 1.
            Error: From the iteration, as for `execute`.

        Cancellation:
            As for `RowChunks`.
        """
        return _streaming.RowChunks(self, sql, parameters, chunk_size)

    async def explain_query_plan(
        self, sql: str, parameters: Parameters | None = None
    ) -> list[tuple[int, int, int, str]]:
        """Tell how SQLite would run a statement, as `Connection.explain_query_plan`.

        Args:
            sql: One statement; it is not executed.
            parameters: As for `execute`.

        Returns:
            The rows of EXPLAIN QUERY PLAN.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _diagnostics.explain_query_plan(self, sql, parameters)

    async def get_tables(self, name: str | None = None) -> list[str]:
        """Return the names of the tables, as `Connection.get_tables`.

        Args:
            name: Only the one of this name, in any case.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_tables(self, name)

    async def get_views(self, name: str | None = None) -> list[str]:
        """Return the names of the views, as `Connection.get_views`.

        Args:
            name: Only the one of this name, in any case.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_views(self, name)

    async def get_table_info(self, table_name: str) -> list[dict[str, Any]]:
        """Return the columns of a table, as `Connection.get_table_info`.

        Args:
            table_name: The table, or the view.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_table_info(self, table_name)

    async def get_table_xinfo(self, table_name: str) -> list[dict[str, Any]]:
        """Return the columns of a table with the hidden ones, as `Connection.get_table_xinfo`.

        Args:
            table_name: The table, or the view.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_table_xinfo(self, table_name)

    async def get_indexes(self, table_name: str | None = None) -> list[dict[str, Any]]:
        """Return the indexes that were made by CREATE INDEX, as `Connection.get_indexes`.

        Args:
            table_name: Only those of this table.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_indexes(self, table_name)

    async def get_index_list(self, table_name: str) -> list[dict[str, Any]]:
        """Return all indexes of a table, as `Connection.get_index_list`.

        Args:
            table_name: The table.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_index_list(self, table_name)

    async def get_index_info(self, index_name: str) -> list[dict[str, Any]]:
        """Return the columns of an index, as `Connection.get_index_info`.

        Args:
            index_name: The index.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_index_info(self, index_name)

    async def get_foreign_keys(self, table_name: str) -> list[dict[str, Any]]:
        """Return the foreign keys of a table, as `Connection.get_foreign_keys`.

        Args:
            table_name: The table.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        return await _introspection.get_foreign_keys(self, table_name)

    async def get_schema(self, table_name: str | None = None) -> dict[str, Any]:
        """Return the tables, or everything about one table, as `Connection.get_schema`.

        Args:
            table_name: The table; None for a list of all.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """
        async with cast("ConnectionPool", self).read() as connection:
            return await connection.get_schema(table_name)
