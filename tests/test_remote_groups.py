"""Statements of several tasks on one connection go out together; over HTTP quick SELECTs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from healthy import assert_healthy
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend
    from proxy import Proxy

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

# Long enough for tasks to queue behind a request that is on its way.
DELAY = 0.01
# Some seconds of work: whoever waited for its end would be noticed.
SLOW = f"{NUMBERS[:-1]} LIMIT 20000000) SELECT max(i) FROM n"


@pytest.fixture
async def conn(hosted: Backend, proxy: Proxy) -> AsyncIterator[Connection]:
    """Return a connection in autocommit mode; there is a table ``t (a UNIQUE)``."""
    async with hosted.through(proxy).connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a UNIQUE)")
        yield conn


async def test_each_task_gets_its_own_answer(conn: Connection) -> None:
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        if number % 3 == 0:
            cursor = await conn.execute("INSERT INTO t VALUES (?)", (number,))
            answers[number] = cursor.rowcount
        elif number % 3 == 1:
            answers[number] = await conn.fetch_scalar("SELECT ?", (number,))
        else:
            with pytest.raises(aiolibsql.OperationalError) as caught:
                await conn.execute(f"SELECT no_{number}")
            answers[number] = f"no_{number}" in str(caught.value)

    async with anyio.create_task_group() as tasks:
        for number in range(90):
            tasks.start_soon(ask, number)
    expected = {number: (1, number, True)[number % 3] for number in range(90)}
    assert answers == expected
    assert conn.total_changes == 30
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 30
    await assert_healthy(conn)


async def test_error_of_one_is_the_others_nothing(conn: Connection) -> None:
    outcomes = []

    async def insert(number: int) -> None:
        try:
            await conn.execute("INSERT INTO t VALUES (?)", (number,))
        except aiolibsql.IntegrityError:
            outcomes.append("refused")
        else:
            outcomes.append("inserted")

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(insert, number // 2)
    assert sorted(outcomes) == ["inserted"] * 20 + ["refused"] * 20
    assert not conn.in_transaction
    await assert_healthy(conn)


async def test_tasks_share_round_trips(conn: Connection, proxy: Proxy, transport: str) -> None:
    proxy.delay = DELAY
    before = proxy.round_trips

    async def ask(number: int) -> None:
        assert await conn.fetch_scalar("SELECT ?", (number,)) == number

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, number)
    taken = proxy.round_trips - before
    proxy.delay = 0
    assert proxy.connections == 1
    # Over HTTP 1, 2, 4, 8, 16 and 19 of them, but fewer at a time on a machine that is busy.
    assert taken <= (5 if transport == "ws" else 49)


async def test_order_is_that_of_the_calls(conn: Connection, proxy: Proxy) -> None:
    proxy.delay = DELAY
    counts: dict[int, Any] = {}

    async def work(number: int) -> None:
        if number % 5 == 0:
            await conn.execute("INSERT INTO t VALUES (?)", (number,))
        else:
            counts[number] = await conn.fetch_scalar("SELECT count(*) FROM t")

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(work, number)
            # The next one is called after this one: some loops start tasks in any order.
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
    assert counts == {number: number // 5 + 1 for number in range(60) if number % 5}


async def test_after_a_slow_one_the_next_go_alone_over_http(
    conn: Connection, proxy: Proxy, transport: str
) -> None:
    for _ in range(8):
        await conn.fetch_scalar("SELECT 1")
    heard: list[int] = []

    async def ask(number: int) -> None:
        assert await conn.fetch_scalar("SELECT ?", (number,)) == number
        heard.append(number)

    # What is learnt from it is that sharing may cost much here.
    await conn.fetch_scalar(f"{NUMBERS[:-1]} LIMIT 1000000) SELECT max(i) FROM n")
    before = proxy.round_trips
    proxy.delay = DELAY
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(ask, number)
    taken = proxy.round_trips - before
    proxy.delay = 0
    assert sorted(heard) == [0, 1, 2, 3]
    if transport == "http":
        # One alone, then two, then the last one.
        assert taken >= 3
    else:
        assert taken <= 3


@pytest.mark.parametrize("rows", [1, 3])
async def test_large_answers_do_not_spoil_the_group(
    conn: Connection, proxy: Proxy, rows: int
) -> None:
    # Together they are more than a server sends at once; three of them are more by themselves.
    text = "SELECT hex(zeroblob(1900000)) FROM (VALUES (1), (2), (3)) LIMIT ?"
    proxy.delay = DELAY
    sizes: list[int] = []

    async def ask(number: int) -> None:
        if number % 2:
            assert await conn.fetch_scalar("SELECT ?", (number,)) == number
            return
        found = await conn.fetch_all(text, (rows,))
        sizes.append(sum(len(value) for (value,) in found))

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(ask, number)
    proxy.delay = 0
    assert sizes == [rows * 3_800_000] * 6
    await assert_healthy(conn)


async def test_cancelled_neighbour_keeps_nobody_waiting(conn: Connection, proxy: Proxy) -> None:
    proxy.delay = DELAY
    done: list[Any] = []

    async def first() -> None:
        await conn.execute("SELECT 1")

    async def slow(scope: anyio.CancelScope) -> None:
        with scope:
            await conn.execute(SLOW)
            done.append("slow")

    async def insert(number: int) -> None:
        await conn.execute("INSERT INTO t VALUES (?)", (number,))
        done.append(number)

    scope = anyio.CancelScope()
    with anyio.fail_after(25):
        async with anyio.create_task_group() as tasks:
            # While this is on its way the others come together.
            tasks.start_soon(first)
            tasks.start_soon(slow, scope)
            for number in range(5):
                tasks.start_soon(insert, number)
            await anyio.sleep(0.3)
            scope.cancel()
            with anyio.fail_after(2):
                assert await conn.fetch_scalar("SELECT 'next'") == "next"
    proxy.delay = 0
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 5
    await assert_healthy(conn)


async def test_answer_that_comes_late_says_nothing_of_a_block(
    conn: Connection, proxy: Proxy
) -> None:
    for _ in range(8):
        # By this it learns that statements may share a request over HTTP.
        await conn.execute("SELECT 1")
    proxy.delay = DELAY
    has_heard = anyio.Event()

    async def slow(scope: anyio.CancelScope) -> None:
        with scope:
            await conn.execute(f"{NUMBERS[:-1]} LIMIT 3000000) SELECT max(i) FROM n")

    async def ask() -> None:
        assert await conn.fetch_scalar("SELECT 7") == 7
        has_heard.set()

    scope = anyio.CancelScope()
    with anyio.fail_after(25):
        async with anyio.create_task_group() as tasks:
            # While this is on its way the others come together.
            tasks.start_soon(conn.execute, "SELECT 1")
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(slow, scope)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(ask)
            await anyio.sleep(0.1)
            scope.cancel()
            async with conn.transaction():
                await conn.execute("INSERT INTO t VALUES (1)")
                # It is answered behind the one that was cancelled.
                await has_heard.wait()
                assert conn.in_transaction
                # Part of the block: else it would wait for its end.
                await conn.execute("INSERT INTO t VALUES (2)")
    proxy.delay = 0
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 2
    await assert_healthy(conn)


async def test_time_out_of_one_is_told_at_once(conn: Connection, proxy: Proxy) -> None:
    proxy.delay = DELAY
    heard: list[Any] = []

    async def first() -> None:
        await conn.execute("SELECT 1")

    async def slow() -> None:
        with pytest.raises(aiolibsql.TimeoutError), anyio.fail_after(2):
            await conn.execute(SLOW, timeout=0.3)
        heard.append("slow")

    async def ask(number: int) -> None:
        assert await conn.fetch_scalar("SELECT ?", (number,)) == number
        heard.append(number)

    with anyio.fail_after(25):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            tasks.start_soon(slow)
            for number in range(5):
                tasks.start_soon(ask, number)
    proxy.delay = 0
    assert len(heard) == 6
    await assert_healthy(conn)
