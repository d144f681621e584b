"""Where a test's database lives, and the ways to open it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from healthy import HOSTED

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

    from proxy import Proxy
    from typing_extensions import Self

KEY = "the key of the tests"
LOCAL = ["file", "memory", "encrypted"]
TRANSPORTS = ["http", "ws"]


@dataclass(frozen=True)
class Backend:
    """A fresh database and the ways to open it.

    Attributes:
        name: One of `LOCAL` or of `TRANSPORTS`.
        path: The file, if it is one.
        port: Where its server listens, if a server hosts it.
        namespace: What it is called there.
        is_without_protobuf: The server has JSON alone.
    """

    name: str
    path: Path | None = None
    key: str | None = None
    port: int | None = None
    namespace: str | None = None
    is_without_protobuf: bool = False

    @property
    def is_file(self) -> bool:
        return self.path is not None

    @property
    def is_hosted(self) -> bool:
        return self.port is not None

    @property
    def url(self) -> str:
        assert self.port is not None
        return f"{self.name}://127.0.0.1:{self.port}"

    @property
    def engine_url(self) -> str:
        """What SQLAlchemy calls it."""
        if self.is_hosted:
            place = f"//127.0.0.1:{self.port}/?scheme={self.name}&namespace={self.namespace}"
            return f"sqlite+aiolibsql:{place}"
        key = f":{quote(self.key)}@" if self.key else ""
        return f"sqlite+aiolibsql://{key}/{self.path or ':memory:'}"

    def connect(self, **options: Any) -> aiolibsql.Connection[Any]:
        """Return a connection to the database that is not open yet."""
        if self.is_hosted:
            options.setdefault("namespace", self.namespace)
            conn: aiolibsql.Connection[Any] = aiolibsql.connect(self.url, **options)
            HOSTED.add(conn)
            return conn
        options.setdefault("encryption_key", self.key)
        return aiolibsql.connect(self.path or ":memory:", **options)

    def create_pool(self, size: int, **options: Any) -> aiolibsql.ConnectionPool:
        """Return a pool of connections to the database that is not open yet."""
        if self.is_hosted:
            options.setdefault("namespace", self.namespace)
            return aiolibsql.create_pool(self.url, size, **options)
        options.setdefault("encryption_key", self.key)
        return aiolibsql.create_pool(self.path or ":memory:", size, **options)

    def enforcing(self) -> aiolibsql.Connection[Any]:
        """Return a connection that enforces foreign keys, as all do at servers."""
        return self.connect(**({} if self.is_hosted else {"foreign_keys": True}))

    async def hurry(self, conn: aiolibsql.Connection[Any]) -> None:
        """Have statements not wait for the disk, which is for nobody to set at servers."""
        if not self.is_hosted:
            await conn.execute("PRAGMA synchronous=OFF")

    def second(self, **options: Any) -> aiolibsql.Connection[Any]:
        """Return one more connection to the same database, not open yet."""
        assert self.name != "memory", "a memory database belongs to one connection: file_backend"
        return self.connect(**options)

    def through(self, proxy: Proxy) -> Self:
        """Return the same database as seen through a proxy."""
        return dataclasses.replace(self, port=proxy.port)
