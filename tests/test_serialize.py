"""Databases as bytes: serialize and deserialize, with the stdlib's ``sqlite3`` as oracle."""

from __future__ import annotations

import resource
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from situations import NUMBERS, OtherProcess, count

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

needs_serialize = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="the oracle's serialize() came with Python 3.11"
)
MODES = ["delete", "wal"]


def stdlib_rows(image: bytes, tmp_path: Path) -> list[Any]:
    """Return what the stdlib reads of an image that was written to a file."""
    path = tmp_path / "copy.db"
    path.write_bytes(image)
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = conn.execute("SELECT a FROM t ORDER BY rowid").fetchall()
    conn.close()
    return rows


async def fill(conn: Conn, *values: Any) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    await conn.commit()


@pytest.mark.parametrize("mode", MODES)
async def test_serialize_gives_the_bytes_of_a_database(
    conn: Conn, tmp_path: Path, mode: str
) -> None:
    await conn.execute(f"PRAGMA journal_mode={mode}")
    await fill(conn, 1, "two", b"three")
    image = await conn.serialize()
    assert image.startswith(b"SQLite format 3\0")
    assert stdlib_rows(image, tmp_path) == [(1,), ("two",), (b"three",)]
    await assert_healthy(conn)


async def test_serialize_of_a_file_is_the_file(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await fill(conn, 1)
        image = await conn.serialize()
    assert file_backend.path is not None
    assert image == file_backend.path.read_bytes()


async def test_serialize_inside_a_transaction_has_its_changes(conn: Conn, tmp_path: Path) -> None:
    await fill(conn, 1)
    async with conn.transaction():
        await conn.execute("INSERT INTO t VALUES (2)")
        image = await conn.serialize()
        assert conn.in_transaction
    assert stdlib_rows(image, tmp_path) == [(1,), (2,)]


async def test_serialize_of_what_was_never_written(conn: Conn) -> None:
    image = await conn.serialize()
    await conn.deserialize(image)
    assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []
    await assert_healthy(conn)


async def test_serialize_in_an_empty_database_s_transaction(conn: Conn) -> None:
    async with conn.transaction("READ"):
        image = await conn.serialize()
    await conn.deserialize(image)
    await assert_healthy(conn)


@pytest.mark.parametrize("name", ["nowhere", "temp", ""])
async def test_serialize_of_no_such_database_raises_as_sqlite3(conn: Conn, name: str) -> None:
    with pytest.raises(aiolibsql.OperationalError, match=f"unable to serialize '{name}'"):
        await conn.serialize(name=name)
    with pytest.raises(ValueError, match="null character"):
        await conn.serialize(name="a\0b")
    await assert_healthy(conn)


async def test_serialize_of_a_locked_file_waits_then_times_out(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.1) as conn:
        await fill(conn, 1)
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN EXCLUSIVE")
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.serialize()
            other.run("ROLLBACK")
        assert await conn.serialize()
        await assert_healthy(conn)


@needs_serialize
async def test_images_go_from_sqlite3_and_back(conn: Conn) -> None:
    theirs: Any = sqlite3.connect(":memory:")
    theirs.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), ('two')")
    await conn.deserialize(theirs.serialize())
    assert await conn.fetch_all("SELECT a FROM t") == [(1,), ("two",)]
    await conn.execute("INSERT INTO t VALUES (3)")
    await conn.commit()
    theirs.deserialize(await conn.serialize())
    assert theirs.execute("SELECT a FROM t").fetchall() == [(1,), ("two",), (3,)]
    theirs.close()
    await assert_healthy(conn)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_deserialize_takes_any_buffer_in_any_journal_mode(
    conn: Conn, file_backend: Backend, mode: str, kind: Any
) -> None:
    async with file_backend.connect() as source:
        await source.execute(f"PRAGMA journal_mode={mode}")
        await fill(source, *range(100))
        image = await source.serialize()
    assert set(image[18:20]) == ({2} if mode == "wal" else {1})
    data = kind(image)
    await conn.deserialize(data)
    assert bytes(data) == image
    assert await count(conn) == 100
    await conn.execute("INSERT INTO t VALUES (100)")
    await conn.commit()
    assert await count(conn) == 101
    assert await conn.fetch_scalar("PRAGMA integrity_check") == "ok"
    await assert_healthy(conn)


async def test_deserialize_copies_its_data_at_the_call(conn: Conn) -> None:
    await fill(conn, 1)
    data = bytearray(await conn.serialize())
    operation = conn.deserialize(data)
    data[:] = bytes(len(data))
    await operation
    assert await count(conn) == 1


async def test_deserialize_leaves_the_file_as_it_is(backend: Backend) -> None:
    if backend.path is None:
        pytest.skip("there is no file")
    async with backend.connect() as conn:
        await fill(conn, 1)
        await conn.deserialize(await conn.serialize())
        await conn.execute("INSERT INTO t VALUES (2)")
        await conn.commit()
        assert await count(conn) == 2
        # Nobody has the file open any more, as far as this process is concerned.
        async with backend.second() as other:
            assert await count(other) == 1
            await other.rekey("another key")
            await other.rekey(backend.key)
        with pytest.raises(aiolibsql.ProgrammingError, match="database in memory"):
            await conn.rekey("a key")
        await assert_healthy(conn)
    async with backend.connect() as conn:
        assert await count(conn) == 1


async def test_deserialize_of_an_attached_database(conn: Conn) -> None:
    await fill(conn, 1)
    image = await conn.serialize()
    await conn.execute("ATTACH ':memory:' AS other")
    await conn.deserialize(image, name="other")
    await conn.execute("INSERT INTO main.t VALUES (2)")
    await conn.commit()
    assert await count(conn, "other.t") == 1
    assert await count(conn, "main.t") == 2
    assert await conn.serialize(name="other") == image
    await conn.execute("DETACH other")
    await assert_healthy(conn)


@pytest.mark.parametrize("name", ["nowhere", "temp"])
async def test_deserialize_into_no_such_database_raises(conn: Conn, name: str) -> None:
    await fill(conn, 1)
    image = await conn.serialize()
    with pytest.raises(aiolibsql.OperationalError):
        await conn.deserialize(image, name=name)
    assert await count(conn) == 1
    await assert_healthy(conn)


@pytest.mark.parametrize("data", [b"no database" * 100, "text", b"\0"])
async def test_deserialize_of_no_database_shows_at_the_first_statement(
    backend: Backend, data: bytes | str
) -> None:
    conn = await backend.connect()
    await conn.deserialize(data)
    with pytest.raises(aiolibsql.DatabaseError) as caught:
        await conn.execute("CREATE TABLE t (a)")
    assert caught.value.sqlite_errorname == "SQLITE_NOTADB"
    # SQLite reads the schema of what is there before it replaces it.
    with pytest.raises(aiolibsql.DatabaseError, match="not a database"):
        await conn.deserialize(b"")
    await conn.close()
    async with backend.connect() as conn:
        await assert_healthy(conn)


async def test_deserialize_of_nothing_is_an_empty_database(conn: Conn) -> None:
    await fill(conn, 1)
    await conn.deserialize(b"")
    await fill(conn, 1)
    await assert_healthy(conn)


async def test_deserialize_does_not_use_statements_of_the_old_database(conn: Conn) -> None:
    """Both have the same schema cookie, and their tables lie in each other's place."""
    images = []
    for tables in ("ab", "ba"):
        async with aiolibsql.connect(":memory:", isolation_level=None) as source:
            for table in tables:
                await source.execute(f"CREATE TABLE {table} (x)")
                await source.execute(f"INSERT INTO {table} VALUES ('{table}')")
            images.append(await source.serialize())
    for image in images * 2:
        await conn.deserialize(image)
        for table in "ab":
            assert await conn.fetch_scalar(f"SELECT x FROM {table}") == table


async def test_deserialize_beside_readers_and_transactions_is_refused(conn: Conn) -> None:
    await fill(conn, *range(2000))
    image = await conn.serialize()
    cursor = await conn.execute("SELECT a FROM t")
    with pytest.raises(aiolibsql.ProgrammingError, match="unread rows"):
        await conn.deserialize(image)
    assert len(await cursor.fetchall()) == 2000
    await conn.execute("INSERT INTO t VALUES (0)")
    with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
        await conn.deserialize(image)
    await conn.rollback()
    async with conn.transaction():
        with pytest.raises(aiolibsql.ProgrammingError, match=r"deserialize\(\) can't be used"):
            await conn.deserialize(image)
    await conn.deserialize(image)
    assert await count(conn) == 2000
    await assert_healthy(conn)


async def test_deserialize_under_pep_249(backend: Backend) -> None:
    async with backend.connect(autocommit=False) as conn:
        await fill(conn, 1)
        image = await conn.serialize()
        await conn.commit()
        await conn.deserialize(image)
        assert conn.in_transaction
        assert await count(conn) == 1
        with pytest.raises(aiolibsql.ProgrammingError, match="inside a transaction"):
            await conn.deserialize(image)


async def test_deserialized_database_grows_to_a_limit(conn: Conn) -> None:
    await conn.deserialize(b"")
    await conn.execute("CREATE TABLE t (a)")
    with pytest.raises(aiolibsql.DataError):
        await conn.execute("INSERT INTO t VALUES (zeroblob(1000000001))")
    await conn.rollback()
    await conn.execute("PRAGMA max_page_count=100")
    with pytest.raises(aiolibsql.OperationalError, match="full"):
        await conn.execute(f"INSERT INTO t {NUMBERS[:-1]} LIMIT 1000) SELECT zeroblob(4000) FROM n")
    await conn.rollback()
    await assert_healthy(conn)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_images_leave_no_memory_behind(conn: Conn) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.execute("INSERT INTO t VALUES (zeroblob(4000000))")
    await conn.commit()

    def used() -> int:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()

    async def rounds(times: int) -> None:
        for _ in range(times):
            image = await conn.serialize()
            with pytest.raises(aiolibsql.OperationalError):
                await conn.deserialize(image, name="nowhere")
            await conn.deserialize(image)
            conn.deserialize(image).close()

    await rounds(5)
    before = used()
    await rounds(30)
    assert used() - before < 40_000_000
