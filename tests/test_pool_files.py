"""ConnectionPool and where its database lives: in memory, encrypted, read-only, with others."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from backends import KEY
from situations import ENDLESS, OtherProcess

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]


async def test_ways_to_open(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path) as pool:
        assert await pool is pool
        await pool.execute("CREATE TABLE t (x)")
    async with await aiolibsql.create_pool(file_backend.path, 2) as pool:
        assert await pool.get_tables() == ["t"]
    assert pool.closed
    pool = await aiolibsql.create_pool(file_backend.path, 2, 1.5, None)
    await pool.close()
    # Nothing happens before.
    pool = aiolibsql.create_pool(file_backend.path.with_name("other.db"))  # type: ignore[union-attr]
    assert not file_backend.path.with_name("other.db").exists()  # type: ignore[union-attr]
    with pytest.raises(aiolibsql.OperationalError):
        await aiolibsql.create_pool("/no/such/directory/test.db")


@pytest.mark.parametrize(
    "database", [":memory:", "", "file::memory:", "file:of_a_pool?mode=memory&cache=shared"]
)
async def test_database_in_memory_has_one_connection(database: str) -> None:
    async with aiolibsql.create_pool(database, 5, uri=True) as pool:
        assert (pool.size, pool.reader_count) == (1, 0)
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")

        async def work(number: int) -> None:
            for _ in range(5):
                await pool.execute("INSERT INTO t (x) VALUES (?)", (number,))
                async with pool.read() as connection:
                    assert await connection.fetch_scalar("SELECT count(*) FROM t")
            async with pool.transaction():
                before = await pool.fetch_scalar("SELECT count(*) FROM t")
                await pool.execute("INSERT INTO t (x) VALUES (?)", (number,))
                assert await pool.fetch_scalar("SELECT count(*) FROM t") == before + 1

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(work, number)
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 60
        async with pool.write() as connection, pool.read() as same:
            assert same is connection
        # What one borrows only to read is the connection that writes, too.
        async with pool.read() as connection:
            await connection.execute("INSERT INTO t (x) VALUES (0)")
        assert await pool.fetch_scalar("SELECT count(*) FROM t WHERE x = 0") == 7


async def test_pools_in_memory_are_their_own() -> None:
    async with (
        aiolibsql.create_pool(":memory:") as one,
        aiolibsql.create_pool(":memory:") as other,
        aiolibsql.connect_memory("name") as named,
    ):
        await one.execute("CREATE TABLE t (x)")
        assert await other.get_tables() == []
        assert await named.get_tables() == []


async def test_encrypted_pool(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    async with aiolibsql.create_pool(path, 3, 5.0, KEY) as pool:
        await pool.execute("CREATE TABLE t (x)")
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(pool.execute, "INSERT INTO t VALUES ('plain text')")
        for _ in range(5):
            assert await pool.fetch_scalar("SELECT count(*) FROM t") == 20
        assert KEY not in repr(pool)
        log = path.with_name("test.db-wal")
        assert b"plain text" not in log.read_bytes()
        assert log.stat().st_size > 0
    assert b"plain text" not in path.read_bytes()
    for key in ("wrong one", None):
        pool = aiolibsql.create_pool(path, 3, encryption_key=key)
        with pytest.raises(aiolibsql.DatabaseError, match="encryption key is wrong"):
            await pool
        assert pool.closed
        await pool.close()
    async with aiolibsql.connect(path, encryption_key=KEY) as connection:
        assert await connection.fetch_scalar("SELECT count(*) FROM t") == 20
        # Nobody else has it open.
        await connection.rekey("another")
    with pytest.raises(aiolibsql.ProgrammingError, match="in memory"):
        aiolibsql.create_pool(":memory:", encryption_key=KEY)


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("query", ["mode=ro", "immutable=1"])
async def test_pool_of_a_database_that_nobody_may_write(
    file_backend: Backend, mode: str, query: str
) -> None:
    path = file_backend.path
    async with file_backend.connect(pragmas={"journal_mode": mode}) as connection:
        await connection.execute("CREATE TABLE t (x)")
        await connection.execute("INSERT INTO t VALUES (1)")
    before = path.read_bytes()  # type: ignore[union-attr]
    async with aiolibsql.create_pool(f"file:{path}?{query}", 4) as pool:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(pool.fetch_all, "SELECT * FROM t")
        async with pool.read() as connection, pool.transaction("READ") as block:
            assert await connection.fetch_all("SELECT x FROM t") == [(1,)]
            assert await block.fetch_all("SELECT x FROM t") == [(1,)]
        for write in (
            pool.execute("INSERT INTO t VALUES (2)"),
            pool.execute("CREATE TABLE u (x)"),
            pool.execute("PRAGMA user_version = 7"),
            pool.executemany("INSERT INTO t VALUES (?)", [(2,)]),
            pool.executebatch(["DELETE FROM t"]),
        ):
            with pytest.raises(aiolibsql.OperationalError, match="readonly") as raised:
                await write
            assert raised.value.sqlite_errorname == "SQLITE_READONLY"
        async with pool.write() as connection:
            with pytest.raises(aiolibsql.OperationalError, match="readonly"):
                await connection.execute("INSERT INTO t VALUES (2)")
        assert await pool.fetch_all("SELECT x FROM t") == [(1,)]
    assert path.read_bytes() == before  # type: ignore[union-attr]


# Root may write everywhere; what is loaded already needs no more files of root's.
OPEN_UNPRIVILEGED = """
import asyncio, os, sys
import aiolibsql
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
async def main(name):
    try:
        async with aiolibsql.create_pool(name, 3) as pool:
            print(await pool.fetch_scalar("SELECT count(*) FROM t"))
    except aiolibsql.Error as error:
        print(error.sqlite_errorname, error)
for name in sys.argv[1:]:
    asyncio.run(main(name))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that everybody can read, as `tmp_path` is not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for each in folder.iterdir():
            each.chmod(0o755)


def open_unprivileged(*names: str) -> list[str]:
    """Open pools as somebody who may not write there, and return what each says."""
    ran = subprocess.run(
        [sys.executable, "-c", OPEN_UNPRIVILEGED, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.stdout.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
async def test_log_that_can_not_be_made_is_named_with_the_way_out(public: Path) -> None:
    folder = public / "read only"
    folder.mkdir()
    path = folder / "test.db"
    pragmas = {"journal_mode": "wal"}
    async with aiolibsql.connect(path, pragmas=pragmas) as connection:
        await connection.execute("CREATE TABLE t (x)")
    path.chmod(0o444)
    folder.chmod(0o555)
    *refused, count = open_unprivileged(
        str(path), f"file:{path}?mode=ro", f"file:{path}?immutable=1"
    )
    assert len(refused) == 2
    for message in refused:
        assert message.split()[0] in {"SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY"}
        assert f"in the directory {folder}" in message
        assert "immutable=1" in message
    assert count == "0"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
async def test_file_that_can_not_be_written_is_named_with_the_way_out(public: Path) -> None:
    path = public / "test.db"
    async with aiolibsql.connect(path) as connection:
        await connection.execute("CREATE TABLE t (x)")
    path.chmod(0o444)
    refused, count = open_unprivileged(str(path), f"file:{path}?mode=ro")
    # It can't be switched to a log.
    assert refused.startswith(f"SQLITE_READONLY attempt to write a readonly database: {path}")
    assert "mode=ro" in refused
    assert count == "0"


async def _count_up(where: Any, times: int) -> None:
    for _ in range(times):
        async with where.transaction():
            count = await where.fetch_scalar("SELECT n FROM counter")
            await anyio.lowlevel.checkpoint()
            await where.execute("UPDATE counter SET n = ?", (count + 1,))


async def test_two_pools_and_a_connection_on_one_file(file_backend: Backend) -> None:
    async with (
        aiolibsql.create_pool(file_backend.path, 3) as one,
        aiolibsql.create_pool(file_backend.path, 3) as other,
        file_backend.connect(isolation_level=None) as connection,
    ):
        await one.execute("CREATE TABLE counter (n)")
        await one.execute("INSERT INTO counter VALUES (0)")
        await one.execute("CREATE TABLE t (x)")
        async with anyio.create_task_group() as group:
            for where in (one, other, connection):
                for _ in range(3):
                    group.start_soon(_count_up, where, 10)
            for where in (one, other):
                for number in range(50):
                    group.start_soon(where.execute, "INSERT INTO t VALUES (?)", (number,))
                    group.start_soon(where.fetch_all, "SELECT * FROM t")
        for where in (one, other, connection):
            assert await where.fetch_scalar("SELECT n FROM counter") == 90
            assert await where.fetch_scalar("SELECT count(*) FROM t") == 100


async def test_wait_for_another_pool_is_bounded(file_backend: Backend) -> None:
    async with (
        aiolibsql.create_pool(file_backend.path, 2) as one,
        aiolibsql.create_pool(file_backend.path, 2, timeout=0.05) as other,
    ):
        await one.execute("CREATE TABLE t (x)")
        errors: list[BaseException] = []

        async def write(number: int) -> None:
            try:
                await other.execute("INSERT INTO t VALUES (?)", (number,))
            except aiolibsql.TimeoutError as error:
                errors.append(error)

        async with one.transaction():
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    for number in range(20):
                        group.start_soon(write, number)
            assert {str(error) for error in errors} == {"database is locked"}
            assert len(errors) == 20
            # Readers wait for nobody.
            assert await other.fetch_all("SELECT * FROM t") == []
        await write(1)
        assert await one.fetch_all("SELECT * FROM t") == [(1,)]


async def test_pool_beside_another_process(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, timeout=20) as pool:
        await pool.execute("CREATE TABLE t (x)")
        with OtherProcess(file_backend.path) as other:
            written = 0

            async def write() -> None:
                nonlocal written
                await pool.execute("INSERT INTO t VALUES ('ours')")
                written += 1

            for _ in range(3):
                other.run("BEGIN IMMEDIATE", "INSERT INTO t VALUES ('theirs')")
                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(write)
                    await anyio.sleep(0.02)
                    before = written
                    # What is not committed is not seen, and readers do not wait for it.
                    theirs = "SELECT count(*) FROM t WHERE x = 'theirs'"
                    seen = await pool.fetch_scalar(theirs)
                    other.run("COMMIT")
                assert written == before + 20
                assert await pool.fetch_scalar(theirs) == seen + 1
            assert other.run("SELECT count(*) FROM t") == "[(63,)]"


async def test_cancelled_wait_for_another_process(file_backend: Backend) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, timeout=60) as pool:
        await pool.execute("CREATE TABLE t (x)")
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")
            with anyio.fail_after(10):
                with anyio.move_on_after(0.05):
                    async with anyio.create_task_group() as group:
                        for _ in range(20):
                            group.start_soon(pool.execute, "INSERT INTO t VALUES (1)")
                        group.start_soon(pool.fetch_all, ENDLESS)
                with anyio.move_on_after(0.05):
                    async with pool.transaction():
                        pass
                assert await pool.fetch_all("SELECT * FROM t") == []
            other.run("COMMIT")
            await pool.execute("INSERT INTO t VALUES (2)")
            assert (2,) in await pool.fetch_all("SELECT * FROM t")


class Sub(aiolibsql.Connection[Any]):
    """A connection of the user's own kind."""


async def test_every_keyword_of_connect(file_backend: Backend) -> None:
    """They are for every connection of the pool."""
    seen: list[Conn] = []

    async def init(connection: Conn) -> None:
        seen.append(connection)

    with pytest.warns(DeprecationWarning, match="loop"):
        pool = aiolibsql.create_pool(
            file_backend.path,
            3,
            isolation_level="IMMEDIATE",
            autocommit=aiolibsql.LEGACY_TRANSACTION_CONTROL,
            detect_types=aiolibsql.PARSE_DECLTYPES,
            check_same_thread=False,
            _check_same_thread=False,
            factory=Sub,
            cached_statements=7,
            uri=False,
            _uri=False,
            iter_chunk_size=3,
            loop=object(),
            foreign_keys=True,
            row_factory=aiolibsql.Row,
            text_factory=bytes,
            pragmas={"cache_size": 77, "synchronous": "FULL"},
            init_hook=init,
            trusted_schema=False,
            defensive=True,
        )
    async with pool:
        assert [type(connection) for connection in seen] == [Sub] * 3
        assert pool.iter_chunk_size == 3
        await pool.execute("CREATE TABLE t (day DATE, name)")
        await pool.execute("INSERT INTO t VALUES ('2026-11-21', 'a')")
        row = await pool.fetch_one("SELECT * FROM t")
        assert (str(row["day"]), row["NAME"]) == ("2026-11-21", b"a")
        lent = [await pool.acquire(readonly=True) for _ in range(2)]
        lent.append(await pool.acquire())
        for connection in lent:
            assert connection.isolation_level == "IMMEDIATE"
            assert await connection.fetch_scalar("PRAGMA cache_size") == 77
            assert await connection.fetch_scalar("PRAGMA synchronous") == 2
            assert await connection.fetch_scalar("PRAGMA foreign_keys") == 1
            assert await connection.fetch_scalar("PRAGMA trusted_schema") == 0
            await pool.release(connection)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"nonsense": 1}, TypeError),
        ({"isolation_level": "nonsense"}, ValueError),
        ({"autocommit": 5}, ValueError),
        ({"acquire_timeout": float("nan")}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"encryption_key": ""}, ValueError),
        ({"encryption_key": 5}, TypeError),
        ({"pragmas": {"no name": 1}}, ValueError),
        ({"init": print, "init_hook": print}, aiolibsql.ProgrammingError),
    ],
)
async def test_wrong_arguments(
    file_backend: Backend, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        aiolibsql.create_pool(file_backend.path, 3, **options)
    with pytest.raises(ValueError, match="null"):
        aiolibsql.create_pool("a\0b")


@pytest.mark.parametrize("autocommit", [True, False, -1])
async def test_transaction_modes(file_backend: Backend, autocommit: Any) -> None:
    """They are those of connections that are lent; the pool's own statements are committed."""
    async with (
        aiolibsql.create_pool(file_backend.path, 3, autocommit=autocommit) as pool,
        file_backend.connect() as other,
    ):
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (1)")
        await pool.executemany("INSERT INTO t VALUES (?)", [(2,), (3,)])
        await pool.executebatch(["INSERT INTO t VALUES (4)", "INSERT INTO t VALUES (5)"])
        assert await other.fetch_scalar("SELECT count(*) FROM t") == 5
        async with pool.write() as connection:
            assert connection.in_transaction is (autocommit is False)
            await connection.execute("INSERT INTO t VALUES (6)")
            assert connection.in_transaction is (autocommit is not True)
            await connection.rollback()
        expected = 6 if autocommit is True else 5
        assert await other.fetch_scalar("SELECT count(*) FROM t") == expected
        async with pool.write() as connection:
            await connection.execute("INSERT INTO t VALUES (7)")
        async with pool.transaction() as block:
            await block.execute("INSERT INTO t VALUES (8)")
        assert await other.fetch_scalar("SELECT count(*) FROM t") == expected + 2
