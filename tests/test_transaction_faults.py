"""Transaction blocks in adverse circumstances, each of which once went wrong."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from blocks import Outsider
from healthy import assert_healthy
from situations import SLOW, Attempt, attempt, attempt_cancelled, turns

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]


@pytest.fixture
async def file_conn(file_backend: Backend) -> AsyncIterator[Conn]:
    async with file_backend.connect(timeout=2.0) as conn:
        await conn.execute("CREATE TABLE t (x)")
        await conn.commit()
        yield conn


@pytest.fixture
def outsider() -> Iterator[Outsider]:
    with Outsider() as process:
        yield process


async def rows(conn: Conn) -> list[Any]:
    return [x for (x,) in await conn.fetch_all("SELECT x FROM t ORDER BY x")]


class TestSavepointsByHand:
    @pytest.mark.parametrize("name", ["x", None])
    async def test_one_that_is_left_does_not_keep_the_block_open(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, name: str | None
    ) -> None:
        async with file_conn.savepoint(name):
            await file_conn.execute("INSERT INTO t VALUES (1)")
            await file_conn.execute("SAVEPOINT x")
            await file_conn.execute("INSERT INTO t VALUES (2)")
        assert not file_conn.in_transaction
        assert outsider.rows(file_backend) == [1, 2]
        await assert_healthy(file_conn)

    async def test_release_of_the_blocks_own_name_ends_nothing(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider
    ) -> None:
        with pytest.raises(LookupError):
            async with file_conn.savepoint("x"):
                await file_conn.execute("INSERT INTO t VALUES (1)")
                await file_conn.execute("RELEASE x")
                await file_conn.execute("INSERT INTO t VALUES (2)")
                raise LookupError
        assert outsider.rows(file_backend) == []
        await assert_healthy(file_conn)

    @pytest.mark.parametrize("sql", ["ROLLBACK TO a", "RELEASE A", "RELEASE aiolibsql_1"])
    async def test_what_was_set_outside_can_not_be_ended_inside(
        self, file_conn: Conn, sql: str
    ) -> None:
        async with file_conn.transaction() as tx:
            await tx.execute("SAVEPOINT a")
            with pytest.raises(LookupError):
                async with tx.savepoint():
                    with pytest.raises(aiolibsql.OperationalError, match="no such savepoint"):
                        await file_conn.execute(sql)
                    await file_conn.execute("INSERT INTO t VALUES ('inner')")
                    raise LookupError
            await tx.execute("INSERT INTO t VALUES ('outer')")
            await tx.execute("RELEASE a")
        assert await rows(file_conn) == ["outer"]

    async def test_one_of_the_same_name_inside_is_undone_with_the_block(
        self, file_conn: Conn
    ) -> None:
        async with file_conn.transaction() as tx:
            with pytest.raises(LookupError):
                async with tx.savepoint("x"):
                    await file_conn.execute("INSERT INTO t VALUES (2)")
                    await file_conn.execute("SAVEPOINT X")
                    await file_conn.execute("INSERT INTO t VALUES (3)")
                    raise LookupError
        assert await rows(file_conn) == []

    async def test_names_of_ours_are_refused(self, file_conn: Conn) -> None:
        async with file_conn.transaction() as tx:
            with pytest.raises(aiolibsql.ProgrammingError, match="name of ours"):
                await tx.execute("SAVEPOINT aiolibsql_1")


class TestOutsiders:
    async def test_cursor_of_an_ended_block_waits_for_the_next_one(self, file_conn: Conn) -> None:
        await file_conn.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(1000)])
        await file_conn.commit()
        async with file_conn.transaction() as tx:
            cursor = await tx.execute("SELECT x FROM t UNION ALL SELECT count(*) FROM t")
        outcome = Attempt()
        block = file_conn.transaction()
        await block.__aenter__()
        await block.execute("DELETE FROM t")

        async with anyio.create_task_group() as tasks:
            # In a context of its own: one that does not carry the block.
            contextvars.Context().run(tasks.start_soon, attempt, cursor.fetchall(), outcome)
            await turns()
            await block.execute("INSERT INTO t VALUES ('uncommitted')")
            assert outcome.value is None
            await block.__aexit__(LookupError, LookupError(), None)
        assert outcome.error is None
        assert len(outcome.value) == 1001
        assert ("uncommitted",) not in outcome.value

    async def test_rollback_that_waits_for_a_block_can_be_cancelled(self, file_conn: Conn) -> None:
        entered, done = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with file_conn.transaction():
                await file_conn.execute("INSERT INTO t VALUES (1)")
                entered.set()
                await done.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await entered.wait()
            outcome = await attempt_cancelled(file_conn.rollback())
            assert outcome.is_cancelled
            assert outcome.seconds < 1
            done.set()
        assert await rows(file_conn) == [1]
        await assert_healthy(file_conn)

    async def test_mode_changed_by_an_outsider_waits_for_the_end(self, file_conn: Conn) -> None:
        entered, done = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with file_conn.transaction():
                await file_conn.execute("INSERT INTO t VALUES (1)")
                entered.set()
                await done.wait()
                await file_conn.execute("INSERT INTO t VALUES (2)")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await entered.wait()
            tasks.start_soon(file_conn.set_autocommit, True)
            await turns()
            done.set()
        assert file_conn.autocommit is True
        await file_conn.execute("INSERT INTO t VALUES (3)")
        assert not file_conn.in_transaction
        assert await rows(file_conn) == [1, 2, 3]

    async def test_thousands_that_wait_are_served_in_time(self, file_conn: Conn) -> None:
        count = 2000
        await file_conn.execute("PRAGMA busy_timeout = 60000")
        await file_conn.execute("PRAGMA synchronous = OFF")
        order: list[int] = []

        async def one(number: int) -> None:
            async with file_conn.transaction():
                await file_conn.execute("INSERT INTO t VALUES (?)", (number,))
                order.append(number)

        async def slow() -> None:
            async with file_conn.transaction():
                await file_conn.fetch_scalar(SLOW)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            await turns()
            for number in range(count):
                tasks.start_soon(one, number)
        assert sorted(order) == list(range(count))
        assert await file_conn.fetch_scalar("SELECT count(*) FROM t") == count


class TestWithoutALoop:
    def test_block_is_rolled_back_when_its_task_is_closed_after_the_loop(
        self, file_backend: Backend, outsider: Outsider
    ) -> None:
        conn = file_backend.connect(isolation_level=None, timeout=2.0)
        kept: list[Any] = []
        stuck_now = asyncio.Event()

        async def stuck() -> None:
            async with conn.transaction() as tx:
                kept.append(tx)
                await tx.execute("INSERT INTO t VALUES (1)")
                stuck_now.set()
                await asyncio.sleep(3600)

        loop = asyncio.new_event_loop()

        async def begin() -> Any:
            await conn
            await conn.execute("CREATE TABLE t (x)")
            task = asyncio.ensure_future(stuck())
            await stuck_now.wait()
            return task

        task = loop.run_until_complete(begin())
        loop.close()
        with pytest.raises(RuntimeError, match="no running event loop"):
            task.get_coro().close()

        async def go_on() -> None:
            began = time.monotonic()
            await conn.execute("INSERT INTO t VALUES (2)")
            assert time.monotonic() - began < 1.5
            await conn.close()

        asyncio.run(go_on())
        assert outsider.rows(file_backend) == [2]
        task._log_destroy_pending = False


class TestReading:
    async def test_optimize_writes_nothing_in_a_block_that_reads(self, file_conn: Conn) -> None:
        await file_conn.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(1000)])
        await file_conn.execute("CREATE INDEX by_x ON t (x)")
        await file_conn.commit()
        async with file_conn.transaction("READ") as tx:
            await tx.execute("PRAGMA optimize(0x10002)")
            assert await tx.fetch_all("EXPLAIN DELETE FROM t") != []
        tables = await file_conn.fetch_all("SELECT name FROM sqlite_schema")
        assert ("sqlite_stat1",) not in tables


async def test_failed_init_hook_in_a_block_leaves_the_settings_free(file_backend: Backend) -> None:
    kept = []

    async def hook(conn: Conn) -> None:
        kept.append(await conn.transaction().__aenter__())
        raise LookupError

    conn = file_backend.connect(init_hook=hook)
    with pytest.raises(LookupError):
        await conn
    with pytest.raises(aiolibsql.ConnectionClosedError, match="no active connection"):
        await conn.execute("SELECT 1")
    conn.autocommit = True
