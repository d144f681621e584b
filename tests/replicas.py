"""Where a test's replica lives: its file, its primary, and the ways to open both."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from healthy import HOSTED

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CREATE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"


@dataclass(frozen=True)
class Home:
    """A fresh database at a server, and the file that is to follow it.

    Attributes:
        path: The file, which is not there yet.
        port: Where the server listens.
        namespace: What the database is called there; None where a server has one only.
        scheme: How the server is spoken to by whoever writes.
    """

    path: Path
    port: int
    namespace: str | None = None
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def connect(self, path: Path | None = None, **options: Any) -> aiolibsql.Connection[Any]:
        """Return a connection to the replica that is not open yet."""
        options.setdefault("namespace", self.namespace)
        options.setdefault("sync_url", self.url)
        conn: aiolibsql.Connection[Any] = aiolibsql.connect(path or self.path, **options)
        HOSTED.add(conn)
        return conn

    def primary(self, **options: Any) -> aiolibsql.Connection[Any]:
        """Return a connection to the database at the server, in autocommit, not open yet."""
        options.setdefault("namespace", self.namespace)
        return aiolibsql.connect(self.url, autocommit=True, **options)

    async def fill(self, *values: object) -> None:
        """Make the table at the server, with a row for each value."""
        async with self.primary() as conn:
            await conn.execute(CREATE)
            await conn.executemany("INSERT INTO t (a) VALUES (?)", [(value,) for value in values])

    def run(self, script: str, *words: str) -> subprocess.Popen[str]:
        """Start a process of Python's that is told the path, the URL, the namespace and words."""
        return subprocess.Popen(
            [sys.executable, "-c", script, str(self.path), self.url, str(self.namespace), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so that nobody tells of."""
    with anyio.fail_after(60):
        while not await condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)
