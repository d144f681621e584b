"""Proof that a connection is whole after a fault or a cancellation.

Needs no event loop in particular and imports none, so that every test may use it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiolibsql

# Connections to databases at servers, where nobody can ask which statements are open.
HOSTED: weakref.WeakSet[aiolibsql.Connection[Any]] = weakref.WeakSet()


async def assert_healthy(conn: aiolibsql.Connection[Any], *, is_writable: bool = True) -> None:
    """Fail unless the connection is open and idle, reads and writes, and has no statement open.

    What it writes it takes away again: the database is left as it was found.
    """
    assert not conn.closed
    if conn.autocommit is not False:
        assert not conn.in_transaction, "a transaction was left open"
    row_factory, conn.row_factory = conn.row_factory, None
    try:
        assert await conn.fetch_all("SELECT 6 * 7, 'ok'") == [(42, "ok")]
        if conn not in HOSTED:
            await _assert_no_open_statement(conn)
        if is_writable:
            await _assert_writes(conn)
    finally:
        conn.row_factory = row_factory


async def _assert_writes(conn: aiolibsql.Connection[Any]) -> None:
    await conn.execute("CREATE TABLE health_check (beat)")
    await conn.execute("INSERT INTO health_check VALUES (1)")
    await conn.commit()
    await conn.execute("DELETE FROM health_check")
    if conn.in_transaction:
        await conn.rollback()
        assert await conn.fetch_all("SELECT beat FROM health_check") == [(1,)]
    await conn.execute("DROP TABLE health_check")
    await conn.commit()


async def _assert_no_open_statement(conn: aiolibsql.Connection[Any]) -> None:
    if conn.autocommit is False:
        return  # the next statement would find itself in a transaction, where VACUUM is refused
    # VACUUM refuses to run beside any statement that was stepped and not reset, on whatever
    # schema; an attached empty database makes it cost nothing.
    await conn.execute("ATTACH ':memory:' AS health_check")
    try:
        await conn.execute("VACUUM health_check")
    finally:
        await conn.execute("DETACH health_check")
