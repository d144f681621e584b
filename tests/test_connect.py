"""Opening: what `connect` takes, the ways to await it, and how an open fails."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql
import aiolibsql.dbapi

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


class Named:
    """Any object whose text is a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)


# The ways to open.


async def test_connect_does_nothing_until_awaited(file_backend: Backend) -> None:
    connection = file_backend.connect()
    assert file_backend.path is not None
    assert not file_backend.path.exists()
    await connection
    assert file_backend.path.exists()
    await connection.close()


async def test_connect_dropped_unopened_warns_of_nothing(backend: Backend) -> None:
    backend.connect()
    gc.collect()  # a ResourceWarning would be an error


async def test_awaiting_connect_gives_the_connection(backend: Backend) -> None:
    connection = backend.connect()
    assert await connection is connection
    assert isinstance(connection, aiolibsql.Connection)
    assert not connection.closed
    await assert_healthy(connection)
    await connection.close()


async def test_async_with_connect_opens_and_closes(backend: Backend) -> None:
    async with backend.connect() as conn:
        assert not conn.closed
        await assert_healthy(conn)
    assert conn.closed


async def test_async_with_awaited_connect_opens_and_closes(backend: Backend) -> None:
    async with await backend.connect() as conn:
        await assert_healthy(conn)
    assert conn.closed


async def test_second_await_gives_the_same_open_connection(backend: Backend) -> None:
    connection = await backend.connect()
    await connection.execute("CREATE TABLE t (a)")
    assert await connection is connection
    assert await connection.fetch_all("SELECT * FROM t") == []
    await connection.close()


async def test_two_tasks_awaiting_one_connection_open_it_once(backend: Backend) -> None:
    connection = backend.connect()
    opened = []

    async def use() -> None:
        opened.append(await connection)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        tasks.start_soon(use)
    assert opened == [connection, connection]
    await assert_healthy(connection)
    await connection.close()


async def test_use_before_await_says_so(backend: Backend) -> None:
    connection = backend.connect()
    with pytest.raises(aiolibsql.ProgrammingError, match="no active connection") as caught:
        await connection.execute("SELECT 1")
    assert isinstance(caught.value, ValueError)
    async with connection:
        await assert_healthy(connection)


async def test_init_hook_that_is_not_async_is_refused(backend: Backend) -> None:
    hook: Any = lambda _: None  # noqa: E731
    for opening in (backend.connect(init_hook=hook), backend.create_pool(2, init=hook)):
        with pytest.raises(TypeError, match="must be an async callable: this one returned 'None"):
            await opening


async def test_await_after_close_is_refused(backend: Backend) -> None:
    connection = await backend.connect()
    await connection.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection


# What a database may be.


@pytest.mark.parametrize("form", [str, lambda path: str(path).encode(), lambda path: path, Named],
                         ids=["str", "bytes", "Path", "object"])  # fmt: skip
async def test_database_given_in_each_form_opens_that_file(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "a file, naïve 数据.db"
    async with aiolibsql.connect(form(path)) as conn:
        await conn.execute("CREATE TABLE marker (a)")
    assert path.stat().st_size > 0
    async with aiolibsql.connect(str(path)) as conn:
        assert await conn.fetch_all("SELECT name FROM sqlite_master") == [("marker",)]


@pytest.mark.parametrize("database", [":memory:", b":memory:", ""])
async def test_databases_without_a_name_are_private(database: str | bytes) -> None:
    async with aiolibsql.connect(database) as one, aiolibsql.connect(database) as other:
        await one.execute("CREATE TABLE t (a)")
        assert await other.fetch_all("SELECT name FROM sqlite_master") == []
        await assert_healthy(one)


@pytest.mark.parametrize("keyword", ["uri", "_uri"])
async def test_uri_parameters_are_obeyed(tmp_path: Path, keyword: str) -> None:
    uri = (tmp_path / "test.db").as_uri()
    options: dict[str, Any] = {keyword: True}
    with pytest.raises(aiolibsql.OperationalError, match="unable to open database"):
        await aiolibsql.connect(f"{uri}?mode=rw", **options)
    async with aiolibsql.connect(f"{uri}?mode=rwc", **options) as conn:
        await conn.execute("CREATE TABLE t (a)")
    async with aiolibsql.connect(f"{uri}?mode=ro", **options) as conn:
        with pytest.raises(aiolibsql.OperationalError, match="readonly database") as caught:
            await conn.execute("INSERT INTO t VALUES (1)")
        assert caught.value.sqlite_errorname == "SQLITE_READONLY"
        await conn.rollback()
        await assert_healthy(conn, is_writable=False)


async def test_options_of_sqlite3_are_accepted(backend: Backend) -> None:
    conn = backend.connect(
        timeout=1, detect_types=0, check_same_thread=True, _check_same_thread=False,
        cached_statements=0, isolation_level="DEFERRED",
    )  # fmt: skip
    async with conn:
        assert conn.isolation_level == "DEFERRED"
        for _ in range(3):
            assert await conn.fetch_all("SELECT 1") == [(1,)]
        await assert_healthy(conn)


async def test_second_and_third_position_are_timeout_and_isolation_level() -> None:
    async with aiolibsql.connect(":memory:", 1.5, None) as conn:
        assert conn.isolation_level is None


async def test_negative_timeout_waits_not_at_all(file_backend: Backend) -> None:
    async with file_backend.connect() as holder, file_backend.second(timeout=-1) as conn:
        await holder.begin("EXCLUSIVE")
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute("CREATE TABLE t (a)")


@pytest.mark.parametrize("options", [{"frobnicate": 1}, {"timeout": "soon"}], ids=repr)
async def test_unknown_keyword_or_type_is_a_type_error(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"frobnicate|real number|float"):
        await aiolibsql.connect(":memory:", **options)


async def test_no_name_is_a_type_error_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="not None"):
        await aiolibsql.connect(None)
    with pytest.raises(TypeError, match="not None"):
        aiolibsql.dbapi.connect(None)
    with pytest.raises(TypeError, match="not None"):
        await aiolibsql.create_pool(None)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's way is not for async functions


async def test_loop_is_deprecated_and_ignored(backend: Backend) -> None:
    with pytest.warns(DeprecationWarning, match="loop"):
        connection = backend.connect(loop=object())
    async with connection:
        await assert_healthy(connection)


# Failing to open.


@pytest.mark.parametrize("database", ["a\0b.db", b"a\0b.db"])
async def test_nul_in_the_path_is_a_value_error(database: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)null|nul\b"):
        await aiolibsql.connect(database)


async def test_directory_as_database_names_it(tmp_path: Path) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="unable to open database") as caught:
        await aiolibsql.connect(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value.sqlite_errorname).startswith("SQLITE_CANTOPEN")


async def test_missing_directory_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "test.db"
    connection = aiolibsql.connect(path)
    with pytest.raises(sqlite3.OperationalError, match="unable to open database") as caught:
        await connection
    assert str(path) in str(caught.value)
    assert not path.parent.exists()


async def test_corrupt_file_fails_at_open_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "corrupt.db"
    content = b"this was never a database, not even a small one\n" * 100
    path.write_bytes(content)
    with pytest.raises(aiolibsql.DatabaseError, match="not a database") as caught:
        await aiolibsql.connect(path)
    assert not isinstance(caught.value, aiolibsql.OperationalError)
    assert caught.value.sqlite_errorname == "SQLITE_NOTADB"
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_connection_that_reads_nothing_makes_no_files(tmp_path: Path) -> None:
    path = tmp_path / "wal.db"
    async with aiolibsql.connect(path) as conn:
        await conn.execute("PRAGMA journal_mode = WAL")
        await conn.execute("CREATE TABLE t (a)")
    async with aiolibsql.connect(path) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1
        assert names_in(tmp_path) == {"wal.db"}
        assert await conn.fetch_all("SELECT * FROM t") == []
        assert names_in(tmp_path) == {"wal.db", "wal.db-wal", "wal.db-shm"}


async def test_empty_file_is_a_database(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    async with aiolibsql.connect(path) as conn:
        await assert_healthy(conn)


async def test_database_locked_by_another_connection_opens(file_backend: Backend) -> None:
    async with file_backend.connect() as holder:
        await holder.begin("EXCLUSIVE")
        async with file_backend.second(timeout=0) as conn:
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.fetch_all("SELECT * FROM sqlite_master")
            await holder.rollback()
            await assert_healthy(conn)


# The object.


async def test_repr_names_class_and_file(file_backend: Backend) -> None:
    assert file_backend.path is not None
    async with file_backend.connect() as conn:
        assert "Connection" in repr(conn)
        assert file_backend.path.name in repr(conn)


async def test_factory_makes_the_connection(backend: Backend) -> None:
    class Counting(aiolibsql.Connection[Any]):
        answer = 42

        async def count(self, table: str) -> Any:
            return await self.fetch_scalar(f"SELECT count(*) FROM {table}")

    async with backend.connect(factory=Counting) as conn:
        assert type(conn) is Counting
        conn.note = "attributes of a subclass are free"  # type: ignore[attr-defined]
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
        assert await conn.count("t") == 1
        assert conn.cursor().connection is conn
    assert conn.closed


async def test_connection_and_cursor_can_be_weakly_referenced(
    conn: aiolibsql.Connection[Any],
) -> None:
    cursor = conn.cursor()
    assert weakref.ref(conn)() is conn
    reference = weakref.ref(cursor)
    assert reference() is cursor
    del cursor
    gc.collect()
    assert reference() is None


def test_file_written_is_readable_by_stock_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"

    async def write() -> None:
        async with aiolibsql.connect(path) as conn:
            await conn.execute("CREATE TABLE t (a, b)")
            await conn.execute("INSERT INTO t VALUES (1, 'é' || char(0) || 'x')")

    anyio.run(write)
    program = """if 1:
        import sqlite3, sys
        conn = sqlite3.connect(sys.argv[1])
        assert conn.execute("SELECT * FROM t").fetchall() == [(1, "\u00e9\\0x")]
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    """
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


async def test_memory_database_that_is_locked_opens_and_waits() -> None:
    uri = "file:/test_connect?vfs=memdb"
    async with aiolibsql.connect(uri, 0, None) as writer:
        await writer.execute("CREATE TABLE t (x)")
        await writer.begin("IMMEDIATE")
        await writer.execute("INSERT INTO t VALUES (1)")
        async with aiolibsql.connect(uri, 20, None) as reader:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader.fetch_all, "SELECT x FROM t")
                await anyio.sleep(0.05)
                await writer.commit()
            assert await reader.fetch_all("SELECT x FROM t") == [(1,)]
