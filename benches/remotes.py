"""Drivers that speak to a server, besides this one, and the bare request that they are measured by.

A path is the server's URL here. As in `drivers`, what is timed is the driver.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any, ClassVar

from bare import Bare, BareMessage, BareRequest
from drivers import ASYNCIO, INSERT, POINT, Aiolibsql, Driver, SyncDriver, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from data import BigRow

SUFFIXES = ("", "-ws")
VALUE = re.compile(rb"value \d+")


def of_both(cases: Sequence[str], reason: str) -> dict[str, str]:
    """Return a reason for cases over either transport."""
    return {f"{case}{suffix}": reason for case in cases for suffix in SUFFIXES}


class Libsql(SyncDriver):
    """The libsql package. It blocks, and speaks HTTP only."""

    name = "libsql"
    distribution = "libsql"
    module = "libsql"

    async def connect(self, path: str) -> Any:
        """Connect to a server, in autocommit mode."""
        module = importlib.import_module(self.module)
        return module.connect(path, isolation_level=None)

    async def iterate(self, conn: Any, sql: str) -> Any:
        """Go through a result row by row; its cursors are not iterable."""
        cursor = conn.execute(sql)
        row = last = cursor.fetchone()
        while row is not None:
            last, row = row, cursor.fetchone()
        return last


class LibsqlClient(Driver):
    """The libsql-client package."""

    name = "libsql-client"
    distribution = "libsql-client"
    module = "libsql_client"
    runtimes = ASYNCIO
    lacks: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("remote-fetchall-ws", "remote-iterate-ws"), "refuses WebSocket messages of more than 4 MB"
    )

    async def connect(self, path: str) -> Any:
        """Connect to a server."""
        return importlib.import_module(self.module).create_client(path)

    async def close(self, conn: Any) -> None:
        """Close a connection."""
        await conn.close()

    async def points(self, conn: Any, keys: Sequence[int]) -> Any:
        """Select a row for each key, one after the other, and return the last one."""
        row = None
        for key in keys:
            (row,) = (await conn.execute(POINT, (key,))).rows
        return row

    async def fetch(self, conn: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Execute a statement and return all its rows in one list."""
        rows: list[Any] = (await conn.execute(sql, parameters)).rows
        return rows

    async def iterate(self, conn: Any, sql: str) -> Any:
        """Go through a result row by row and return the last row."""
        row = None
        for row in (await conn.execute(sql)).rows:  # noqa: B007 - the last one is returned
            pass
        return row

    async def insert_each(self, conn: Any, rows: Sequence[BigRow]) -> None:
        """Insert rows, each in a transaction of its own."""
        for row in rows:
            await conn.execute(INSERT, row)

    async def insert_all(self, conn: Any, rows: Iterable[BigRow]) -> None:
        """Insert rows by a batch, which is a transaction; it has no ``executemany``."""
        await conn.batch([(INSERT, row) for row in rows])


class BareDriver(SyncDriver):
    """A bare request over a kept HTTP connection: nothing that waits for the answer is quicker."""

    name = "bare"
    module = "bare"
    kind: ClassVar[type[Bare]] = BareRequest
    lacks: ClassVar[Mapping[str, str]] = of_both(
        ("remote-fetchall", "remote-iterate", "remote-executemany"), "asks for one row only"
    )

    def version(self) -> str:
        """Return how it asks."""
        return self.kind.__name__

    async def connect(self, path: str) -> Any:
        """Connect to a server."""
        return self.kind(path)

    async def points(self, conn: Any, keys: Sequence[int]) -> Any:
        """Select a row for each key, one after the other, and return the last one."""
        answer = b""
        for key in keys:
            answer = conn.ask(POINT, key)
        found = VALUE.search(answer)
        return (found.group().decode(),) if found else None


class BareSocketDriver(BareDriver):
    """A bare message over a WebSocket, and the one that answers it."""

    name = "bare-ws"
    kind = BareMessage
    lacks: ClassVar[Mapping[str, str]] = {
        **BareDriver.lacks,
        **dict.fromkeys(("remote-point", "remote-tasks"), "is compared over WebSockets only"),
    }


BARE = BareDriver.name
REMOTES: tuple[type[Driver], ...] = (
    Aiolibsql,
    Libsql,
    LibsqlClient,
    Upstream,
    BareDriver,
    BareSocketDriver,
)
SOCKETS = frozenset({Aiolibsql.name, LibsqlClient.name, BareSocketDriver.name})
"""Those that speak over a WebSocket where a case is about that; the others use HTTP there."""
