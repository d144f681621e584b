"""The matrix every test runs in: each event loop, and each place where a database lives.

A test in the matrix is an ``async def`` in a module with ``pytestmark = pytest.mark.anyio``; it
uses anyio's API only. ``backend`` gives it a fresh database, ``conn`` an open connection to one.

No test opens a file with the stdlib's ``sqlite3`` while aiolibsql has it open in the same process:
two SQLite libraries undo each other's POSIX locks.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Examples share their test's fixtures on purpose: opening a database for each would be the test.
settings.register_profile(
    "aiolibsql",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("aiolibsql")


def pytest_collection_finish() -> None:
    """Take the tens of thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


_RUNTIMES = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
    pytest.param(("trio", {}), id="trio"),
]
if sys.version_info >= (3, 12):

    def _eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    _RUNTIMES.append(pytest.param(("asyncio", {"loop_factory": _eager_loop}), id="asyncio-eager"))


@pytest.fixture(scope="module", params=_RUNTIMES)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name the event loop that the test's coroutine runs in."""
    runtime: tuple[str, dict[str, Any]] = request.param
    return runtime


KEY = "the key of the tests"


@dataclass(frozen=True)
class Backend:
    """A fresh database and the ways to open it."""

    name: str
    path: Path | None
    key: str | None = None

    @property
    def is_file(self) -> bool:
        return self.path is not None

    def connect(self, **options: Any) -> aiolibsql.Connection[Any]:
        """Return a connection to the database that is not open yet."""
        options.setdefault("encryption_key", self.key)
        return aiolibsql.connect(self.path or ":memory:", **options)

    def second(self, **options: Any) -> aiolibsql.Connection[Any]:
        """Return one more connection to the same file, not open yet."""
        assert self.path is not None, "a memory database belongs to one connection: file_backend"
        return self.connect(**options)


@pytest.fixture(params=["file", "memory", "encrypted"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return a fresh database of each kind in turn."""
    path = None if request.param == "memory" else tmp_path / "test.db"
    return Backend(request.param, path, KEY if request.param == "encrypted" else None)


@pytest.fixture
def file_backend(tmp_path: Path) -> Backend:
    """Return a fresh database in a file, for tests that need two connections to it."""
    return Backend("file", tmp_path / "test.db")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """Return the URL of a fresh file, for tests that need several clients of it."""
    return f"file:{tmp_path / 'test.db'}"


@pytest.fixture(params=["file", "memory"])
def client_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """Return the URL of a fresh database of each kind that a client can have, in turn."""
    return {"file": file_url, "memory": "file::memory:"}[request.param]


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[aiolibsql.Connection[Any]]:
    """Return an open connection; what the test left uncommitted is rolled back."""
    connection = await backend.connect()
    yield connection
    if not connection.closed:
        await connection.rollback()
        await connection.close()
