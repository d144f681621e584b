"""SQLAlchemy's dialect ``sqlite+aiolibsql``: one name for sync and async engines, on any loop.

`sqlalchemy.create_engine` gets the blocking driver `aiolibsql.dbapi`, `create_async_engine` the
awaitables. SQLAlchemy's own asyncio extension closes sessions and connections in an asyncio task;
the classes of this module do the same on trio too, and are otherwise those of SQLAlchemy.
"""

from __future__ import annotations

from sqlalchemy.dialects import registry

from aiolibsql.sqlalchemy._engine import (
    AsyncConnection,
    AsyncEngine,
    async_engine_from_config,
    create_async_engine,
)
from aiolibsql.sqlalchemy._pools import AsyncNullPool, AsyncQueuePool, AsyncStaticPool
from aiolibsql.sqlalchemy._session import AsyncSession, async_sessionmaker
from aiolibsql.sqlalchemy.dialect import (
    SQLiteDialect_aiolibsql,
    SQLiteDialect_aiolibsql_async,
)

__all__ = [
    "AsyncConnection",
    "AsyncEngine",
    "AsyncNullPool",
    "AsyncQueuePool",
    "AsyncSession",
    "AsyncStaticPool",
    "SQLiteDialect_aiolibsql",
    "SQLiteDialect_aiolibsql_async",
    "async_engine_from_config",
    "async_sessionmaker",
    "create_async_engine",
    "register",
]


def register() -> None:
    """Tell SQLAlchemy the dialect's names; an installed package's entry points say them too."""
    module = "aiolibsql.sqlalchemy.dialect"
    registry.register("sqlite.aiolibsql", module, "SQLiteDialect_aiolibsql")
    registry.register("sqlite.aiolibsql_async", module, "SQLiteDialect_aiolibsql_async")


register()
