"""Prepared statements: one SQL text, executed as often as one likes."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


async def test_prepared_query_has_every_way_to_fetch(conn: Connection) -> None:
    query = conn.prepare("SELECT ?, 2")
    assert query.query == "SELECT ?, 2"
    assert repr(query) == "<aiolibsql.PreparedQuery 'SELECT ?, 2'>"
    assert await query.fetch_all((1,)) == [(1, 2)]
    assert await query.fetch_one((3,)) == (3, 2)
    assert await query.fetch_optional((None,)) == (None, 2)
    assert await query.fetch_scalar((4,)) == 4
    assert await query.fetch_blob((b"x",)) == b"x"
    async with query.execute((5,)) as cursor:
        assert await cursor.fetchone() == (5, 2)
    await assert_healthy(conn)


async def test_prepared_query_without_rows_is_as_the_connections(conn: Connection) -> None:
    query = conn.prepare("SELECT 1 WHERE false")
    assert await query.fetch_all() == []
    assert await query.fetch_optional() is None
    assert await query.fetch_scalar() is None
    with pytest.raises(aiolibsql.DatabaseError):
        await query.fetch_one()


@pytest.mark.parametrize("cached_statements", [0, 1, 128])
async def test_prepared_query_runs_among_others(backend: Backend, cached_statements: int) -> None:
    async with backend.connect(cached_statements=cached_statements) as conn:
        await conn.execute("CREATE TABLE t (x)")
        add, total = conn.prepare("INSERT INTO t VALUES (?)"), conn.prepare("SELECT sum(x) FROM t")
        for x in range(1, 6):
            await add.execute((x,))
            assert await conn.fetch_scalar(f"SELECT {x}") == x
            assert await total.fetch_scalar() == sum(range(x + 1))
        del add
        gc.collect()
        assert await total.fetch_scalar() == 15
        # A statement that was compiled before the table changed is compiled anew.
        await conn.execute("ALTER TABLE t RENAME COLUMN x TO y")
        with pytest.raises(aiolibsql.OperationalError):
            await total.fetch_scalar()
        await conn.commit()
        await assert_healthy(conn)


async def test_prepared_query_is_read_by_two_cursors_at_once(conn: Connection) -> None:
    query = conn.prepare("SELECT value FROM json_each('[1, 2, 3]')")
    async with query.execute() as first, query.execute() as second:
        assert await first.fetchone() == (1,)
        assert await second.fetchmany(2) == [(1,), (2,)]
        assert await first.fetchall() == [(2,), (3,)]


async def test_prepared_query_with_blob_takes_nothing_else(conn: Connection) -> None:
    query = conn.prepare("SELECT ?", raw=True, blob=True)
    assert await query.fetch_scalar((b"x",)) == b"x"
    with pytest.raises(TypeError, match="not a BLOB"):
        await query.fetch_scalar(("x",))
    assert await conn.prepare("SELECT ?", raw=True).fetch_scalar(("x",)) == "x"


async def test_prepared_query_of_a_block_belongs_to_it(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (x)")
    async with conn.transaction(force_rollback=True) as block:
        query = block.prepare("INSERT INTO t VALUES (1)")
        await query.execute()
    with pytest.raises(aiolibsql.ProgrammingError):
        await query.execute()
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0


@pytest.mark.parametrize("sql", ["nonsense", "SELECT 1; SELECT 2"])
async def test_prepared_query_that_is_no_statement_fails_when_it_runs(
    conn: Connection, sql: str
) -> None:
    query = conn.prepare(sql)
    for _ in range(2):
        with pytest.raises(aiolibsql.DatabaseError):
            await query.execute()
    await assert_healthy(conn)


async def test_prepared_query_of_a_closed_connection_is_refused(backend: Backend) -> None:
    conn = backend.connect()
    query = conn.prepare("SELECT 1")
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await query.fetch_scalar()
    await conn
    assert await query.fetch_scalar() == 1
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await query.fetch_scalar()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        conn.prepare("SELECT 1")


async def test_prepared_query_keeps_no_forgotten_connection(conn: Connection) -> None:
    with pytest.raises(TypeError):
        conn.prepare(b"SELECT 1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        aiolibsql.PreparedQuery()
