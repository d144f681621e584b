"""Transactions that are tried again, or given up in time."""

from __future__ import annotations

import asyncio
import builtins
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, attempt_cancelled

import aiolibsql
from aiolibsql import _runtime

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

BUSY, BUSY_SNAPSHOT, LOCKED, LOCKED_SHAREDCACHE = 5, 517, 6, 262


@pytest.fixture
async def table(conn: Connection) -> Connection:
    await conn.execute("CREATE TABLE t (x)")
    return conn


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note what would be slept, and don't."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(_runtime, "sleep", sleep)
    return noted


class Work:
    """Writes a row, then fails as often as it is told to."""

    def __init__(self, conn: Connection, *errors: Exception) -> None:
        self.conn = conn
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        await self.conn.execute("INSERT INTO t VALUES (?)", (self.tries,))
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def failure(code: int) -> Exception:
    error = aiolibsql.OperationalError("no word of what it is")
    error.sqlite_errorcode = code
    return error


async def test_retry_of_what_succeeds_commits_once(table: Connection) -> None:
    work = Work(table)
    assert await aiolibsql.transaction_retry(table, work) == "done"
    assert work.tries == 1
    assert not table.in_transaction
    assert await table.fetch_all("SELECT x FROM t") == [(1,)]


@pytest.mark.parametrize("code", [BUSY, BUSY_SNAPSHOT, LOCKED, LOCKED_SHAREDCACHE])
async def test_retry_begins_anew_after_a_lock(
    table: Connection, delays: list[float], code: int
) -> None:
    work = Work(table, failure(code), failure(code))
    assert await aiolibsql.transaction_retry(table, work, initial_delay=0.1) == "done"
    assert work.tries == 3
    assert await table.fetch_all("SELECT x FROM t") == [(3,)]
    assert 0.05 <= delays[0] <= 0.1 <= delays[1] <= 0.2
    await assert_healthy(table)


async def test_retry_delay_grows_to_its_limit(table: Connection, delays: list[float]) -> None:
    work = Work(table, *(failure(BUSY) for _ in range(9)))
    await aiolibsql.transaction_retry(table, work, 10, initial_delay=1, max_delay=4)
    assert len(delays) == 9
    assert max(delays) <= 4
    assert min(delays[2:]) >= 2


async def test_retry_gives_up_after_its_tries(table: Connection, delays: list[float]) -> None:
    work = Work(table, *(failure(BUSY) for _ in range(9)))
    with pytest.raises(aiolibsql.OperationalError) as raised:
        await aiolibsql.transaction_retry(table, work, max_retries=3)
    assert raised.value.sqlite_errorcode == BUSY
    assert (work.tries, len(delays)) == (3, 2)
    assert await table.fetch_all("SELECT x FROM t") == []
    await assert_healthy(table)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("database is locked"),
        aiolibsql.OperationalError("database is locked"),
        failure(1),
        failure(19),
    ],
    ids=repr,
)
async def test_retry_of_another_error_raises_it_at_once(
    table: Connection, delays: list[float], error: Exception
) -> None:
    work = Work(table, error)
    with pytest.raises(type(error)) as raised:
        await aiolibsql.transaction_retry(table, work)
    assert raised.value is error
    assert (work.tries, delays) == (1, [])
    assert await table.fetch_all("SELECT x FROM t") == []


async def test_retry_waits_for_another_connections_lock(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.01) as conn, file_backend.second() as other:
        await conn.execute("CREATE TABLE t (x)")
        await other.execute("INSERT INTO t VALUES (0)")
        work = Work(conn)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(aiolibsql.transaction_retry, conn, work, 100, 0.01, 0.02)
            await anyio.sleep(0.1)
            assert work.tries == 0
            await other.commit()
        assert await conn.fetch_all("SELECT x FROM t") == [(0,), (1,)]


async def test_retry_cancelled_while_it_sleeps_ends_at_once(table: Connection) -> None:
    work = Work(table, failure(BUSY))
    outcome = await attempt_cancelled(
        aiolibsql.transaction_retry(table, work, initial_delay=60, max_delay=60)
    )
    assert outcome.is_cancelled
    assert outcome.seconds < 5
    assert work.tries == 1
    await assert_healthy(table)


@pytest.mark.parametrize("option", [{"max_retries": 0}, {"initial_delay": -1}, {"max_delay": -1}])
async def test_retry_with_a_wrong_number_is_refused(table: Connection, option: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|can't be"):
        await aiolibsql.transaction_retry(table, Work(table), **option)


async def test_retry_of_an_awaitable_is_refused(conn: Connection) -> None:
    awaitable = conn.interrupt()
    with pytest.raises(TypeError, match="callable"):
        await aiolibsql.transaction_retry(conn, awaitable)  # type: ignore[arg-type]


async def test_timeout_of_what_ends_in_time_commits(table: Connection) -> None:
    assert await aiolibsql.transaction_with_timeout(table, Work(table), 60) == "done"
    assert await aiolibsql.transaction_with_timeout(table, Work(table)(), 60) == "done"
    await table.rollback()
    assert await table.fetch_all("SELECT x FROM t") == [(1,), (1,)]


@pytest.mark.local("a statement that never ends")
async def test_timeout_in_a_statement_stops_it_and_rolls_back(table: Connection) -> None:
    async def work() -> None:
        await table.execute("INSERT INTO t VALUES (1)")
        await table.fetch_all(ENDLESS)

    began = time.perf_counter()
    with pytest.raises(aiolibsql.TimeoutError, match=r"did not end within 0\.05 s"):
        await aiolibsql.transaction_with_timeout(table, work, 0.05)
    assert time.perf_counter() - began < 5
    assert await table.fetch_all("SELECT x FROM t") == []
    await assert_healthy(table)


async def test_timeout_covers_the_wait_for_the_lock(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=60) as conn, file_backend.second() as other:
        await conn.execute("CREATE TABLE t (x)")
        await other.execute("INSERT INTO t VALUES (0)")
        work = Work(conn)
        with pytest.raises(aiolibsql.TimeoutError):
            await aiolibsql.transaction_with_timeout(conn, work, 0.05)
        assert work.tries == 0
        await other.rollback()
        await assert_healthy(conn)


@pytest.mark.parametrize("error", [builtins.TimeoutError("own"), ValueError("own")], ids=repr)
async def test_timeout_leaves_the_works_own_error_alone(
    table: Connection, error: Exception
) -> None:
    with pytest.raises(type(error), match="own") as raised:
        await aiolibsql.transaction_with_timeout(table, Work(table, error), 60)
    assert raised.value is error
    assert await table.fetch_all("SELECT x FROM t") == []
    await assert_healthy(table)


async def test_timeout_cancelled_from_outside_rolls_back(table: Connection) -> None:
    async def work() -> None:
        await table.execute("INSERT INTO t VALUES (1)")
        await anyio.sleep(60)

    outcome = await attempt_cancelled(aiolibsql.transaction_with_timeout(table, work, 60))
    assert outcome.is_cancelled
    assert await table.fetch_all("SELECT x FROM t") == []
    await assert_healthy(table)


async def test_both_inside_a_block_are_savepoints(table: Connection) -> None:
    async with table.transaction(force_rollback=True):
        await aiolibsql.transaction_retry(table, Work(table))
        await aiolibsql.transaction_with_timeout(table, Work(table))
        assert await table.fetch_scalar("SELECT count(*) FROM t") == 2
    assert await table.fetch_scalar("SELECT count(*) FROM t") == 0


@pytest.mark.parametrize("helper", ["transaction_retry", "transaction_with_timeout"])
async def test_helper_on_a_closed_connection_is_refused(conn: Connection, helper: str) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await getattr(aiolibsql, helper)(conn, Work(conn))


def test_task_of_its_own_is_what_older_pythons_have() -> None:
    cancelled = []

    async def give() -> str:
        return "done"

    async def fail() -> None:
        raise builtins.TimeoutError("own")

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        assert await _runtime._within_task(60, give) == "done"
        with pytest.raises(builtins.TimeoutError, match="own"):
            await _runtime._within_task(60, fail)
        with pytest.raises(_runtime.Expired):
            await _runtime._within_task(0.01, hang)
        task = asyncio.ensure_future(_runtime._within_task(60, hang))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(cancelled) == 2
