"""ConnectionPool with functions, aggregates, collations and hooks: whose context they run in."""

from __future__ import annotations

import contextlib
import contextvars
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
Conn = aiolibsql.Connection[Any]

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


@asynccontextmanager
async def pool_with(
    backend: Backend, set_up: Callable[[Conn], Awaitable[object]], *places: int
) -> AsyncIterator[Pool]:
    """Return a pool of a writer, which is at place 0, and two readers; some of them are set up."""
    opened = 0

    async def init(connection: Conn) -> None:
        nonlocal opened
        opened += 1
        if opened - 1 in places:
            await set_up(connection)

    async with aiolibsql.create_pool(backend.path, 3, init=init, acquire_timeout=5) as pool:
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


@pytest.fixture
async def tables(file_backend: Backend) -> Backend:
    """Return a file with a table ``t`` of one row."""
    async with file_backend.connect(pragmas={"journal_mode": "wal"}) as connection:
        await connection.execute("CREATE TABLE t (x, who)")
        await connection.execute("INSERT INTO t VALUES (1, 'first')")
    return file_backend


@pytest.fixture
async def pool(tables: Backend) -> AsyncIterator[Pool]:
    """Return a pool of one writer and two readers, none of which has a callback."""
    async with pool_with(tables, add_all) as pool:
        yield pool


async def caller_slowly() -> str:
    await anyio.sleep(0.001)
    return caller.get()


class Callers:
    """An aggregate: who has called its steps, and its end."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def step(self, _: object) -> None:
        self.seen.append(caller.get())

    def finalize(self) -> str:
        return ",".join([*self.seen, caller.get()])


class SlowCallers(Callers):
    async def step(self, _: object) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        self.seen.append(caller.get())


def collate(a: str, b: str) -> int:
    seen_by_collation.append(caller.get())
    return (a > b) - (a < b)


seen_by_collation: list[str] = []


async def add_all(connection: Conn) -> None:
    await connection.create_function("who", 0, caller.get)
    await connection.create_function("who_slowly", 0, caller_slowly)
    await connection.create_aggregate("callers", 1, Callers)
    await connection.create_aggregate("slow_callers", 1, SlowCallers)
    await connection.create_collation("mine", collate)


async def as_caller(name: str, work: Callable[[str], Any], sql: str) -> Any:
    """Await something in a task of its own with this name as the caller."""
    results: list[Any] = []

    async def run() -> None:
        caller.set(name)
        results.append(await work(sql))

    async with anyio.create_task_group() as group:
        contextvars.Context().run(group.start_soon, run)
    return results[0]


async def assert_called_for_me(pool: Pool) -> None:
    for sql, expected in (
        ("SELECT who()", "me"),
        ("SELECT who_slowly()", "me"),
        ("SELECT callers(x) FROM t", "me,me"),
        ("SELECT slow_callers(x) FROM t", "me,me"),
    ):
        for _ in range(2):
            assert await as_caller("me", pool.fetch_scalar, sql) == expected
    seen_by_collation.clear()
    sql = "SELECT 'a' < 'b' COLLATE mine"
    assert await as_caller("me", pool.fetch_scalar, sql) == 1
    assert set(seen_by_collation) == {"me"}


async def test_callbacks_that_only_the_writer_has_run_for_their_caller(tables: Backend) -> None:
    async with pool_with(tables, add_all, 0) as pool:
        await assert_called_for_me(pool)


async def test_callbacks_that_only_a_reader_has_run_for_their_caller(tables: Backend) -> None:
    async with pool_with(tables, add_all, 2) as pool:
        lent = [await pool.acquire(readonly=True) for _ in range(2)]
        for connection in list(lent):
            # The other one stays lent, so that statements come to this one.
            with contextlib.suppress(aiolibsql.OperationalError):
                await connection.fetch_scalar("SELECT who()")
                await pool.release(connection)
                lent.remove(connection)
        assert len(lent) == 1
        await assert_called_for_me(pool)
        await pool.release(lent[0])


@pytest.mark.parametrize("readonly", [True, False])
async def test_callbacks_of_a_borrowed_connection_run_for_their_caller(
    pool: Pool, readonly: bool
) -> None:
    """Also for tasks that the borrower starts, which have contexts of their own."""
    async with pool.read() if readonly else pool.write() as connection:
        await add_all(connection)
        seen: list[Any] = []

        async def call(name: str, sql: str) -> None:
            caller.set(name)
            seen.append((name, await pool.fetch_scalar(sql)))
            seen.append((name, await connection.fetch_scalar(sql)))

        async with anyio.create_task_group() as group:
            for number in range(6):
                sql = "SELECT who_slowly()" if number % 2 else "SELECT who()"
                group.start_soon(call, f"task {number}", sql)
        assert len(seen) == 12
        assert all(name == who for name, who in seen)


async def test_callbacks_of_every_connection_have_their_callers_context(
    file_backend: Backend,
) -> None:
    async with aiolibsql.create_pool(file_backend.path, 3, init=add_all, acquire_timeout=5) as pool:
        await pool.execute("CREATE TABLE t (x, who)")

        async def work(name: str) -> None:
            caller.set(name)
            for function in ("who", "who_slowly"):
                for _ in range(3):
                    await pool.execute(f"INSERT INTO t VALUES (?, {function}())", (name,))
                    assert await pool.fetch_scalar(f"SELECT {function}()") == name
                async with pool.transaction() as block:
                    await block.execute(f"INSERT INTO t VALUES (?, {function}())", (name,))
            assert set((await pool.fetch_scalar("SELECT slow_callers(x) FROM t")).split(",")) == {
                name
            }
            async with pool.execute(f"SELECT who() FROM ({NUMBERS_300})") as cursor:
                # Also of rows that are fetched later.
                assert {who async for (who,) in cursor} == {name}

        async with anyio.create_task_group() as group:
            for number in range(6):
                contextvars.copy_context().run(group.start_soon, work, f"task {number}")
        assert await pool.fetch_scalar("SELECT count(*) FROM t WHERE x = who") == 48


NUMBERS_300 = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) SELECT i FROM n"
)


async def test_async_init_that_fails_is_told(file_backend: Backend) -> None:
    async def init(connection: Conn) -> None:
        await connection.create_function("who", 0, caller_slowly)
        await anyio.lowlevel.checkpoint()
        assert await connection.fetch_scalar("SELECT who()") == "the opener"
        raise KeyError("init")

    caller.set("the opener")
    with pytest.raises(KeyError, match="init"):
        await aiolibsql.create_pool(file_backend.path, 3, init=init)


async def test_error_of_a_callback_is_the_cause(tables: Backend) -> None:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise LookupError("of the callback")

    async def set_up(connection: Conn) -> None:
        await connection.create_function("fail", 0, [].pop)
        await connection.create_function("fail_slowly", 0, fail)

    async with pool_with(tables, set_up, 0) as pool:
        for sql in (
            "SELECT fail()",
            "SELECT fail_slowly()",
            "INSERT INTO t VALUES (fail(), 1)",
            "INSERT INTO t VALUES (fail_slowly(), 1)",
        ):
            with pytest.raises(aiolibsql.OperationalError, match="user-defined function") as raised:
                await pool.execute(sql)
            assert isinstance(raised.value.__cause__, LookupError)
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_cancelled_async_callback_leaves_the_pool_usable(tables: Backend) -> None:
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep(60)

    async def set_up(connection: Conn) -> None:
        await connection.create_function("wait", 0, wait)

    async with pool_with(tables, set_up, 0) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, "INSERT INTO t VALUES (wait(), 1)")
            await begun.wait()
            group.cancel_scope.cancel()
        await pool.execute("INSERT INTO t VALUES (2, 2)")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2


async def write_as(pool: Pool, names: list[str]) -> list[str]:
    """Insert a row for each name at the same time, and return the names that were refused."""
    refused: list[str] = []

    async def write(name: str) -> None:
        caller.set(name)
        try:
            await pool.execute("INSERT INTO t VALUES (1, ?)", (name,))
        except aiolibsql.IntegrityError:
            refused.append(name)

    async with anyio.create_task_group() as group:
        for name in names:
            contextvars.copy_context().run(group.start_soon, write, name)
    return refused


async def test_hooks_of_the_writer_see_each_write_for_itself(tables: Backend) -> None:
    """With hooks nothing is committed together: what they are told would not be true."""
    commits: list[str] = []
    updates: list[tuple[Any, ...]] = []

    def note() -> bool:
        commits.append(caller.get())
        return False

    async def set_up(connection: Conn) -> None:
        await connection.set_commit_hook(note)
        await connection.set_update_hook(lambda *update: updates.append((caller.get(), *update)))

    names = [f"task {number}" for number in range(20)]
    async with pool_with(tables, set_up, 0) as pool:
        commits.clear()
        assert await write_as(pool, names) == []
        assert sorted(commits) == sorted(names)
        assert sorted(who for who, *_ in updates) == sorted(names)


async def test_commit_hook_that_refuses_undoes_one_write_only(tables: Backend) -> None:
    async def set_up(connection: Conn) -> None:
        await connection.set_commit_hook(lambda: caller.get() == "unwanted")

    async with pool_with(tables, set_up, 0) as pool:
        names = ["a", "b", "unwanted", "c", "unwanted", "d"]
        assert await write_as(pool, names) == ["unwanted", "unwanted"]
        rows = await pool.fetch_all("SELECT who FROM t ORDER BY who")
        assert rows == [("a",), ("b",), ("c",), ("d",), ("first",)]


async def test_authorizer_of_the_writer_refuses(tables: Backend) -> None:
    def authorize(action: int, first: str | None, *_: object) -> int:
        is_drop = action == aiolibsql.SQLITE_DROP_TABLE and first == "t"
        return aiolibsql.SQLITE_DENY if is_drop else aiolibsql.SQLITE_OK

    async def set_up(connection: Conn) -> None:
        await connection.set_authorizer(authorize)

    async with pool_with(tables, set_up, 0) as pool:
        for _ in range(2):
            with pytest.raises(aiolibsql.DatabaseError, match="not authorized"):
                await pool.execute("DROP TABLE t")
        await pool.execute("INSERT INTO t VALUES (2, 2)")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2


async def test_trace_of_the_writer_sees_no_savepoints(tables: Backend) -> None:
    traced: list[str] = []

    async def set_up(connection: Conn) -> None:
        await connection.set_trace_callback(traced.append)

    async with pool_with(tables, set_up, 0) as pool:
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(pool.execute, f"INSERT INTO t VALUES ({number}, 'x')")
        inserts = [sql for sql in traced if sql.startswith("INSERT")]
        assert sorted(inserts) == [f"INSERT INTO t VALUES ({number}, 'x')" for number in range(10)]
        assert not [sql for sql in traced if "SAVEPOINT" in sql]


@pytest.mark.parametrize("readonly", [True, False])
async def test_pool_inside_of_its_own_callback_is_refused(tables: Backend, readonly: bool) -> None:
    """It might wait for the connection that waits for the callback."""
    uses: list[Callable[[Pool], Any]] = [
        lambda pool: pool.execute("SELECT 1"),
        lambda pool: pool.fetch_all("SELECT 1"),
        lambda pool: pool.execute("INSERT INTO t VALUES (1, 1)"),
        lambda pool: pool.executemany("INSERT INTO t VALUES (?, 1)", [(1,)]),
        lambda pool: pool.acquire(),
        lambda pool: pool.acquire(readonly=True),
    ]
    pools: list[Pool] = []

    async def use(number: int) -> None:
        await uses[number](pools[0])

    async def set_up(connection: Conn) -> None:
        await connection.create_function("use", 1, use)

    sql = "SELECT use(?)" if readonly else "INSERT INTO t VALUES (use(?), 1)"
    async with pool_with(tables, set_up, 0, 1, 2) as pool:
        pools.append(pool)
        for number in range(len(uses)):
            with anyio.fail_after(4), pytest.raises(aiolibsql.OperationalError) as raised:
                await pool.execute(sql, (number,))
            assert isinstance(raised.value.__cause__, aiolibsql.ProgrammingError)
            assert "waits for it" in str(raised.value.__cause__)
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_pool_inside_of_an_iterable_of_its_executemany_is_refused(pool: Pool) -> None:
    async def rows() -> AsyncIterator[tuple[Any, ...]]:
        yield (2, 2)
        for row in await pool.fetch_all("SELECT * FROM t"):
            yield row

    with anyio.fail_after(4), pytest.raises(aiolibsql.ProgrammingError, match="waits for it"):
        await pool.executemany("INSERT INTO t VALUES (?, ?)", rows())
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 1
    # What was read before is fine, and so is another connection's business.
    rows_read = await pool.fetch_all("SELECT * FROM t")
    await pool.executemany("INSERT INTO t VALUES (?, ?)", rows_read)
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2
