"""Replicas whose server goes, whose files are damaged, whose syncs are cancelled or killed."""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import Home
from situations import attempt_cancelled, block_until, count, turns
from sqld import free_port

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

    from credentials import Authority, Signer
    from proxy import Proxy
    from sqld import Sqld

pytestmark = pytest.mark.anyio

# What a busy machine may take for what is done at once.
AT_ONCE = 10.0
CANCELLATIONS = 200
KILLS = 30


@pytest.fixture
def own_home(own_server: Sqld, tmp_path: Path) -> Home:
    """Return the same at a server that the test may end."""
    return Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())


def names(home: Home) -> list[Path]:
    return sorted(home.path.parent.glob(home.path.name + "*"))


async def test_without_a_server_reads_go_on_and_writes_fail_at_once(
    own_home: Home, own_server: Sqld
) -> None:
    await own_home.fill("one")
    async with own_home.connect(autocommit=True) as conn:
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(conn) == 2
        own_server.kill()
        for _ in range(3):
            assert await count(conn) == 2
            began = time.monotonic()
            with pytest.raises(aiolibsql.ConnectError):
                await conn.execute("INSERT INTO t (a) VALUES ('three')")
            assert time.monotonic() - began < AT_ONCE
        with pytest.raises(aiolibsql.ConnectError):
            await conn.sync()
        assert (await conn.sync_stats()).failures > 0
        own_server.start()
        await conn.execute("INSERT INTO t (a) VALUES ('three')")
        assert await count(conn) == 3
        await conn.sync()
        await assert_healthy(conn)


async def test_opened_without_a_server_and_used_when_it_is_back(
    own_home: Home, own_server: Sqld
) -> None:
    await own_home.fill("one")
    async with own_home.connect() as conn:
        assert await count(conn) == 1
    own_server.kill()
    async with own_home.connect(autocommit=True) as conn:
        assert await count(conn) == 1
        with pytest.raises(aiolibsql.ConnectError):
            await conn.sync()
        own_server.start()
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(conn) == 2
    own_server.kill()
    with pytest.raises(aiolibsql.ConnectError):
        await own_home.connect(own_home.path.with_name("new.db"))


async def test_read_after_a_write_fails_rather_than_not_see_it(
    own_home: Home, own_server: Sqld
) -> None:
    await own_home.fill("one")
    async with own_home.connect(autocommit=True) as conn, own_home.connect() as other:
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        own_server.kill()
        with pytest.raises(aiolibsql.SyncError, match="was done"):
            await count(conn)
        assert await count(other) == 1, "it has written nothing"
        own_server.start()
        assert await count(conn) == 2


async def test_server_restarts_while_it_is_read_and_written(
    own_home: Home, own_server: Sqld
) -> None:
    await own_home.fill()
    async with own_home.connect(autocommit=True) as conn:
        for number in range(1, 6):
            await conn.execute("INSERT INTO t (a) VALUES (?)", (number,))
            own_server.restart()
            assert await count(conn) == number
            await conn.sync()


async def test_token_that_is_wrong(token_server: Sqld, signer: Signer, tmp_path: Path) -> None:
    home = Home(tmp_path / "replica.db", token_server.port)
    good, wrong = signer.token(), signer.token(seconds=-3600)
    began = time.monotonic()
    with pytest.raises(aiolibsql.AuthError):
        await home.connect(auth_token=wrong)
    with pytest.raises(aiolibsql.AuthError):
        await home.connect()
    assert time.monotonic() - began < AT_ONCE
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return good if asked > 1 else wrong

    async with home.connect(auth_token=token) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1
        await conn.execute("CREATE TABLE IF NOT EXISTS replicated (a)")
        await conn.commit()
        await conn.sync()
    async with home.connect(auth_token=wrong, autocommit=True) as conn:
        assert await conn.fetch_scalar("SELECT 2") == 2, "the file is there"
        with pytest.raises(aiolibsql.AuthError) as raised:
            await conn.sync()
        assert wrong not in str(raised.value)
        with pytest.raises(aiolibsql.AuthError):
            await conn.execute("CREATE TABLE never (a)")


async def test_silent_server_is_given_up(own_home: Home, own_server: Sqld) -> None:
    await own_home.fill("one")
    async with own_home.connect(autocommit=True, request_timeout=0.5) as conn:
        own_server.pause()
        try:
            began = time.monotonic()
            with pytest.raises(aiolibsql.OperationalError):
                await conn.sync()
            with pytest.raises(aiolibsql.TimeoutError):
                await own_home.connect(
                    own_home.path.with_name("new.db"), request_timeout=0.5, connect_timeout=0.5
                )
            assert time.monotonic() - began < AT_ONCE
            assert await count(conn) == 1
        finally:
            own_server.resume()
        await conn.sync()
        await assert_healthy(conn)


async def test_proxy_that_loses_answers(home: Home, proxy: Proxy) -> None:
    await home.fill(*range(3000))
    far = Home(home.path, proxy.port, home.namespace)
    for after in (1, 300, 5_000, 100_000):
        proxy.cut(after=after)
        try:
            async with far.connect() as conn:
                assert await count(conn) == 3000
        except aiolibsql.OperationalError:
            pass
    async with far.connect() as conn:
        assert await count(conn) == 3000
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"


async def test_tls(
    home: Home, tls_proxy: Proxy, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.fill("one")
    url = f"https://localhost:{tls_proxy.port}"
    options: dict[str, Any] = {"sync_url": url, "namespace": home.namespace, "connect_timeout": 5}
    with pytest.raises(aiolibsql.ConnectError):
        await aiolibsql.connect(home.path, **options)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with aiolibsql.connect(home.path, autocommit=True, **options) as conn:
        assert await count(conn) == 1
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(conn) == 2


async def test_cancelled_syncs_leave_it_healthy(home: Home) -> None:
    await home.fill(*range(200))
    chance = random.Random(7)
    async with home.connect(autocommit=True) as conn, home.primary() as primary:
        written = 200
        for round_ in range(CANCELLATIONS):
            if round_ % 4 == 0:
                await primary.executemany(
                    "INSERT INTO t (a) VALUES (?)", [("x" * 300,) for _ in range(50)]
                )
                written += 50

            async def moment() -> None:
                await anyio.sleep(chance.random() * 0.006)

            await attempt_cancelled(conn.sync(), moment)
            if round_ % 20 == 0:
                assert await count(conn) <= written
        await conn.sync()
        assert await count(conn) == written
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
        await assert_healthy(conn)


async def test_cancelled_open_is_undone(home: Home) -> None:
    await home.fill(*range(200))
    for milliseconds in range(12):

        async def moment(seconds: float = milliseconds / 1000) -> None:
            await anyio.sleep(seconds)

        conn = home.connect()
        outcome = await attempt_cancelled(conn.__aenter__(), moment)
        if outcome.value is not None:
            await conn.close()
    async with home.connect() as conn:
        assert await count(conn) == 200
        await assert_healthy(conn)


async def test_open_that_is_cancelled_at_its_end_warns_of_nothing(home: Home) -> None:
    await home.fill(1)
    for _ in range(10):
        conn = home.connect()

        async def opened(conn: aiolibsql.Connection[Any] = conn) -> None:
            await turns()
            block_until(lambda: not conn.closed)

        outcome = await attempt_cancelled(conn.__aenter__(), opened)
        if outcome.value is not None:
            await conn.close()
        del conn, outcome
        gc.collect()  # while the close is on its way; a ResourceWarning would be an error


KILLED = """
import asyncio, sys
import aiolibsql

async def main():
    path, url, namespace = sys.argv[1:]
    async with aiolibsql.connect(path, sync_url=url, namespace=namespace) as conn:
        print("open", flush=True)
        while True:
            await conn.sync()

asyncio.run(main())
"""


async def test_killed_while_it_syncs(home: Home) -> None:
    await home.fill(*range(1000))
    chance = random.Random(11)
    written = 1000
    for round_ in range(KILLS):
        process = home.run(KILLED)
        assert process.stdout is not None
        assert process.stderr is not None
        if round_ % 3 == 2:
            # In the middle of its open, and at first of its first sync.
            await anyio.sleep(0.1 + chance.random() * 0.2)
        else:
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            assert line == "open\n", process.stderr.read()
            async with home.primary() as primary:
                await primary.executemany(
                    "INSERT INTO t (a) VALUES (?)", [("x" * 500,) for _ in range(100)]
                )
            written += 100
            await anyio.sleep(chance.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    async with home.connect() as conn:
        await conn.sync()
        assert await count(conn) == written
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"


async def test_encrypted_file(home: Home) -> None:
    await home.fill("secret")
    async with home.connect(encryption_key="a key", autocommit=True) as conn:
        assert await count(conn) == 1
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(conn) == 2
    assert b"secret" not in home.path.read_bytes()
    assert not home.path.read_bytes().startswith(b"SQLite")
    for key in ("another", None):
        with pytest.raises(aiolibsql.DatabaseError, match="key is wrong"):
            await home.connect(encryption_key=key)
    async with home.connect(encryption_key="a key") as conn:
        await conn.sync()
        assert await count(conn) == 2
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"


async def test_file_of_something_else_is_refused_and_left_alone(home: Home) -> None:
    await home.fill("one")
    async with aiolibsql.connect(home.path) as conn:
        await conn.execute("CREATE TABLE mine (a)")
    before = home.path.read_bytes()
    with pytest.raises(aiolibsql.OperationalError, match="no replica"):
        await home.connect()
    assert home.path.read_bytes() == before
    home.path.write_bytes(b"just a text" * 100)
    with pytest.raises(aiolibsql.DatabaseError):
        await home.connect()
    with pytest.raises(aiolibsql.OperationalError):
        await home.connect(home.path.parent / "no folder" / "replica.db")
    with pytest.raises(aiolibsql.OperationalError):
        await home.connect(home.path.parent)


async def test_damaged_files_are_recognised(home: Home) -> None:
    await home.fill(*range(2000))
    async with home.connect() as conn:
        assert await count(conn) == 2000
    whole = {path: path.read_bytes() for path in names(home)}

    def restore() -> None:
        for path in names(home):
            path.unlink()
        for path, data in whole.items():
            path.write_bytes(data)

    note = home.path.with_name("replica.db-client_wal_index")
    log = home.path.with_name("replica.db-wal")
    note.write_bytes(whole[note][:7])
    with pytest.raises(aiolibsql.DatabaseError, match="cut off"):
        await home.connect()
    restore()
    log.unlink(missing_ok=True)
    home.path.write_bytes(b"")
    with pytest.raises(aiolibsql.DatabaseError, match="gone"):
        await home.connect()
    restore()
    home.path.write_bytes(b"\0" * len(whole[home.path]))
    with pytest.raises(aiolibsql.DatabaseError):
        await home.connect()
    for path in names(home):
        path.unlink()
    async with home.connect() as conn:
        assert await count(conn) == 2000, "it is synced anew"


HOLDER = """
import asyncio, sys
import aiolibsql

async def main():
    path, url, namespace = sys.argv[1:]
    async with aiolibsql.connect(path, sync_url=url, namespace=namespace) as conn:
        print("open", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print((await conn.sync()).replication_index, flush=True)

asyncio.run(main())
"""


async def test_one_process_syncs_a_file(home: Home) -> None:
    await home.fill("one")
    holder = home.run(HOLDER)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert await anyio.to_thread.run_sync(holder.stdout.readline) == "open\n"
        with pytest.raises(aiolibsql.OperationalError, match="another process syncs"):
            await home.connect()
        async with aiolibsql.connect(f"file:{home.path}?mode=ro", uri=True) as conn:
            assert await count(conn) == 1
            async with home.primary() as primary:
                await primary.execute("INSERT INTO t (a) VALUES ('two')")
            print(file=holder.stdin, flush=True)
            assert int(await anyio.to_thread.run_sync(holder.stdout.readline)) > 0
            assert await count(conn) == 2
            with pytest.raises(aiolibsql.OperationalError, match="readonly"):
                await conn.execute("DELETE FROM t")
    finally:
        holder.kill()
        holder.communicate()
    async with home.connect() as conn:
        assert await count(conn) == 2


async def test_child_of_a_fork_can_not_use_it(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                conn.execute("SELECT 1").send(None)
            except aiolibsql.OperationalError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it has ended
        await conn.sync()
        assert await count(conn) == 1
        await assert_healthy(conn)


async def test_server_that_is_not_there(tmp_path: Path) -> None:
    home = Home(tmp_path / "replica.db", free_port())
    began = time.monotonic()
    with pytest.raises(aiolibsql.ConnectError):
        await home.connect()
    assert time.monotonic() - began < AT_ONCE


LEFT = """
import asyncio, gc, sys
import aiolibsql

async def main():
    path, url, namespace, how = sys.argv[1:]
    options = dict(sync_url=url, namespace=namespace)
    conn = await aiolibsql.connect(path, sync_interval=0.005, **options)
    assert await conn.fetch_scalar("SELECT 1") == 1
    if how == "forgotten":
        del conn
        gc.collect()
        async with aiolibsql.connect(path, **options) as again:
            assert await again.fetch_scalar("SELECT 2") == 2
        return
    globals()["kept"] = conn
    if how == "in a transaction":
        await conn.execute("INSERT INTO t (a) VALUES ('never')")
    if how == "syncing":
        asyncio.ensure_future(conn.sync())
        await asyncio.sleep(0.0005)

asyncio.run(main())
print("done")
"""


@pytest.mark.parametrize("how", ["forgotten", "open", "in a transaction", "syncing"])
async def test_process_that_leaves_it_open_ends(home: Home, how: str) -> None:
    await home.fill("one")
    process = home.run(LEFT, how)
    output, errors = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=60))
    assert (process.returncode, output) == (0, "done\n"), errors
    assert "panicked" not in errors
    async with home.connect() as conn:
        await conn.sync()
        assert await count(conn) == 1
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
