"""Replicas at a real server: what is read from the file, what goes to the server, and syncs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import CREATE, Home
from situations import attempt_cancelled, count

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqld import Sqld

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["http", "ws"])
def home(server: Sqld, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    """Return a fresh database and the place of its replica, written over each transport in turn."""
    name = server.create_namespace()
    yield Home(tmp_path / "replica.db", server.port, name, str(request.param))
    server.remove_namespace(name)


async def rows(conn: aiolibsql.Connection[Any]) -> list[Any]:
    return [value for (value,) in await conn.fetch_all("SELECT a FROM t ORDER BY id")]


async def test_first_sync_is_done_when_it_is_opened(home: Home) -> None:
    await home.fill("one", "two")
    async with home.connect() as conn:
        assert await rows(conn) == ["one", "two"]
        await assert_healthy(conn)
    assert conn.closed


async def test_empty_database(home: Home) -> None:
    async with home.connect() as conn:
        assert await conn.fetch_all("SELECT * FROM sqlite_schema") == []
        await conn.execute(CREATE)
        await conn.execute("INSERT INTO t (a) VALUES ('one')")
        await conn.commit()
        assert await rows(conn) == ["one"]


async def test_sync_brings_what_others_wrote_and_tells_how_much(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn, home.primary() as primary:
        first = await conn.sync()
        assert first.frames == 0
        assert first.replication_index is not None
        await primary.execute("INSERT INTO t (a) VALUES ('two')")
        assert await rows(conn) == ["one"], "a read asks no server"
        result = await conn.sync()
        assert isinstance(result, aiolibsql.SyncResult)
        assert result.frames > 0
        assert result.replication_index is not None
        assert result.replication_index > first.replication_index
        assert await rows(conn) == ["one", "two"]
        stats = await conn.sync_stats()
        assert isinstance(stats, aiolibsql.SyncStats)
        assert stats.replication_index == result.replication_index
        assert stats.syncs >= 3
        assert (stats.failures, stats.last_error) == (0, None)
        assert stats.last_sync is not None
        assert stats.frames >= result.frames
        assert await conn.sync_until(result.replication_index) == (0, result.replication_index)


async def test_write_goes_to_the_server_and_the_next_read_sees_it(home: Home) -> None:
    await home.fill()
    async with home.connect(autocommit=True) as conn, home.primary() as primary:
        for number in range(20):
            cursor = await conn.execute("INSERT INTO t (a) VALUES (?)", (number,))
            assert cursor.rowcount == 1
            assert cursor.lastrowid == number + 1
            assert await conn.fetch_scalar("SELECT max(a) FROM t") == number
        assert await count(primary) == 20


async def test_writes_are_not_waited_for_where_nobody_wants_that(home: Home) -> None:
    await home.fill()
    async with home.connect(autocommit=True, read_your_writes=False) as conn:
        await conn.execute("INSERT INTO t (a) VALUES (1)")
        assert await count(conn) == 0
        await conn.sync()
        assert await count(conn) == 1


async def test_transaction_reads_what_it_wrote(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn, home.primary() as primary:
        async with conn.transaction() as block:
            await block.execute("INSERT INTO t (a) VALUES ('two')")
            assert await count(block) == 2
            assert await count(primary) == 1
        assert await count(conn) == 2
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                await conn.execute("DELETE FROM t")
                assert await count(conn) == 0
                raise ZeroDivisionError
        assert await count(conn) == 2
        await conn.execute("DELETE FROM t")
        assert conn.in_transaction
        assert await count(conn) == 0
        await conn.rollback()
        assert await count(conn) == 2
        await assert_healthy(conn)


async def test_local_features_work_on_the_file(home: Home, tmp_path: Path) -> None:
    await home.fill("b", "A", "c")
    async with home.connect(row_factory=aiolibsql.Row) as conn:
        await conn.create_function("twice", 1, lambda text: text * 2)
        twice = await conn.fetch_all("SELECT twice(a) AS t FROM t ORDER BY id")
        assert [row["t"] for row in twice] == ["bb", "AA", "cc"]

        def reverse(one: str, other: str) -> int:
            return (one < other) - (one > other)

        await conn.create_collation("reverse", reverse)
        ordered = await conn.fetch_all("SELECT a FROM t ORDER BY a COLLATE reverse")
        assert [row[0] for row in ordered] == ["c", "b", "A"]
        assert [line async for line in conn.iterdump()][-1] == "COMMIT;"
        async with aiolibsql.connect(tmp_path / "copy.db") as copy:
            await conn.backup(copy)
            assert await count(copy) == 3
        image = await conn.serialize()
        assert image.startswith(b"SQLite format 3\0")
        seen: list[str] = []
        await conn.set_trace_callback(seen.append)
        assert await count(conn) == 3
        assert len(seen) == 1
        async with conn.execute("SELECT a FROM t ORDER BY id") as cursor:
            assert [row["a"] async for row in cursor] == ["b", "A", "c"]


async def test_large_result_is_streamed_from_the_file(home: Home) -> None:
    await home.fill(*range(5000))
    async with home.connect() as conn:
        async with conn.execute("SELECT id, a FROM t ORDER BY id") as cursor:
            assert await cursor.fetchone() == (1, 0)
            assert await cursor.fetchmany(3) == [(2, 1), (3, 2), (4, 3)]
            assert len(await cursor.fetchall()) == 4996
        async with conn.transaction() as block:
            cursor = await block.execute("SELECT a FROM t ORDER BY id")
            assert [a async for (a,) in cursor] == list(range(5000))


async def test_batch_script_and_returning(home: Home) -> None:
    await home.fill()
    async with home.connect(autocommit=True) as conn:
        await conn.executescript("INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (2);")
        assert await rows(conn) == [1, 2]
        await conn.batch(
            [("INSERT INTO t (a) VALUES (?)", (3,)), ("DELETE FROM t WHERE a = 1", ())]
        )
        assert await rows(conn) == [2, 3]
        returned = await conn.fetch_all("INSERT INTO t (a) VALUES (4) RETURNING a")
        assert returned == [(4,)]
        assert await conn.fetch_scalar("SELECT last_insert_rowid()") == 4
        assert await rows(conn) == [2, 3, 4]


async def test_what_the_server_refuses_is_raised(home: Home) -> None:
    await home.fill("one")
    async with home.connect(autocommit=True) as conn:
        with pytest.raises(aiolibsql.IntegrityError):
            await conn.execute("INSERT INTO t (id, a) VALUES (1, 'again')")
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await conn.execute("SELECT * FROM nowhere")
        with pytest.raises(aiolibsql.OperationalError, match="syntax error"):
            await conn.execute("SELEC 1")
        with pytest.raises(aiolibsql.NotSupportedError):
            await conn.rekey("another key")
        with pytest.raises(aiolibsql.NotSupportedError):
            await conn.deserialize(b"")
        await assert_healthy(conn)


async def test_two_connections_share_the_file_and_its_syncs(home: Home) -> None:
    await home.fill("one")
    async with home.connect(autocommit=True) as one, home.connect() as two:
        await one.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(one) == 2
        assert await count(two) == 2, "they have one file"
        assert await one.sync_stats() == await two.sync_stats()
    async with home.connect() as again:
        assert await count(again) == 2


async def test_parameters_that_make_no_sense(home: Home) -> None:
    for options in ({"sync_interval": 1}, {"offline": True}, {"read_your_writes": True}):
        with pytest.raises(aiolibsql.ProgrammingError, match="sync_url"):
            aiolibsql.connect(home.path, **options)
        with pytest.raises(aiolibsql.ProgrammingError, match="remote"):
            aiolibsql.connect(home.url, **options)
    for database in (":memory:", f"file:{home.path}"):
        with pytest.raises(aiolibsql.ProgrammingError, match="path"):
            aiolibsql.connect(database, sync_url=home.url)
    with pytest.raises(ValueError, match="sync_interval"):
        home.connect(sync_interval=0)
    async with aiolibsql.connect(":memory:") as conn:
        with pytest.raises(aiolibsql.NotSupportedError, match="sync"):
            await conn.sync()


async def test_blocking_module(home: Home) -> None:
    await home.fill("one")
    options: dict[str, Any] = {"sync_url": home.url, "namespace": home.namespace}

    def use() -> None:
        conn = dbapi.connect(home.path, **options)
        try:
            assert conn.execute("SELECT a FROM t").fetchall() == [("one",)]
            conn.execute("INSERT INTO t (a) VALUES ('two')")
            assert conn.in_transaction
            conn.commit()
            assert conn.execute("SELECT count(*) FROM t").fetchone() == (2,)
            conn.create_function("twice", 1, lambda text: text * 2)
            found = conn.execute("SELECT twice(a) FROM t ORDER BY id").fetchall()
            assert found == [("oneone",), ("twotwo",)]
        finally:
            conn.close()

    await anyio.to_thread.run_sync(use)


async def test_running_read_is_cancelled(home: Home) -> None:
    await home.fill("one")
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"
    async with home.connect() as conn:
        outcome = await attempt_cancelled(conn.execute(endless))
        assert outcome.is_cancelled
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.execute(endless, timeout=0.1)
        assert await count(conn) == 1
        await assert_healthy(conn)


async def test_changed_mode_is_applied_before_a_read(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        conn.isolation_level = None
        assert await count(conn) == 2
        assert not conn.in_transaction, "as in sqlite3, it has committed"
        await conn.set_autocommit(False)
        await conn.execute("INSERT INTO t (a) VALUES ('three')")
        assert await count(conn) == 3
        await conn.rollback()
        assert await count(conn) == 2


@pytest.mark.parametrize("first", ["a function", "a sync", "a block"])
async def test_changed_mode_is_the_servers_whatever_comes_first(home: Home, first: str) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        conn.isolation_level = None
        if first == "a function":
            await conn.create_function("twice", 1, lambda text: text * 2)
        elif first == "a sync":
            await conn.sync()
        else:
            async with conn.transaction("READ") as block:
                assert await count(block) == 1
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert not conn.in_transaction
        assert await count(conn) == 2
        conn.autocommit = False
        await conn.create_function("twice", 1, None)
        async with home.primary() as primary:
            await primary.execute("INSERT INTO t (a) VALUES ('three')")
        await conn.rollback()
        await conn.sync()
        conn.autocommit = True
        assert await count(conn) == 3


async def test_close_with_a_transaction_rolls_it_back(home: Home) -> None:
    await home.fill("one")
    conn = await home.connect()
    await conn.execute("INSERT INTO t (a) VALUES ('two')")
    with pytest.warns(ResourceWarning, match="uncommitted"):
        await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await count(conn)
    async with home.connect() as conn:
        await conn.sync()
        assert await count(conn) == 1


async def test_file_that_becomes_another_database(server: Sqld, home: Home) -> None:
    """Both have one table, made by the first statement: SQLite can't tell the schemas apart."""
    await home.fill("one", "two")
    name = server.create_namespace()
    async with home.primary(namespace=name) as conn:
        await conn.execute("CREATE TABLE other (id INTEGER PRIMARY KEY, a)")
        await conn.execute("INSERT INTO other (a) VALUES ('three')")
    async with home.connect() as conn:
        assert await rows(conn) == ["one", "two"]
    async with (
        home.connect(namespace=name) as conn,
        aiolibsql.create_pool(home.path, sync_url=home.url, namespace=name) as pool,
    ):
        for _ in range(3):
            assert await rows(conn) == ["one", "two"], "nothing was synced yet"
            assert await (await pool.execute("SELECT a FROM t")).fetchone() == ("one",)
        await conn.sync()
        for reader in (conn, pool):
            with pytest.raises(aiolibsql.OperationalError, match="no such table: t"):
                await reader.execute("SELECT a FROM t")
            cursor = await reader.execute("SELECT a FROM other")
            assert await cursor.fetchall() == [("three",)]
    server.remove_namespace(name)
