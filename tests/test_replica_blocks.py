"""`transaction("READ")` of a replica: a snapshot of its file, that needs no server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from replicas import Home
from situations import ENDLESS, attempt_cancelled, count

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

    from sqld import Sqld

pytestmark = pytest.mark.anyio

CANCELLATIONS = 60


@pytest.mark.parametrize("options", [{}, {"autocommit": True}, {"autocommit": False}], ids=str)
async def test_all_reads_see_one_state_whatever_is_synced(
    home: Home, options: dict[str, Any]
) -> None:
    await home.fill("one")
    async with home.connect(**options) as conn, home.connect() as other, home.primary() as primary:
        async with conn.transaction("READ") as block:
            assert conn.in_transaction
            for number in range(5):
                await primary.execute("INSERT INTO t (a) VALUES (?)", (number,))
                await other.sync()
                await block.sync()
                assert await count(other) == 2 + number
                assert await count(block) == 1
                assert await count(conn) == 1
        assert await count(other) == 6
        await conn.sync()
        assert await count(conn) == 6
        assert conn.in_transaction == (options.get("autocommit") is False)
        await conn.rollback()
        await assert_healthy(conn)


async def test_needs_no_server(own_server: Sqld, tmp_path: Path) -> None:
    home = Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())
    await home.fill(*range(300))
    async with home.connect() as conn:
        own_server.kill()
        async with conn.transaction("READ") as block:
            await block.create_function("twice", 1, lambda number: number * 2)
            assert await block.fetch_scalar("SELECT max(twice(a)) FROM t") == 598
            async with block.execute("SELECT a FROM t ORDER BY id") as cursor:
                assert [a async for (a,) in cursor] == list(range(300))
            assert len([line async for line in block.iterdump()]) > 300
            async with block.savepoint("inside") as inner:
                assert await count(inner) == 300
            last = await block.batch([("SELECT 1", ()), ("SELECT 2", ())])
            assert await last.fetchall() == [(2,)]
        own_server.start()
        await conn.execute("INSERT INTO t (a) VALUES (300)")
        await conn.commit()
        assert await count(conn) == 301


async def test_sees_what_the_connection_wrote_before(home: Home) -> None:
    await home.fill()
    async with home.connect(autocommit=True) as conn:
        for number in range(1, 6):
            await conn.execute("INSERT INTO t (a) VALUES (?)", (number,))
            async with conn.transaction("READ") as block:
                assert await count(block) == number


async def test_is_not_entered_if_it_would_not_see_that(own_server: Sqld, tmp_path: Path) -> None:
    home = Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())
    await home.fill()
    async with home.connect(autocommit=True) as conn:
        await conn.execute("INSERT INTO t (a) VALUES (1)")
        own_server.kill()
        with pytest.raises(aiolibsql.SyncError, match="was done"):
            async with conn.transaction("READ"):
                pytest.fail("it was entered")
        assert not conn.in_transaction
        own_server.start()
        async with conn.transaction("READ") as block:
            assert await count(block) == 1


async def test_refuses_to_write(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        async with conn.transaction("READ") as block:
            for sql in ("DELETE FROM t", "CREATE TABLE u (a)", "PRAGMA user_version = 3"):
                with pytest.raises(aiolibsql.ProgrammingError, match=r"'READ'\) at"):
                    await block.execute(sql)
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.executemany("INSERT INTO t (a) VALUES (?)", [(1,)])
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.batch([("DELETE FROM t", ())])
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.executescript("DELETE FROM t")
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.commit()
            async with conn.transaction("IMMEDIATE") as inner:
                with pytest.raises(aiolibsql.ProgrammingError):
                    await inner.execute("DELETE FROM t")
                assert await count(inner) == 1
            assert await count(conn) == 1
        assert await count(conn) == 1
        await assert_healthy(conn)


async def test_inside_of_a_transaction_it_is_the_servers(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        async with conn.transaction() as outer:
            await outer.execute("INSERT INTO t (a) VALUES ('two')")
            async with conn.transaction("READ") as inner:
                assert await count(inner) == 2
                with pytest.raises(aiolibsql.ProgrammingError):
                    await inner.execute("DELETE FROM t")
        assert await count(conn) == 2
        await conn.execute("INSERT INTO t (a) VALUES ('three')")
        with pytest.raises(aiolibsql.ProgrammingError, match="transaction is open"):
            async with conn.transaction("READ"):
                pytest.fail("it was entered")
        await conn.commit()
        assert await count(conn) == 3


async def test_others_wait_for_its_end_and_its_own_tasks_do_not(home: Home) -> None:
    await home.fill("one")
    events: list[str] = []

    async with home.connect(autocommit=True, timeout=20) as conn:
        has_begun = anyio.Event()

        async def write() -> None:
            await has_begun.wait()
            await conn.execute("INSERT INTO t (a) VALUES ('two')")
            events.append("written")

        async def read() -> None:
            await has_begun.wait()
            assert await count(conn) >= 1
            events.append("read")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(read)
            async with conn.transaction("READ"):
                has_begun.set()
                await anyio.sleep(0.05)
                async with anyio.create_task_group() as inside:
                    for _ in range(5):
                        inside.start_soon(count, conn)
                events.append("left")
        assert events[0] == "left"
        assert sorted(events) == ["left", "read", "written"]
        assert await count(conn) == 2

    async with home.connect(timeout=0.2) as conn:
        block = conn.transaction("READ")

        async def too_late() -> None:
            with pytest.raises(aiolibsql.TimeoutError, match=r"'READ'\) at"):
                await conn.execute("INSERT INTO t (a) VALUES ('three')")

        async with anyio.create_task_group() as tasks:
            ready = anyio.Event()

            async def outside() -> None:
                await ready.wait()
                await too_late()

            tasks.start_soon(outside)
            async with block:
                ready.set()
                await anyio.sleep(0.5)
        await assert_healthy(conn)


async def test_left_by_an_exception_or_a_close(home: Home) -> None:
    await home.fill("one")
    async with home.connect() as conn:
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction("READ") as block:
                assert await count(block) == 1
                raise ZeroDivisionError
        with pytest.raises(aiolibsql.ProgrammingError, match="has ended"):
            await count(block)
        await assert_healthy(conn)
        with pytest.raises(aiolibsql.ConnectionClosedError):
            async with conn.transaction("READ") as block:
                await conn.close()
                await count(block)
    async with home.connect() as conn:
        assert await count(conn) == 1


async def test_cancelled_anywhere_it_leaves_nothing_behind(home: Home) -> None:
    await home.fill("one")
    chance = random.Random(5)
    async with home.connect(autocommit=True) as conn, home.primary() as primary:
        for round_ in range(CANCELLATIONS):
            if round_ % 3 == 0:
                # So that entering has something to sync.
                await conn.execute("INSERT INTO t (a) VALUES (?)", (round_,))

            async def use() -> None:
                async with conn.transaction("READ") as block:
                    seen = await count(block)
                    async with block.savepoint():
                        assert await count(block) == seen
                    if chance.random() < 0.5:
                        await block.execute(ENDLESS)
                    await anyio.sleep(0.001)

            async def moment() -> None:
                await anyio.sleep(chance.random() * 0.008)

            await attempt_cancelled(use(), moment)
            assert await count(conn) == await count(primary)
            assert not conn.in_transaction
        await assert_healthy(conn)


async def test_read_that_is_cancelled_while_it_syncs_holds_nobody_up(
    own_server: Sqld, tmp_path: Path
) -> None:
    home = Home(tmp_path / "replica.db", own_server.port, own_server.create_namespace())
    await home.fill("one")
    conn = await home.connect(autocommit=True)
    await conn.execute("INSERT INTO t (a) VALUES ('two')")
    own_server.pause()
    try:
        outcome = await attempt_cancelled(count(conn))
        assert outcome.is_cancelled
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.fetch_scalar("SELECT count(*) FROM t", timeout=0.1)
        with anyio.fail_after(20):
            # Its request limit is 30 seconds, and nothing waits for that.
            stats = await conn.sync_stats()
        assert stats.last_sync is not None
    finally:
        own_server.resume()
    assert await count(conn) == 2
    await conn.close()


async def test_writer_of_a_pool_has_it_at_the_server(home: Home) -> None:
    await home.fill("one")
    options: dict[str, Any] = {"sync_url": home.url, "namespace": home.namespace}
    async with aiolibsql.create_pool(home.path, size=3, **options) as pool:
        async with pool.transaction("READ") as block, home.primary() as primary:
            assert await count(block) == 1
            await primary.execute("INSERT INTO t (a) VALUES ('two')")
            assert await count(block) == 1
        async with pool.write() as writer, writer.transaction("READ") as block:
            assert await count(block) == 2
