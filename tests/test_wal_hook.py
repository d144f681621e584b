"""`set_wal_hook`, beside the checkpoints that share its slot in SQLite."""

from __future__ import annotations

import contextvars
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import turns

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

ROWS = 1200  # of a page each: more than makes a checkpoint due


@pytest.fixture
async def wal(file_backend: Backend) -> AsyncIterator[Conn]:
    """Return a connection to a file in WAL mode with a table."""
    async with file_backend.connect(pragmas={"journal_mode": "wal"}) as conn:
        await conn.execute("CREATE TABLE t (x)")
        yield conn


async def write(conn: Conn, rows: int = 1) -> None:
    await conn.executemany("INSERT INTO t VALUES (zeroblob(3500))", [()] * rows)
    await conn.commit()


async def test_hook_hears_of_each_commit(wal: Conn) -> None:
    heard: list[tuple[str, int]] = []
    await wal.set_wal_hook(lambda name, pages: heard.append((name, pages)))
    await write(wal)
    await write(wal)
    await wal.execute("INSERT INTO t VALUES (1)")
    await wal.rollback()
    await wal.fetch_all("SELECT * FROM t")
    assert [name for name, _ in heard] == ["main", "main"]
    assert 0 < heard[0][1] < heard[1][1]
    await wal.set_wal_hook(None)
    await write(wal)
    assert len(heard) == 2
    await assert_healthy(wal)


async def test_hook_hears_of_attached_databases(wal: Conn, tmp_path: Path) -> None:
    heard = []
    await wal.set_wal_hook(lambda name, _: heard.append(name))
    await wal.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
    await wal.execute("PRAGMA other.journal_mode=wal")
    await wal.execute("CREATE TABLE other.u (x)")
    assert heard == ["other"]


async def test_database_without_a_log_has_nothing_to_tell(conn: Conn) -> None:
    heard: list[object] = []
    await conn.set_wal_hook(lambda *event: heard.append(event))
    await conn.execute("CREATE TABLE t (x)")
    await write(conn)
    assert heard == []
    await conn.set_wal_hook(None)
    await assert_healthy(conn)


async def test_exception_is_unraisable_and_the_commit_stands(
    wal: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: raised.append(event.exc_value))

    def fail(*_: object) -> None:
        raise LookupError("heard")

    await wal.set_wal_hook(fail)
    await write(wal)
    await wal.set_wal_hook(None)
    assert [str(error) for error in raised] == ["heard"]
    assert await wal.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_hook_runs_in_the_context_of_the_caller(wal: Conn) -> None:
    variable = contextvars.ContextVar[str]("variable")
    seen = []
    await wal.set_wal_hook(lambda *_: seen.append(variable.get()))
    variable.set("the caller's")
    await write(wal)
    assert seen == ["the caller's"]


async def test_wrong_hook_is_refused(wal: Conn) -> None:
    with pytest.raises(TypeError, match="callable"):
        await wal.set_wal_hook(1)  # type: ignore[arg-type]
    await wal.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await wal.set_wal_hook(print)


async def test_checkpoints_of_the_connection_go_on(wal: Conn, file_backend: Backend) -> None:
    assert file_backend.path is not None
    heard = []
    await wal.set_wal_hook(lambda _, pages: heard.append(pages))
    await write(wal, ROWS)
    # Overdue: made before the next operation.
    await wal.execute("SELECT 1")
    assert size(file_backend.path) > ROWS * 3500
    assert heard[-1] > ROWS


def size(path: Path) -> int:
    return path.stat().st_size


async def is_written_back(path: Path) -> bool:
    """Tell whether the log comes into the file by itself when the connection is idle."""
    await anyio.sleep(0.1)
    return size(path) > ROWS * 3500


@pytest.mark.parametrize("hook_first", [True, False])
async def test_autocheckpoint_of_the_user_goes_on(
    wal: Conn, file_backend: Backend, hook_first: bool
) -> None:
    assert file_backend.path is not None
    sizes = []

    def hook(_: str, pages: int) -> None:
        sizes.append(pages)

    if hook_first:
        await wal.set_wal_hook(hook)
    await wal.execute("PRAGMA wal_autocheckpoint=20")
    await wal.set_wal_hook(hook)
    for _ in range(30):
        await write(wal)
    assert len(sizes) == 30
    # A checkpoint within the COMMIT lets the next writer begin the log anew.
    assert max(sizes) < 30
    await wal.set_wal_hook(None)
    for _ in range(30):
        await write(wal)
    assert size(file_backend.path.with_name("test.db-wal")) < 40 * 4120
    assert len(sizes) == 30


@pytest.mark.parametrize("hook_first", [True, False])
async def test_autocheckpoint_that_the_user_has_ended_stays_so(
    wal: Conn, file_backend: Backend, hook_first: bool
) -> None:
    assert file_backend.path is not None
    heard: list[object] = []
    if hook_first:
        await wal.set_wal_hook(lambda *event: heard.append(event))
    await wal.execute("PRAGMA wal_autocheckpoint=0")
    await wal.set_wal_hook(lambda *event: heard.append(event))
    await write(wal, ROWS)
    await turns()
    assert not await is_written_back(file_backend.path)
    assert len(heard) == 1
    await wal.set_wal_hook(None)
    await write(wal)
    assert not await is_written_back(file_backend.path)
    assert len(heard) == 1
