"""The async driver in the shape of a blocking PEP 249 module, as SQLAlchemy wants it.

SQLAlchemy's async extension runs its blocking code in a greenlet, and what that code passes to
`await_` is awaited by the task around it. So every method here awaits on whichever loop runs, and
needs no lock: operations of a connection queue by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util import concurrency

import aiolibsql
from aiolibsql import _runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType

    from typing_extensions import Self

# SQLAlchemy 2.1 gave it a shorter name.
await_: Callable[[Awaitable[Any]], Any] = (
    getattr(concurrency, "await_", None) or concurrency.await_only
)


async def _undisturbed(work: Callable[[], Awaitable[None]]) -> None:
    """Await what `work` returns, and leave a cancellation meanwhile to the next await.

    For what the driver carries out in any case, closing and rolling back. SQLAlchemy would take an
    exception from it for a broken connection.
    """
    trio = _runtime.running_trio()
    if trio is not None:
        with trio.CancelScope(shield=True):
            await work()
        return
    try:
        await work()
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is None:
            raise
        # Once more, but counted once: timeouts and task groups compare the counts.
        if sys.version_info >= (3, 11):
            task.uncancel()
        task.cancel(*cancelled.args)


class AdaptedCursor:
    """A cursor that has read all its rows when it has executed."""

    __slots__ = ("_cursor", "_rows")

    server_side = False

    def __init__(self, connection: AdaptedAiolibsql) -> None:
        self._cursor = connection.driver_connection.cursor()
        self._rows: Iterator[Any] = iter(())

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    @property
    def lastrowid(self) -> Any:
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        return int(self._cursor.arraysize)

    @arraysize.setter
    def arraysize(self, size: int) -> None:
        self._cursor.arraysize = size

    def execute(self, operation: str, parameters: Any = ()) -> AdaptedCursor:
        await_(self._execute(operation, parameters))
        return self

    async def _execute(self, operation: str, parameters: Any) -> None:
        await self._cursor.execute(operation, parameters or ())
        if self._cursor.description is not None:
            self._rows = iter(await self._cursor.fetchall())

    def executemany(self, operation: str, parameters: Any) -> AdaptedCursor:
        await_(self._cursor.executemany(operation, parameters))
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(islice(self._rows, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def setinputsizes(self, *_sizes: Any) -> None:
        """Do nothing, as PEP 249 allows."""

    async def _async_soft_close(self) -> None:
        """SQLAlchemy awaits this where it goes on without a greenlet: there is nothing open."""

    def close(self) -> None:
        self._rows = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AdaptedStreamingCursor(AdaptedCursor):
    """A cursor that reads rows when they are asked for: SQLAlchemy's server-side cursor."""

    __slots__ = ()

    server_side = True

    async def _execute(self, operation: str, parameters: Any) -> None:
        await self._cursor.execute(operation, parameters or ())

    def fetchone(self) -> Any:
        return await_(self._cursor.fetchone())

    def fetchmany(self, size: int | None = None) -> list[Any]:
        rows: list[Any] = await_(self._cursor.fetchmany(size))
        return rows

    def fetchall(self) -> list[Any]:
        rows: list[Any] = await_(self._cursor.fetchall())
        return rows

    def __iter__(self) -> Iterator[Any]:
        while rows := self.fetchmany(self._cursor.iter_chunk_size):
            yield from rows

    def close(self) -> None:
        # Without a greenlet it is garbage, and the driver closes what is dropped.
        if concurrency.in_greenlet():
            await_(_undisturbed(self._cursor.close))


class AdaptedAiolibsql(AdaptedConnection):
    """A connection whose methods are those of `aiolibsql.Connection`, awaited.

    What `execute` and `cursor` return is adapted too. ``driver_connection`` is the connection
    itself, for code that awaits.
    """

    __slots__ = ("dbapi",)

    _connection: Any

    def __init__(self, dbapi: Any, connection: aiolibsql.Connection[Any]) -> None:
        self.dbapi = dbapi
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            value = found(*args, **kwargs)
            return await_(value) if isinstance(value, Coroutine) else value

        return call

    @property
    def isolation_level(self) -> Any:
        return self._connection.isolation_level

    @isolation_level.setter
    def isolation_level(self, level: Any) -> None:
        self._connection.isolation_level = level

    @property
    def autocommit(self) -> Any:
        return self._connection.autocommit

    @autocommit.setter
    def autocommit(self, value: Any) -> None:
        self._connection.autocommit = value

    @property
    def row_factory(self) -> Any:
        return self._connection.row_factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        self._connection.row_factory = factory

    @property
    def text_factory(self) -> Any:
        return self._connection.text_factory

    @text_factory.setter
    def text_factory(self, factory: Any) -> None:
        self._connection.text_factory = factory

    def cursor(self, server_side: bool = False) -> AdaptedCursor:
        return AdaptedStreamingCursor(self) if server_side else AdaptedCursor(self)

    def execute(self, operation: str, parameters: Any = ()) -> AdaptedCursor:
        return self.cursor().execute(operation, parameters)

    def executemany(self, operation: str, parameters: Any) -> AdaptedCursor:
        return self.cursor().executemany(operation, parameters)

    def commit(self) -> None:
        await_(self._connection.commit())

    def rollback(self) -> None:
        await_(_undisturbed(self._connection.rollback))

    def close(self) -> None:
        await_(_undisturbed(self._connection.close))

    def terminate(self) -> None:
        """Close without failing; where nothing can be awaited, tell the connection to close."""
        try:
            if concurrency.in_greenlet():
                await_(_undisturbed(self._wind_up))
        finally:
            self._connection.stop()

    async def _wind_up(self) -> None:
        # The pool gives up a connection in the middle of a transaction knowingly: no warning.
        with contextlib.suppress(aiolibsql.Error):
            await self._connection.rollback()
        with contextlib.suppress(aiolibsql.Error):
            await self._connection.close()


class AdaptedModule:
    """`aiolibsql` with a `connect` that waits."""

    def __init__(self, driver: ModuleType) -> None:
        self.driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver, name)

    @property
    def exceptions_module(self) -> ModuleType:
        """The module that has the exceptions."""
        return self.driver

    def connect(
        self, *args: Any, async_creator_fn: Callable[..., Any] | None = None, **kwargs: Any
    ) -> AdaptedAiolibsql:
        """Open a connection, or take the one that `async_creator` of the engine makes."""
        opening = (async_creator_fn or aiolibsql.connect)(*args, **kwargs)
        return AdaptedAiolibsql(self, await_(opening))
