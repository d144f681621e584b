"""Replicas under load: writes and reads in turn, readers beside syncs, pools, servers in a row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import Home, until
from situations import count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from sqld import Sqld

pytestmark = pytest.mark.anyio

Connection = aiolibsql.Connection[Any]

ROUNDS = 1000
_tables = itertools.count()


@pytest.fixture
def home(server: Sqld, tmp_path: Path) -> Iterator[Home]:
    """Return a fresh database and the place of its replica."""
    name = server.create_namespace()
    yield Home(tmp_path / "replica.db", server.port, name, "ws")
    server.remove_namespace(name)


async def test_no_read_after_a_write_is_stale(home: Home) -> None:
    await home.fill(0)
    async with home.connect(autocommit=True) as conn:
        for number in range(1, ROUNDS + 1):
            await conn.execute("UPDATE t SET a = ?", (number,))
            assert await conn.fetch_scalar("SELECT a FROM t") == number
        await assert_healthy(conn)


async def test_readers_beside_syncs_every_ten_milliseconds(home: Home) -> None:
    await home.fill()
    counts: list[list[int]] = [[] for _ in range(4)]
    is_over = False

    async with home.connect(sync_interval=0.01) as syncing, home.primary() as primary:

        async def read(seen: list[int]) -> None:
            async with home.connect() as conn:
                while not is_over:
                    seen.append(await count(conn))

        async with anyio.create_task_group() as tasks:
            for seen in counts:
                tasks.start_soon(read, seen)
            for number in range(150):
                await primary.execute("INSERT INTO t (a) VALUES (?)", (number,))
                await anyio.sleep(0.005)

            async def has_all() -> bool:
                return bool(await count(syncing) == 150)

            await until(has_all)
            is_over = True
        for seen in counts:
            assert len(seen) > 100
            assert seen == sorted(seen)
            assert len(set(seen)) > 3, "nothing came while it read"
        assert await syncing.fetch_scalar("PRAGMA integrity_check") == "ok"
        assert (await syncing.sync_stats()).failures == 0


async def test_syncs_by_itself_and_says_when_it_can_not(
    own_server: Sqld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())
    await home.fill("one")
    async with home.connect(sync_interval=0.02) as conn:

        async def has_two() -> bool:
            return bool(await count(conn) == 2)

        async def has_three() -> bool:
            return bool(await count(conn) == 3)

        async def has_failed() -> bool:
            return (await conn.sync_stats()).failures > 0

        async with home.primary() as primary:
            await primary.execute("INSERT INTO t (a) VALUES ('two')")
        await until(has_two)
        own_server.kill()
        await until(has_failed)
        own_server.start()
        async with home.primary() as primary:
            await primary.execute("INSERT INTO t (a) VALUES ('three')")
        await until(has_three)
        await conn.commit()
    texts = [each.getMessage() for each in caplog.records if each.name == "aiolibsql.replica"]
    assert any("not kept up to date" in text for text in texts)


async def test_through_a_server_that_is_a_replica_itself(
    primary_and_replica: tuple[Sqld, Sqld], tmp_path: Path
) -> None:
    primary, replica = primary_and_replica
    table = f"r{next(_tables)}"
    home = Home(tmp_path / "replica.db", replica.port)
    async with (
        home.connect(autocommit=True) as conn,
        aiolibsql.connect(f"http://127.0.0.1:{primary.port}", autocommit=True) as far,
    ):
        await conn.execute(f"CREATE TABLE {table} (a)")
        for number in range(1, 51):
            await conn.execute(f"INSERT INTO {table} VALUES (?)", (number,))
            assert await count(conn, table) == number
        async with conn.transaction() as block:
            await block.execute(f"DELETE FROM {table} WHERE a > 25")
            assert await count(block, table) == 25
        assert await count(conn, table) == 25
        assert await count(far, table) == 25
        await assert_healthy(conn)


async def by_script(conn: Connection, table: str) -> None:
    await conn.executescript(f"INSERT INTO {table} VALUES (1); INSERT INTO {table} VALUES (2);")


async def by_script_that_fails(conn: Connection, table: str) -> None:
    with pytest.raises(aiolibsql.Error):
        await conn.executescript(
            f"INSERT INTO {table} VALUES (1); INSERT INTO {table} VALUES (2); DELETE FROM nowhere;"
        )


async def by_batch(conn: Connection, table: str) -> None:
    await conn.batch([(f"INSERT INTO {table} VALUES (?)", (number,)) for number in (1, 2)])


async def by_executemany(conn: Connection, table: str) -> None:
    await conn.executemany(f"INSERT INTO {table} VALUES (?)", [(1,), (2,)])


async def by_text(conn: Connection, table: str) -> None:
    await conn.execute("BEGIN")
    await conn.execute(f"INSERT INTO {table} VALUES (1)")
    await conn.execute(f"INSERT INTO {table} VALUES (2)")
    await conn.execute("COMMIT")


async def by_block(conn: Connection, table: str) -> None:
    async with conn.transaction() as block:
        await block.execute(f"INSERT INTO {table} VALUES (1)")
        async with block.savepoint():
            await block.execute(f"INSERT INTO {table} VALUES (2)")


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize(
    "write",
    [by_script, by_script_that_fails, by_batch, by_executemany, by_text, by_block],
    ids=lambda write: write.__name__,
)
async def test_no_read_is_stale_at_a_server_that_lags_behind(
    primary_and_replica: tuple[Sqld, Sqld],
    tmp_path: Path,
    scheme: str,
    write: Callable[[Connection, str], Awaitable[None]],
) -> None:
    _, replica = primary_and_replica
    table = f"r{next(_tables)}"
    home = Home(tmp_path / "replica.db", replica.port, scheme=scheme)
    async with home.connect(autocommit=True) as conn:
        await conn.execute(f"CREATE TABLE {table} (a)")
        for number in range(1, 9):
            await write(conn, table)
            assert await count(conn, table) == 2 * number
            await write(conn, table)
            async with conn.transaction("READ") as block:
                assert await count(block, table) == 2 * number + 2
            await conn.execute(f"DELETE FROM {table} WHERE rowid > ?", (2 * number,))


async def test_pool(home: Home) -> None:
    await home.fill()
    options: dict[str, Any] = {"sync_url": home.url, "namespace": home.namespace}
    async with aiolibsql.create_pool(home.path, size=4, **options) as pool:

        async def work(first: int) -> None:
            for number in range(first, first + 20):
                await pool.execute("INSERT INTO t (a) VALUES (?)", (number,))
                found = await pool.fetch_scalar("SELECT count(*) FROM t WHERE a = ?", (number,))
                assert found == 1, "what was written before is there"

        async with anyio.create_task_group() as tasks:
            for first in range(0, 100, 20):
                tasks.start_soon(work, first)
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 100
        async with pool.transaction() as block:
            await block.execute("DELETE FROM t WHERE a >= 50")
            assert await count(block) == 50
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 50
        async with pool.read() as reader:
            assert await count(reader) == 50
            with pytest.raises(aiolibsql.OperationalError, match="readonly"):
                await reader.execute("DELETE FROM t")
            assert (await reader.sync()).replication_index is not None
        async with pool.write() as writer:
            await writer.execute("DELETE FROM t")
            await writer.commit()
            assert await count(writer) == 0
        assert await pool.fetch_all("SELECT a FROM t") == []
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await pool.execute("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(aiolibsql.OperationalError, match="no such table"):
            await pool.execute("SELECT * FROM nowhere")


async def test_pool_without_a_server(own_server: Sqld, tmp_path: Path) -> None:
    home = Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())
    await home.fill("one")
    options: dict[str, Any] = {"sync_url": home.url, "namespace": home.namespace}
    async with aiolibsql.create_pool(home.path, size=3, **options) as pool:
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    own_server.kill()
    async with aiolibsql.create_pool(home.path, size=3, **options) as pool:
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
        with pytest.raises(aiolibsql.ConnectError):
            await pool.execute("INSERT INTO t (a) VALUES ('two')")
        own_server.start()
        await pool.execute("INSERT INTO t (a) VALUES ('two')")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2
