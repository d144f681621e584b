"""`AsyncEngine` and `AsyncConnection` that close themselves on whichever event loop runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy.ext.asyncio as sqla
from sqlalchemy.ext.asyncio.base import asyncstartablecontext

from aiolibsql import _runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.engine import URL


class AsyncConnection(sqla.AsyncConnection):
    """`sqlalchemy.ext.asyncio.AsyncConnection` for every event loop."""

    __slots__ = ()

    async def __aexit__(self, type_: object, value: object, traceback: object) -> None:
        await _runtime.shielded(self.close)

    @asyncstartablecontext
    async def stream(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> AsyncIterator[sqla.AsyncResult[Any]]:
        """Execute a statement whose rows are read when they are asked for, as SQLAlchemy's."""
        # Started, theirs leaves the closing to us; entered, it would close in an asyncio task.
        result = await super().stream(
            statement, parameters, execution_options=execution_options or {}
        )
        try:
            yield result
        except GeneratorExit:
            pass
        else:
            await _runtime.shielded(result.close)


class AsyncEngine(sqla.AsyncEngine):
    """`sqlalchemy.ext.asyncio.AsyncEngine` for every event loop."""

    __slots__ = ()

    _connection_cls = AsyncConnection


def create_async_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """Return `sqlalchemy.ext.asyncio.create_async_engine`'s engine, for every event loop.

    Args:
        url: The engine's URL, ``sqlite+aiolibsql://…``.
        options: The keywords of SQLAlchemy's function.
    """
    return AsyncEngine(sqla.create_async_engine(url, **options).sync_engine)


def async_engine_from_config(
    configuration: dict[str, Any], prefix: str = "sqlalchemy.", **options: Any
) -> AsyncEngine:
    """Return `sqlalchemy.ext.asyncio.async_engine_from_config`'s engine, for every event loop.

    Args:
        configuration: Settings, as Alembic has them.
        prefix: What the names of the engine's settings begin with.
        options: The keywords of SQLAlchemy's function.
    """
    engine = sqla.async_engine_from_config(configuration, prefix, **options)
    return AsyncEngine(engine.sync_engine)
