"""Operations that have ended, and whose caller was cancelled before he got the value."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from clients import CancelledAt
from healthy import assert_healthy

if TYPE_CHECKING:
    import aiolibsql

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio


def burn() -> None:
    """Use up what a turn of the loop may give away of values that are ready."""
    until = time.perf_counter() + 0.0002
    while time.perf_counter() < until:
        pass


async def test_begin_is_undone(conn: Connection) -> None:
    for _ in range(300):
        # The next operation looks out for its end, and so may have ended before it is suspended.
        assert await conn.fetch_scalar("SELECT 1") == 1
        burn()
        with anyio.CancelScope() as scope:
            await CancelledAt(conn.begin(), 1, scope)
        if not scope.cancelled_caught:
            await conn.rollback()
        await conn.begin()
        await conn.rollback()
    await assert_healthy(conn)


async def test_insert_and_the_transaction_that_it_began_are_undone(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (x)")
    for _ in range(300):
        assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0
        burn()
        with anyio.CancelScope() as scope:
            await CancelledAt(conn.execute("INSERT INTO t VALUES (1)"), 1, scope)
        if not scope.cancelled_caught:
            await conn.rollback()
        assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0
        assert not conn.in_transaction
    await assert_healthy(conn)
