"""Replicas that are written offline: servers that fail, syncs that are cut, and damaged files."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import CREATE
from situations import attempt_cancelled, count
from sync_server import FRAME, SyncServer
from test_offline import INSERT, connect, rows

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

CANCELLATIONS = 100
KILLS = 20


@pytest.fixture
def remote() -> Iterator[SyncServer]:
    """Return a server with an empty database."""
    with SyncServer() as server:
        yield server


def run(script: str, path: Path, remote: SyncServer) -> subprocess.Popen[str]:
    """Start a process of Python's that is told the path and the URL."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), remote.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def in_other_program(path: Path, sql: str) -> None:
    """Run SQL in a process with another SQLite."""
    script = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as conn:
    conn.execute(sys.argv[2])
conn.close()
"""
    await anyio.run_process([sys.executable, "-c", script, str(path), sql])


async def test_dead_server_is_an_error_and_the_file_goes_on(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()
        remote.stop()
        await conn.execute(INSERT, (1,))
        for _ in range(2):
            with pytest.raises(aiolibsql.ConnectError):
                await conn.sync()
        assert await rows(conn) == [1]
    async with connect(path, remote) as conn:
        await conn.execute(INSERT, (2,))
        with pytest.raises(aiolibsql.ConnectError):
            await conn.sync()
        remote.start()
        await conn.sync()
        assert remote.query(tmp_path, "SELECT a FROM t") == [(1,), (2,)]
        await assert_healthy(conn)


async def test_new_file_needs_the_server(remote: SyncServer, tmp_path: Path) -> None:
    remote.stop()
    with pytest.raises(aiolibsql.ConnectError):
        await connect(tmp_path / "one.db", remote)
    assert names(tmp_path) == ["one.db-sync-lock"]
    remote.start()
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()


async def test_wrong_token(remote: SyncServer, tmp_path: Path) -> None:
    remote.token = "right"
    with pytest.raises(aiolibsql.AuthError):
        await connect(tmp_path / "one.db", remote, auth_token="wrong")
    async with connect(tmp_path / "one.db", remote, auth_token="right") as conn:
        await conn.execute(CREATE)
        remote.token = "another"
        with pytest.raises(aiolibsql.AuthError):
            await conn.sync()
        remote.token = "right"
        await conn.sync()


async def test_server_that_does_not_serve_it(remote: SyncServer, tmp_path: Path) -> None:
    remote.faults = [("GET", "404")]
    with pytest.raises(aiolibsql.SyncError, match="may not serve"):
        await connect(tmp_path / "one.db", remote)


async def test_silent_server_is_given_up(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote, request_timeout=0.3) as conn:
        await conn.execute(CREATE)
        for method in ("GET", "POST"):
            remote.faults = [(method, "silence")]
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.sync()
        remote.released.set()
        await conn.sync()


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("fault", ["cut request", "cut answer", "cut body", "500", "409"])
async def test_push_that_is_cut_is_resumed(
    remote: SyncServer, tmp_path: Path, fault: str, *, forgets: bool
) -> None:
    remote.forgets = forgets
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()
        for number in range(4):
            async with conn.transaction():
                await conn.executemany(INSERT, [(bytes(2000),) for _ in range(900)])
            await conn.execute(INSERT, (number,))
            remote.faults = [("POST", "")] * number + [("POST", fault)]
            if fault == "409":
                await conn.sync()
            else:
                with pytest.raises((aiolibsql.ConnectError, aiolibsql.SyncError)):
                    await conn.sync()
            assert not remote.faults
            await conn.sync()
            sent = remote.query(tmp_path, "SELECT count(*), max(id) FROM t")
            assert sent == [(901 * (number + 1),) * 2]
    async with connect(tmp_path / "two.db", remote) as two:
        await two.sync()
        assert await count(two) == 901 * 4


@pytest.mark.parametrize("fault", ["cut request", "cut answer", "cut body", "500"])
async def test_pull_that_is_cut_is_gone_on_with(
    remote: SyncServer, tmp_path: Path, fault: str
) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        await one.executemany(INSERT, [(bytes(2000),) for _ in range(900)])
        await one.sync()
        for number in range(4):
            remote.faults = [("GET", "")] * number + [("GET", fault)]
            with pytest.raises((aiolibsql.ConnectError, aiolibsql.SyncError)):
                await two.sync()
            remote.faults = []
            assert await two.fetch_scalar("PRAGMA integrity_check") == "ok"
        await two.sync()
        assert await count(two) == 900


@pytest.mark.parametrize("fault", ["cut request", "cut answer", "cut body", "503"])
async def test_first_sync_that_is_cut_leaves_nothing(
    remote: SyncServer, tmp_path: Path, fault: str
) -> None:
    async with connect(tmp_path / "one.db", remote) as one:
        await one.execute(CREATE)
        await one.executemany(INSERT, [(n,) for n in range(2000)])
        await one.sync()
    remote.begin_generation()
    for number in range(2):
        remote.faults = [("GET", "")] * number + [("GET", fault)]
        with pytest.raises((aiolibsql.ConnectError, aiolibsql.SyncError)):
            await connect(tmp_path / "two.db", remote)
        assert [name for name in names(tmp_path) if name.startswith("two")] == ["two.db-sync-lock"]
    remote.faults = []
    async with connect(tmp_path / "two.db", remote) as two:
        assert await count(two) == 2000


async def test_export_that_is_no_database(remote: SyncServer, tmp_path: Path) -> None:
    for wrong in (b"x" * 8192, b"SQLite format 3\0" + b"x" * 8000):
        remote.exports[1] = wrong
        with pytest.raises(aiolibsql.SyncError, match="can't be used"):
            await connect(tmp_path / "one.db", remote)
        assert names(tmp_path) == ["one.db-sync-lock"]


@pytest.mark.parametrize("wrong", [b"", b"x" * 100, b"x" * (FRAME + 1)])
async def test_frames_that_make_no_sense_are_not_put_in(
    remote: SyncServer, tmp_path: Path, wrong: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()
        with monkeypatch.context() as patch:
            patch.setattr(remote, "pull", lambda *_: wrong)
            with pytest.raises(aiolibsql.SyncError, match="can't be understood"):
                await conn.sync()
        await conn.execute(INSERT, (1,))
        await conn.sync()
        assert remote.query(tmp_path, "SELECT a FROM t") == [(1,)]


async def test_server_that_lost_frames_gets_them_again(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        for number in range(3):
            await conn.execute(INSERT, (number,))
        await conn.sync()
        del remote.frames[-2:]
        await conn.execute(INSERT, ("new",))
        await conn.sync()
        sent = remote.query(tmp_path, "SELECT a FROM t ORDER BY id")
        assert sent == [(0,), (1,), (2,), ("new",)]


async def test_unfinished_push_of_another_device_is_not_seen(
    remote: SyncServer, tmp_path: Path
) -> None:
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        await one.sync()
        await two.sync()
        async with one.transaction():
            await one.executemany(INSERT, [(bytes(2000),) for _ in range(900)])
        remote.faults = [("POST", ""), ("POST", "cut request")]
        with pytest.raises(aiolibsql.ConnectError):
            await one.sync()
        assert (await two.sync()).frames == 0
        assert await count(two) == 0
        await one.sync()
        await two.sync()
        assert await count(two) == 900


async def test_cancelled_syncs_leave_it_healthy(remote: SyncServer, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with (
        connect(tmp_path / "one.db", remote) as one,
        connect(tmp_path / "two.db", remote) as two,
    ):
        await one.execute(CREATE)
        await one.sync()

        async def moment() -> None:
            await anyio.sleep(chance.random() * 0.008)

        for _ in range(CANCELLATIONS):
            await one.executemany(INSERT, [("x" * 300,) for _ in range(20)])
            await attempt_cancelled(one.sync(), moment)
            await attempt_cancelled(two.sync(), moment)
        await one.sync()
        await two.sync()
        for conn in (one, two):
            assert await count(conn) == CANCELLATIONS * 20
            assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
            await assert_healthy(conn)
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(CANCELLATIONS * 20,)]


async def test_cancelled_open_is_undone(remote: SyncServer, tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(30):

        async def moment() -> None:
            await anyio.sleep(chance.random() * 0.01)

        conn = connect(tmp_path / f"{number}.db", remote)

        async def open_(conn: aiolibsql.Connection[Any] = conn) -> None:
            await conn

        await attempt_cancelled(open_(), moment)
        await conn.close()
        async with connect(tmp_path / f"{number}.db", remote) as again:
            await assert_healthy(again)


KILLED = """
import asyncio, sys
import aiolibsql

async def main():
    path, url = sys.argv[1:]
    async with aiolibsql.connect(path, sync_url=url, offline=True, autocommit=True) as conn:
        print("open", flush=True)
        while True:
            rows = [("x" * 500,) for _ in range(50)]
            await conn.executemany("INSERT INTO t (a) VALUES (?)", rows)
            print(await conn.fetch_scalar("SELECT count(*) FROM t"), flush=True)
            await conn.sync()

asyncio.run(main())
"""


async def test_killed_while_it_syncs(remote: SyncServer, tmp_path: Path) -> None:
    chance = random.Random(11)
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
        await conn.sync()
    told = 0
    for _ in range(KILLS):
        process = run(KILLED, path, remote)
        assert process.stdout is not None
        assert await anyio.to_thread.run_sync(process.stdout.readline) == "open\n"
        await anyio.sleep(chance.random() * 0.06)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        told = max([told, *map(int, rest.split("\n")[:-1])])
    async with connect(path, remote) as conn:
        await conn.sync()
        assert await count(conn) >= told
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
        assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(await count(conn),)]


HOLDER = """
import asyncio, sys
import aiolibsql

async def main():
    path, url = sys.argv[1:]
    async with aiolibsql.connect(path, sync_url=url, offline=True, autocommit=True) as conn:
        print("open", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


async def test_one_process_syncs_a_file(remote: SyncServer, tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
    holder = run(HOLDER, path, remote)
    assert holder.stdout is not None
    try:
        assert await anyio.to_thread.run_sync(holder.stdout.readline) == "open\n"
        with pytest.raises(aiolibsql.OperationalError, match="another process syncs"):
            await connect(path, remote)
        async with aiolibsql.connect(f"file:{path}?mode=ro", uri=True) as conn:
            assert await count(conn) == 0
    finally:
        holder.kill()
        holder.communicate()
    async with connect(path, remote) as conn:
        await conn.sync()
        assert await count(conn) == 0


async def test_other_program_that_writes_the_log_back_is_noticed(
    remote: SyncServer, tmp_path: Path
) -> None:
    for synced in (False, True):
        path = tmp_path / f"{synced}.db"
        async with connect(path, remote) as conn:
            await conn.execute(f"CREATE TABLE {synced} (a)")
            if synced:
                await conn.sync()
            await conn.execute(f"INSERT INTO {synced} VALUES (1)")
        pushed = list(remote.frames)
        # As the last to close it, it writes the log back.
        await in_other_program(path, f"SELECT count(*) FROM {synced}")
        for _ in range(2):
            async with connect(path, remote) as conn:
                for _ in range(2):
                    with pytest.raises(
                        aiolibsql.SyncError, match="written back by another program"
                    ):
                        await conn.sync()
                await conn.execute(f"INSERT INTO {synced} VALUES (2)")
        assert remote.frames == pushed
        remote.frames = []


async def test_other_program_beside_it_does_no_harm(remote: SyncServer, tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
        await in_other_program(path, "INSERT INTO t (a) VALUES ('beside')")
        await in_other_program(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        await conn.execute(INSERT, (1,))
        await conn.sync()
        assert await rows(conn) == ["beside", 1]
    assert remote.query(tmp_path, "SELECT a FROM t") == [("beside",), (1,)]


async def test_log_that_lost_its_end_is_filled_from_the_server(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "one.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
        for number in range(5):
            await conn.execute(INSERT, (number,))
        await conn.sync()
    # As a power failure leaves it that came before the disk had the last frames.
    log = tmp_path / "one.db-wal"
    os.truncate(log, log.stat().st_size - FRAME - 10)
    async with connect(path, remote) as conn:
        assert await count(conn) == 3
        assert (await conn.sync()).frames == 2
        assert await rows(conn) == list(range(5))
        await conn.execute(INSERT, ("new",))
        await conn.sync()
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(6,)]


async def test_file_that_libsql_has_begun_is_gone_on_with(
    remote: SyncServer, tmp_path: Path
) -> None:
    path, note = tmp_path / "one.db", tmp_path / "one.db-info"
    ours = ("mark", "base", "past_frames", "past_mark", "moving")
    for number in range(3):
        async with connect(path, remote) as conn:
            if number == 0:
                await conn.execute(CREATE)
            else:
                await conn.sync()
            await conn.execute(INSERT, (number,))
        noted = json.loads(note.read_text())
        note.write_text(json.dumps({k: v for k, v in noted.items() if k not in ours}))
    async with connect(path, remote) as conn:
        await conn.sync()
    assert remote.query(tmp_path, "SELECT a FROM t") == [(0,), (1,), (2,)]


@pytest.mark.parametrize("crash", ["none", "when noted", "when written back", "when begun anew"])
async def test_killed_when_the_server_has_begun_another_log(
    remote: SyncServer, tmp_path: Path, crash: str
) -> None:
    path, note = tmp_path / "one.db", tmp_path / "one.db-info"
    expected = [(0,)]
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
        await conn.execute(INSERT, (0,))
        await conn.sync()
        noted = json.loads(note.read_text())
        remote.begin_generation()
        if crash != "when noted":
            await conn.sync()
            assert json.loads(note.read_text())["generation"] == 2
        if crash == "when begun anew":
            await conn.execute(INSERT, (1,))
            expected += [(1,)]
    if crash != "none":
        # All that was noted by then.
        note.write_text(json.dumps({**noted, "moving": 1}))
    for number in (2, 3):
        async with connect(path, remote) as conn:
            assert await conn.fetch_all("SELECT a FROM t ORDER BY id") == expected
            await conn.execute(INSERT, (number,))
            expected += [(number,)]
    async with connect(path, remote) as conn:
        await conn.sync()
    assert remote.query(tmp_path, "SELECT a FROM t ORDER BY id") == expected


async def test_files_that_are_no_replicas_are_refused(remote: SyncServer, tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    with sqlite3.connect(path) as plain:
        plain.execute(CREATE)
        plain.execute(INSERT, ("mine",))
    plain.close()
    before = path.read_bytes()
    with pytest.raises(aiolibsql.OperationalError, match="no replica"):
        await connect(path, remote)
    assert path.read_bytes() == before

    path = tmp_path / "damaged.db"
    async with connect(path, remote) as conn:
        await conn.execute(CREATE)
    note = tmp_path / "damaged.db-info"
    kept = note.read_bytes()
    for wrong in (b"", b"{}", kept.replace(b'"generation":1', b'"generation":2')):
        note.write_bytes(wrong)
        with pytest.raises(aiolibsql.DatabaseError, match="damaged"):
            await connect(path, remote)
    note.write_bytes(kept)
    path.unlink()
    with pytest.raises(aiolibsql.DatabaseError, match="gone"):
        await connect(path, remote)


async def test_child_of_a_fork_can_not_use_it(remote: SyncServer, tmp_path: Path) -> None:
    async with connect(tmp_path / "one.db", remote) as conn:
        await conn.execute(CREATE)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                conn.sync().send(None)
            except aiolibsql.OperationalError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it has ended
        await conn.execute(INSERT, (1,))
        await conn.sync()
    assert remote.query(tmp_path, "SELECT a FROM t") == [(1,)]
