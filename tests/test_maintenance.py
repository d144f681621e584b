"""What is done while nobody waits: the write-ahead log stays short, the planner gets statistics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from backends import KEY, Backend
from healthy import assert_healthy
from situations import count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

PAGE = 4096
# A log of so many pages is written back before the next command; a large one is emptied.
DUE = 1000
LARGE = 4 * DUE
# A row that fills a page.
ROW = 3500
INSERT = "INSERT INTO t VALUES (zeroblob(?))"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run under one loop: the worker does the work, whatever waits for it."""
    return "asyncio"


@pytest.fixture(params=["file", "encrypted"])
def wal_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return a fresh file of each kind."""
    return Backend(request.param, tmp_path / "test.db", KEY if request.param != "file" else None)


@pytest.fixture
async def writer(wal_backend: Backend) -> AsyncIterator[Conn]:
    """Return an autocommit connection to a file in WAL mode with an empty table."""
    async with wal_backend.connect(isolation_level=None) as conn:
        await conn.execute("PRAGMA journal_mode=wal")
        await conn.execute("PRAGMA synchronous=OFF")
        await conn.execute("CREATE TABLE t (a)")
        yield conn


def log_of(backend: Backend) -> Path:
    assert backend.path is not None
    return backend.path.with_name(backend.path.name + "-wal")


def log_size(backend: Backend) -> int:
    return log_of(backend).stat().st_size


def file_size(backend: Backend) -> int:
    assert backend.path is not None
    return backend.path.stat().st_size


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for the worker to do something that no operation tells of."""
    for _ in range(5000):
        if condition():
            return
        await anyio.sleep(0.002)
    pytest.fail("it did not happen")


async def write_pages(conn: Conn, pages: int) -> None:
    """Write that many pages in one transaction."""
    await conn.executemany(INSERT, [(ROW,)] * pages)


async def commit_pages(conn: Conn, pages: int) -> None:
    """Write at least that many pages, in transactions of two or three, without a pause."""
    for _ in range(pages // 2):
        await conn.execute(INSERT, (ROW,))


# The log stays short.


async def test_log_stays_short_under_many_small_commits_and_a_reader(
    wal_backend: Backend, writer: Conn
) -> None:
    longest = 0
    async with wal_backend.second() as reader:
        for number in range(20_000):
            await writer.execute("INSERT INTO t VALUES (?)", (number,))
            if number % 10 == 0:
                assert await reader.fetch_scalar("SELECT max(a) FROM t WHERE rowid > ?",
                                                 (number - 5,)) == number  # fmt: skip
                longest = max(longest, log_size(wal_backend))
    # A command that was on its way may come before the checkpoint.
    assert longest < (DUE + 100) * (PAGE + 24)


async def test_log_is_written_back_when_the_connection_is_idle(
    wal_backend: Backend, writer: Conn
) -> None:
    await write_pages(writer, 300)
    await eventually(lambda: file_size(wal_backend) >= 300 * PAGE)
    assert log_size(wal_backend) >= 300 * PAGE  # kept, to be written from its beginning
    await assert_healthy(writer)
    assert log_size(wal_backend) < 400 * PAGE


async def test_log_is_written_back_by_statements_of_one_script(
    wal_backend: Backend, writer: Conn
) -> None:
    await writer.executescript("INSERT INTO t VALUES (zeroblob(3500));" * 3000)
    assert log_size(wal_backend) < (DUE + 100) * (PAGE + 24)


async def test_large_log_is_emptied(wal_backend: Backend, writer: Conn) -> None:
    await write_pages(writer, LARGE + 100)
    await eventually(lambda: log_size(wal_backend) == 0)
    await assert_healthy(writer)


async def test_log_of_an_attached_database_is_written_back(
    tmp_path: Path, file_backend: Backend
) -> None:
    other = Backend("file", tmp_path / "other.db")
    async with file_backend.connect(isolation_level=None) as conn:
        await conn.execute("ATTACH ? AS other", (str(other.path),))
        await conn.execute("PRAGMA other.journal_mode=wal")
        await conn.execute("CREATE TABLE other.t (a)")
        await write_pages(conn, 300)
        await eventually(lambda: file_size(other) >= 300 * PAGE)
        await conn.execute("DETACH other")
        await assert_healthy(conn)


async def test_caller_of_a_commit_goes_on_before_the_checkpoint_that_it_made_due(
    wal_backend: Backend, writer: Conn
) -> None:
    # A busy machine may let the caller come late, but not each time.
    pages = 0
    for number in range(10):
        # A log that begins anew is known by being shorter, and one that goes on by having grown.
        written = (3 + 1.5 * (number % 2)) * DUE
        pages += int(written)
        await writer.begin()
        await write_pages(writer, int(written))
        await writer.commit()
        size = file_size(wal_backend)
        await eventually(lambda: file_size(wal_backend) >= pages * PAGE)  # noqa: B023
        if size < pages * PAGE:
            break
    else:
        pytest.fail("the checkpoint was over each time")
    await assert_healthy(writer)


async def test_half_read_cursor_of_the_connection_itself_delays_the_checkpoint(
    wal_backend: Backend, writer: Conn
) -> None:
    await write_pages(writer, 100)
    await eventually(lambda: log_size(wal_backend) > 0)
    async with writer.execute("SELECT a FROM t") as cursor:
        await cursor.fetchone()
        await write_pages(writer, DUE)
        before = file_size(wal_backend)
        assert await writer.fetch_scalar("SELECT 1") == 1
        assert file_size(wal_backend) == before
    await eventually(lambda: file_size(wal_backend) >= DUE * PAGE)
    await assert_healthy(writer)


# Who keeps it from being emptied.


@pytest.fixture
def warnings_logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged under the driver's name."""
    caplog.set_level(logging.WARNING, logger="aiolibsql")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "aiolibsql.file"
    ]


async def test_half_read_cursor_is_named_once(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    await write_pages(writer, 200)
    async with wal_backend.second() as reader:
        async with reader.execute("SELECT a, 'the culprit' FROM t") as cursor:
            await cursor.fetchone()
            await commit_pages(writer, LARGE + 3 * DUE)
            (warning,) = warnings_logged()
            assert "SELECT a, 'the culprit' FROM t" in warning
            assert str(wal_backend.path) in warning
            assert "s: SELECT" in warning
        await commit_pages(writer, DUE)
        await eventually(lambda: log_size(wal_backend) < LARGE * PAGE)
        assert len(warnings_logged()) == 1
        await assert_healthy(reader)
    await assert_healthy(writer)


async def test_open_transaction_that_has_read_is_named(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    async with wal_backend.second() as reader:
        await reader.begin()
        await reader.fetch_all("SELECT count(*) FROM t -- taken for this")
        await commit_pages(writer, LARGE + 3 * DUE)
        assert ["taken for this" in warning for warning in warnings_logged()] == [True]
        await reader.rollback()


async def test_statement_that_may_hold_a_key_is_not_shown(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    async with wal_backend.second(isolation_level=None) as reader:
        script = "ATTACH '' AS other KEY 'hunter2'; BEGIN; SELECT count(*) FROM t"
        await reader.executescript(script)
        await commit_pages(writer, LARGE + 3 * DUE)
        (warning,) = warnings_logged()
        assert "may hold an encryption key" in warning
        assert "hunter2" not in warning
        await reader.rollback()


async def test_transaction_begun_by_method_is_named(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    async with wal_backend.second(isolation_level=None) as reader:
        await reader.fetch_all("SELECT 'before it' FROM t")
        await reader.begin()
        await reader.fetch_all("SELECT 'in it' FROM t")
        await commit_pages(writer, LARGE + 3 * DUE)
        (warning,) = warnings_logged()
        assert "in it" in warning
        await reader.rollback()


async def test_cursor_of_the_writer_itself_is_named(
    writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    await write_pages(writer, 200)
    async with writer.execute("SELECT a, 'my own' FROM t") as cursor:
        await cursor.fetchone()
        await commit_pages(writer, LARGE + DUE)
    assert ["my own" in warning for warning in warnings_logged()] == [True]


async def test_passing_readers_are_not_named(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    await write_pages(writer, 200)
    async with wal_backend.second() as reader:
        await reader.fetch_all("SELECT a FROM t")
        # Fewer pages than make the writer wait for the readers.
        for _ in range(40):
            async with reader.execute("SELECT a FROM t") as cursor:
                await cursor.fetchone()
                await commit_pages(writer, 120)
    assert log_size(wal_backend) > LARGE * PAGE
    assert warnings_logged() == []


async def test_readers_that_overlap_do_not_keep_the_log(
    wal_backend: Backend, writer: Conn, warnings_logged: Callable[[], list[str]]
) -> None:
    await write_pages(writer, 200)
    longest = 0

    async def read(number: int) -> None:
        async with wal_backend.second() as reader:
            # The first pauses are of different lengths, so that the readers take turns.
            pause = 0.002 * (number + 1)
            while True:
                async with reader.execute("SELECT a FROM t") as cursor:
                    await cursor.fetchone()
                    await anyio.sleep(pause)
                pause = 0.008

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(read, number)
        for _ in range(240):
            await commit_pages(writer, 100)
            longest = max(longest, log_size(wal_backend))
        group.cancel_scope.cancel()
    assert LARGE * PAGE < longest < 5 * LARGE * PAGE
    assert warnings_logged() == []


# The user's settings.


async def test_defaults_can_be_read(writer: Conn) -> None:
    assert await writer.fetch_scalar("PRAGMA wal_autocheckpoint") == DUE
    assert await writer.fetch_scalar("PRAGMA journal_size_limit") == 64 << 20


async def test_database_in_memory_is_as_in_stock_sqlite() -> None:
    async with aiolibsql.connect(":memory:") as conn:
        assert await conn.fetch_scalar("PRAGMA wal_autocheckpoint") == DUE
        assert await conn.fetch_scalar("PRAGMA journal_size_limit") == -1


@pytest.mark.parametrize("at_open", [True, False], ids=["pragmas", "later"])
async def test_autocheckpoint_of_0_leaves_the_log_alone(
    wal_backend: Backend, *, at_open: bool
) -> None:
    pragmas = {"journal_mode": "wal"} | ({"wal_autocheckpoint": 0} if at_open else {})
    async with wal_backend.connect(isolation_level=None, pragmas=pragmas) as conn:
        await conn.execute("CREATE TABLE t (a)")
        if not at_open:
            await conn.execute("PRAGMA wal_autocheckpoint=0")
        before = file_size(wal_backend)
        await commit_pages(conn, DUE + 200)
        assert await conn.fetch_scalar("PRAGMA wal_autocheckpoint") == 0
        # Longer than the connection has to be idle.
        await anyio.sleep(0.05)
        assert file_size(wal_backend) == before
        assert log_size(wal_backend) > DUE * PAGE
        await assert_healthy(conn)


async def test_autocheckpoint_set_by_the_user_is_sqlite_s_own(
    wal_backend: Backend, writer: Conn
) -> None:
    await writer.execute("PRAGMA wal_autocheckpoint=50")
    assert await writer.fetch_scalar("PRAGMA wal_autocheckpoint") == 50
    await commit_pages(writer, 200)
    # Within the commits, so that nothing has to be waited for.
    assert file_size(wal_backend) >= 80 * PAGE
    assert log_size(wal_backend) < 80 * PAGE
    await assert_healthy(writer)


async def test_journal_size_limit_set_by_the_user_wins(wal_backend: Backend) -> None:
    async with wal_backend.connect(pragmas={"journal_size_limit": 12345}) as conn:
        assert await conn.fetch_scalar("PRAGMA journal_size_limit") == 12345


# Statistics at close.


async def fill_indexed(conn: Conn) -> None:
    await conn.execute("CREATE TABLE indexed (a, b)")
    await conn.execute("CREATE INDEX by_b ON indexed (b)")
    rows = [(number, number % 10) for number in range(1000)]
    await conn.executemany("INSERT INTO indexed VALUES (?, ?)", rows)


async def fill_without_statistics(backend: Backend) -> None:
    conn = await backend.connect()
    await fill_indexed(conn)
    await conn.commit()
    await conn.begin()
    await conn.close()


async def statistics(backend: Backend) -> list[tuple[Any, ...]]:
    async with backend.connect(autocommit=True) as conn:
        # In a transaction, so that this close gathers none.
        await conn.begin()
        exists = await conn.fetch_scalar(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'"
        )
        return await conn.fetch_all("SELECT tbl, idx FROM sqlite_stat1") if exists else []


async def test_close_gathers_statistics_as_pragma_optimize(wal_backend: Backend) -> None:
    async with wal_backend.connect() as conn:
        await fill_indexed(conn)
        await conn.execute("CREATE TABLE without_index (a)")
        await conn.execute("INSERT INTO without_index VALUES (1)")
    assert await statistics(wal_backend) == [("indexed", "by_b")]


async def test_close_without_use_gathers_none(wal_backend: Backend) -> None:
    await fill_without_statistics(wal_backend)
    assert await statistics(wal_backend) == []
    async with wal_backend.connect():
        pass
    assert await statistics(wal_backend) == []


async def test_close_of_a_read_only_database_gathers_none(file_backend: Backend) -> None:
    assert file_backend.path is not None
    await fill_without_statistics(file_backend)
    async with aiolibsql.connect(f"{file_backend.path.as_uri()}?mode=ro", uri=True) as conn:
        assert await count(conn, "indexed") == 1000
    assert await statistics(file_backend) == []


async def test_forgotten_connection_gathers_none(file_backend: Backend) -> None:
    conn = await file_backend.connect()
    await fill_indexed(conn)
    await conn.commit()
    with pytest.warns(ResourceWarning):
        del conn
    assert await statistics(file_backend) == []


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_close_waits_for_no_lock(wal_backend: Backend, mode: str) -> None:
    async with wal_backend.connect(isolation_level=None) as holder:
        await holder.execute(f"PRAGMA journal_mode={mode}")
        await fill_indexed(holder)
        conn = await wal_backend.second(timeout=20)
        assert await conn.fetch_scalar("SELECT count(*) FROM indexed WHERE b = 3") == 100
        await holder.begin("EXCLUSIVE")
        began = time.perf_counter()
        await conn.close()
        assert time.perf_counter() - began < 2
        await holder.rollback()
        await assert_healthy(holder)
