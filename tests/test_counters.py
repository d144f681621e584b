"""What a connection has counted, asked in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


async def test_counters_follow_what_was_done(conn: Connection) -> None:
    conn.row_factory = lambda *_: None
    assert (await conn.changes(), await conn.last_insert_rowid()) == (0, 0)
    await conn.execute("CREATE TABLE t (x)")
    assert not await conn.in_transaction_async()
    await conn.execute_many("INSERT INTO t VALUES (?)", [(1,), (2,)])
    await conn.execute("UPDATE t SET x = 0")
    assert await conn.changes() == 2
    assert await conn.last_insert_rowid() == 2
    assert await conn.total_changes_async() == conn.total_changes == 4
    assert await conn.in_transaction_async()
    await conn.rollback()
    assert not await conn.in_transaction_async()
    conn.row_factory = None
    await assert_healthy(conn)


async def test_raw_fetch_scalar_is_one_of_two(conn: Connection) -> None:
    assert await conn.raw_fetch_scalar("SELECT ?", ("x",)) == "x"
    assert await conn.raw_fetch_scalar("SELECT x'01'", blob=True) == b"\x01"
    with pytest.raises(TypeError, match="not a BLOB"):
        await conn.raw_fetch_scalar("SELECT 'x'", None, True)


@pytest.mark.parametrize(
    "method", ["changes", "last_insert_rowid", "total_changes_async", "in_transaction_async"]
)
async def test_counter_of_a_closed_connection_is_refused(conn: Connection, method: str) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await getattr(conn, method)()
