"""`aiolibsql.client` cancelled at each of its awaits: no transaction stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from clients import CancelledAt, Code, tuples, xs
from situations import ENDLESS, ENDLESS_INSERT, Attempt, attempt_cancelled, turns

from aiolibsql.client import Client, LibsqlError, create_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

# More than any of the works has, so that one that never ends is noticed.
MOST = 200


@pytest.fixture
async def client(client_url: str) -> AsyncIterator[Client]:
    async with create_client(client_url) as made:
        await made.execute("CREATE TABLE t (x)")
        yield made


async def execute(client: Client) -> None:
    await client.execute("INSERT INTO t VALUES (1), (2)")


async def read(client: Client) -> None:
    await client.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999) SELECT i FROM n"
    )


async def batch(client: Client) -> None:
    await client.batch(["INSERT INTO t VALUES (1)", "SELECT x FROM t", "INSERT INTO t VALUES (2)"])


async def batch_that_fails(client: Client) -> None:
    with Code("SQLITE_ERROR"):
        await client.batch(["INSERT INTO t VALUES (1)", "INSERT INTO missing VALUES (2)"])


async def commit(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        await transaction.execute("INSERT INTO t VALUES (2)")
        await transaction.commit()


async def rollback(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        await transaction.rollback()


async def leave(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")


WORKS: list[Callable[[Client], Coroutine[Any, Any, None]]] = [
    execute,
    read,
    batch,
    batch_that_fails,
    commit,
    rollback,
    leave,
]


async def cancelled_at_each(
    work: Callable[[], Coroutine[Any, Any, None]], check: Callable[[bool], Awaitable[None]]
) -> int:
    """Run work again and again, cancelled one await later each time, and check what it leaves."""
    for n in range(1, MOST):
        with anyio.CancelScope() as scope:
            step = CancelledAt(work(), n, scope)
            await step
        await check(scope.cancelled_caught)
        if step.suspensions < n:
            return n
    raise AssertionError("it never comes to its end")


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_cancelled_at_each_await_leaves_all_or_nothing(
    client: Client, work: Callable[[Client], Coroutine[Any, Any, None]]
) -> None:
    async def check(_is_cancelled: bool) -> None:
        with anyio.fail_after(4):
            assert await xs(client) in ([], [1, 2])
            # Would have to wait for a transaction that was left open.
            await client.execute("DELETE FROM t")
            with client.transaction() as transaction:
                await transaction.execute("INSERT INTO t VALUES ('next')")

    # A batch is one await: its statements go together.
    least = 1 if work is batch_that_fails else 2
    assert await cancelled_at_each(lambda: work(client), check) >= least


async def test_close_cancelled_at_each_await_closes(file_url: str) -> None:
    async with create_client(file_url) as other:
        await other.execute("CREATE TABLE t (x)")
        clients: list[Client] = []

        async def close() -> None:
            client = create_client(file_url)
            clients.append(client)
            with anyio.CancelScope(shield=True):
                await client.execute("SELECT 1")
                transaction = client.transaction()
                await transaction.execute("INSERT INTO t VALUES (1)")
            await client.close()

        async def check(_is_cancelled: bool) -> None:
            assert clients[-1].closed or _is_cancelled
            await clients[-1].close()
            with Code("CLIENT_CLOSED"):
                await clients[-1].execute("SELECT 1")
            with anyio.fail_after(4):
                await other.execute("INSERT INTO t VALUES (2)")
            assert set(await xs(other)) == {2}

        assert await cancelled_at_each(close, check) > 1


@pytest.mark.local("a statement that never ends")
async def test_transaction_whose_running_write_is_cancelled_commits_nothing(
    client: Client,
) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        outcome = await attempt_cancelled(transaction.execute(ENDLESS_INSERT))
        assert outcome.is_cancelled
        for _ in range(3):
            with Code("TRANSACTION_CLOSED"):
                await transaction.execute("INSERT INTO t VALUES (2)")
        with Code("TRANSACTION_CLOSED"):
            await transaction.commit()
    assert await xs(client) == []


@pytest.mark.local("a statement that never ends")
async def test_commit_after_a_running_write_was_cancelled_is_refused(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        assert (await attempt_cancelled(transaction.execute(ENDLESS_INSERT))).is_cancelled
        with Code("TRANSACTION_CLOSED"):
            await transaction.commit()
        assert transaction.closed
    assert await xs(client) == []


@pytest.mark.local("a cancelled statement ends its transaction")
async def test_transaction_whose_running_read_is_cancelled_goes_on(client: Client) -> None:
    with client.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        assert (await attempt_cancelled(transaction.execute(ENDLESS))).is_cancelled
        await transaction.execute("INSERT INTO t VALUES (2)")
        await transaction.commit()
    assert await xs(client) == [1, 2]


@pytest.mark.local("a cancelled statement ends its transaction")
async def test_transaction_cancelled_at_its_first_statement_begins_anew(client: Client) -> None:
    for n in range(1, MOST):
        with client.transaction() as transaction:
            with anyio.CancelScope() as scope:
                step = CancelledAt(transaction.execute("SELECT 1"), n, scope)
                await step
            await transaction.execute("INSERT INTO t VALUES (?)", [n])
            assert tuples(await transaction.execute("SELECT x FROM t")) == [(n,)]
            await transaction.rollback()
        if step.suspensions < n:
            break
    assert n > 1
    assert await xs(client) == []


@pytest.mark.local("a statement that never ends")
async def test_running_call_that_is_cancelled_frees_the_connection(client: Client) -> None:
    for sql in (ENDLESS, ENDLESS_INSERT):
        assert (await attempt_cancelled(client.execute(sql))).is_cancelled
        assert (await attempt_cancelled(client.batch(["SELECT 1", sql]))).is_cancelled
    with anyio.fail_after(4):
        assert await xs(client) == []


@pytest.mark.local("a statement that never ends")
async def test_close_cancelled_while_a_call_runs_closes_after_it(client: Client) -> None:
    call = Attempt()

    async def run() -> None:
        try:
            await client.execute(ENDLESS)
        except anyio.get_cancelled_exc_class():
            call.is_cancelled = True
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await turns()
        assert (await attempt_cancelled(client.close())).is_cancelled
        assert client.closed
        with pytest.raises(LibsqlError):
            await client.execute("SELECT 1")
        tasks.cancel_scope.cancel()
    assert call.is_cancelled
