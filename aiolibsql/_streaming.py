"""Rows in chunks and pages, read from a cursor: the statement runs once, in one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from aiolibsql import _runtime

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Connection, Cursor
    from aiolibsql._pool_statements import PoolStatements
    from aiolibsql._types import Parameters

_RowT = TypeVar("_RowT")

# Rows that are skipped at a time.
_SKIPPED = 1024


class RowChunks(Generic[_RowT]):
    """The rows of one statement, as lists for ``async for``; made by `execute_iter`.

    The statement is executed by the first step, on a cursor of its own, which holds a read snapshot
    until the last chunk was taken. ``async with`` closes it at the end of the block whatever
    happened there; otherwise `aclose`, or dropping the iterator, ends it early.

    Cancellation:
        Each step as `Cursor.fetchmany`: a step that is cancelled loses no row.
    """

    def __init__(
        self,
        conn: Connection[_RowT] | PoolStatements,
        sql: str,
        parameters: Parameters | None,
        chunk_size: int | None,
    ) -> None:
        if chunk_size is not None and chunk_size < 1:
            raise ValueError("chunk_size must be at least 1")
        self._request = (conn, sql, parameters)
        self._chunk_size = chunk_size or conn.iter_chunk_size
        self._cursor: Cursor[_RowT] | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[_RowT]:
        if self._is_closed:
            raise StopAsyncIteration
        if self._cursor is None:
            conn, sql, parameters = self._request
            self._cursor = await conn.execute(sql, parameters)
        rows = await self._cursor.fetchmany(self._chunk_size)
        if not rows:
            await self.aclose()
            raise StopAsyncIteration
        return rows

    async def __aenter__(self) -> Self:
        await _runtime.sleep(0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the statement, and the iteration with it.

        Cancellation:
            Once it has begun, as for `Cursor.close`.
        """
        self._is_closed = True
        await (_runtime.sleep(0) if self._cursor is None else self._cursor.close())


@overload
def execute_iter(
    conn: Connection[_RowT],
    sql: str,
    parameters: Parameters | None = None,
    chunk_size: int | None = None,
) -> RowChunks[_RowT]: ...


@overload
def execute_iter(
    conn: PoolStatements,
    sql: str,
    parameters: Parameters | None = None,
    chunk_size: int | None = None,
) -> RowChunks[Any]: ...


def execute_iter(
    conn: Connection[Any] | PoolStatements,
    sql: str,
    parameters: Parameters | None = None,
    chunk_size: int | None = None,
) -> RowChunks[Any]:
    """Iterate over the rows of a statement in chunks, as `Connection.execute_iter`.

    Args:
        conn: The connection, or a pool.
        sql: One statement.
        parameters: As for `Connection.execute`, but read at the first step.
        chunk_size: Rows in a chunk; None for the connection's ``iter_chunk_size``.

    Returns:
        An async iterator over lists of rows.

    Raises:
        ValueError: If ``chunk_size`` is less than 1.
        Error: From the iteration, as for `Connection.execute`.

    Cancellation:
        As for `RowChunks`.
    """
    return RowChunks(conn, sql, parameters, chunk_size)


@overload
async def paginate(
    conn: Connection[_RowT],
    sql: str,
    parameters: Parameters | None = None,
    page_size: int = 64,
    offset: int = 0,
) -> list[_RowT]: ...


@overload
async def paginate(
    conn: PoolStatements,
    sql: str,
    parameters: Parameters | None = None,
    page_size: int = 64,
    offset: int = 0,
) -> list[Any]: ...


async def paginate(
    conn: Connection[Any] | PoolStatements,
    sql: str,
    parameters: Parameters | None = None,
    page_size: int = 64,
    offset: int = 0,
) -> list[Any]:
    """Return one page of the rows of a statement (as rapsqlite).

    The rows before the page are read and dropped, so that any statement can be given (rapsqlite
    wraps it in ``SELECT … LIMIT ? OFFSET ?``). Each call executes the statement anew: what others
    commit in between moves rows from page to page. To read all of a result use
    `Connection.execute_iter`.

    Args:
        conn: The connection, or a pool.
        sql: One statement; without ORDER BY the order is SQLite's choice.
        parameters: As for `Connection.execute`.
        page_size: Rows in a page.
        offset: Rows before the page.

    Returns:
        The rows; fewer at the end.

    Raises:
        ValueError: If ``page_size`` is less than 1 or ``offset`` negative.
        Error: As for `Connection.execute`.

    Cancellation:
        As for `Connection.execute`; the statement is ended.
    """
    if page_size < 1:
        raise ValueError("page_size must be at least 1")
    if offset < 0:
        raise ValueError("offset can't be negative")
    async with conn.execute(sql, parameters) as cursor:
        while offset > 0:
            skipped = len(await cursor.fetchmany(min(offset, _SKIPPED)))
            if skipped == 0:
                return []
            offset -= skipped
        return await cursor.fetchmany(page_size)
