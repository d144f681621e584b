"""Rows in chunks and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS_AFTER_100, NUMBERS, attempt_cancelled

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

THOUSAND = f"{NUMBERS} SELECT i FROM n LIMIT ?"


@pytest.mark.parametrize(("rows", "size"), [(0, 2), (1, 2), (4, 2), (5, 2), (1000, 300)])
async def test_execute_iter_gives_chunks(conn: Connection, rows: int, size: int) -> None:
    for chunks in (
        conn.execute_iter(THOUSAND, (rows,), chunk_size=size),
        aiolibsql.execute_iter(conn, THOUSAND, (rows,), size),
    ):
        got = [chunk async for chunk in chunks]
        assert all(len(chunk) == size for chunk in got[:-1])
        assert [i for chunk in got for (i,) in chunk] == list(range(1, rows + 1))
        assert [chunk async for chunk in chunks] == []
    await assert_healthy(conn)


async def test_execute_iter_takes_the_connections_chunk_size(conn: Connection) -> None:
    conn.iter_chunk_size = 7
    assert len(await anext(conn.execute_iter(THOUSAND, (20,)))) == 7


async def test_execute_iter_reads_one_snapshot(file_backend: Backend) -> None:
    async with file_backend.connect(pragmas={"journal_mode": "wal"}) as conn:
        await conn.execute("CREATE TABLE t (x)")
        await conn.executemany("INSERT INTO t VALUES (?)", [(x,) for x in range(500)])
        await conn.commit()
        async with file_backend.second() as other:
            got = []
            async for chunk in conn.execute_iter("SELECT x FROM t", chunk_size=100):
                await other.execute("DELETE FROM t WHERE x >= 100")
                await other.commit()
                got += chunk
        assert got == [(x,) for x in range(500)]


async def test_execute_iter_left_early_ends_its_statement(conn: Connection) -> None:
    async with conn.execute_iter(THOUSAND, (1000,), 10) as chunks:
        async for _ in chunks:
            break
    assert [chunk async for chunk in chunks] == []
    async for _ in conn.execute_iter(THOUSAND, (1000,), 10):
        break
    await assert_healthy(conn)


async def test_execute_iter_that_never_began_leaves_nothing(conn: Connection) -> None:
    chunks = conn.execute_iter("SELECT 1")
    await chunks.aclose()
    await chunks.aclose()
    assert [chunk async for chunk in chunks] == []
    conn.execute_iter("nonsense")
    await assert_healthy(conn)


async def test_execute_iter_gives_rows_of_the_row_factory(conn: Connection) -> None:
    conn.row_factory = aiolibsql.Row
    async for chunk in conn.execute_iter("SELECT 1 AS one"):
        assert [row["one"] for row in chunk] == [1]


@pytest.mark.local("a statement that never ends")
async def test_execute_iter_cancelled_leaves_the_connection_whole(conn: Connection) -> None:
    chunks = conn.execute_iter(ENDLESS_AFTER_100, chunk_size=60)
    assert len(await anext(chunks)) == 60
    outcome = await attempt_cancelled(anext(chunks))
    assert outcome.is_cancelled
    await chunks.aclose()
    await assert_healthy(conn)


@pytest.mark.parametrize("size", [0, -1])
async def test_chunk_of_no_rows_is_refused(conn: Connection, size: int) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        conn.execute_iter("SELECT 1", chunk_size=size)


async def test_execute_iter_on_a_closed_connection_is_refused(conn: Connection) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await anext(conn.execute_iter("SELECT 1"))


@pytest.mark.parametrize("offset", [0, 1, 999, 1000, 1024, 2499, 2500, 9999])
async def test_paginate_gives_the_rows_after_the_offset(conn: Connection, offset: int) -> None:
    page = await aiolibsql.paginate(conn, f"{THOUSAND} -- end", (2500,), 10, offset)
    expected = list(range(1, 2501))[offset : offset + 10]
    assert [i for (i,) in page] == expected
    await assert_healthy(conn)


async def test_paginate_refuses_what_is_no_page(conn: Connection) -> None:
    with pytest.raises(ValueError, match="page_size"):
        await aiolibsql.paginate(conn, "SELECT 1", page_size=0)
    with pytest.raises(ValueError, match="offset"):
        await aiolibsql.paginate(conn, "SELECT 1", offset=-1)


@pytest.mark.local("a statement that never ends")
async def test_paginate_cancelled_leaves_the_connection_whole(conn: Connection) -> None:
    outcome = await attempt_cancelled(aiolibsql.paginate(conn, ENDLESS_AFTER_100, offset=200))
    assert outcome.is_cancelled
    await assert_healthy(conn)


async def test_helpers_are_coroutines_for_task_groups(conn: Connection) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(aiolibsql.paginate, conn, "SELECT 1")
