"""How often a connection asks its server: the proxy between them counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import NUMBERS, count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from backends import Backend
    from proxy import Proxy

    import aiolibsql

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

# Long enough for requests that do not wait for one another to be on their way together.
DELAY = 0.01


@pytest.fixture
async def conn(hosted: Backend, proxy: Proxy) -> AsyncIterator[Connection]:
    """Return a connection in legacy mode through the proxy; there is a table ``t (a)``."""
    async with hosted.through(proxy).connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        proxy.delay = DELAY
        yield conn
        proxy.delay = 0
        await conn.rollback()


async def trips(proxy: Proxy, awaitable: Awaitable[Any]) -> int:
    """Return how many round trips awaiting something takes."""
    before = proxy.round_trips
    await awaitable
    return proxy.round_trips - before


async def test_opening_asks_a_constant_number_of_times(hosted: Backend, proxy: Proxy) -> None:
    proxy.delay = DELAY
    async with hosted.through(proxy).connect():
        # HTTP asks which protocol there is; a WebSocket has two handshakes.
        assert proxy.round_trips <= 3
        assert proxy.connections == 1


async def test_statement_is_one_round_trip(conn: Connection, proxy: Proxy) -> None:
    assert await trips(proxy, conn.execute("SELECT 1")) == 1
    assert await trips(proxy, conn.execute("PRAGMA user_version")) == 1
    assert await trips(proxy, conn.execute("CREATE TABLE u (a)")) == 1
    assert await trips(proxy, conn.fetch_scalar("SELECT ?", (1,))) == 1
    assert await trips(proxy, conn.fetch_one("SELECT ?", (1,))) == 1
    assert await trips(proxy, conn.execute_fetchall("VALUES (1), (2)")) == 1


async def test_execute_and_fetchall_is_one_round_trip(conn: Connection, proxy: Proxy) -> None:
    async def both() -> None:
        cursor = await conn.execute("VALUES (1), (2)")
        assert await cursor.fetchall() == [(1,), (2,)]
        await cursor.close()

    assert await trips(proxy, both()) == 1


async def test_iterating_a_thousand_rows_is_one_round_trip(conn: Connection, proxy: Proxy) -> None:
    sql = f"{NUMBERS} SELECT i FROM n LIMIT 1000"

    async def iterate() -> None:
        async with conn.execute(sql) as cursor:
            assert [row async for row in cursor] == [(i,) for i in range(1, 1001)]

    assert await trips(proxy, iterate()) == 1


async def test_begin_rides_on_the_first_statement(conn: Connection, proxy: Proxy) -> None:
    assert await trips(proxy, conn.execute("INSERT INTO t VALUES (1)")) == 1
    assert conn.in_transaction
    assert await trips(proxy, conn.execute("INSERT INTO t VALUES (2)")) == 1
    assert await trips(proxy, conn.commit()) == 1
    assert not conn.in_transaction
    assert await trips(proxy, conn.commit()) == 0
    assert await trips(proxy, conn.rollback()) == 0


async def test_block_adds_its_commit_alone(conn: Connection, proxy: Proxy) -> None:
    async def block() -> None:
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES (1)")
            await conn.execute("INSERT INTO t VALUES (2)")

    assert await trips(proxy, block()) == 3
    proxy.delay = 0
    assert await count(conn) == 2


async def test_nested_block_adds_its_release_at_most(conn: Connection, proxy: Proxy) -> None:
    async def block() -> None:
        async with conn.transaction(), conn.savepoint():
            await conn.execute("INSERT INTO t VALUES (1)")

    assert await trips(proxy, block()) <= 3
    proxy.delay = 0
    assert await count(conn) == 1


async def test_executemany_of_a_thousand_rows_is_one_round_trip(
    conn: Connection, proxy: Proxy
) -> None:
    rows = [(number,) for number in range(1000)]
    conn.isolation_level = None
    assert await trips(proxy, conn.executemany("INSERT INTO t VALUES (?)", rows)) == 1
    conn.isolation_level = ""
    assert await trips(proxy, conn.executemany("INSERT INTO t VALUES (?)", rows)) == 1
    assert await trips(proxy, conn.executemany("INSERT INTO t VALUES (?)", rows)) == 1
    assert await trips(proxy, conn.commit()) == 1
    proxy.delay = 0
    assert await count(conn) == 3000


async def test_script_is_one_round_trip(conn: Connection, proxy: Proxy) -> None:
    conn.isolation_level = None
    script = "INSERT INTO t VALUES (20); INSERT INTO t VALUES (21);"
    assert await trips(proxy, conn.executescript(script)) == 1
    proxy.delay = 0
    assert await count(conn) == 2


async def test_batch_is_one_round_trip(conn: Connection, proxy: Proxy) -> None:
    conn.isolation_level = None
    operations: Any = [("INSERT INTO t VALUES (?)", (n,)) for n in range(20)]
    assert await trips(proxy, conn.batch(operations)) == 1


async def test_properties_ask_nobody(conn: Connection, proxy: Proxy) -> None:
    before = proxy.round_trips
    assert conn.in_transaction is False
    assert conn.total_changes == 0
    assert conn.closed is False
    conn.isolation_level = "IMMEDIATE"
    await conn.cursor().close()
    assert proxy.round_trips == before


async def test_many_statements_use_one_connection(conn: Connection, proxy: Proxy) -> None:
    proxy.delay = 0
    for number in range(200):
        assert await conn.fetch_scalar("SELECT ?", (number,)) == number
    assert proxy.connections == 1


@pytest.mark.slow
def test_five_thousand_statements_use_one_connection(hosted: Backend, proxy: Proxy) -> None:
    async def run() -> None:
        async with hosted.through(proxy).connect() as conn:
            before = proxy.round_trips
            for number in range(5000):
                assert await conn.fetch_scalar("SELECT ?", (number,)) == number
            assert proxy.round_trips - before == 5000

    anyio.run(run)
    assert proxy.connections == 1
