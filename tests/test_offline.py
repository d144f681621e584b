"""Replicas that are written offline: what is pushed and pulled, conflicts, and what stays local."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import CREATE, until
from situations import count
from sync_server import SyncServer

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t (a) VALUES (?)"


@pytest.fixture
def remote() -> Iterator[SyncServer]:
    """Return a server with an empty database."""
    with SyncServer() as server:
        yield server


def connect(path: Path, remote: SyncServer, **options: Any) -> aiolibsql.Connection[Any]:
    """Return a connection to a replica that is not open yet."""
    given: dict[str, Any] = {"autocommit": True, "sync_url": remote.url, "offline": True, **options}
    conn: aiolibsql.Connection[Any] = aiolibsql.connect(path, **given)
    return conn


def remove(path: Path) -> None:
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()


async def rows(conn: aiolibsql.Connection[Any]) -> list[Any]:
    return [value for (value,) in await conn.fetch_all("SELECT a FROM t ORDER BY id")]


async def test_writes_stay_in_the_file_until_a_sync_pushes_them(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        for value in ("a", "b"):
            await conn.execute(INSERT, (value,))
        assert await rows(conn) == ["a", "b"]
        assert remote.frames == []
        result = await conn.sync()
        assert isinstance(result, aiolibsql.SyncResult)
        assert tuple(result) == (0, len(remote.frames))
        assert result.pushed == len(remote.frames) > 0
        assert remote.query(tmp_path, "SELECT a FROM t ORDER BY id") == [("a",), ("b",)]
        again = await conn.sync()
        assert (*again, again.pushed) == (0, result.replication_index, 0)
        stats = await conn.sync_stats()
        assert stats.pushed == result.pushed
        assert (stats.syncs, stats.failures, stats.last_error) == (2, 0, None)
        assert stats.replication_index == result.replication_index
        await assert_healthy(conn)
    assert conn.closed


async def test_pulled_into_a_fresh_file_and_by_two_devices_in_turn(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        await one.sync()
        expected: list[str] = []
        for turn in range(6):
            writer, reader = (one, two) if turn % 2 == 0 else (two, one)
            pulled = await writer.sync()
            assert pulled.pushed == 0
            assert await rows(writer) == expected
            await writer.executemany(INSERT, [(f"{turn}-{n}",) for n in range(50)])
            expected += [f"{turn}-{n}" for n in range(50)]
            assert (await writer.sync()).frames == 0
            assert (await reader.sync()).frames > 0
            assert await rows(reader) == expected
        assert await one.fetch_scalar("PRAGMA integrity_check") == "ok"
        assert await two.fetch_scalar("PRAGMA integrity_check") == "ok"
    async with connect(tmp_path / "three.db", remote) as three:
        await three.sync()
        assert await rows(three) == expected


async def test_database_of_the_server_is_there_when_a_file_is_opened_first(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.executemany(INSERT, [(n,) for n in range(500)])
        await conn.sync()
    remote.begin_generation()
    async with connect(tmp_path / "two.db", remote) as conn:
        assert await rows(conn) == list(range(500))
        await conn.execute(INSERT, ("more",))
        assert (await conn.sync()).pushed > 0
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(501,)]


async def test_conflict_loses_nothing_and_says_what_to_do(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        await one.sync()
        await two.sync()
        await one.execute(INSERT, ("of one",))
        await two.execute(INSERT, ("of two",))
        await one.sync()
        pushed = list(remote.frames)
        for _ in range(2):
            with pytest.raises(aiolibsql.SyncError, match=r"conflict.*delete the file.*again"):
                await two.sync()
        assert remote.frames == pushed
        assert await rows(two) == ["of two"]
        await two.execute(INSERT, ("more of two",))
        stats = await two.sync_stats()
        assert stats.failures == 2
        assert stats.last_error is not None
        await assert_healthy(two)
    async with connect(tmp_path / "two.db", remote) as two:
        assert await rows(two) == ["of two", "more of two"]
        with pytest.raises(aiolibsql.SyncError, match="conflict"):
            await two.sync()
    remove(tmp_path / "two.db")
    async with connect(tmp_path / "two.db", remote) as two:
        await two.sync()
        assert await rows(two) == ["of one"]


async def test_conflict_that_comes_in_the_middle_of_a_push(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote) as one:
        await one.execute(CREATE)
        await one.sync()
        async with connect(tmp_path / "two.db", remote) as two:
            await two.sync()
            await two.execute(INSERT, ("of two",))
            theirs: list[bytes] = []

            def other_writer() -> None:
                remote.on_push = None
                remote.frames += theirs

            await one.execute(INSERT, ("of one",))
            await two.sync()
            theirs += remote.frames[-1:]
            del remote.frames[-1:]
            remote.on_push = other_writer
            with pytest.raises(aiolibsql.SyncError, match="conflict"):
                await one.sync()
            assert await rows(one) == ["of one"]


async def test_server_writes_its_log_back(remote: SyncServer, tmp_path: Path) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        expected: list[str] = []
        for turn in range(5):
            await one.executemany(INSERT, [(f"{turn}-{n}",) for n in range(100)])
            expected += [f"{turn}-{n}" for n in range(100)]
            await one.sync()
            if turn % 2 == 0:
                await two.sync()
            remote.begin_generation()
            if turn % 2 == 1:
                await one.sync()
            await two.sync()
            assert await rows(two) == expected
            await one.sync()
        await two.execute(INSERT, ("of two",))
        await two.sync()
        await one.sync()
        assert await rows(one) == [*expected, "of two"]
        for conn in (one, two):
            assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(501,)]
    async with connect(tmp_path / "one.db", remote) as one:
        await one.execute(INSERT, ("last",))
        await one.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(502,)]


async def test_server_writes_its_log_back_while_a_change_waits(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()
        await conn.execute(INSERT, ("waits",))
        remote.begin_generation()
        with pytest.raises(aiolibsql.SyncError, match="conflict"):
            await conn.sync()
        assert await rows(conn) == ["waits"]


async def test_next_log_waits_for_open_cursors(remote: SyncServer, tmp_path: Path) -> None:
    async with (
        connect(tmp_path / "one.db", remote, timeout=0.2) as conn,
        connect(tmp_path / "one.db", remote) as other,
    ):
        await conn.execute(CREATE)
        await conn.executemany(INSERT, [(n,) for n in range(2000)])
        await conn.sync()
        cursor = await other.execute("SELECT a FROM t")
        assert await cursor.fetchone() == (0,)
        remote.begin_generation()
        with pytest.raises(aiolibsql.SyncError, match="cursor"):
            await conn.sync()
        await cursor.close()
        await conn.sync()
        await conn.execute(INSERT, ("more",))
        await conn.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(2001,)]


async def test_transactions_are_the_files_and_a_rollback_is_not_pushed(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote, autocommit=-1) as conn:
        await conn.execute(CREATE)
        async with conn.transaction():
            await conn.execute(INSERT, ("kept",))
            assert await rows(conn) == ["kept"]
            with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
                await conn.sync()
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                await conn.executemany(INSERT, [("x" * 3000,) for _ in range(3000)])
                raise ZeroDivisionError
        await conn.execute(INSERT, ("open",))
        with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
            await conn.sync()
        await conn.rollback()
        await conn.sync()
        assert remote.query(tmp_path, "SELECT a FROM t") == [("kept",)]
        assert await rows(conn) == ["kept"]
        await assert_healthy(conn)


async def test_always_open_transaction_may_sync_between_two(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote, autocommit=False) as conn:
        await conn.execute(CREATE)
        await conn.execute(INSERT, (1,))
        await conn.commit()
        assert (await conn.sync()).pushed > 0
        await conn.execute(INSERT, (2,))
        with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
            await conn.sync()
        await conn.commit()
        await conn.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(2,)]


async def test_sync_waits_for_the_transaction_of_another_task_and_of_another_connection(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn, connect(path, remote) as other:
        await conn.execute(CREATE)
        for writer in (conn, other):
            has_begun, may_end = anyio.Event(), anyio.Event()

            async def write(
                writer: aiolibsql.Connection[Any] = writer,
                has_begun: anyio.Event = has_begun,
                may_end: anyio.Event = may_end,
            ) -> None:
                async with writer.transaction("IMMEDIATE") as block:
                    await block.execute(INSERT, (1,))
                    has_begun.set()
                    await may_end.wait()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                await has_begun.wait()
                with anyio.move_on_after(0.1) as scope:
                    await conn.sync()
                assert scope.cancelled_caught
                may_end.set()
            await conn.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(2,)]


async def test_sync_gives_up_on_a_transaction_that_does_not_end(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote, timeout=0.2) as conn, connect(path, remote) as other:
        await conn.execute(CREATE)
        async with other.transaction("IMMEDIATE"):
            with pytest.raises(aiolibsql.SyncError, match="write transaction"):
                await conn.sync()
        await conn.sync()


async def test_syncs_of_two_tasks_are_one(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        results: list[aiolibsql.SyncResult] = []

        async def sync() -> None:
            results.append(await conn.sync())

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(sync)
        pushes = [path for method, path in remote.requests if method == "POST"]
        assert len(pushes) == 1
        assert sorted(result.pushed for result in results)[:-1] == [0] * 7


async def test_large_transaction_travels_in_pieces(remote: SyncServer, tmp_path: Path) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        async with one.transaction():
            await one.executemany(INSERT, [(bytes(2000),) for _ in range(3000)])
        result = await one.sync()
        assert result.pushed > 10 * 128
        batons = [path for method, path in remote.requests if method == "POST"]
        assert all(path.count("/") == 5 for path in batons[1:])
        assert (await two.sync()).frames == result.pushed
        assert await count(two) == 3000
        assert await two.fetch_scalar("PRAGMA integrity_check") == "ok"


async def test_reopened_and_synced_by_the_next_process(remote: SyncServer, tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    for number in range(5):
        async with connect(path, remote) as conn:
            if number == 0:
                await conn.execute(CREATE)
            await conn.execute(INSERT, (number,))
            if number % 2 == 0:
                await conn.sync()
            assert await rows(conn) == list(range(number + 1))
    assert remote.query(tmp_path, "SELECT a FROM t") == [(n,) for n in range(5)]


async def test_what_belongs_to_a_file_works(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.create_function("twice", 1, lambda text: text * 2)
        await conn.execute("INSERT INTO t (a) VALUES (twice('ab'))")
        await conn.executescript("INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (2);")
        assert await rows(conn) == ["abab", 1, 2]
        await conn.execute("VACUUM")
        assert await conn.fetch_scalar("PRAGMA journal_mode") == "wal"
        await conn.wal_checkpoint("PASSIVE")
        await conn.execute("DELETE FROM t WHERE a = 1")
        await conn.sync()
        assert remote.query(tmp_path, "SELECT a FROM t") == [("abab",), (2,)]
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await conn.execute("SELECT * FROM nowhere")
        await assert_healthy(conn)


async def test_checkpoints_of_the_user_leave_the_log_as_it_is(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with connect(tmp_path / "one.db", remote, timeout=0.1) as conn:
        await conn.execute("PRAGMA wal_autocheckpoint = 1")
        await conn.execute(CREATE)
        await conn.sync()
        for number in range(3):
            await conn.execute(INSERT, (number,))
            for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
                await conn.wal_checkpoint(mode)
        await conn.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(3,)]


async def test_what_would_take_the_log_away_is_refused(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        for sql in ("PRAGMA journal_mode = DELETE", "PRAGMA locking_mode = EXCLUSIVE"):
            with pytest.raises(aiolibsql.NotSupportedError, match="log until they are sent"):
                await conn.execute(sql)
            with pytest.raises(aiolibsql.NotSupportedError, match="log until they are sent"):
                await conn.executescript(sql)
        with pytest.raises(aiolibsql.NotSupportedError, match="rekey"):
            await conn.rekey("key")
        with pytest.raises(aiolibsql.NotSupportedError, match="deserialize"):
            await conn.deserialize(await conn.serialize())
        with pytest.raises(aiolibsql.NotSupportedError, match="sync_until"):
            await conn.sync_until(1)
        async with aiolibsql.connect(":memory:") as source:
            with pytest.raises(aiolibsql.NotSupportedError, match="backup"):
                await source.backup(conn)
        await assert_healthy(conn)
    with pytest.raises(aiolibsql.NotSupportedError, match="encryption_key"):
        connect(tmp_path / "two.db", remote, encryption_key="key")
    with pytest.raises(aiolibsql.ProgrammingError, match="read_your_writes"):
        connect(tmp_path / "two.db", remote, read_your_writes=False)
    with pytest.raises(aiolibsql.NotSupportedError, match="offline"):
        aiolibsql.create_pool(tmp_path / "two.db", sync_url=remote.url, offline=True)


async def test_syncs_by_itself(
    remote: SyncServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(tmp_path / "one.db", remote, sync_interval=0.02) as conn:
        await conn.execute(CREATE)

        async def is_pushed() -> bool:
            return bool(remote.frames)

        await until(is_pushed)
        remote.stop()
        with caplog.at_level(logging.WARNING, "aiolibsql"):

            async def is_told() -> bool:
                await conn.execute("SELECT 1")
                return "not kept up to date" in caplog.text

            await until(is_told)
        remote.start()
        await conn.execute(INSERT, (1,))

        async def is_there() -> bool:
            return remote.query(tmp_path, "SELECT count(*) FROM t") == [(1,)]

        await until(is_there)


async def test_token_is_asked_for(remote: SyncServer, tmp_path: Path) -> None:
    remote.token = "right"
    given = ["right"]
    async with connect(tmp_path / "one.db", remote, auth_token=lambda: given[-1]) as conn:
        await conn.execute(CREATE)
        await conn.sync()
        remote.token = "next"
        with pytest.raises(aiolibsql.AuthError):
            await conn.sync()
        assert "right" not in repr(await conn.sync_stats())
        given.append("next")
        await conn.sync()


def test_blocking_module(remote: SyncServer, tmp_path: Path) -> None:
    conn = dbapi.connect(tmp_path / "one.db", sync_url=remote.url, offline=True)
    conn.execute(CREATE)
    conn.execute(INSERT, (1,))
    conn.commit()
    assert conn.execute("SELECT a FROM t").fetchall() == [(1,)]
    conn.close()
