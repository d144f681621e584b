"""What many tasks share: each driver's pool, or the one connection that stands in its place.

A class does what a user of the driver would write for a task that has no connection of its own.
Drivers whose users would have to bring a pool are not here.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from drivers import (
    INSERT,
    POINT,
    Aiolibsql,
    Aiosqlite,
    AiosqlitePool,
    Rapsqlite,
    Stdlib,
    Ungrouped,
    Upstream,
)

if TYPE_CHECKING:
    from data import BigRow
    from drivers import Driver


class Pool(ABC):
    """Connections to one file that any task may use."""

    driver: ClassVar[type[Driver]]

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._pool: Any = None

    @abstractmethod
    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:
        """Open as many connections as read at the same time; those that only write come on top."""

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    @abstractmethod
    async def point(self, key: int) -> Any:
        """Select a row by its key."""

    @abstractmethod
    async def insert(self, row: BigRow) -> None:
        """Insert a row in a transaction of its own."""

    @abstractmethod
    async def fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return all rows of a statement."""


class OwnPool(Pool):
    """This driver's pool."""

    driver: ClassVar[type[Driver]] = Aiolibsql

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:
        """Open as many connections as read at the same time, and one that writes."""
        module = importlib.import_module("aiolibsql")
        self._pool = await module.create_pool(path, readers + 1, timeout=60, pragmas=pragmas)

    async def point(self, key: int) -> Any:
        """Select a row by its key."""
        cursor = await self._pool.execute(POINT, (key,))
        return await cursor.fetchone()

    async def insert(self, row: BigRow) -> None:
        """Insert a row in a transaction of its own."""
        await self._pool.execute(INSERT, row)

    async def fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return all rows of a statement."""
        cursor = await self._pool.execute(sql, parameters)
        rows: list[Any] = await cursor.fetchall()
        return rows


class UngroupedPool(OwnPool):
    """This driver's pool without its group commit: whoever writes has the writer alone."""

    driver = Ungrouped

    async def insert(self, row: BigRow) -> None:
        """Insert a row in a transaction of its own."""
        async with self._pool.write() as conn:
            await conn.execute(INSERT, row)


class UpstreamPool(OwnPool):
    """The pool of the package of the same name on PyPI, which sets the PRAGMAs itself."""

    driver = Upstream

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:  # noqa: ARG002
        """Open as many connections as read at the same time, and one that writes."""
        module = importlib.import_module("aiolibsql")
        self._pool = await module.create_pool(path, readers + 1, timeout=60)


async def connect_aiosqlite(path: str, pragmas: dict[str, Any]) -> Any:
    """Open a connection of aiosqlite in autocommit mode."""
    module = importlib.import_module("aiosqlite")
    conn = await module.connect(path, isolation_level=None, timeout=60)
    for name, value in pragmas.items():
        await conn.execute(f"PRAGMA {name} = {value}")
    return conn


class AiosqlitesPool(Pool):
    """A pool of aiosqlitepool, whose connections are all alike."""

    driver = AiosqlitePool

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:
        """Open as many connections as read at the same time; each may write."""
        module = importlib.import_module("aiosqlitepool")
        connect = partial(connect_aiosqlite, path, pragmas)
        self._pool = module.SQLiteConnectionPool(connect, pool_size=readers)

    async def point(self, key: int) -> Any:
        """Select a row by its key."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(POINT, (key,))
            return await cursor.fetchone()

    async def insert(self, row: BigRow) -> None:
        """Insert a row in a transaction of its own."""
        async with self._pool.connection() as conn:
            await conn.execute(INSERT, row)

    async def fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return all rows of a statement."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(sql, parameters)
            rows: list[Any] = await cursor.fetchall()
            return rows


class OneConnection(OwnPool):
    """Aiosqlite's tasks share a connection, which runs what comes one after the other."""

    driver = Aiosqlite

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:  # noqa: ARG002
        """Open one connection."""
        self._pool = await connect_aiosqlite(path, pragmas)


class RapsqlitesPool(OwnPool):
    """A connection of rapsqlite is a pool. Who has written commits what the others wrote, too."""

    driver = Rapsqlite

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:
        """Open as many connections as read at the same time; each may write."""
        module = importlib.import_module("rapsqlite")
        self._pool = await module.connect(path, pragmas=pragmas, pool_size=readers, timeout=60)

    async def insert(self, row: BigRow) -> None:
        """Insert a row, and commit."""
        await self._pool.execute(INSERT, row)
        await self._pool.commit()


class Blocking(Pool):
    """The standard library's tasks share a connection, and each holds the loop: the measure."""

    driver = Stdlib

    async def open(self, path: str, readers: int, pragmas: dict[str, Any]) -> None:  # noqa: ARG002
        """Open one connection."""
        self._pool = await self._driver.connect(path)
        for name, value in pragmas.items():
            self._pool.execute(f"PRAGMA {name} = {value}")

    async def close(self) -> None:
        """Close it."""
        self._pool.close()

    async def point(self, key: int) -> Any:
        """Select a row by its key."""
        return self._pool.execute(POINT, (key,)).fetchone()

    async def insert(self, row: BigRow) -> None:
        """Insert a row in a transaction of its own."""
        self._pool.execute(INSERT, row)

    async def fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return all rows of a statement."""
        rows: list[Any] = self._pool.execute(sql, parameters).fetchall()
        return rows


UNGROUPED = Ungrouped.name
POOLS: dict[str, type[Pool]] = {
    pool.driver.name: pool
    for pool in (
        OwnPool,
        UngroupedPool,
        Blocking,
        AiosqlitesPool,
        OneConnection,
        RapsqlitesPool,
        UpstreamPool,
    )
}
