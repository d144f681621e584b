"""Transactions of `aiolibsql.client` on every runtime, awaited and blocking."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from clients import ClientBehindAwait, Code, tuples, xs
from situations import ENDLESS, SLOW, Attempt, attempt, turns

from aiolibsql.client import Client, _address, create_client, create_client_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

FILES = Path("/proc/self/fd")


@pytest.fixture(params=["awaited", "blocking"])
async def client(
    request: pytest.FixtureRequest, client_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """Return a client of each kind in turn, with a table, that waits for locks only briefly."""
    monkeypatch.setattr(_address, "TIMEOUT", 0.2)
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


async def test_commit_keeps_everything_and_closes(client: Client) -> None:
    with client.transaction() as transaction:
        results = await transaction.execute("INSERT INTO t VALUES (?)", [1])
        assert (results.rows_affected, results.last_insert_rowid) == (1, 1)
        assert tuples(await transaction.execute(("SELECT x FROM t",))) == [(1,)]
        assert not transaction.closed
        await transaction.commit()
        assert transaction.closed
        assert await xs(client) == [1]
    assert await xs(client) == [1]


async def test_leaving_without_commit_undoes(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
    assert transaction.closed
    await client.execute("INSERT INTO t VALUES (2)")
    assert await xs(client) == [2]


async def test_leaving_by_an_exception_undoes(client: Client) -> None:
    with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    assert await xs(client) == []


async def test_rollback_undoes_and_closes(client: Client) -> None:
    transaction = client.transaction()
    await transaction.execute("INSERT INTO t VALUES (1)")
    await transaction.rollback()
    assert transaction.closed
    await client.execute("INSERT INTO t VALUES (2)")
    assert await xs(client) == [2]


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
@pytest.mark.parametrize("is_used", [True, False])
async def test_transaction_that_is_over_stays_so(client: Client, end: str, is_used: bool) -> None:
    transaction = client.transaction()
    if is_used:
        await transaction.execute("INSERT INTO t VALUES (1)")
    ended = getattr(transaction, end)()
    if ended is not None:
        await ended
    assert transaction.closed
    with Code("TRANSACTION_CLOSED"):
        await transaction.execute("SELECT 1")
    with Code("TRANSACTION_CLOSED"):
        await transaction.commit()
    await transaction.rollback()
    transaction.close()
    assert await xs(client) == ([1] if is_used and end == "commit" else [])


async def test_error_does_not_end_it(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        with Code("SQLITE_CONSTRAINT_UNIQUE"):
            await transaction.execute("INSERT INTO t VALUES (2), (1)")
        with Code("SQLITE_ERROR"):
            await transaction.execute("SELECT")
        with pytest.raises(TypeError):
            await transaction.execute("SELECT ?", [object()])  # type: ignore[list-item]
        assert not transaction.closed
        await transaction.execute("INSERT INTO t VALUES (3)")
        await transaction.commit()
    assert await xs(client) == [1, 3]


async def test_first_error_does_not_end_it(client: Client) -> None:
    with client.transaction() as transaction:
        with Code("SQLITE_ERROR"):
            await transaction.execute("SELECT")
        assert not transaction.closed
        await transaction.execute("INSERT INTO t VALUES (1)")
        await transaction.commit()
    assert await xs(client) == [1]


async def test_rollback_by_sqlite_closes_it(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        with Code("SQLITE_CONSTRAINT_UNIQUE"):
            await transaction.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
        assert transaction.closed
        with Code("TRANSACTION_CLOSED"):
            await transaction.execute("INSERT INTO t VALUES (2)")
        with Code("TRANSACTION_CLOSED"):
            await transaction.commit()
    assert await xs(client) == []


@pytest.mark.parametrize(("sql", "kept"), [("COMMIT", [1]), ("ROLLBACK", [])])
async def test_end_by_sql_closes_it(client: Client, sql: str, kept: list[int]) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        await transaction.execute(sql)
        assert transaction.closed
        with Code("TRANSACTION_CLOSED"):
            await transaction.execute("INSERT INTO t VALUES (2)")
    assert await xs(client) == kept


async def test_transaction_in_a_transaction_is_an_error(client: Client) -> None:
    with client.transaction() as transaction:
        with Code("SQLITE_ERROR"):
            await transaction.execute("BEGIN")
        await transaction.execute("SAVEPOINT a")
        await transaction.execute("INSERT INTO t VALUES (1)")
        await transaction.execute("ROLLBACK TO a")
        await transaction.execute("RELEASE a")
        assert not transaction.closed
        await transaction.commit()
    assert await xs(client) == []


@pytest.mark.local("readers keep nobody from committing")
async def test_commit_that_fails_can_be_tried_again(client: Client) -> None:
    await client.execute("INSERT INTO t VALUES (1)")
    with client.transaction() as reader, client.transaction() as writer:
        await reader.execute("SELECT x FROM t")
        await writer.execute("INSERT INTO t VALUES (2)")
        with Code("SQLITE_BUSY"):
            # Not in WAL mode: it has to wait for readers.
            await writer.commit()
        assert not writer.closed
        await reader.rollback()
        await writer.commit()
    assert await xs(client) == [1, 2]


async def test_reads_go_on_beside_a_transaction(file_url: str) -> None:
    # A database in memory has one lock for both.
    for make in (create_client, lambda url: ClientBehindAwait(create_client_sync(url))):
        async with make(file_url) as client:
            await client.execute("DROP TABLE IF EXISTS t")
            await client.execute("CREATE TABLE t (x)")
            with client.transaction() as transaction:
                await transaction.execute("INSERT INTO t VALUES (1)")
                assert await xs(client) == []
                await transaction.commit()
            assert await xs(client) == [1]


@pytest.mark.local("the server decides how long locks are waited for")
async def test_write_lock_makes_others_busy(client: Client) -> None:
    with client.transaction() as transaction, client.transaction() as other:
        await transaction.execute("INSERT INTO t VALUES (1)")
        with Code("SQLITE_BUSY"):
            await client.execute("INSERT INTO t VALUES (2)")
        with Code("SQLITE_BUSY"):
            await client.batch(["INSERT INTO t VALUES (2)"])
        with Code("SQLITE_BUSY"):
            await other.execute("INSERT INTO t VALUES (2)")
        assert not other.closed
        await transaction.commit()
        await other.execute("INSERT INTO t VALUES (3)")
        await other.commit()
    assert await xs(client) == [1, 3]


@pytest.mark.local("temporary tables")
async def test_temporary_table_goes_with_its_transaction(client: Client) -> None:
    for _ in range(2):
        with client.transaction() as transaction:
            await transaction.execute("CREATE TEMP TABLE once (x)")
            await transaction.commit()
    with Code("SQLITE_ERROR"):
        await client.execute("SELECT x FROM once")


async def test_closing_the_client_undoes_open_transactions(client: Client) -> None:
    transaction, unused = client.transaction(), client.transaction()
    await transaction.execute("INSERT INTO t VALUES (1)")
    await client.close()
    for made in (transaction, unused):
        assert made.closed
        with Code("CLIENT_CLOSED"):
            await made.execute("SELECT 1")
        with Code("CLIENT_CLOSED"):
            await made.commit()
        await made.rollback()
        made.close()


async def test_lock_is_free_when_the_client_is_closed(file_url: str) -> None:
    for make in (create_client, lambda url: ClientBehindAwait(create_client_sync(url))):
        async with make(file_url) as client:
            await client.execute("CREATE TABLE IF NOT EXISTS t (x)")
            transaction = client.transaction()
            await transaction.execute("INSERT INTO t VALUES (1)")
        async with create_client(file_url) as other:
            await other.execute("INSERT INTO t VALUES (2)")
            assert set(await xs(other)) == {2}


async def test_call_waits_for_the_lock_of_a_transaction(awaited: Client) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        with awaited.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (1)")
            tasks.start_soon(attempt, awaited.execute("INSERT INTO t VALUES (2)"), outcome)
            await anyio.sleep(0.1)
            assert outcome == Attempt()
            await transaction.commit()
    assert outcome.error is None
    assert await xs(awaited) == [1, 2]


@pytest.mark.local("a statement that never ends")
async def test_calls_do_not_wait_for_a_transaction_that_runs(awaited: Client) -> None:
    async with anyio.create_task_group() as tasks:
        with awaited.transaction() as transaction:
            tasks.start_soon(attempt, transaction.execute(ENDLESS), Attempt())
            await turns()
            with anyio.fail_after(10):
                assert await xs(awaited) == []
            tasks.cancel_scope.cancel()


async def test_statements_of_several_tasks_run_in_turn(awaited: Client) -> None:
    with awaited.transaction() as transaction:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(transaction.execute, "INSERT INTO t VALUES (?)", [number])
        await transaction.commit()
    assert await xs(awaited) == list(range(50))


async def test_close_while_a_statement_runs_undoes_it_and_those_that_wait(
    awaited: Client,
) -> None:
    running, waiting = Attempt(), Attempt()
    async with anyio.create_task_group() as tasks:
        with awaited.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (1)")
            tasks.start_soon(attempt, transaction.execute(SLOW), running)
            await turns()
            tasks.start_soon(attempt, transaction.execute("INSERT INTO t VALUES (2)"), waiting)
            await turns()
    assert running.error is None
    with Code("TRANSACTION_CLOSED"):
        assert waiting.error is not None
        raise waiting.error
    await awaited.execute("INSERT INTO t VALUES (3)")
    assert await xs(awaited) == [3]


async def test_close_while_it_begins_runs_nothing(awaited: Client) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        transaction = awaited.transaction()
        tasks.start_soon(attempt, transaction.execute("INSERT INTO t VALUES (1)"), outcome)
        await anyio.lowlevel.checkpoint()
        transaction.close()
    if outcome.error is not None:
        with Code("TRANSACTION_CLOSED"):
            raise outcome.error
    await awaited.execute("INSERT INTO t VALUES (2)")
    assert await xs(awaited) == [2]


async def test_transaction_can_be_closed_where_no_loop_runs(awaited: Client) -> None:
    transaction = awaited.transaction()
    await transaction.execute("INSERT INTO t VALUES (1)")
    await anyio.to_thread.run_sync(transaction.close)
    await awaited.execute("INSERT INTO t VALUES (2)")
    assert await xs(awaited) == [2]


async def test_transaction_that_is_forgotten_is_told_of(file_url: str) -> None:
    async def forget(client: Client) -> None:
        await client.transaction().execute("INSERT INTO t VALUES (1)")

    async with create_client(file_url) as client:
        await client.execute("CREATE TABLE t (x)")
        with pytest.warns(ResourceWarning, match="was deleted before being closed"):
            await forget(client)
            gc.collect()
        await client.execute("INSERT INTO t VALUES (2)")
        assert await xs(client) == [2]


@pytest.mark.skipif(not FILES.exists(), reason="no list of open files")
async def test_transactions_leave_no_file_open(file_url: str, tmp_path: Path) -> None:
    def opened() -> int:
        return sum(str(tmp_path) in str(entry.resolve()) for entry in FILES.iterdir())

    async with create_client(file_url) as client:
        await client.execute("CREATE TABLE t (x)")
        kept = opened()
        for number in range(20):
            with client.transaction() as transaction:
                await transaction.execute("INSERT INTO t VALUES (1)")
                if number % 2:
                    await transaction.commit()
        with client.transaction() as transaction:
            await transaction.execute("SELECT 1")
            await transaction.rollback()
        assert opened() == kept
    assert opened() == 0
