"""Batch: several statements, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS_INSERT, attempt_cancelled

import aiolibsql

if TYPE_CHECKING:
    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


async def xs(conn: Connection) -> list[Any]:
    return [x for (x,) in await conn.fetch_all("SELECT x FROM t ORDER BY x")]


@pytest.fixture
async def table(conn: Connection) -> Connection:
    await conn.execute("CREATE TABLE t (x UNIQUE)")
    return conn


async def test_batch_commits_all_of_it(table: Connection) -> None:
    operations = [
        "INSERT INTO t VALUES (1)",
        ("INSERT INTO t VALUES (2)",),
        ("INSERT INTO t VALUES (?)", (3,)),
        ["INSERT INTO t VALUES (:x)", {"x": 4}],
        ("INSERT INTO t VALUES (5)", None),
    ]
    cursor = await table.batch(iter(operations))  # type: ignore[arg-type]
    assert cursor.rowcount == 1
    assert not table.in_transaction
    await table.rollback()
    assert await xs(table) == [1, 2, 3, 4, 5]
    await assert_healthy(table)


async def test_batch_gives_the_last_statements_rows(table: Connection) -> None:
    insert = "INSERT INTO t VALUES (1), (2), (3)"
    cursor = await table.batch([insert, "SELECT x FROM t"])
    assert await cursor.fetchall() == [(1,), (2,), (3,)]
    assert cursor.connection is table
    await cursor.execute("SELECT 1")
    async with table.batch(["DELETE FROM t WHERE x = 1", "SELECT x FROM t"]) as cursor:
        assert [x async for (x,) in cursor] == [2, 3]
    with pytest.raises(aiolibsql.ProgrammingError):
        await cursor.fetchone()


async def test_batch_of_nothing_gives_a_cursor(conn: Connection) -> None:
    cursor = await conn.batch([])
    assert cursor.description is None
    assert await cursor.fetchall() == []


async def test_batch_that_fails_keeps_nothing(table: Connection) -> None:
    operations = ["INSERT INTO t VALUES (1)", "DELETE FROM t", "INSERT INTO t VALUES (2), (2)"]
    with pytest.raises(aiolibsql.IntegrityError):
        await table.batch(operations)
    assert not table.in_transaction
    assert await xs(table) == []
    await assert_healthy(table)


async def test_batch_in_a_transaction_is_part_of_it(table: Connection) -> None:
    await table.execute("INSERT INTO t VALUES (1)")
    await table.batch(["INSERT INTO t VALUES (2)"])
    with pytest.raises(aiolibsql.IntegrityError):
        await table.batch(["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (1)"])
    assert table.in_transaction
    assert await xs(table) == [1, 2]
    await table.rollback()
    assert await xs(table) == []


async def test_batch_in_a_block_is_part_of_it(table: Connection) -> None:
    async with table.transaction(force_rollback=True) as block:
        await block.batch(["INSERT INTO t VALUES (1)"])
        await table.batch(["INSERT INTO t VALUES (2)"])
        assert await xs(block) == [1, 2]
    assert await xs(table) == []


@pytest.mark.parametrize("operation", [1, None, (), (1,), ("SELECT 1", (), 3), ((), "SELECT 1")])
async def test_batch_of_something_else_runs_nothing(table: Connection, operation: Any) -> None:
    with pytest.raises(TypeError):
        await table.batch(["INSERT INTO t VALUES (1)", operation])
    assert await xs(table) == []
    await assert_healthy(table)


async def test_batch_is_lazy_and_warns_when_it_is_dropped(table: Connection) -> None:
    def operations() -> Any:
        raise AssertionError("read before the await")
        yield

    batch = table.batch(operations())
    assert "Connection.batch" in repr(batch)
    with pytest.warns(RuntimeWarning, match=r"Connection\.batch' was never awaited"):
        del batch
    await assert_healthy(table)


async def test_batch_is_a_coroutine_for_task_groups(table: Connection) -> None:
    async with anyio.create_task_group() as tasks:
        for x in range(3):
            tasks.start_soon(table.batch, [f"INSERT INTO t VALUES ({x})"])
    assert await xs(table) == [0, 1, 2]


@pytest.mark.local("a statement that never ends")
async def test_batch_cancelled_in_the_middle_keeps_nothing(table: Connection) -> None:
    operations = ["INSERT INTO t VALUES (-1)", ENDLESS_INSERT, "DELETE FROM t"]
    outcome = await attempt_cancelled(table.batch(operations))
    assert outcome.is_cancelled
    assert await xs(table) == []
    await assert_healthy(table)


@pytest.mark.local("a statement that never ends")
async def test_batch_closed_after_a_step_ends_its_block(table: Connection) -> None:
    outcome = await attempt_cancelled(table.batch([ENDLESS_INSERT]), anyio.lowlevel.checkpoint)
    assert outcome.is_cancelled
    assert await xs(table) == []
    await assert_healthy(table)


async def test_batch_on_a_closed_connection_is_refused(conn: Connection) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.batch(["SELECT 1"])
