"""The matrix every test runs in: each event loop, and each place where a database lives.

A test in the matrix is an ``async def`` in a module with ``pytestmark = pytest.mark.anyio``; it
uses anyio's API only. ``backend`` gives it a fresh database, ``conn`` an open connection to one.

No test opens a file with the stdlib's ``sqlite3`` while aiolibsql has it open in the same process:
two SQLite libraries undo each other's POSIX locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest
from backends import KEY, LOCAL, TRANSPORTS, Backend
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqld import Sqld

    import aiolibsql

pytest_plugins = ["servers"]

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


RUNTIMES = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
    pytest.param(("trio", {}), id="trio"),
]
if sys.version_info >= (3, 12):

    def _eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    RUNTIMES.append(pytest.param(("asyncio", {"loop_factory": _eager_loop}), id="asyncio-eager"))


@pytest.fixture(scope="module", params=RUNTIMES)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name the event loop that the test's coroutine runs in."""
    runtime: tuple[str, dict[str, Any]] = request.param
    return runtime


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test run on every backend that it is meant for.

    Tests of a module that is marked ``everywhere`` run at servers too, except those that are marked
    ``local`` with what no server can do.
    """
    find = metafunc.definition.get_closest_marker
    is_for_servers = find("everywhere") is not None and find("local") is None
    transports = TRANSPORTS if is_for_servers else []
    given = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    kinds = {"backend": LOCAL, "shared_backend": ["file"], "client_url": ["file", "memory"]}
    for name, local in kinds.items():
        if name in metafunc.fixturenames and name not in given:
            metafunc.parametrize(name, [*local, *transports], indirect=True)


# What is about more than servers, or not about runtimes, runs against each way of speaking to a
# server on one runtime alone, lest it take minutes. The core runs in all combinations: modules
# marked ``everywhere`` and ``every_runtime``, and what has `transport` and is not ``paired``.
PAIRS = {"http": ("asyncio", {"use_uvloop": False}), "ws": ("trio", {})}


def is_left_out(item: pytest.Item) -> bool:
    """Tell whether a test combines a runtime with another transport than its own."""
    call = getattr(item, "callspec", None)
    if call is None or "anyio_backend" not in call.params:
        return False
    if item.get_closest_marker("every_runtime") is not None:
        return False
    names = {"backend", "shared_backend", "client_url"}
    if item.get_closest_marker("paired") is not None:
        names.add("transport")
    runtime = call.params["anyio_backend"]
    kinds = [call.params[name] for name in names if name in call.params]
    return any(PAIRS.get(kind, runtime) != runtime for kind in kinds)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `PAIRS` leaves out."""
    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    unwanted = set(left_out)
    items[:] = [item for item in items if item not in unwanted]


@contextlib.contextmanager
def made_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    if request.param in TRANSPORTS:
        server: Sqld = request.getfixturevalue("server")
        name = server.create_namespace()
        yield Backend(request.param, port=server.port, namespace=name)
        server.remove_namespace(name)
        return
    path = None if request.param == "memory" else tmp_path / "test.db"
    yield Backend(request.param, path, KEY if request.param == "encrypted" else None)


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Return a fresh database of each kind in turn."""
    with made_backend(request, tmp_path) as made:
        yield made


@pytest.fixture
def shared_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Return a fresh database of each kind that can have several connections."""
    with made_backend(request, tmp_path) as made:
        yield made


@pytest.fixture
def file_backend(tmp_path: Path) -> Backend:
    """Return a fresh database in a file, for tests that need two connections to it."""
    return Backend("file", tmp_path / "test.db")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """Return the URL of a fresh file, for tests that need several clients of it."""
    return f"file:{tmp_path / 'test.db'}"


@pytest.fixture
def client_url(request: pytest.FixtureRequest, tmp_path: Path, file_url: str) -> Iterator[str]:
    """Return the URL of a fresh database of each kind that a client can have, in turn."""
    with made_backend(request, tmp_path) as made:
        if made.is_hosted:
            # A client has no parameter for its namespace.
            yield f"{made.name}://{made.namespace}.localhost:{made.port}"
        else:
            yield {"file": file_url, "memory": "file::memory:"}[made.name]


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[aiolibsql.Connection[Any]]:
    """Return an open connection; what the test left uncommitted is rolled back."""
    connection = await backend.connect()
    yield connection
    if not connection.closed:
        await connection.rollback()
        await connection.close()
