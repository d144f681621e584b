"""Answers that are too large to come whole, of a server that sends little at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from backends import Backend
from healthy import assert_healthy
from proxy import Proxy
from sqld import Sqld

import aiolibsql
from aiolibsql.client import create_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.paired]

COUNT = 3000
NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {COUNT})"
# More than the server sends at once.
LARGE = f"{NUMBERS} SELECT i, printf('%060d', i) FROM n"


@pytest.fixture(scope="module")
def frugal(program: str) -> Iterator[Sqld]:
    """Return a server whose answers have 100 KB at most."""
    assert program
    with Sqld("--enable-namespaces", "--max-response-size", "100KB") as sqld:
        yield sqld


@pytest.fixture(scope="module")
def generous(program: str) -> Iterator[Sqld]:
    """Return a server whose answers may be larger than we take."""
    assert program
    sizes = ("--max-response-size", "1GB", "--max-total-response-size", "1GB")
    with Sqld("--enable-namespaces", *sizes) as sqld:
        yield sqld


@pytest.fixture
def database(frugal: Sqld, transport: str) -> Iterator[Backend]:
    """Return a fresh database there."""
    name = frugal.create_namespace()
    yield Backend(transport, port=frugal.port, namespace=name)
    frugal.remove_namespace(name)


@pytest.fixture
def proxy_of_frugal(frugal: Sqld) -> Iterator[Proxy]:
    """Return what stands between the client and that server."""
    with Proxy(frugal.port) as between:
        yield between


@pytest.fixture
async def conn(database: Backend) -> AsyncIterator[Connection]:
    """Return a connection in autocommit mode; there is a table ``t (a UNIQUE)``."""
    async with database.connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a UNIQUE, b)")
        yield conn


async def rows_of(conn: Connection) -> list[Any]:
    return [a for (a,) in await conn.fetch_all("SELECT a FROM t ORDER BY a")]


async def test_batch_is_run_again_with_a_cursor_and_once_only(conn: Connection) -> None:
    insert = ("INSERT INTO t (a) VALUES (?)", (1,))
    cursors = await conn._batch([insert, LARGE, "", "INSERT INTO t (a) VALUES (2)", LARGE])
    assert [cursor.rowcount for cursor in cursors] == [1, -1, -1, 1, -1]
    for cursor in (cursors[1], cursors[4]):
        rows = await cursor.fetchall()
        assert [i for i, _ in rows] == list(range(1, COUNT + 1))
        assert rows[-1][1] == f"{COUNT:060d}"
    assert cursors[3].lastrowid == 2
    assert cursors[1].description is not None
    assert not conn.in_transaction
    assert conn.total_changes == 2
    assert await rows_of(conn) == [1, 2]
    await assert_healthy(conn)


@pytest.mark.parametrize("begin", ["in a block", "by name", "with its first statement"])
async def test_batch_inside_of_a_transaction(conn: Connection, begin: str) -> None:
    insert = "INSERT INTO t (a) VALUES (1)"
    if begin == "by name":
        await conn.begin()
        await conn.execute("INSERT INTO t (a) VALUES (0)")
        cursor = await conn.batch([insert, LARGE])
        assert conn.in_transaction
        await conn.commit()
    else:
        async with conn.transaction():
            if begin == "in a block":
                await conn.execute("INSERT INTO t (a) VALUES (0)")
            cursor = await conn.batch([insert, LARGE])
            assert conn.in_transaction
    assert len(await cursor.fetchall()) == COUNT
    assert await rows_of(conn) == ([1] if begin == "with its first statement" else [0, 1])
    await assert_healthy(conn)


async def test_batch_that_fails_behind_what_is_too_large_keeps_nothing(conn: Connection) -> None:
    insert = "INSERT INTO t (a) VALUES (1)"
    with pytest.raises(aiolibsql.IntegrityError) as caught:
        await conn.batch([insert, LARGE, insert])
    assert caught.value.sql == insert
    assert not conn.in_transaction
    assert await rows_of(conn) == []
    await conn.execute("INSERT INTO t (a) VALUES (5)")
    async with conn.transaction():
        await conn.execute("INSERT INTO t (a) VALUES (6)")
        with pytest.raises(aiolibsql.IntegrityError):
            await conn.batch([insert, LARGE, insert])
        assert conn.in_transaction
    assert await rows_of(conn) == [5, 6]
    await assert_healthy(conn)


async def test_executemany_whose_answer_is_too_large_leaves_nothing_open(conn: Connection) -> None:
    rows = [(i, "x" * 90) for i in range(3000)]
    await conn.executemany("INSERT INTO t VALUES (?, ?)", rows)
    assert len(await rows_of(conn)) == 3000
    await assert_healthy(conn)


async def test_group_asks_for_what_is_too_large_twice_at_most(
    database: Backend, proxy_of_frugal: Proxy, transport: str
) -> None:
    async with database.through(proxy_of_frugal).connect(isolation_level=None) as conn:
        for _ in range(8):
            # By this it learns that statements may share a request over HTTP.
            await conn.execute("SELECT 1")
        before = proxy_of_frugal.round_trips
        found: list[int] = []

        async def ask() -> None:
            found.append(len(await conn.fetch_all(LARGE)))

        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(ask)
        assert found == [COUNT] * 9
        if transport == "http":
            await anyio.sleep(0.2)  # until all streams are closed
            # At most one request each for the first answers; the cursors, and the ends of their
            # streams.
            assert proxy_of_frugal.round_trips - before <= 3 * 9


async def test_group_gives_each_task_what_it_asked_for(conn: Connection) -> None:
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        if number % 4:
            answers[number] = await conn.fetch_scalar("SELECT ?", (number,))
        else:
            rows = await conn.fetch_all(LARGE)
            answers[number] = [i for i, _ in rows] == list(range(1, COUNT + 1))

    async with anyio.create_task_group() as tasks:
        for number in range(24):
            tasks.start_soon(ask, number)
    assert answers == {number: number if number % 4 else True for number in range(24)}
    await assert_healthy(conn)


async def test_write_that_returns_too_much_says_so_and_harms_nobody(conn: Connection) -> None:
    write = f"INSERT INTO t {LARGE} RETURNING a, b"
    answers: list[Any] = []

    async def ask(number: int) -> None:
        answers.append(await conn.fetch_scalar("SELECT ?", (number,)))

    async def insert() -> None:
        with pytest.raises(aiolibsql.OperationalError, match="may have been carried out") as caught:
            await conn.execute(write)
        assert caught.value.server_code == "RESPONSE_TOO_LARGE"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(insert)
        for number in range(10):
            tasks.start_soon(ask, number)
    assert sorted(answers) == list(range(10))
    # SQLite changes every row before it returns the first.
    assert len(await rows_of(conn)) == COUNT
    await conn.execute("DELETE FROM t")
    async with conn.transaction():
        with pytest.raises(aiolibsql.OperationalError, match="may have been carried out"):
            await conn.execute(write)
        assert conn.in_transaction
        await conn.execute("DELETE FROM t")
    await assert_healthy(conn)


async def test_nothing_slips_out_of_a_transaction_whose_rows_outlive_it(
    database: Backend, proxy_of_frugal: Proxy, transport: str
) -> None:
    rows = "SELECT i, printf('%01400d', i) FROM n LIMIT 80"
    async with database.through(proxy_of_frugal).connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a UNIQUE, b)")
        await conn.execute("BEGIN")
        await conn.execute("INSERT INTO t (a) VALUES (1)")
        cursor = await conn.execute(f"{NUMBERS} {rows}")
        await anyio.sleep(0.2)  # until the rest is here
        proxy_of_frugal.close_connections()
        await anyio.sleep(0.05)
        try:
            await conn.execute("INSERT INTO t (a) VALUES (2)")
        except aiolibsql.StreamExpiredError:
            assert transport == "ws"
            assert not conn.in_transaction
        else:
            # Over HTTP it is known by its baton, whatever connection brings that.
            assert transport == "http"
            assert conn.in_transaction
        assert len(await cursor.fetchall()) == 80
        await conn.rollback()
        assert await rows_of(conn) == []
        await assert_healthy(conn)


@pytest.mark.parametrize("is_truncated", [False, True], ids=["reset", "truncated"])
async def test_rows_that_are_cut_leave_no_lock(
    database: Backend, proxy_of_frugal: Proxy, is_truncated: bool
) -> None:
    rows = f"{NUMBERS.replace(str(COUNT), '100000')} SELECT i, printf('%060d', i) FROM n"
    async with (
        database.connect(isolation_level=None) as other,
        database.through(proxy_of_frugal).connect(isolation_level=None) as conn,
    ):
        await other.execute("CREATE TABLE t (a UNIQUE, b)")
        await conn.execute("BEGIN IMMEDIATE")
        cursor = await conn.execute(rows)
        proxy_of_frugal.cut(after=1000, truncate=is_truncated)
        with pytest.raises(aiolibsql.ConnectError):
            await cursor.fetchall()
        await conn.rollback()
        began = time.monotonic()
        await other.execute("INSERT INTO t (a) VALUES (1)")
        # A server steals a lock after five seconds.
        assert time.monotonic() - began < 2.5
        assert await rows_of(conn) == [1]
        await assert_healthy(conn)


# A server keeps a stream over HTTP for ten seconds, unless it is told that nobody needs it.
FEW = 20
# From a transaction that has it for so long, it gives the write lock to who waits for that.
STEAL = 5.0


@pytest.fixture(scope="module")
def small(program: str) -> Iterator[Sqld]:
    """Return a server that has room for few streams."""
    assert program
    sizes = ("--max-response-size", "100KB", "--max-concurrent-connections", str(FEW))
    with Sqld("--enable-namespaces", *sizes) as sqld:
        yield sqld


@pytest.mark.parametrize("work", ["rows", "half of the rows", "statement", "group", "open"])
async def test_streams_that_nobody_needs_take_no_room_at_the_server(
    small: Sqld, transport: str, work: str
) -> None:
    name = small.create_namespace()
    backend = Backend(transport, port=small.port, namespace=name)
    async with backend.connect(isolation_level=None) as conn:
        for _ in range(8):
            # By this it learns that statements may share a request over HTTP.
            await conn.execute("SELECT 1")

        async def run() -> None:
            if work == "rows":
                assert len(await conn.fetch_all(LARGE)) == COUNT
            elif work == "half of the rows":
                async with conn.execute(LARGE) as cursor:
                    assert await cursor.fetchone()
            elif work == "statement":
                await conn.fetch_scalar("SELECT 1")
            elif work == "group":
                async with anyio.create_task_group() as tasks:
                    for _ in range(6):
                        tasks.start_soon(conn.fetch_scalar, "SELECT 1")
            else:
                opening = backend.connect()
                try:
                    await opening
                finally:
                    with anyio.CancelScope(shield=True):
                        await opening.close()

        for number in range(5 * FEW):
            if work in {"statement", "group", "open"}:
                # At any moment of it.
                with anyio.move_on_after(number % 20 * 0.0002):
                    await run()
                await anyio.sleep(0.005)
            else:
                await run()
    async with backend.connect() as other:
        await assert_healthy(other)
    small.remove_namespace(name)


async def test_cancelled_write_takes_no_room_at_the_server(small: Sqld, transport: str) -> None:
    name = small.create_namespace()
    backend = Backend(transport, port=small.port, namespace=name)
    with Proxy(small.port) as proxy:
        async with backend.through(proxy).connect(isolation_level=None) as conn:
            await conn.execute("CREATE TABLE t (a)")
            sent = cancelled = 0
            while cancelled < 2 * FEW:
                proxy.delay = 0.3
                with anyio.move_on_after(0.05) as scope:
                    await conn.execute("INSERT INTO t VALUES (?)", (sent,))
                sent += 1
                # The server has answered, and nobody heard of it.
                cancelled += scope.cancelled_caught
                proxy.delay = 0
                async with backend.connect(isolation_level=None) as other, other.transaction():
                    with anyio.fail_after(STEAL / 2):
                        await other.execute("INSERT INTO t VALUES (-1)")
            written = [a for (a,) in await conn.fetch_all("SELECT a FROM t WHERE a >= 0")]
        assert written == list(range(sent))
    small.remove_namespace(name)


# Ours, of 64 MB. SQLite's own zeroblobs cost a server little.
HUGE = f"{NUMBERS} SELECT zeroblob(1000000) FROM n LIMIT 70"
HUGE_RETURNING = f"INSERT INTO t (b) {HUGE} RETURNING b"


@pytest.fixture
async def huge(generous: Sqld, transport: str) -> AsyncIterator[Connection]:
    """Return a connection to a server that answers with whatever there is."""
    name = generous.create_namespace()
    backend = Backend(transport, port=generous.port, namespace=name)
    async with backend.connect(isolation_level=None) as conn:
        await conn.execute("CREATE TABLE t (a UNIQUE, b)")
        yield conn
    generous.remove_namespace(name)


async def test_answer_that_we_do_not_take_is_streamed_beside_others(huge: Connection) -> None:
    answers: list[Any] = []

    async def ask(number: int) -> None:
        if number == 2:
            rows = await huge.fetch_all(HUGE)
            assert {len(value) for (value,) in rows} == {1000000}
            answers.append(len(rows))
        elif number % 2:
            await huge.execute("INSERT INTO t (a) VALUES (?)", (number,))
        else:
            answers.append(await huge.fetch_scalar("SELECT ?", (number,)))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(ask, number)
    assert sorted(answers) == [0, 4, 6, 8, 70]
    assert await rows_of(huge) == [1, 3, 5, 7, 9]
    await assert_healthy(huge)


async def test_answer_that_we_do_not_take_inside_of_a_transaction(
    huge: Connection, transport: str
) -> None:
    async def block() -> None:
        async with huge.transaction():
            await huge.execute("INSERT INTO t (a) VALUES (1)")
            assert len(await huge.fetch_all(HUGE)) == 70
            assert await rows_of(huge) == [1]

    if transport == "ws":
        await block()
        assert await rows_of(huge) == [1]
    else:
        # What names the transaction was in the answer.
        with pytest.raises(aiolibsql.OperationalError, match="larger than the limit"):
            await block()
        assert await rows_of(huge) == []
    await assert_healthy(huge)


async def test_write_whose_answer_we_do_not_take_says_what_it_may_have_done(
    huge: Connection,
) -> None:
    for work in (huge.execute(HUGE_RETURNING), huge.batch([HUGE_RETURNING])):
        with pytest.raises(aiolibsql.OperationalError, match="may have been carried out") as caught:
            await work
        assert caught.value.server_code == "ANSWER_TOO_LARGE"
        assert not huge.in_transaction
    assert await huge.fetch_scalar("SELECT count(*) FROM t") == 140
    await assert_healthy(huge)


# Some hundreds of milliseconds of work.
SLOW = f"{NUMBERS.replace(str(COUNT), '3000000')} SELECT max(i) FROM n"


@pytest.mark.parametrize("size", ["for the server", "for us"])
async def test_cancelled_neighbour_leaves_large_answers_to_be_asked_for_again(
    frugal: Sqld, generous: Sqld, transport: str, size: str
) -> None:
    server, sql, count = (
        (frugal, LARGE, COUNT) if size == "for the server" else (generous, HUGE, 70)
    )
    name = server.create_namespace()
    with Proxy(server.port) as proxy:
        backend = Backend(transport, port=proxy.port, namespace=name)
        async with backend.connect(isolation_level=None) as conn:
            for _ in range(8):
                # By this it learns that statements may share a request over HTTP.
                await conn.execute("SELECT 1")
            found: dict[str, int] = {}
            told: list[str] = []

            async def all_of_it() -> None:
                found["all"] = len(await conn.fetch_all(sql))

            async def one_by_one() -> None:
                found["one by one"] = 0
                async with conn.execute(sql) as cursor:
                    async for _ in cursor:
                        found["one by one"] += 1

            async def wrong() -> None:
                with pytest.raises(aiolibsql.OperationalError, match="no_such"):
                    await conn.execute("SELECT no_such")
                told.append("wrong")

            async def slow(scope: anyio.CancelScope) -> None:
                with scope:
                    await conn.execute(SLOW)
                    told.append("slow")

            scope = anyio.CancelScope()
            async with anyio.create_task_group() as tasks:
                # While this is on its way the others come together.
                proxy.delay = 0.01
                tasks.start_soon(conn.execute, "SELECT 1")
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(slow, scope)
                for work in (all_of_it, one_by_one, wrong):
                    tasks.start_soon(work)
                await anyio.sleep(0.2)
                proxy.delay = 0
                scope.cancel()
                # What comes late is no part of a block that began before.
                async with conn.transaction():
                    await conn.execute("CREATE TABLE t (a)")
                    await conn.execute("SELECT 1")
            assert found == {"all": count, "one by one": count}
            assert told == ["wrong"]
            await assert_healthy(conn)
    server.remove_namespace(name)


async def test_connection_that_is_closed_tells_whoever_waits_for_a_large_answer(
    database: Backend,
) -> None:
    outcomes: list[str] = []

    async def large(conn: Connection) -> None:
        try:
            await conn.fetch_all(LARGE)
        except aiolibsql.Error as error:
            outcomes.append(str(error))
        else:
            outcomes.append("all")

    async def slow(conn: Connection, scope: anyio.CancelScope) -> None:
        with scope:
            await conn.execute(SLOW)

    scope = anyio.CancelScope()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            conn = await database.connect(isolation_level=None)
            for _ in range(8):
                await conn.execute("SELECT 1")
            tasks.start_soon(conn.execute, "SELECT 1")
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(slow, conn, scope)
            tasks.start_soon(large, conn)
            await anyio.sleep(0.1)
            scope.cancel()
            await conn.close()
    assert len(outcomes) == 1
    assert "all" in outcomes or "closed" in outcomes[0]


async def test_batch_of_reads_that_we_do_not_take_together_is_read_again(
    huge: Connection, transport: str
) -> None:
    # Each of them we would take.
    some = f"{NUMBERS} SELECT zeroblob(1000000) FROM n LIMIT 40"
    cursors = await huge._batch([some, "", "SELECT 1", some])
    assert [len(await cursor.fetchall()) for cursor in cursors] == [40, 0, 1, 40]
    assert not huge.in_transaction
    await assert_healthy(huge)

    async def inside() -> None:
        async with huge.transaction():
            await huge.execute("INSERT INTO t (a) VALUES (1)")
            cursors = await huge._batch([some, some])
            assert [len(await cursor.fetchall()) for cursor in cursors] == [40, 40]

    if transport == "ws":
        await inside()
        assert await rows_of(huge) == [1]
    else:
        # What names the transaction was in the answer.
        with pytest.raises(aiolibsql.OperationalError, match="larger than the limit") as caught:
            await inside()
        assert caught.value.server_code == "ANSWER_TOO_LARGE"
        assert "carried out" not in str(caught.value)
        assert await rows_of(huge) == []
    await assert_healthy(huge)


async def test_batch_of_a_client(database: Backend) -> None:
    url = f"{database.name}://{database.namespace}.localhost:{database.port}"
    async with create_client(url) as client:
        results = await client.batch(["CREATE TABLE u (a)", LARGE, "INSERT INTO u VALUES (1)"])
        assert len(results[1]) == COUNT
        assert len(await client.execute("SELECT a FROM u")) == 1
