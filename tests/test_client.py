"""`aiolibsql.client` on every runtime: calls, batches, and being closed; awaited and blocking."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from clients import ClientBehindAwait, Code, tuples, xs
from situations import ENDLESS, SLOW, Attempt, attempt, turns

import aiolibsql
from aiolibsql.client import Client, LibsqlError, Statement, create_client, create_client_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


@pytest.fixture(params=["awaited", "blocking"])
async def client(request: pytest.FixtureRequest, client_url: str) -> AsyncIterator[Client]:
    """Return a client of each kind in turn, with a table."""
    if request.param == "awaited":
        made = create_client(client_url)
    else:
        made = ClientBehindAwait(create_client_sync(client_url))
    async with made:
        await made.execute("DROP TABLE IF EXISTS t")
        await made.execute("CREATE TABLE t (x UNIQUE)")
        yield made


@pytest.fixture
async def awaited(client_url: str) -> AsyncIterator[Client]:
    """Return a client whose calls may come from several tasks, with a table."""
    async with create_client(client_url) as made:
        await made.execute("DROP TABLE IF EXISTS t")
        await made.execute("CREATE TABLE t (x UNIQUE)")
        yield made


async def test_execute_takes_every_form_of_statement(client: Client) -> None:
    for stmt in ("SELECT 1", ("SELECT 1",), ("SELECT ?", [1]), Statement("SELECT :a", {"a": 1})):
        assert tuples(await client.execute(stmt)) == [(1,)]
    assert tuples(await client.execute("SELECT ?", [1])) == [(1,)]
    assert tuples(await client.execute(("SELECT ?",), (1,))) == [(1,)]


async def test_execute_is_committed_by_itself(client: Client) -> None:
    results = await client.execute("INSERT INTO t VALUES (?)", [5])
    assert (results.rows_affected, results.last_insert_rowid) == (1, 1)
    with Code("SQLITE_CONSTRAINT_UNIQUE"):
        await client.execute("INSERT INTO t VALUES (6), (5)")
    assert await xs(client) == [5]


async def test_execute_reads_every_row(client: Client) -> None:
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n"
    )
    assert [row["i"] for row in await client.execute(sql)] == list(range(1, 5001))


async def test_error_has_the_code_and_the_cause(client: Client) -> None:
    with Code("SQLITE_ERROR") as raised:
        await client.execute("SELECT x FROM missing")
    assert raised.error is not None
    assert raised.error.explanation == "no such table: missing"
    assert isinstance(raised.error.__cause__, aiolibsql.OperationalError)
    assert await xs(client) == []


@pytest.mark.local("text that is not UTF-8")
async def test_text_that_is_not_utf8_is_an_error(client: Client) -> None:
    with Code("SQLITE"):
        await client.execute("SELECT CAST(x'ff' AS TEXT)")


@pytest.mark.parametrize("sql", [5, None, b"SELECT 1"])
async def test_sql_that_is_no_text_is_a_type_error(client: Client, sql: Any) -> None:
    with pytest.raises(TypeError):
        await client.execute(sql)
    with pytest.raises(TypeError):
        await client.batch([sql])


async def test_batch_returns_the_result_of_each(client: Client) -> None:
    results = await client.batch(
        [
            "INSERT INTO t VALUES (1)",
            ("INSERT INTO t VALUES (?)", [2]),
            Statement("SELECT x FROM t WHERE x > :x", {"x": 1}),
            ("SELECT x FROM t",),
        ]
    )
    assert [result.rows_affected for result in results] == [1, 1, -1, -1]
    assert [tuples(result) for result in results] == [[], [], [(2,)], [(1,), (2,)]]
    assert await client.batch([]) == []


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("INSERT INTO missing VALUES (1)", "SQLITE_ERROR"),
        ("INSERT INTO t VALUES (1)", "SQLITE_CONSTRAINT_UNIQUE"),
        ("INSERT OR ROLLBACK INTO t VALUES (1)", "SQLITE_CONSTRAINT_UNIQUE"),
        ("COMMIT", "TRANSACTIONS_NOT_SUPPORTED"),
        ("-- over\nEND TRANSACTION", "TRANSACTIONS_NOT_SUPPORTED"),
        ("ROLLBACK", "TRANSACTIONS_NOT_SUPPORTED"),
        ("BEGIN", "TRANSACTIONS_NOT_SUPPORTED"),
    ],
)
async def test_batch_that_fails_keeps_nothing(client: Client, last: str, code: str) -> None:
    await client.execute("INSERT INTO t VALUES (0)")
    with Code(code):
        await client.batch(["INSERT INTO t VALUES (1)", last, "INSERT INTO t VALUES (2)"])
    assert await xs(client) == [0]


async def test_batch_with_arguments_that_cannot_be_stored_executes_nothing(client: Client) -> None:
    bad: Any = ("SELECT ?", [object()])
    with pytest.raises(TypeError):
        await client.batch(["INSERT INTO t VALUES (1)", bad])
    assert await xs(client) == []


async def test_batch_may_have_savepoints_of_its_own(client: Client) -> None:
    await client.batch(
        [
            "INSERT INTO t VALUES (1)",
            "SAVEPOINT a",
            "INSERT INTO t VALUES (2)",
            "ROLLBACK TO a",
            "RELEASE a",
        ]
    )
    assert await xs(client) == [1]


async def test_batch_whose_commit_fails_keeps_nothing(client: Client) -> None:
    await client.execute("PRAGMA foreign_keys = ON")
    await client.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    await client.execute("CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    with Code("SQLITE_CONSTRAINT_FOREIGNKEY"):
        await client.batch(["INSERT INTO c VALUES (1)"])
    assert tuples(await client.execute("SELECT count(*) FROM c")) == [(0,)]


async def test_closed_client_refuses_everything(client: Client) -> None:
    assert not client.closed
    await client.close()
    assert client.closed
    await client.close()
    with Code("CLIENT_CLOSED"):
        await client.execute("SELECT 1")
    with Code("CLIENT_CLOSED"):
        await client.batch(["SELECT 1"])
    with Code("CLIENT_CLOSED"):
        await client.batch([])
    with Code("CLIENT_CLOSED"):
        client.transaction()


async def test_client_that_was_never_used_closes(client_url: str) -> None:
    async with create_client(client_url) as client:
        assert isinstance(client, Client)
    assert client.closed


async def test_file_that_cannot_be_opened_is_told_at_the_first_use(tmp_path: Path) -> None:
    async with create_client(f"file:{tmp_path / 'missing' / 'planets.db'}") as client:
        for _ in range(2):
            with Code("SQLITE_CANTOPEN"):
                await client.execute("SELECT 1")
        with client.transaction() as transaction, Code("SQLITE_CANTOPEN"):
            await transaction.execute("SELECT 1")


async def test_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "planets.db"
    path.write_bytes(b"planets" * 1000)
    async with create_client(f"file:{path}") as client:
        with Code("SQLITE_NOTADB"):
            await client.execute("SELECT * FROM sqlite_master")


async def test_many_calls_at_once_all_succeed(awaited: Client) -> None:
    async def write(number: int) -> None:
        await awaited.execute("INSERT INTO t VALUES (?)", [number])

    async def write_two(number: int) -> None:
        # The kind that would deadlock beside another of its kind: it reads and then writes.
        await awaited.batch(["SELECT max(x) FROM t", ("INSERT INTO t VALUES (?)", [number])])

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(write if number % 2 else write_two, number)
    assert await xs(awaited) == list(range(100))


async def test_loop_goes_on_while_calls_run(awaited: Client) -> None:
    outcome = Attempt()
    ticks = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, awaited.execute(SLOW), outcome)
        while outcome.value is None and outcome.error is None:
            await anyio.sleep(0.001)
            ticks += 1
    assert outcome.error is None
    assert ticks > 5


@pytest.mark.local("a statement that never ends")
async def test_call_that_was_cancelled_in_the_queue_never_runs(awaited: Client) -> None:
    queued = [Attempt() for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as running:
            for _ in range(10):
                running.start_soon(attempt, awaited.execute(ENDLESS), Attempt())
            await turns()
            async with anyio.create_task_group() as waiting:
                for number, outcome in enumerate(queued):
                    sql = f"INSERT INTO t VALUES ({number})"
                    waiting.start_soon(attempt, awaited.execute(sql), outcome)
                await turns()
                waiting.cancel_scope.cancel()
            running.cancel_scope.cancel()
        tasks.start_soon(awaited.execute, "INSERT INTO t VALUES ('after')")
    assert all(outcome.is_cancelled for outcome in queued)
    assert await xs(awaited) == ["after"]


async def test_close_waits_for_the_calls_in_hand_and_refuses_those_that_wait(
    awaited: Client,
) -> None:
    outcomes = [Attempt() for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        for outcome in outcomes:
            tasks.start_soon(attempt, awaited.execute(SLOW), outcome)
        await turns()
        await awaited.close()
    done = [outcome for outcome in outcomes if outcome.error is None]
    refused = [outcome.error for outcome in outcomes if outcome.error is not None]
    assert {tuples(outcome.value)[0] for outcome in done} == {(300000,)}
    assert refused
    for error in refused:
        assert isinstance(error, LibsqlError)
        assert error.code == "CLIENT_CLOSED"


async def test_client_serves_several_loops_at_once(client_url: str) -> None:
    client = create_client(client_url)
    await client.execute("DROP TABLE IF EXISTS t")
    await client.execute("CREATE TABLE t (x)")

    async def write(first: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(first, first + 25):
                tasks.start_soon(client.execute, "INSERT INTO t VALUES (?)", [number])

    def elsewhere(first: int, backend: str) -> None:
        anyio.run(write, first, backend=backend)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for place, backend in enumerate(["asyncio", "trio", "asyncio", "trio"]):
                tasks.start_soon(anyio.to_thread.run_sync, elsewhere, place * 25, backend)
            tasks.start_soon(write, 100)
    assert await xs(client) == list(range(125))
    await client.close()


@pytest.mark.local("a statement that never ends")
async def test_loop_that_ends_while_its_calls_wait_takes_no_turn_with_it(
    awaited: Client,
) -> None:
    async def give_up() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(awaited.execute, ENDLESS)
            await turns()
            tasks.cancel_scope.cancel()

    def elsewhere(backend: str) -> None:
        anyio.run(give_up, backend=backend)

    for backend in ("asyncio", "trio"):
        await anyio.to_thread.run_sync(elsewhere, backend)
    began = time.perf_counter()
    assert await xs(awaited) == []
    assert time.perf_counter() - began < 5
