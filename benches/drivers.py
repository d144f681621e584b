"""The drivers that are compared, each behind one small class.

A class does the work of the cases with its driver's own calls and nothing between: what is timed
is the driver. It imports the driver only when it connects, so that the command can read from these
classes what a driver can't do without having it installed.

A connection is in autocommit mode; transactions are begun and committed by SQL.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sqlite3
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from data import BigRow

POINT = "SELECT value FROM kv WHERE k = ?"
INSERT = "INSERT INTO sink VALUES (?, ?, ?, ?)"
BIG = "SELECT i, f, t, b FROM big"
# The cheapest rows there are, so that little but the step itself is measured.
NULLS = "SELECT NULL FROM kv LIMIT 1000"
STEPS = 60  # fewer than any driver fetches at once

ASYNCIO = frozenset({"asyncio", "uvloop"})
EVERY_RUNTIME = ASYNCIO | {"trio"}

SYNCED_WITH = " synced with "
"""Between a replica's file and the URL of the database that it follows."""


class Driver(ABC):
    """One driver: what it is called, where it runs, and how it does each piece of work."""

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    """The package that brings it; None for the standard library."""
    module: ClassVar[str]
    """What a user imports."""
    runtimes: ClassVar[frozenset[str]] = EVERY_RUNTIME
    is_async: ClassVar[bool] = True
    lacks: ClassVar[Mapping[str, str]] = {}
    """For a case that it can't run, why."""
    takes_iterables: ClassVar[bool] = True
    """Whether ``executemany`` takes any iterable; else it gets a list."""
    is_only_pool: ClassVar[bool] = False
    is_replica: ClassVar[bool] = False
    """Whether its file follows a server, which it is filled from."""
    """Whether it has nothing but a pool for the connections of another driver."""
    environment: ClassVar[str] = "bench"
    """The environment that it is installed in."""

    def version(self) -> str:
        """Return the version that is installed."""
        return importlib.metadata.version(self.distribution) if self.distribution else "stdlib"

    @abstractmethod
    async def connect(self, path: str) -> Any:
        """Open the file, in autocommit mode."""

    @abstractmethod
    async def close(self, conn: Any) -> None:
        """Close a connection."""

    @abstractmethod
    async def points(self, conn: Any, keys: Sequence[int]) -> Any:
        """Select a row for each key, one after the other, and return the last one."""

    @abstractmethod
    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""

    @abstractmethod
    async def iterate(self, conn: Any, sql: str) -> Any:
        """Go through a result row by row and return the last row."""

    @abstractmethod
    async def insert_each(self, conn: Any, rows: Sequence[BigRow]) -> None:
        """Insert rows, each in a transaction of its own."""

    @abstractmethod
    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by ``executemany``, in one transaction that is committed."""

    async def ready_steps(self, conn: Any, results: int) -> list[float]:
        """Return the seconds of ``STEPS`` steps over rows that are there, for many results."""
        raise NotImplementedError


class SyncDriver(Driver):
    """A blocking driver: what the asynchronous ones are measured against."""

    is_async = False
    lacks: ClassVar[Mapping[str, str]] = {
        "cancel": "blocks, so nothing can cancel it",
        "step": "has no steps that only hand over a row",
        "pool-scan": "has one connection",
    }

    async def close(self, conn: Any) -> None:
        """Close a connection."""
        conn.close()

    async def points(self, conn: Any, keys: Sequence[int]) -> Any:
        """Select a row for each key, one after the other, and return the last one."""
        row = None
        for key in keys:
            row = conn.execute(POINT, (key,)).fetchone()
        return row

    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""
        rows: list[Any] = conn.execute(sql, parameters).fetchall()
        return rows

    async def iterate(self, conn: Any, sql: str) -> Any:
        """Go through a result row by row and return the last row."""
        row = None
        for row in conn.execute(sql):  # noqa: B007 - the last one is returned
            pass
        return row

    async def insert_each(self, conn: Any, rows: Sequence[BigRow]) -> None:
        """Insert rows, each in a transaction of its own."""
        for row in rows:
            conn.execute(INSERT, row)

    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by ``executemany``, in one transaction that is committed."""
        conn.execute("BEGIN")
        conn.executemany(INSERT, rows)
        conn.execute("COMMIT")


class Stdlib(SyncDriver):
    """The standard library's ``sqlite3``, called synchronously: the measure of all."""

    name = "sqlite3"
    module = "sqlite3"

    def version(self) -> str:
        """Return SQLite's version: the module has none."""
        return f"SQLite {sqlite3.sqlite_version}"

    async def connect(self, path: str) -> Any:
        """Open the file, in autocommit mode."""
        return sqlite3.connect(path, isolation_level=None)


class Apsw(SyncDriver):
    """APSW, called synchronously."""

    name = "apsw"
    distribution = "apsw"
    module = "apsw"

    async def connect(self, path: str) -> Any:
        """Open the file; it is always in autocommit mode."""
        return importlib.import_module("apsw").Connection(path)


def own_version() -> str:
    """Return the version, once it is sure that the one of this project was imported."""
    module = importlib.import_module("aiolibsql")
    if not hasattr(module, "complete_statement"):
        raise RuntimeError(f"{module.__file__} is not this project's package")
    return str(module.__version__)


class Dbapi(SyncDriver):
    """This driver's blocking module."""

    name = "aiolibsql.dbapi"
    distribution = "aiolibsql"
    module = "aiolibsql.dbapi"

    def version(self) -> str:
        """Return the version."""
        return own_version()

    async def connect(self, path: str) -> Any:
        """Open the file, in autocommit mode."""
        return importlib.import_module(self.module).connect(path, isolation_level=None)


class AsyncDriver(Driver):
    """An asynchronous driver with the calls that most of them have."""

    async def connect(self, path: str) -> Any:
        """Open the file, in autocommit mode."""
        return await importlib.import_module(self.module).connect(path, isolation_level=None)

    async def close(self, conn: Any) -> None:
        """Close a connection."""
        await conn.close()

    async def points(self, conn: Any, keys: Sequence[int]) -> Any:
        """Select a row for each key, one after the other, and return the last one."""
        row = None
        for key in keys:
            cursor = await conn.execute(POINT, (key,))
            row = await cursor.fetchone()
        return row

    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""
        cursor = await conn.execute(sql, parameters)
        rows: list[Any] = await cursor.fetchall()
        return rows

    async def iterate(self, conn: Any, sql: str) -> Any:
        """Go through a result row by row and return the last row."""
        row = None
        async for row in await conn.execute(sql):  # noqa: B007 - the last one is returned
            pass
        return row

    async def insert_each(self, conn: Any, rows: Sequence[BigRow]) -> None:
        """Insert rows, each in a transaction of its own."""
        for row in rows:
            await conn.execute(INSERT, row)

    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by ``executemany``, in one transaction that is committed."""
        await conn.execute("BEGIN")
        await conn.executemany(INSERT, rows)
        await conn.execute("COMMIT")

    async def ready_steps(self, conn: Any, results: int) -> list[float]:
        """Return the seconds of ``STEPS`` steps over rows that are there, for many results."""
        times = []
        for _ in range(results):
            rows = (await conn.execute(NULLS)).__aiter__()
            await rows.__anext__()
            left = STEPS
            began = time.perf_counter()
            async for _row in rows:
                left -= 1
                if not left:
                    break
            times.append(time.perf_counter() - began)
        return times


class Aiolibsql(AsyncDriver):
    """This driver."""

    name = "aiolibsql"
    distribution = "aiolibsql"
    module = "aiolibsql"

    def version(self) -> str:
        """Return the version."""
        return own_version()


class Ungrouped(Aiolibsql):
    """This driver's pool, each write in a block that has the writer: no group commit."""

    name = "aiolibsql.ungrouped"
    lacks: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("pool-mixed", "pool-scan"), "differs from the pool in what writes alone"
    )
    is_only_pool = True


class AiolibsqlReplica(Aiolibsql):
    """This driver, with a file that follows a server's database: a path is both, in this order."""

    name = "aiolibsql-replica"
    is_replica = True

    async def connect(self, path: str) -> Any:
        """Open the file, and sync it."""
        file, _, url = path.partition(SYNCED_WITH)
        module = importlib.import_module(self.module)
        return await module.connect(file, sync_url=url, isolation_level=None)


class AiolibsqlInline(Aiolibsql):
    """This driver, where quick reads run on the loop's thread."""

    name = "aiolibsql-inline"

    async def connect(self, path: str) -> Any:
        """Open the file, in autocommit mode."""
        module = importlib.import_module(self.module)
        return await module.connect(path, isolation_level=None, inline_budget=4000)


class Aiosqlite(AsyncDriver):
    """The aiosqlite package."""

    name = "aiosqlite"
    distribution = "aiosqlite"
    module = "aiosqlite"
    runtimes = ASYNCIO
    lacks: ClassVar[Mapping[str, str]] = {"pool-scan": "has one connection"}


class AiosqlitePool(Aiosqlite):
    """The aiosqlitepool package: a pool of connections of aiosqlite."""

    name = "aiosqlitepool"
    distribution = "aiosqlitepool"
    lacks: ClassVar[Mapping[str, str]] = {}
    is_only_pool = True


class ApswAio(AsyncDriver):
    """APSW's asynchronous side."""

    name = "apsw.aio"
    distribution = "apsw"
    module = "apsw.aio"

    async def connect(self, path: str) -> Any:
        """Open the file; it is always in autocommit mode."""
        importlib.import_module(self.module)
        return await importlib.import_module("apsw").Connection.as_async(path)

    async def close(self, conn: Any) -> None:
        """Close a connection."""
        await conn.aclose()


class SqliteAnyio(AsyncDriver):
    """The sqlite-anyio package."""

    name = "sqlite-anyio"
    distribution = "sqlite-anyio"
    module = "sqlite_anyio"
    lacks: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("iterate", "step", "streak-iterate"), "has no async for"
    )

    async def connect(self, path: str) -> Any:
        """Open the file. Its own ``connect`` can't choose autocommit mode."""
        real = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        return importlib.import_module(self.module).Connection(real)

    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by ``executemany``, which only its cursors have."""
        await conn.execute("BEGIN")
        cursor = await conn.cursor()
        await cursor.executemany(INSERT, rows)
        await conn.execute("COMMIT")


class Rapsqlite(AsyncDriver):
    """The rapsqlite package. It begins a transaction before a write, which has to be committed."""

    name = "rapsqlite"
    distribution = "rapsqlite"
    module = "rapsqlite"
    runtimes = ASYNCIO
    takes_iterables = False
    lacks: ClassVar[Mapping[str, str]] = {
        "streak-iterate": "would take minutes: it reads each chunk from the first row on",
    }

    async def connect(self, path: str) -> Any:
        """Open the file, with the PRAGMAs that it can't be told later."""
        pragmas = {"synchronous": "NORMAL", "wal_autocheckpoint": 0}
        return await importlib.import_module(self.module).connect(path, pragmas=pragmas)

    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""
        rows: list[Any] = await super().fetch(conn, sql, parameters)
        if sql.startswith("DELETE"):
            await conn.commit()
        return rows

    async def insert_each(self, conn: Any, rows: Sequence[BigRow]) -> None:
        """Insert rows, each in a transaction of its own."""
        for row in rows:
            await conn.execute(INSERT, row)
            await conn.commit()

    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by ``executemany``, in one transaction that is committed."""
        await conn.begin()
        await conn.executemany(INSERT, rows)
        await conn.commit()


class Pyturso(AsyncDriver):
    """The pyturso package: an engine of its own on the same file format."""

    name = "pyturso"
    distribution = "pyturso"
    module = "turso.aio"
    runtimes = ASYNCIO
    takes_iterables = False
    lacks: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("iterate", "step", "streak-iterate"), "has no async for"
    )


class Upstream(AsyncDriver):
    """The package of the same name on PyPI, in an environment of its own."""

    name = "upstream"
    distribution = "aiolibsql"
    module = "aiolibsql"
    runtimes = ASYNCIO
    takes_iterables = False
    environment = "upstream"
    lacks: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("iterate", "step", "streak-iterate"), "has no async for"),
        **dict.fromkeys(("remote-iterate", "remote-iterate-ws"), "has no async for"),
        "pool-insert-full": "sets synchronous=NORMAL in its pool itself",
    }

    def version(self) -> str:
        """Return the version, once it is sure that it is not this project's package."""
        module = importlib.import_module(self.module)
        if hasattr(module, "complete_statement"):
            raise RuntimeError(f"{module.__file__} is this project's own package")
        return super().version()


OURS = Aiolibsql.name
REPLICA = AiolibsqlReplica.name
INLINE = AiolibsqlInline.name
BLOCKING = Dbapi.name
REFERENCE = Stdlib.name
LOCALS: tuple[type[Driver], ...] = (
    Aiolibsql,
    Ungrouped,
    Dbapi,
    Stdlib,
    Apsw,
    Aiosqlite,
    AiosqlitePool,
    ApswAio,
    SqliteAnyio,
    Rapsqlite,
    Pyturso,
    Upstream,
)
