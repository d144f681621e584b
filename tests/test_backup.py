"""`Connection.backup`: a database copied into another connection, ours or the stdlib's."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import sniffio
from healthy import assert_healthy
from situations import ENDLESS, Attempt, OtherProcess, attempt, attempt_cancelled, count, turns

import aiolibsql
from aiolibsql import _backup
from aiolibsql._aiolibsql import _Backup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

ROWS = 400


async def fill(conn: Conn, rows: int = ROWS) -> None:
    """Make a table of some dozen pages."""
    await conn.execute("CREATE TABLE t (i INTEGER PRIMARY KEY, text)")
    await conn.executemany("INSERT INTO t VALUES (?, ?)", [(i, "x" * 200) for i in range(rows)])
    await conn.commit()


@pytest.fixture
async def source(conn: Conn) -> Conn:
    """Return a connection to a database of some dozen pages."""
    await fill(conn)
    return conn


@pytest.fixture
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Conn]:
    """Return a connection to a database with a table: in memory if the other is a file."""
    is_file = "backend" not in request.fixturenames or request.getfixturevalue("backend").path
    path = ":memory:" if is_file else tmp_path / "target.db"
    async with aiolibsql.connect(path, timeout=0.5) as conn:
        await conn.execute("CREATE TABLE own (x)")
        await conn.execute("INSERT INTO own VALUES ('kept')")
        await conn.commit()
        yield conn


async def assert_copied(target: Conn, rows: int = ROWS) -> None:
    assert await count(target) == rows
    assert await target.fetch_scalar("PRAGMA integrity_check") == "ok"
    await assert_healthy(target)


async def assert_unchanged(target: Conn) -> None:
    assert await target.fetch_all("SELECT name FROM sqlite_schema") == [("own",)]
    assert await target.fetch_all("SELECT x FROM own") == [("kept",)]
    await assert_healthy(target)


# What it does.


async def test_backup_copies_the_database(source: Conn, target: Conn) -> None:
    await source.backup(target)
    await assert_copied(target)
    await assert_healthy(source)


async def test_backup_is_there_after_closing(source: Conn, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    async with aiolibsql.connect(path) as target:
        await source.backup(target, pages=3)
    async with aiolibsql.connect(path) as again:
        await assert_copied(again)


async def test_backup_replaces_what_prepared_statements_knew(source: Conn, target: Conn) -> None:
    assert await target.fetch_all("SELECT * FROM own") == [("kept",)]
    await source.backup(target)
    with pytest.raises(aiolibsql.OperationalError, match="no such table: own"):
        await target.fetch_all("SELECT * FROM own")


async def test_backup_into_an_encrypted_file(source: Conn, tmp_path: Path) -> None:
    path = tmp_path / "secret.db"
    async with aiolibsql.connect(path, encryption_key="another key") as target:
        await source.backup(target, pages=3)
        await assert_copied(target)
    assert b"CREATE TABLE" not in path.read_bytes()
    async with aiolibsql.connect(path, encryption_key="another key") as target:
        await assert_copied(target)


@pytest.mark.parametrize("pages", [-1, 0, 1, 7, 100_000])
async def test_progress_is_called_as_sqlite3_calls_it(conn: Conn, target: Conn, pages: int) -> None:
    await fill(conn)
    total = await conn.fetch_scalar("PRAGMA page_count")
    steps: list[tuple[int, int, int]] = []
    await conn.backup(target, pages=pages, progress=lambda *step: steps.append(step))
    await assert_copied(target)
    stdlib = sqlite3.connect(":memory:")
    copy = sqlite3.connect(":memory:")
    expected: list[tuple[int, int, int]] = []
    stdlib.execute("CREATE TABLE t (x)")
    while stdlib.execute("PRAGMA page_count").fetchone()[0] < total:
        stdlib.execute("INSERT INTO t VALUES (zeroblob(4000))")
    stdlib.commit()
    stdlib.backup(copy, pages=pages, progress=lambda *step: expected.append(step))
    stdlib.close()
    copy.close()
    assert expected[-1][2] == total
    assert steps == expected


async def test_progress_may_be_async_and_use_the_source(source: Conn, target: Conn) -> None:
    seen: list[object] = []

    async def progress(*step: int) -> None:
        await anyio.lowlevel.checkpoint()
        if len(seen) == 2:
            await source.execute("INSERT INTO t VALUES (?, 'new')", (ROWS,))
            await source.commit()
        seen.append((step, await count(source)))

    await source.backup(target, pages=4, progress=progress)
    assert len(seen) > 3
    await assert_copied(target, ROWS + 1)


async def test_progress_can_not_wait_for_the_target(source: Conn, target: Conn) -> None:
    async def progress(*_: int) -> None:
        await target.execute("SELECT 1")

    with anyio.fail_after(5), pytest.raises(aiolibsql.ProgrammingError, match="can't use"):
        await source.backup(target, pages=1, progress=progress)
    await assert_unchanged(target)


async def test_operations_on_the_target_wait_for_the_end(source: Conn, target: Conn) -> None:
    begun = anyio.Event()
    counted = Attempt()

    async def progress(code: int, *_: int) -> None:
        begun.set()
        await turns()
        assert counted.value is None, code

    async with anyio.create_task_group() as tasks:

        async def use_target() -> None:
            await begun.wait()
            await attempt(target.fetch_scalar("SELECT count(*) FROM t"), counted)

        tasks.start_soon(use_target)
        await source.backup(target, pages=2, progress=progress)
    assert counted.error is None
    assert counted.value == ROWS


async def test_source_is_free_between_two_steps(source: Conn, target: Conn) -> None:
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            for i in range(20):
                await source.execute("INSERT INTO t VALUES (?, 'new')", (ROWS + i,))
                await source.commit()

        tasks.start_soon(write)
        await source.backup(target, pages=1)
    copied = await count(target)
    assert ROWS <= copied <= ROWS + 20
    await assert_copied(target, copied)


async def test_backup_of_a_file_that_another_process_writes(
    file_backend: Backend, target: Conn
) -> None:
    async with file_backend.connect() as source:
        await fill(source)
        with OtherProcess(file_backend.path) as other:
            steps = 0

            async def progress(*_: int) -> None:
                nonlocal steps
                steps += 1
                if steps == 3:
                    other.run("INSERT INTO t VALUES (1000000, 'theirs')")

            await source.backup(target, pages=2, progress=progress)
        await assert_copied(target, ROWS + 1)


async def test_two_backups_of_one_source(source: Conn, target: Conn) -> None:
    async with aiolibsql.connect(":memory:") as second, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: source.backup(target, pages=2))
        tasks.start_soon(lambda: source.backup(second, pages=3))
        tasks.start_soon(lambda: source.backup(target, pages=1))
    await assert_copied(target)


async def test_backups_across_each_other_end(source: Conn, target: Conn) -> None:
    outcomes = [Attempt(), Attempt()]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, source.backup(target, pages=1), outcomes[0])
            tasks.start_soon(attempt, target.backup(source, pages=1), outcomes[1])
    for outcome in outcomes:
        if outcome.error is not None:
            assert isinstance(outcome.error, aiolibsql.OperationalError)
            assert "is the source of another backup" in str(outcome.error)
    await assert_healthy(source)
    await assert_healthy(target)


async def test_source_of_a_backup_is_no_target(source: Conn, target: Conn) -> None:
    there, back = _Backup(source, target, "main"), _Backup(target, source, "main")
    await there.begin()
    await back.begin()
    for backup in (there, back):
        with pytest.raises(aiolibsql.OperationalError, match="is the source of another backup"):
            await backup.borrow_target()
    await there.finish()
    await back.borrow_target()
    await back.step(-1)
    await back.finish()
    await assert_unchanged(source)
    await assert_unchanged(target)


@pytest.mark.parametrize("name", ["other", "temp"])
async def test_backup_of_another_database_of_the_connection(
    conn: Conn, target: Conn, name: str
) -> None:
    if name == "other":
        await conn.execute("ATTACH ':memory:' AS other")
    await conn.execute(f"CREATE TABLE {name}.t (i)")
    await conn.execute(f"INSERT INTO {name}.t VALUES (1), (2)")
    await conn.commit()
    await conn.backup(target, name=name, pages=1)
    await assert_copied(target, 2)


async def test_backup_of_an_empty_database(conn: Conn, target: Conn) -> None:
    await conn.backup(target)
    assert await target.fetch_all("SELECT * FROM sqlite_schema") == []
    await assert_healthy(target)


async def test_backup_in_wal_mode(file_backend: Backend, tmp_path: Path) -> None:
    async with (
        file_backend.connect(pragmas={"journal_mode": "wal"}) as source,
        aiolibsql.connect(tmp_path / "copy.db", pragmas={"journal_mode": "wal"}) as target,
    ):
        await fill(source)
        cursor = await source.execute("SELECT i FROM t")
        await cursor.fetchone()
        await source.backup(target, pages=2)
        assert len(await cursor.fetchall()) == ROWS - 1
        await assert_copied(target)
        assert await target.fetch_scalar("PRAGMA journal_mode") == "wal"


async def test_backup_inside_a_block_of_the_source_that_reads(source: Conn, target: Conn) -> None:
    async with source.transaction("READ") as block:
        await block.backup(target, pages=3)
    await assert_copied(target)


async def test_step_does_not_show_in_trace_and_authorizer(source: Conn, target: Conn) -> None:
    heard: list[object] = []

    def deny(*event: object) -> int:
        heard.append(event)
        return aiolibsql.SQLITE_DENY

    await source.set_trace_callback(heard.append)
    await source.set_authorizer(deny)
    await source.backup(target)
    await source.set_authorizer(None)
    await source.set_trace_callback(None)
    assert heard == []
    await assert_copied(target)


# What it refuses.


async def test_backup_into_itself_is_refused(source: Conn) -> None:
    with pytest.raises(ValueError, match="target cannot be the same connection instance"):
        await source.backup(source)
    await assert_healthy(source)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"target": None}, TypeError),
        ({"target": "copy.db"}, TypeError),
        ({"progress": 1}, TypeError),
        ({"pages": "all"}, TypeError),
        ({"pages": 2**31}, OverflowError),
        ({"sleep": -1}, ValueError),
        ({"sleep": float("nan")}, ValueError),
        ({"name": "a\0b"}, ValueError),
        ({"name": 1}, TypeError),
    ],
)
async def test_wrong_argument_is_refused(
    source: Conn, target: Conn, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await source.backup(**{"target": target, **arguments})
    await assert_unchanged(target)
    await assert_healthy(source)


async def test_unknown_database_is_refused_as_by_sqlite3(source: Conn, target: Conn) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="unknown database nowhere"):
        await source.backup(target, name="nowhere")
    await assert_unchanged(target)


async def test_target_with_unread_rows_is_in_use(source: Conn, target: Conn) -> None:
    cursor = await target.execute("SELECT 1 FROM own, (VALUES (1), (2), (3)) LIMIT 3")
    await target.executemany("INSERT INTO own VALUES (?)", [("more",)] * 200)
    await target.commit()
    cursor = await target.execute("SELECT x FROM own")
    with pytest.raises(aiolibsql.OperationalError, match="destination database is in use"):
        await source.backup(target)
    await cursor.close()
    await source.backup(target)
    await assert_copied(target)


async def test_target_with_an_open_transaction_is_in_use(source: Conn, target: Conn) -> None:
    await target.execute("INSERT INTO own VALUES ('more')")
    with pytest.raises(aiolibsql.OperationalError, match="destination database is in use"):
        await source.backup(target)
    assert target.in_transaction
    await target.rollback()
    await assert_unchanged(target)


async def test_target_in_a_block_is_refused(source: Conn, target: Conn) -> None:
    async with target.transaction() as block:
        for connection in (target, block):
            with pytest.raises(aiolibsql.ProgrammingError, match="inside the block"):
                await source.backup(connection)
    await assert_unchanged(target)


async def test_block_of_another_task_on_the_target_is_waited_for(
    source: Conn, target: Conn
) -> None:
    entered, submitted = anyio.Event(), anyio.Event()

    async def hold() -> None:
        async with target.transaction():
            entered.set()
            await submitted.wait()
            await turns()
            assert await target.fetch_all("SELECT x FROM own") == [("kept",)]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await entered.wait()
        submitted.set()
        await source.backup(target)
    await assert_copied(target)


async def test_uncommitted_changes_of_the_source_are_waited_for(
    backend: Backend, target: Conn
) -> None:
    async with backend.connect(timeout=5) as source:
        await fill(source)
        await source.execute("DELETE FROM t WHERE i > 9")
        codes = []

        async def progress(code: int, *_: int) -> None:
            codes.append(code)
            if len(codes) == 2:
                await source.commit()

        await source.backup(target, progress=progress, sleep=0)
        assert codes == [aiolibsql.SQLITE_BUSY] * 2 + [aiolibsql.SQLITE_DONE]
        await assert_copied(target, 10)


async def test_lock_is_waited_for_as_long_as_the_timeout(backend: Backend, target: Conn) -> None:
    async with backend.connect(timeout=0.05) as source:
        await fill(source)
        await source.execute("DELETE FROM t")
        with anyio.fail_after(2), pytest.raises(aiolibsql.TimeoutError, match="locked"):
            await source.backup(target, sleep=0.01)
        await assert_unchanged(target)
        await source.rollback()
        await source.backup(target)
        await assert_copied(target)


async def test_block_that_has_written_can_not_be_copied(source: Conn, target: Conn) -> None:
    async with source.transaction():
        await source.execute("DELETE FROM t")
        with anyio.fail_after(1), pytest.raises(aiolibsql.ProgrammingError, match="committed"):
            await source.backup(target)
    await assert_unchanged(target)


async def test_target_locked_by_another_process(source: Conn, tmp_path: Path) -> None:
    path = tmp_path / "target.db"
    async with aiolibsql.connect(path) as target:
        await target.execute("CREATE TABLE own (x)")
        with OtherProcess(path) as other:
            other.run("BEGIN EXCLUSIVE")
            with anyio.move_on_after(0.1) as scope:
                await source.backup(target, sleep=0.01)
            assert scope.cancelled_caught
            steps = 0

            def progress(*_: int) -> None:
                nonlocal steps
                steps += 1
                if steps == 2:
                    other.run("COMMIT")

            await source.backup(target, progress=progress, sleep=0.01)
            assert steps > 2
        await assert_copied(target)


async def test_target_without_room_keeps_what_it_had(source: Conn, target: Conn) -> None:
    await target.execute("PRAGMA max_page_count=8")
    codes: list[int] = []
    with pytest.raises(aiolibsql.OperationalError, match="full") as caught:
        await source.backup(target, pages=3, progress=lambda code, *_: codes.append(code))
    assert caught.value.sqlite_errorcode == aiolibsql.SQLITE_FULL
    assert codes[-1] == aiolibsql.SQLITE_FULL
    await target.execute("PRAGMA max_page_count=4294967294")
    await assert_unchanged(target)
    await assert_healthy(source)
    await source.backup(target)
    await assert_copied(target)


async def test_wal_target_with_another_page_size_is_refused(source: Conn, tmp_path: Path) -> None:
    options: dict[str, Any] = {"pragmas": {"page_size": 1024, "journal_mode": "wal"}}
    async with aiolibsql.connect(tmp_path / "wal.db", **options) as target:
        await target.execute("CREATE TABLE own (x)")
        await target.execute("INSERT INTO own VALUES ('kept')")
        await target.commit()
        with pytest.raises(aiolibsql.OperationalError, match="readonly"):
            await source.backup(target)
        await assert_unchanged(target)


async def test_page_sizes_may_differ_between_files(source: Conn, tmp_path: Path) -> None:
    async with aiolibsql.connect(tmp_path / "small.db", pragmas={"page_size": 1024}) as target:
        await target.execute("CREATE TABLE own (x)")
        await source.backup(target, pages=3)
        await assert_copied(target)


async def test_exception_of_progress_leaves_the_target_alone(source: Conn, target: Conn) -> None:
    def progress(*_: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        await source.backup(target, pages=2, progress=progress)
    await assert_unchanged(target)
    await assert_healthy(source)


async def test_closed_and_unopened_connections_are_refused(source: Conn, target: Conn) -> None:
    closed = await aiolibsql.connect(":memory:")
    await closed.close()
    for other in (closed, aiolibsql.connect(":memory:")):
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await source.backup(other)
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await other.backup(target)
    await assert_healthy(source)
    await assert_unchanged(target)


async def test_source_closed_in_the_middle_gives_the_target_back(
    backend: Backend, target: Conn
) -> None:
    source = await backend.connect()
    await fill(source)

    async def progress(*_: int) -> None:
        await source.close()

    with pytest.raises(aiolibsql.ConnectionClosedError):
        await source.backup(target, pages=2, progress=progress)
    await assert_unchanged(target)


async def test_close_of_the_target_waits_for_the_end(source: Conn, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    target = await aiolibsql.connect(path)
    async with anyio.create_task_group() as tasks:

        async def progress(*_: int) -> None:
            if not tasks.cancel_scope.cancel_called:
                tasks.start_soon(close)
            await turns()

        closes = []

        async def close() -> None:
            await target.close()
            closes.append(True)

        await source.backup(target, pages=10, progress=progress)
    assert closes
    async with aiolibsql.connect(path) as copy:
        await assert_copied(copy)


async def test_source_keeps_its_pages_while_it_is_copied(
    file_backend: Backend, target: Conn
) -> None:
    async with file_backend.connect() as source:
        await fill(source)

        async def progress(*_: int) -> None:
            with pytest.raises(aiolibsql.ProgrammingError, match="while backup"):
                await source.deserialize(b"")
            with pytest.raises(aiolibsql.ProgrammingError, match="while backup"):
                await source.rekey("a key")
            # It makes the copy begin anew.
            await source.execute("VACUUM")

        await source.backup(target, progress=progress, pages=10_000)
    await assert_copied(target)


# Cancellation.


@pytest.mark.parametrize("step", [1, 2, 5])
async def test_cancelled_after_a_step_leaves_both_usable(
    source: Conn, target: Conn, step: int
) -> None:
    seen = 0
    with anyio.CancelScope() as scope:

        async def progress(*_: int) -> None:
            nonlocal seen
            seen += 1
            if seen == step:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

        await source.backup(target, pages=3, progress=progress)
    assert scope.cancelled_caught
    assert seen == step
    await assert_unchanged(target)
    await assert_healthy(source)
    await source.backup(target)
    await assert_copied(target)


@pytest.mark.parametrize("turn", [1, 3, 6, 12])
async def test_cancelled_at_any_turn_leaves_both_usable(
    source: Conn, target: Conn, turn: int
) -> None:
    async def wait() -> None:
        for _ in range(turn):
            await anyio.lowlevel.checkpoint()

    outcome = await attempt_cancelled(source.backup(target, pages=1), wait)
    if outcome.is_cancelled and not await has_table(target):
        await assert_unchanged(target)
    else:
        await assert_copied(target)
    await assert_healthy(source)


async def has_table(conn: Conn) -> bool:
    return bool(await conn.fetch_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 't'"))


async def test_cancelled_after_the_last_step_keeps_the_copy(source: Conn, target: Conn) -> None:
    with anyio.CancelScope() as scope:

        async def progress(*_: int) -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        await source.backup(target, progress=progress)
    assert scope.cancelled_caught
    await assert_copied(target)
    await assert_healthy(source)


async def test_cancelled_before_it_began_does_nothing(source: Conn, target: Conn) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        await source.backup(target)
    assert scope.cancelled_caught
    await assert_unchanged(target)


@pytest.mark.parametrize("busy", ["source", "target"])
async def test_cancelled_while_it_waits_for_a_connection(
    source: Conn, target: Conn, busy: str
) -> None:
    async with anyio.create_task_group() as tasks:
        outcome = Attempt()
        running = source if busy == "source" else target
        tasks.start_soon(attempt, running.fetch_all(ENDLESS), outcome)
        await turns()
        cancelled = await attempt_cancelled(source.backup(target))
        assert cancelled.is_cancelled
        await running.interrupt()
    assert isinstance(outcome.error, aiolibsql.OperationalError)
    await assert_unchanged(target)
    await assert_healthy(source)


async def test_cancelled_in_a_sleep(source: Conn, target: Conn) -> None:
    await source.execute("DELETE FROM t")
    outcome = await attempt_cancelled(source.backup(target, sleep=60))
    assert outcome.is_cancelled
    assert outcome.seconds < 1
    await source.rollback()
    await assert_unchanged(target)


async def test_cancelled_in_the_middle_of_a_large_step(backend: Backend, target: Conn) -> None:
    async with backend.connect() as source:
        await source.execute("CREATE TABLE t (b)")
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
        await source.execute(f"INSERT INTO t {rows} SELECT zeroblob(3500) FROM n")
        await source.commit()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel() -> None:
                    await anyio.sleep(0.01)
                    scope.cancel()

                tasks.start_soon(cancel)
                await source.backup(target)
        await assert_healthy(target)
        assert scope.cancelled_caught
        await assert_unchanged(target)
        await assert_healthy(source)


async def test_dropped_in_the_middle_gives_the_target_back(source: Conn, target: Conn) -> None:
    if sniffio.current_async_library() == "trio":
        pytest.skip("trio's traps want to be answered")
    began = anyio.Event()

    async def progress(*_: int) -> None:
        began.set()
        await anyio.sleep_forever()

    coroutine = source.backup(target, pages=1, progress=progress)

    class Drive:
        """Drives it as a task would, until it waits in the middle."""

        def __await__(self) -> Any:
            while not began.is_set():
                yielded = coroutine.send(None)
                if not began.is_set():
                    yield yielded

    with anyio.fail_after(5):
        await Drive()
    assert began.is_set()
    coroutine.close()
    gc.collect()
    await assert_unchanged(target)
    await assert_healthy(source)


# Targets of the stdlib.


@pytest.fixture
def stdlib(tmp_path: Path) -> Any:
    """Return a connection of sqlite3 to a file that nobody else opens."""
    connection = sqlite3.connect(tmp_path / "stdlib.db", timeout=0.05)
    connection.execute("CREATE TABLE own (x)")
    yield connection
    connection.close()


def is_refused(backend: Backend) -> bool:
    return backend.key is not None and sys.version_info < (3, 11)


async def test_backup_into_sqlite3(backend: Backend, source: Conn, stdlib: Any) -> None:
    if is_refused(backend):
        with pytest.raises(aiolibsql.NotSupportedError, match=r"Python 3\.11"):
            await source.backup(stdlib)
        return
    steps: list[tuple[int, int, int]] = []
    await source.backup(stdlib, pages=5, progress=lambda *step: steps.append(step))
    assert stdlib.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
    assert stdlib.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(steps) > 1
    assert steps[-1][:2] == (aiolibsql.SQLITE_DONE, 0)
    await assert_healthy(source)


async def test_backup_into_sqlite3_without_deserialize(
    backend: Backend, source: Conn, stdlib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_backup, "sys", types.SimpleNamespace(version_info=(3, 10)))
    if backend.key is None:
        await source.backup(stdlib)
        assert stdlib.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
    else:
        with pytest.raises(aiolibsql.NotSupportedError, match=r"Python 3\.11"):
            await source.backup(stdlib)
        assert stdlib.execute("SELECT name FROM sqlite_master").fetchall() == [("own",)]
    await assert_healthy(source)


async def test_backup_of_a_wal_database_into_sqlite3(file_backend: Backend) -> None:
    stdlib = sqlite3.connect(":memory:")
    async with file_backend.connect(pragmas={"journal_mode": "wal"}) as source:
        await fill(source)
        await source.backup(stdlib)
    assert stdlib.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
    stdlib.close()


async def test_closed_target_of_sqlite3_raises_its_error(file_backend: Backend) -> None:
    stdlib = sqlite3.connect(":memory:")
    stdlib.close()
    async with file_backend.connect() as source:
        await fill(source)
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            await source.backup(stdlib)
        await assert_healthy(source)


async def test_locked_target_of_sqlite3_is_waited_for(
    file_backend: Backend, stdlib: Any, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "stdlib.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    async with file_backend.connect(timeout=0.2) as source:
        await fill(source)
        with pytest.raises(aiolibsql.TimeoutError, match="locked"):
            await source.backup(stdlib, sleep=0.01)
    async with file_backend.connect(timeout=60) as source:
        outcome = await attempt_cancelled(source.backup(stdlib, sleep=0.01))
        assert outcome.is_cancelled
        other.execute("COMMIT")
        other.close()
        assert stdlib.execute("SELECT name FROM sqlite_master").fetchall() == [("own",)]
        await source.backup(stdlib)
    assert stdlib.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)


def test_sqlite3_does_not_take_ours() -> None:
    stdlib = sqlite3.connect(":memory:")
    with pytest.raises(TypeError):
        stdlib.backup(aiolibsql.connect(":memory:"))  # type: ignore[arg-type]
    stdlib.close()


# Forks.

FORK = """
import asyncio, os, sys
import aiolibsql

async def use(target):
    try:
        await target.execute("SELECT 1")
    except aiolibsql.OperationalError:
        return
    raise AssertionError("the target is the parent's")

async def main(path):
    async with aiolibsql.connect(":memory:") as source, aiolibsql.connect(path) as target:
        await source.execute("CREATE TABLE t (b)")
        await source.executemany("INSERT INTO t VALUES (zeroblob(3000))", [()] * 20)
        await source.commit()
        children = []
        def progress(code, remaining, total):
            if len(children) < 3:
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        asyncio.run(use(target))
                        status = 0
                    finally:
                        os._exit(status)
                children.append(child)
        await source.backup(target, pages=5, progress=progress)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        print(await target.fetch_scalar("SELECT count(*) FROM t"))

asyncio.run(main(sys.argv[1]))
"""


def test_fork_in_the_middle(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "copy.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("20\n", "")
