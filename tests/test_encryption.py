"""Encrypted files: keys, how a wrong one fails, their change, and that they show nowhere."""

from __future__ import annotations

import gc
import io
import logging
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from backends import KEY, Backend
from healthy import assert_healthy
from situations import ENDLESS_INSERT, attempt_cancelled, count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

WRONG = "wrong one"
NOT_THE_KEY = "not a database or the encryption key is wrong"
MODES = ["delete", "wal"]


@pytest.fixture
def encrypted_backend(tmp_path: Path) -> Backend:
    """Return a fresh encrypted file, which the first write makes."""
    return Backend("encrypted", tmp_path / "test.db", KEY)


@pytest.fixture
async def secret(encrypted_backend: Backend) -> Backend:
    """Return an encrypted file with a table of 100 rows in it."""
    await fill(encrypted_backend, "delete")
    return encrypted_backend


async def fill(backend: Backend, mode: str, rows: int = 100) -> None:
    async with backend.connect() as conn:
        await conn.execute(f"PRAGMA journal_mode={mode}")
        await conn.execute("CREATE TABLE t (a)")
        await conn.executemany("INSERT INTO t VALUES (?)", [("plain text",)] * rows)


def file_of(backend: Backend) -> Path:
    assert backend.path is not None
    return backend.path


def with_key(backend: Backend, key: str | bytes | None, **options: Any) -> Conn:
    return aiolibsql.connect(file_of(backend), encryption_key=key, **options)


async def assert_refused(backend: Backend, key: str | bytes | None, **options: Any) -> None:
    with pytest.raises(aiolibsql.DatabaseError, match=NOT_THE_KEY) as caught:
        await with_key(backend, key, **options)
    assert caught.value.sqlite_errorname == "SQLITE_NOTADB"
    assert not isinstance(caught.value, aiolibsql.OperationalError)


# What a key may be.


async def test_key_as_str_is_its_utf8(encrypted_backend: Backend) -> None:
    async with with_key(encrypted_backend, "clé") as conn:
        await conn.execute("CREATE TABLE t (a)")
    async with with_key(encrypted_backend, "clé".encode()) as conn:
        assert await count(conn) == 0
        await assert_healthy(conn)


@pytest.mark.parametrize("key", [b"\0", b"a\0b", bytes(range(32)), "k", "é" * 16], ids=repr)
async def test_key_of_any_bytes_opens_its_file(
    encrypted_backend: Backend, key: str | bytes
) -> None:
    async with with_key(encrypted_backend, key) as conn:
        await conn.execute("CREATE TABLE t (a)")
    await assert_refused(encrypted_backend, key[:-1] or b"b")
    async with with_key(encrypted_backend, key) as conn:
        await assert_healthy(conn)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", ValueError),
        (b"", ValueError),
        ("k" * 33, ValueError),
        ("é" * 17, ValueError),
        ("\ud800", ValueError),
        (1, TypeError),
        (bytearray(b"key"), TypeError),
        pytest.param(memoryview(b"key"), TypeError, id="memoryview"),
    ],
    ids=repr,
)
async def test_key_that_can_not_be_one_is_refused(
    secret: Backend, key: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="encryption_key"):
        with_key(secret, key)
    async with secret.connect() as conn:
        with pytest.raises(error, match="new_key"):
            await conn.rekey(key)
        await assert_healthy(conn)


@pytest.mark.parametrize(
    "database", [":memory:", b":memory:", "", "file::memory:", "file:x?mode=memory"]
)
async def test_key_for_a_database_in_memory_is_refused(database: str | bytes) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match=r"database .*encryption_key"):
        aiolibsql.connect(database, encryption_key=KEY)


# How a wrong key fails.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [WRONG, None], ids=["wrong", "missing"])
async def test_wrong_key_fails_at_open(
    encrypted_backend: Backend, mode: str, key: str | None
) -> None:
    await fill(encrypted_backend, mode)
    await assert_refused(encrypted_backend, key)
    async with encrypted_backend.connect() as conn:
        await assert_refused(encrypted_backend, key)
        assert await count(conn) == 100
        await assert_healthy(conn)


async def test_plain_file_with_a_key_fails_at_open(file_backend: Backend) -> None:
    await fill(file_backend, "delete")
    before = file_of(file_backend).read_bytes()
    await assert_refused(file_backend, KEY)
    assert file_of(file_backend).read_bytes() == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [WRONG, None], ids=["wrong", "missing"])
async def test_wrong_key_fails_at_open_of_a_locked_file(
    encrypted_backend: Backend, mode: str, key: str | None
) -> None:
    await fill(encrypted_backend, mode)
    async with encrypted_backend.connect() as holder:
        await holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        await holder.begin("EXCLUSIVE")
        await holder.execute("INSERT INTO t VALUES (1)")
        await assert_refused(encrypted_backend, key, timeout=0)
        async with encrypted_backend.second(timeout=0) as conn:
            assert not conn.closed
        await holder.rollback()


async def test_refused_open_may_be_repeated(secret: Backend) -> None:
    connection = with_key(secret, WRONG)
    for _ in range(3):
        with pytest.raises(aiolibsql.DatabaseError, match=NOT_THE_KEY):
            await connection


async def test_undone_open_keeps_its_key(secret: Backend) -> None:
    fails = True

    async def init(_conn: Conn) -> None:
        if fails:
            raise LookupError

    connection = secret.connect(init_hook=init)
    with pytest.raises(LookupError):
        await connection
    fails = False
    async with connection:
        assert await count(connection) == 100


DIES_IN_A_TRANSACTION = """
import asyncio, os, signal, sys
import aiolibsql
async def main():
    conn = await aiolibsql.connect(sys.argv[1], encryption_key=sys.argv[2])
    await conn.execute("PRAGMA cache_size=5")
    await conn.execute("PRAGMA wal_autocheckpoint=0")
    await conn.execute("INSERT INTO t VALUES (1)")
    await conn.execute("CREATE TABLE other (a)")
    await conn.commit()
    await conn.execute("UPDATE t SET a = a || zeroblob(500)")
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [WRONG, None], ids=["wrong", "missing"])
async def test_wrong_key_leaves_alone_what_a_crash_has_left(
    encrypted_backend: Backend, mode: str, key: str | None
) -> None:
    # SQLite by itself would take the journal for empty, or write the WAL's pages back undeciphered.
    await fill(encrypted_backend, mode, 500)
    path = file_of(encrypted_backend)
    command = [sys.executable, "-c", DIES_IN_A_TRANSACTION, str(path), KEY]
    await anyio.run_process(command, check=False)
    left = path.with_name(path.name + ("-wal" if mode == "wal" else "-journal"))
    content = left.read_bytes()
    assert content
    await assert_refused(encrypted_backend, key)
    assert left.read_bytes() == content
    if mode == "wal":
        async with aiolibsql.connect(":memory:") as conn:
            with pytest.raises(aiolibsql.DatabaseError):
                await conn.execute("ATTACH ? AS other KEY ?", (str(path), WRONG))
        assert left.read_bytes() == content
    async with encrypted_backend.connect() as conn:
        assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]
        assert await conn.fetch_one("SELECT count(*), max(length(a)) FROM t") == (501, 10)
        assert await count(conn, "other") == 0
        await assert_healthy(conn)


# Changing the key.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("new", ["another", b"\1\2\3", None], ids=repr)
async def test_rekey_leaves_only_the_new_key_valid(
    encrypted_backend: Backend, mode: str, new: str | bytes | None
) -> None:
    await fill(encrypted_backend, mode)
    async with encrypted_backend.connect() as conn:
        await conn.rekey(new)
        assert await count(conn) == 100
        assert await conn.fetch_scalar("PRAGMA journal_mode") == mode
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.commit()
        await assert_healthy(conn)
    await assert_refused(encrypted_backend, KEY)
    assert (b"plain text" in file_of(encrypted_backend).read_bytes()) is (new is None)
    async with with_key(encrypted_backend, new) as conn:
        assert await count(conn) == 101
        assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]


async def test_rekey_encrypts_a_plain_file(file_backend: Backend) -> None:
    await fill(file_backend, "delete")
    async with file_backend.connect() as conn:
        await conn.rekey(KEY)
        await assert_healthy(conn)
    assert b"plain text" not in file_of(file_backend).read_bytes()
    await assert_refused(file_backend, None)
    async with with_key(file_backend, KEY) as conn:
        assert await count(conn) == 100


async def test_rekey_is_what_an_undone_open_is_repeated_with(secret: Backend) -> None:
    opened = 0

    async def init(conn: Conn) -> None:
        nonlocal opened
        opened += 1
        if opened == 1:
            await conn.rekey("another")
            raise LookupError

    connection = secret.connect(init_hook=init)
    with pytest.raises(LookupError):
        await connection
    async with connection:
        assert await count(connection) == 100


async def test_rekey_in_a_transaction_is_refused(secret: Backend) -> None:
    async with secret.connect() as conn:
        await conn.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
            await conn.rekey("another")
        assert conn.in_transaction
        await conn.rollback()
        await assert_healthy(conn)
    async with secret.connect() as conn:
        assert await count(conn) == 100


async def test_rekey_beside_a_half_read_cursor_is_refused(secret: Backend) -> None:
    async with secret.connect() as conn:
        async with conn.execute("SELECT a FROM t") as cursor:
            await cursor.fetchone()
            with pytest.raises(aiolibsql.ProgrammingError, match="unread rows"):
                await conn.rekey("another")
        await assert_healthy(conn)


async def test_rekey_of_a_database_in_memory_is_refused() -> None:
    async with aiolibsql.connect(":memory:") as conn:
        with pytest.raises(aiolibsql.ProgrammingError, match="in memory"):
            await conn.rekey(KEY)
        await assert_healthy(conn)


@pytest.mark.parametrize("mode", MODES)
async def test_rekey_beside_another_connection_is_refused(
    encrypted_backend: Backend, mode: str
) -> None:
    await fill(encrypted_backend, mode)
    async with encrypted_backend.connect() as conn:
        async with encrypted_backend.second() as other:
            with pytest.raises(aiolibsql.OperationalError, match="other connections") as caught:
                await conn.rekey("another")
            assert caught.value.sqlite_errorname == "SQLITE_BUSY"
            await assert_healthy(other)
        await assert_healthy(conn)
        await conn.rekey("another")


async def test_rekey_before_open_and_after_close_says_so(secret: Backend) -> None:
    connection = secret.connect()
    with pytest.raises(aiolibsql.ProgrammingError, match="no active connection"):
        await connection.rekey("another")
    async with connection:
        pass
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection.rekey("another")


async def test_rekey_cancelled_is_all_or_nothing(encrypted_backend: Backend) -> None:
    await fill(encrypted_backend, "delete", 20_000)
    async with encrypted_backend.connect() as conn:
        outcome = await attempt_cancelled(conn.rekey("another"))
        assert outcome.error is None
        await assert_healthy(conn)
    valid, other = ("another", KEY)
    try:
        await (await with_key(encrypted_backend, valid)).close()
    except aiolibsql.DatabaseError:
        valid, other = other, valid
    await assert_refused(encrypted_backend, other)
    async with with_key(encrypted_backend, valid) as conn:
        assert await count(conn) == 20_000
        assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]


# What is encrypted, and ATTACH.


@pytest.mark.parametrize("mode", MODES)
async def test_files_hold_no_plain_text(encrypted_backend: Backend, mode: str) -> None:
    await fill(encrypted_backend, mode)
    async with encrypted_backend.connect() as conn:
        await conn.execute("PRAGMA cache_size=5")
        await conn.execute("UPDATE t SET a = a || ' and more of it' || zeroblob(500)")
        path = file_of(encrypted_backend)
        files = [file.read_bytes() for file in path.parent.glob(path.name + "*")]
        assert len(files) > 1
        await conn.commit()
        files.append(path.read_bytes())
    for content in files:
        assert b"plain text" not in content
        assert b"CREATE TABLE" not in content
        assert not content.startswith(b"SQLite format 3")


async def test_cancelled_write_is_all_or_nothing(secret: Backend) -> None:
    async with secret.connect(isolation_level=None) as conn:
        assert (await attempt_cancelled(conn.execute(ENDLESS_INSERT))).is_cancelled
        assert await count(conn) == 100
        await assert_healthy(conn)
    async with secret.connect() as conn:
        assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]


async def test_attach_takes_a_key_of_its_own(secret: Backend) -> None:
    path = str(file_of(secret))
    async with aiolibsql.connect(":memory:") as conn:
        await conn.execute("ATTACH ? AS secret KEY ?", (path, KEY))
        assert await count(conn, "secret.t") == 100
        for key in (WRONG, ""):
            with pytest.raises(aiolibsql.DatabaseError, match="not a database"):
                await conn.execute("ATTACH ? AS other KEY ?", (path, key))
        await conn.execute("DETACH secret")
        await assert_healthy(conn)


# Where a key must not show.


async def test_key_shows_nowhere(secret: Backend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key, shown = "hunter2", io.StringIO()
    failing: list[Callable[[], Any]] = [
        lambda: with_key(secret, key),
        lambda: aiolibsql.connect(":memory:", encryption_key=key),
        lambda: with_key(secret, key * 5),
        lambda: with_key(secret, key + "\ud800"),
        lambda: with_key(secret, [key]),  # type: ignore[arg-type]
    ]
    async with secret.connect() as conn:
        failing += [lambda: conn.rekey(key + "\ud800"), lambda: conn.rekey(key * 5)]
        await conn.begin()
        failing += [lambda: conn.rekey(key)]
        for fail in failing:
            with pytest.raises((ValueError, TypeError, aiolibsql.Error)) as caught:
                await fail()
            error = caught.value
            print(error, repr(error), error.args, vars(error), file=shown)
            traceback.print_exception(type(error), error, error.__traceback__, file=shown)
        await conn.rollback()
        operation = conn.rekey(key)
        print(conn, repr(conn), operation, repr(operation), vars(type(conn)), file=shown)
        await operation
        await conn.rekey(KEY)
    print(caplog.text, file=shown)
    assert len(shown.getvalue()) > 1000
    # Its name is in the sources' lines of the tracebacks, its value nowhere.
    assert "hunter2" not in re.sub(r"key, shown = .*", "", shown.getvalue())


KEEPS_NOTHING = """
import asyncio, ctypes, os, sys
import aiolibsql
def wipe(key):
    ctypes.memset(id(key) + bytes.__basicsize__ - 1, 0, len(key))
async def main():
    key, new = os.read(0, 32), os.read(0, 32)
    conn = await aiolibsql.connect(sys.argv[1], encryption_key=key)
    await conn.execute("CREATE TABLE t (a)")
    await conn.rekey(new)
    wipe(key), wipe(new)
    os.write(1, b"open\\n")
    os.read(0, 1)
    await conn.close()
    os.write(1, b"closed\\n")
    os.read(0, 1)
asyncio.run(main())
"""


def memory_of(process: int) -> bytes:
    """Return all that a process has written to its memory."""
    content = b""
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines():
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if " rw" in line and "[v" not in line:
                memory.seek(start)
                while start < end and (read := memory.read(end - start)):
                    content += read
                    start += len(read)
    return content


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_key_is_not_in_memory_after_close(tmp_path: Path) -> None:
    gc.collect()
    keys = b"0123456789abcdefghijklmnopqrst_1", b"0123456789abcdefghijklmnopqrst_2"
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPS_NOTHING, str(tmp_path / "test.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(b"".join(keys))
        assert process.stdout.readline() == b"open\n"
        try:
            while_open = memory_of(process.pid)
        except PermissionError:
            process.kill()
            pytest.skip("another process's memory can't be read here")
        # It has to be there for another open, and proves that the search can find it.
        assert keys[0] not in while_open
        assert keys[1] in while_open
        process.stdin.write(b"\n")
        assert process.stdout.readline() == b"closed\n"
        after_close = memory_of(process.pid)
        process.stdin.write(b"\n")
    assert process.returncode == 0
    for key in keys:
        assert key not in after_close
