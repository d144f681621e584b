"""Files of replicas that are opened without `sync_url`: they are read, and not written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from replicas import CREATE, Home
from situations import count
from sync_server import SyncServer

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t (a) VALUES ('mine')"
REFUSAL = r"readonly database: .*replica\.db is a replica; write through connect\(path, sync_url=…"


@pytest.fixture
def remote() -> Iterator[SyncServer]:
    """Return a server for replicas that are written offline, with an empty database."""
    with SyncServer() as server:
        yield server


def plain(path: Path | str, **options: Any) -> aiolibsql.Connection[Any]:
    """Return a connection that knows of no server, in autocommit, not open yet."""
    conn: aiolibsql.Connection[Any] = aiolibsql.connect(path, autocommit=True, **options)
    return conn


def offline(path: Path, remote: SyncServer) -> aiolibsql.Connection[Any]:
    """Return a connection to a replica that is written offline, not open yet."""
    return plain(path, sync_url=remote.url, offline=True)


async def by_path(path: Path) -> None:
    async with plain(path) as conn:
        await conn.execute(INSERT)


async def by_link(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with plain(link) as conn:
        await conn.execute(INSERT)


async def by_uri(path: Path) -> None:
    async with plain(f"file:{path}?mode=rw", uri=True) as conn:
        await conn.execute(INSERT)


async def in_a_block(path: Path) -> None:
    async with plain(path) as conn, conn.transaction():
        assert await count(conn) == 300
        await conn.execute(INSERT)


async def by_a_pragma(path: Path) -> None:
    async with plain(path, pragmas={"user_version": 7}):
        pass


async def by_a_blob(path: Path) -> None:
    async with plain(path) as conn:
        await conn.blobopen("t", "a", 1)


async def by_a_pool(path: Path) -> None:
    async with aiolibsql.create_pool(path, size=2) as pool:
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 300
        await pool.execute(INSERT)


async def by_the_blocking_module(path: Path) -> None:
    conn = dbapi.connect(path)
    try:
        conn.execute(INSERT)
    finally:
        conn.close()


async def by_attach(path: Path) -> None:
    async with plain(":memory:") as conn:
        await conn.execute("ATTACH ? AS beside", (str(path),))
        assert await conn.fetch_scalar("SELECT count(*) FROM beside.t") == 300
        await conn.execute("CREATE TABLE mine (a)")
        await conn.execute("INSERT INTO beside.t (a) VALUES ('mine')")


async def by_backup(path: Path) -> None:
    async with plain(":memory:") as source, plain(path) as target:
        await source.execute("CREATE TABLE mine (a)")
        await source.backup(target)


WAYS = [
    by_path,
    by_link,
    by_uri,
    in_a_block,
    by_a_pragma,
    by_a_blob,
    by_a_pool,
    by_the_blocking_module,
    by_attach,
    by_backup,
]


async def change_much(home: Home) -> None:
    """Change pages at the server, those of the table and those after it."""
    async with home.primary() as primary:
        await primary.execute("INSERT INTO t (a) SELECT a || 'x' FROM t")
        await primary.execute("CREATE INDEX i ON t (a)")


async def ruin(path: Path) -> None:
    """Change the same pages in the file."""
    async with plain(path) as conn:
        await conn.execute("UPDATE t SET a = 'mine' WHERE id < 50")
        await conn.execute("CREATE TABLE mine AS SELECT hex(randomblob(2000)) FROM t")


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("write", WAYS)
async def test_write_is_refused_and_the_next_sync_does_no_harm(
    home: Home, write: Callable[[Path], Awaitable[None]], is_open: bool
) -> None:
    await home.fill(*[f"{number}" * 100 for number in range(300)])
    async with home.connect() as conn:
        assert await count(conn) == 300
        if is_open:
            with pytest.raises(aiolibsql.OperationalError, match=REFUSAL) as caught:
                await write(home.path)
    if not is_open:
        with pytest.raises(aiolibsql.OperationalError, match=REFUSAL) as caught:
            await write(home.path)
    assert caught.value.sqlite_errorname == "SQLITE_READONLY"
    assert f"delete {home.path}-client_wal_index while nobody has it open" in str(caught.value)
    await change_much(home)
    async with home.connect() as conn:
        assert (await conn.sync()).frames > 0
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
        assert await count(conn) == 600


async def test_without_its_note_the_file_is_an_ordinary_one_and_no_sync_may_follow(
    home: Home,
) -> None:
    await home.fill(*[f"{number}" * 100 for number in range(300)])
    async with home.connect() as conn:
        assert await count(conn) == 300
    note = home.path.with_name("replica.db-client_wal_index")
    kept = note.read_bytes()
    note.unlink()
    await ruin(home.path)
    async with plain(home.path) as conn:
        assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
        assert await conn.fetch_scalar("SELECT count(*) FROM mine") == 300
    with pytest.raises(aiolibsql.OperationalError, match="no replica"):
        await home.connect()
    # What the refusal is for: with the note, this is the file that was written behind its back.
    note.write_bytes(kept)
    await change_much(home)
    async with home.connect() as conn:
        assert (await conn.sync()).frames > 0
        assert await conn.fetch_scalar("PRAGMA integrity_check") != "ok"


async def test_everything_that_reads_works(home: Home, tmp_path: Path) -> None:
    await home.fill("one", "two")
    async with home.connect(autocommit=True) as replica, plain(home.path) as conn:
        assert await count(conn) == 2
        async with conn.transaction():
            assert await count(conn) == 2
        async with conn.transaction("READ"):
            await replica.execute(INSERT)
            assert await count(replica) == 3
            assert await count(conn) == 2
        assert await count(conn) == 3, "it sees what comes by a sync"
        await conn.execute("CREATE TEMP TABLE mine AS SELECT * FROM t")
        await conn.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
        async with plain(tmp_path / "other.db") as other:
            await conn.backup(other)
    async with plain(tmp_path / "copy.db") as copy, plain(tmp_path / "other.db") as other:
        for own in (copy, other):
            await own.execute(INSERT)
            assert await count(own) == 4


async def test_encrypted_file(home: Home) -> None:
    await home.fill("one")
    async with home.connect(encryption_key="a key") as conn:
        assert await count(conn) == 1
    async with plain(home.path, encryption_key="a key") as conn:
        assert await count(conn) == 1
        with pytest.raises(aiolibsql.OperationalError, match=REFUSAL):
            await conn.execute(INSERT)
        with pytest.raises(aiolibsql.OperationalError, match=r"replica\.db is a replica"):
            await conn.rekey("another")
    async with home.connect(encryption_key="a key") as conn:
        await conn.sync()
        assert await count(conn) == 1


async def test_change_of_the_journal_is_refused(home: Home) -> None:
    await home.fill("one")
    async with home.connect():
        pass
    async with plain(home.path) as conn:
        assert await conn.fetch_scalar("PRAGMA journal_mode=WAL") == "wal"
        with pytest.raises(aiolibsql.OperationalError, match=r"replica\.db is a replica"):
            await conn.execute("PRAGMA journal_mode=DELETE")
        assert await conn.fetch_scalar("PRAGMA journal_mode") == "wal"


async def test_note_of_a_file_that_is_gone_keeps_another_from_being_made(
    home: Home, tmp_path: Path
) -> None:
    note = tmp_path / "replica.db-client_wal_index"
    note.write_bytes(b"")
    with pytest.raises(aiolibsql.OperationalError, match="is left of a replica") as caught:
        await plain(home.path)
    assert caught.value.sqlite_errorname == "SQLITE_CANTOPEN"
    async with plain(":memory:") as conn:
        with pytest.raises(aiolibsql.OperationalError, match="is left of a replica"):
            await conn.execute("ATTACH ? AS beside", (str(home.path),))
        with pytest.raises(aiolibsql.OperationalError) as other:
            await conn.execute("ATTACH ? AS beside", (str(tmp_path / "no folder" / "one.db"),))
        assert "left of a replica" not in str(other.value)
    assert not home.path.exists()
    note.unlink()
    async with plain(home.path) as conn:
        await conn.execute(CREATE)


def test_error_about_another_file_has_no_word_of_it(tmp_path: Path) -> None:
    """Of the same thread, which the blocking module makes certain."""
    (tmp_path / "replica.db-client_wal_index").write_bytes(b"")
    conn = dbapi.connect(tmp_path / "one.db")
    try:
        for _ in range(2):
            with pytest.raises(aiolibsql.OperationalError, match="is left of a replica"):
                dbapi.connect(tmp_path / "replica.db")
        with pytest.raises(aiolibsql.OperationalError, match="unable to open") as caught:
            conn.execute("VACUUM INTO ?", (str(tmp_path / "no folder" / "copy.db"),))
        assert "replica" not in str(caught.value)
    finally:
        conn.close()


async def test_written_offline_it_is_read_without_harm_and_not_written(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "replica.db"
    async with offline(path, remote) as conn:
        await conn.execute(CREATE)
        await conn.execute(INSERT)
    # As the last to close the file it would have written the log back, which was not sent yet.
    async with plain(path) as conn:
        assert await count(conn) == 1
        with pytest.raises(aiolibsql.OperationalError, match=REFUSAL) as caught:
            await conn.execute(INSERT)
        assert "sync_url=…, offline=True)" in str(caught.value)
        assert f"delete {path}-info while" in str(caught.value)
        with pytest.raises(aiolibsql.OperationalError, match=r"replica\.db is a replica"):
            await conn.wal_checkpoint("TRUNCATE")
    async with offline(path, remote) as conn:
        assert (await conn.sync()).pushed > 0
        await conn.execute("ATTACH ? AS beside", (str(tmp_path / "beside.db"),))
        await conn.execute("CREATE TABLE beside.mine (a)")
        await conn.execute(INSERT)
        await conn.execute("VACUUM")
    assert remote.query(tmp_path, "SELECT count(*) FROM t") == [(1,)]
    path.with_name("replica.db-info").unlink()
    async with plain(path) as conn:
        await conn.execute(INSERT)
        assert await count(conn) == 3


async def test_descriptor_that_a_writer_has_left_is_not_taken(
    remote: SyncServer, tmp_path: Path
) -> None:
    path = tmp_path / "replica.db"
    async with offline(path, remote) as first:
        await first.execute(CREATE)
        async with offline(path, remote) as second:
            await second.execute(INSERT)
        # SQLite keeps what the second one had open, for the first one's locks are on it.
        with pytest.raises(aiolibsql.OperationalError, match=REFUSAL):
            await by_path(path)
        async with plain(":memory:") as conn:
            await conn.execute("ATTACH ? AS beside", (str(path),))
            with pytest.raises(aiolibsql.OperationalError, match=REFUSAL):
                await conn.execute("INSERT INTO beside.t (a) VALUES ('mine')")
        await first.execute(INSERT)
        assert await count(first) == 2


def write_text(path: Path) -> None:
    path.write_text("Of mine.")


@pytest.mark.parametrize("make", [write_text, os.mkdir, os.mkfifo])
async def test_what_has_the_name_of_a_note_and_is_none_means_nothing(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "one.db"
    make(path.with_name("one.db-info"))
    async with plain(path) as conn:
        await conn.execute(CREATE)
        await conn.execute(INSERT)
