"""Group commit: writes that wait at the same time are committed together, and none notices."""

from __future__ import annotations

import contextvars
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool with tables, whose log was just emptied."""
    async with aiolibsql.create_pool(
        file_backend.path, 3, foreign_keys=True, acquire_timeout=5
    ) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
        await pool.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        await pool.execute(
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER"
            " REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        await pool.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield pool
        assert pool.stats().in_use == 0
        assert pool.stats().waiting == 0


async def together(pool: Pool, *statements: tuple[str, tuple[Any, ...]]) -> list[Any]:
    """Execute statements, which all wait in this order before the first runs."""
    results: list[Any] = [None] * len(statements)

    async def execute(place: int, sql: str, parameters: tuple[Any, ...]) -> None:
        try:
            results[place] = await pool.execute(sql, parameters)
        except aiolibsql.Error as error:
            results[place] = error

    async with anyio.create_task_group() as group, pool.write():
        for place, (sql, parameters) in enumerate(statements):
            # A task that was started inside of the block would take part in it.
            contextvars.Context().run(group.start_soon, execute, place, sql, parameters)
            await until_waiting(pool, place + 1)
    return results


async def until_waiting(pool: Pool, count: int) -> None:
    """Return when so many wait for the connection that writes."""
    with anyio.fail_after(5):
        while pool._waiting()[1] < count:
            await anyio.lowlevel.checkpoint()


INSERT = "INSERT INTO t (x) VALUES (?)"


async def test_a_hundred_writes_take_one_commit(pool: Pool, file_backend: Backend) -> None:
    assert file_backend.path is not None
    results = await together(pool, *[(INSERT, (i,)) for i in range(100)])
    assert [cursor.rowcount for cursor in results] == [1] * 100
    rows = await pool.fetch_all("SELECT id, x FROM t")
    assert sorted(x for _, x in rows) == list(range(100))
    # Each caller has the number of its own row.
    ids = {x: id_ for id_, x in rows}
    assert [cursor.lastrowid for cursor in results] == [ids[i] for i in range(100)]
    log = file_backend.path.with_name(file_backend.path.name + "-wal")
    # Each commit would append two pages and more.
    assert log.stat().st_size < 20 * 4096


async def test_one_that_fails_affects_no_other(pool: Pool) -> None:
    results = await together(
        pool,
        (INSERT, (1,)),
        (INSERT, (1,)),
        (INSERT, (2,)),
        ("INSERT INTO t (x) VALUES (?), (2)", (3,)),
        ("UPDATE t SET x = x + 10 WHERE x = ?", (2,)),
        ("INSERT INTO t (x) VALUES (?, 1)", (1,)),
        (INSERT, (4,)),
    )
    errors = [type(result) for result in results if isinstance(result, Exception)]
    assert errors == [
        aiolibsql.IntegrityError,
        aiolibsql.IntegrityError,
        aiolibsql.OperationalError,
    ]
    assert [place for place, r in enumerate(results) if isinstance(r, Exception)] == [1, 3, 5]
    assert await pool.fetch_all("SELECT x FROM t ORDER BY x") == [(1,), (4,), (12,)]


async def test_deferred_foreign_keys(pool: Pool) -> None:
    child = "INSERT INTO child (parent) VALUES (?)"
    results = await together(
        pool,
        (INSERT, (1,)),
        (child, (7,)),
        ("INSERT INTO parent VALUES (?)", (8,)),
        (child, (8,)),
        (child, (9,)),
        ("INSERT INTO parent VALUES (?)", (9,)),
    )
    # As each alone: a later parent does not help.
    assert [type(result).__name__ for result in results] == [
        "PoolCursor",
        "IntegrityError",
        "PoolCursor",
        "PoolCursor",
        "IntegrityError",
        "PoolCursor",
    ]
    assert results[1].sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY"
    assert await pool.fetch_all("SELECT parent FROM child") == [(8,)]
    assert await pool.fetch_all("SELECT id FROM parent ORDER BY id") == [(8,), (9,)]


async def test_or_rollback_ends_only_its_own_statement(pool: Pool) -> None:
    results = await together(
        pool,
        (INSERT, (1,)),
        ("INSERT INTO t (x) VALUES (?) RETURNING x", (2,)),
        ("INSERT OR ROLLBACK INTO t (x) VALUES (?)", (1,)),
        (INSERT, (3,)),
        ("INSERT OR ROLLBACK INTO t (x) VALUES (?)", (3,)),
        (INSERT, (4,)),
    )
    assert [type(result).__name__ for result in results] == [
        "PoolCursor",
        "PoolCursor",
        "IntegrityError",
        "PoolCursor",
        "IntegrityError",
        "PoolCursor",
    ]
    # It ran twice, and is told once.
    assert await results[1].fetchall() == [(2,)]
    assert await pool.fetch_all("SELECT x FROM t ORDER BY x") == [(1,), (2,), (3,), (4,)]


async def test_or_fail_keeps_what_came_before_its_error(pool: Pool) -> None:
    results = await together(
        pool,
        (INSERT, (1,)),
        ("INSERT OR FAIL INTO t (x) VALUES (?), (6), (1), (7)", (5,)),
        (INSERT, (2,)),
    )
    assert isinstance(results[1], aiolibsql.IntegrityError)
    assert await pool.fetch_all("SELECT x FROM t ORDER BY x") == [(1,), (2,), (5,), (6,)]


async def test_returning(pool: Pool) -> None:
    sql = "INSERT INTO t (x) VALUES (?), (? + 1000) RETURNING x, id"
    results = await together(pool, *[(sql, (i, i)) for i in range(20)])
    for i, cursor in enumerate(results):
        rows = await cursor.fetchall()
        assert [x for x, _ in rows] == [i, i + 1000]
        assert cursor.rowcount == 2


async def test_a_trigger_that_rolls_back(pool: Pool) -> None:
    await pool.execute(
        "CREATE TRIGGER no_13 BEFORE INSERT ON t WHEN new.x = 13"
        " BEGIN SELECT RAISE(ROLLBACK, 'no 13'); END"
    )
    results = await together(pool, *[(INSERT, (i,)) for i in range(10, 17)])
    assert [str(result) for result in results if isinstance(result, Exception)] == ["no 13"]
    assert await pool.fetch_all("SELECT x FROM t ORDER BY x") == [
        (i,) for i in range(10, 17) if i != 13
    ]


async def test_a_full_disk(pool: Pool, file_backend: Backend) -> None:
    pages = await pool.fetch_scalar("PRAGMA page_count")
    large = "INSERT INTO t (x) VALUES (zeroblob(?))"
    limits = {"max_page_count": pages + 3}
    async with aiolibsql.create_pool(file_backend.path, 2, pragmas=limits) as small:
        results = await together(small, (INSERT, (1,)), (large, (1_000_000,)), (INSERT, (2,)))
    assert [type(result).__name__ for result in results] == [
        "PoolCursor",
        "OperationalError",
        "PoolCursor",
    ]
    assert results[1].sqlite_errorname == "SQLITE_FULL"
    assert await pool.fetch_all("SELECT x FROM t ORDER BY x") == [(1,), (2,)]


async def test_functions_of_python_run_for_their_own_caller(file_backend: Backend) -> None:
    caller: contextvars.ContextVar[int] = contextvars.ContextVar("caller", default=-1)

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("caller", 0, caller.get)

    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        await pool.execute("CREATE TABLE t (x, caller)")

        async def write(number: int) -> None:
            caller.set(number)
            await pool.execute("INSERT INTO t VALUES (?, caller())", (number,))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(write, number)
        assert await pool.fetch_scalar("SELECT count(*) FROM t WHERE x = caller") == 20


async def test_a_transaction_does_not_wait_for_ever(pool: Pool) -> None:
    """Writes that never cease let it in, in its turn."""
    written = 0
    is_over = False

    async def write() -> None:
        nonlocal written
        while not is_over:
            await pool.execute("INSERT INTO parent DEFAULT VALUES")
            written += 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(write)
        with anyio.fail_after(20):
            for _ in range(10):
                async with pool.transaction():
                    before = await pool.fetch_scalar("SELECT count(*) FROM parent")
                    await anyio.sleep(0.001)
                    assert await pool.fetch_scalar("SELECT count(*) FROM parent") == before
        is_over = True
    assert await pool.fetch_scalar("SELECT count(*) FROM parent") == written


@pytest.mark.parametrize("delay", [0, 0.0002, 0.001, 0.005])
async def test_cancelled_members_are_whole_or_not_there(pool: Pool, delay: float) -> None:
    sql = "INSERT INTO t (x) VALUES (?), (? + 1000000)"
    acknowledged: set[int] = set()

    async def write(number: int) -> None:
        await pool.execute(sql, (number, number))
        acknowledged.add(number)

    for round_ in range(20):
        async with anyio.create_task_group() as group:
            for number in range(round_ * 20, round_ * 20 + 20):
                group.start_soon(write, number)
            await anyio.sleep(delay)
            group.cancel_scope.cancel()
    there = {x for (x,) in await pool.fetch_all("SELECT x FROM t")}
    assert acknowledged <= there
    assert {x + 1_000_000 for x in there if x < 1_000_000} == {x for x in there if x >= 1_000_000}
    assert pool.stats().waiting == 0


async def test_a_running_member_that_is_cancelled_does_not_take_the_others_along(
    pool: Pool,
) -> None:
    """Its caller goes at once; the rest is committed, and it is whole or not there."""
    slow = f"INSERT INTO parent {NUMBERS} SELECT i + 1000 FROM n LIMIT 3000000"
    seconds: list[float] = []

    async def write_slowly(started: anyio.Event, scope: anyio.CancelScope) -> None:
        with scope:
            started.set()
            began = time.perf_counter()
            try:
                await pool.execute(slow)
            finally:
                seconds.append(time.perf_counter() - began)

    written: list[int] = []

    async def write(number: int) -> None:
        await pool.execute("INSERT INTO t (x) VALUES (?)", (f"{len(seconds)} {number}",))
        written.append(number)

    for _ in range(3):
        written.clear()
        started, scope = anyio.Event(), anyio.CancelScope()
        with anyio.fail_after(15):
            async with anyio.create_task_group() as group:
                async with pool.write():
                    for number in range(5):
                        contextvars.Context().run(group.start_soon, write, number)
                    contextvars.Context().run(group.start_soon, write_slowly, started, scope)
                    for number in range(5, 10):
                        contextvars.Context().run(group.start_soon, write, number)
                    await started.wait()
                    await until_waiting(pool, 11)
                await anyio.sleep(0.05)
                scope.cancel()
        assert sorted(written) == list(range(10))
        assert await pool.fetch_scalar("SELECT count(*) FROM parent") in {0, 3_000_000}
        await pool.execute("DELETE FROM parent")
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 30


FAILING_COMMITS = """
import asyncio, resource, signal, sys
import aiolibsql
async def main(path):
    async with aiolibsql.create_pool(path, 3) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        await pool.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        limit = 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        async def write(number, size):
            try:
                await pool.execute("INSERT INTO t VALUES (?, zeroblob(?))", (number, size))
            except aiolibsql.Error as error:
                return type(error).__name__, error.sqlite_errorname
            return None
        # None of them is too large by itself; together they are.
        outcomes = await asyncio.gather(*[write(number, 3_000) for number in range(100)])
        done = [number for number, outcome in enumerate(outcomes) if outcome is None]
        failed = {outcome for outcome in outcomes if outcome is not None}
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        there = [id for (id,) in await pool.fetch_all("SELECT id FROM t ORDER BY id")]
        print(there == done, 0 < len(done) < 100, sorted(failed))
        # Nothing is left behind: it works again.
        print(await write(1000, 3_000), await pool.fetch_scalar("PRAGMA integrity_check"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
async def test_a_commit_that_fails(file_backend: Backend) -> None:
    """The disk is full when the group is committed: each member is run again, alone."""
    with anyio.fail_after(30):
        ran = await anyio.run_process(
            [sys.executable, "-c", FAILING_COMMITS, str(file_backend.path)], check=False
        )
    assert ran.stderr == b""
    first, second = ran.stdout.decode().splitlines()
    assert first.startswith("True True [('OperationalError', 'SQLITE_")
    assert second == "None ok"
