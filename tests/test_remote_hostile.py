"""Answers that make no sense: each is an error of ours, and the connection is usable afterwards."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hostile_server import BINARY, CLOSE, PING, TEXT, Answer, Hostile, framed, mutated, response
from sqld import Sqld

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.paired]

# Answers that are spoilt, for each of the four combinations of transport and encoding.
CASES = 2500
# Seconds: for answers that never come, and what tells a hang.
SILENCE, HANG = 0.3, 10.0

SELECT = "SELECT 1 AS one, 'text', x'00ff', NULL, 2.5 UNION ALL VALUES (-7, '', x'', 'é', 1e300)"
LARGE = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) SELECT i FROM n"
ROWS = [(1, "text", b"\0\xff", None, 2.5), (-7, "", b"", "é", 1e300)]


async def select(conn: Connection) -> None:
    await conn.fetch_all(SELECT)


async def large(conn: Connection) -> None:
    async with conn.execute(LARGE) as cursor:
        await cursor.fetchall()


async def insert(conn: Connection) -> None:
    await conn.execute("INSERT INTO t VALUES (1) RETURNING a")


async def executemany(conn: Connection) -> None:
    await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (None,), ("x",)])


async def script(conn: Connection) -> None:
    await conn.executescript("INSERT INTO t VALUES (1); DELETE FROM t")


async def batch(conn: Connection) -> None:
    await conn.batch(["INSERT INTO t VALUES (1)", SELECT])


async def batch_that_fails(conn: Connection) -> None:
    await conn.batch(["INSERT INTO t VALUES (1)", "INSERT INTO missing VALUES (1)"])


async def transaction(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO t VALUES (1)")
        async with conn.transaction():
            await conn.fetch_all(SELECT)


async def group(conn: Connection) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(attempt, select(conn))


OPERATIONS = [
    select, large, insert, executemany, script, batch, batch_that_fails, transaction, group,
]  # fmt: skip


async def attempt(work: Awaitable[object]) -> None:
    """Await something that may fail as databases do, and in no other way."""
    try:
        with anyio.fail_after(HANG):
            await work
    except aiolibsql.InternalError:
        raise  # a panic that was caught
    except aiolibsql.Error:
        pass


def connect(server: Hostile, transport: str) -> Connection:
    return aiolibsql.connect(
        f"{transport}://127.0.0.1:{server.port}",
        autocommit=True, request_timeout=SILENCE, connect_timeout=SILENCE,
    )  # fmt: skip


async def learn(server: Hostile, transport: str) -> None:
    """Have the server write down a real one's answers to everything that is tried."""
    # So that there is a result that is too large to come whole.
    with Sqld("--max-response-size", "4KB") as real:
        server.upstream = real.port
        server.begin("open")
        async with connect(server, transport) as conn:
            server.begin("create")
            await conn.execute("CREATE TABLE t (a)")
            for operation in OPERATIONS:
                server.begin(operation.__name__)
                await attempt(operation(conn))
        server.upstream = None


def spoiler(
    server: Hostile, chance: random.Random
) -> tuple[Callable[[Answer], tuple[bytes, bool]], list[int]]:
    """Return what spoils one of the next answers; the list is filled when it has."""
    due = chance.choice([0, 0, 0, 1, 2, 3, 5])
    done: list[int] = []

    def spoil(answer: Answer) -> tuple[bytes, bool]:
        nonlocal due
        due -= 1
        if due >= 0:
            return answer.whole(), False
        done.append(1)
        kind = chance.randrange(10)
        if kind < 6:
            # Whoever was told nothing that is for it need not wait for long.
            data = mutated(chance, answer.data, server.all)
            return answer.whole(data), not answer.is_http and chance.random() < 0.99
        if kind == 6:
            return mutated(chance, answer.whole(), server.all), True
        if kind == 7:
            return chance.randbytes(chance.choice([0, 1, 2, 10, 300])), True
        if answer.is_http:
            status = chance.choice(["200 OK", "204 No", "302 Go", "400 No", "401 No", "500 No"])
            return response(status, mutated(chance, answer.data, server.all)), False
        code = chance.choice([0, TEXT, BINARY, 3, CLOSE, CLOSE, PING, 15])
        return framed(
            code, mutated(chance, answer.data, server.all)[: chance.choice([2, 120])]
        ), True

    return spoil, done


async def assert_usable(server: Hostile, conn: Connection) -> None:
    """Fail unless the connection works at an honest server, after one that has told its losses."""
    server.spoil, told = None, []
    for _ in range(3):
        server.begin("select")
        try:
            with anyio.fail_after(HANG):
                assert await conn.fetch_all(SELECT) == ROWS
                return
        except aiolibsql.InternalError:
            raise
        except aiolibsql.Error as error:
            told.append(repr(error))
    pytest.fail(f"the connection is not usable: {told}")


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_spoilt_answers(program: str, transport: str, encoding: str) -> None:
    assert program
    chance = random.Random(f"{transport} {encoding}")
    with Hostile(encoding) as server:
        await learn(server, transport)
        spoilt = 0
        while spoilt < CASES:
            server.begin("open")
            server.spoil, done = spoiler(server, chance) if chance.random() < 0.3 else (None, [])
            conn = connect(server, transport)
            await attempt(conn)
            spoilt += len(done)
            for _ in range(chance.randrange(40)):
                operation = chance.choice(OPERATIONS)
                server.begin(operation.__name__)
                server.spoil, done = spoiler(server, chance)
                await attempt(operation(conn))
                spoilt += len(done)
                if chance.random() < 0.1:
                    server.begin("open")
                    server.spoil = None
                    await attempt(conn)
                    await assert_usable(server, conn)
            server.spoil = None
            await attempt(conn.close())
