"""ConnectionPool: whatever a borrower leaves, the next one gets what `create_pool` described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pool_tasks import SCHEMA, until

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]
LENGTH = aiolibsql.SQLITE_LIMIT_LENGTH
TRIGGERS = aiolibsql.SQLITE_DBCONFIG_ENABLE_TRIGGER


async def _configure(conn: Conn) -> None:
    await conn.setconfig(TRIGGERS, False)


async def _limit(conn: Conn) -> None:
    await conn.setlimit(LENGTH, 1000)


def _sql(sql: str) -> Callable[[Conn], Awaitable[None]]:
    async def run(conn: Conn) -> None:
        await conn.execute(sql)

    return run


def _script(sql: str) -> Callable[[Conn], Awaitable[None]]:
    async def run(conn: Conn) -> None:
        await conn.executescript(sql)

    return run


async def _function(conn: Conn) -> None:
    await conn.create_function("borrowed", 0, lambda: 1)


async def _collation(conn: Conn) -> None:
    await conn.create_collation("borrowed", lambda a, b: (a > b) - (a < b))


async def _authorizer(conn: Conn) -> None:
    await conn.set_authorizer(lambda *_: aiolibsql.SQLITE_DENY)


async def _trace(conn: Conn) -> None:
    await conn.set_trace_callback(lambda _: None)


async def _deserialize(conn: Conn) -> None:
    await conn.deserialize(await conn.serialize())


CHANGES: list[Callable[[Conn], Awaitable[None]]] = [
    _sql("PRAGMA query_only = 1"),
    _sql("PRAGMA foreign_keys = 1"),
    _sql("PRAGMA cache_size(11)"),
    _sql("PRAGMA busy_timeout = 1"),
    _sql("PRAGMA main.synchronous = OFF"),
    _script("PRAGMA recursive_triggers = 1; SELECT 1"),
    _sql("ATTACH ':memory:' AS borrowed"),
    _script("ATTACH ':memory:' AS borrowed"),
    _sql("CREATE TEMP TABLE borrowed (x)"),
    _sql("CREATE TEMP VIEW borrowed AS SELECT 1"),
    _function,
    _collation,
    _authorizer,
    _trace,
    _limit,
    _configure,
    _deserialize,
]


async def assert_as_described(conn: Conn, before: list[Any]) -> None:
    assert await state_of(conn) == before
    with pytest.raises(aiolibsql.OperationalError):
        await conn.execute("SELECT borrowed()")
    with pytest.raises(aiolibsql.OperationalError):
        await conn.execute("SELECT 1 ORDER BY 1 COLLATE borrowed")


async def state_of(conn: Conn) -> list[Any]:
    names = "query_only foreign_keys cache_size busy_timeout synchronous recursive_triggers"
    pragmas = [await conn.fetch_scalar(f"PRAGMA {name}") for name in names.split()]
    databases = [row[1] for row in await conn.fetch_all("PRAGMA database_list") if row[1] != "temp"]
    objects = await conn.fetch_all("SELECT name FROM temp.sqlite_schema")
    limits = [await conn.getlimit(LENGTH), await conn.getconfig(TRIGGERS)]
    settings = [conn.row_factory, conn.text_factory, conn.isolation_level, conn.autocommit]
    return [pragmas, databases, objects, limits, settings, conn.iter_chunk_size]


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_changed_a_connection_is_gone_with_it(
    file_backend: Backend, change: Callable[[Conn], Awaitable[None]], readonly: bool
) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=5) as pool:
        await pool.execute(SCHEMA)
        async with pool.read() if readonly else pool.write() as conn:
            before = await state_of(conn)
        opened = pool.stats().opened
        connection = await pool.acquire(readonly)
        await change(connection)
        await pool.release(connection)
        async with pool.read() if readonly else pool.write() as conn:
            await assert_as_described(conn, before)
        assert pool.stats().opened == opened + 1


@pytest.mark.parametrize("readonly", [True, False])
async def test_a_connection_that_was_not_changed_stays(
    file_backend: Backend, readonly: bool
) -> None:
    async with aiolibsql.create_pool(file_backend.path, 2, acquire_timeout=5) as pool:
        await pool.execute(SCHEMA)
        for sql in (
            "PRAGMA foreign_keys",
            "PRAGMA table_info(t)",
            "SELECT last_insert_rowid()",
            "SELECT * FROM t",
            "BEGIN",
        ):
            async with pool.read() if readonly else pool.write() as conn:
                await conn.execute(sql)
        assert pool.stats().opened == 2


async def test_settings_are_the_borrowers_own(backend: Backend) -> None:
    async with aiolibsql.create_pool(
        backend.path or ":memory:", 2, encryption_key=backend.key, row_factory=aiolibsql.Row
    ) as pool:
        await pool.execute(SCHEMA)
        async with pool.write() as conn:
            before = await state_of(conn)
        async with pool.write() as conn:
            conn.row_factory = lambda _, row: list(row)
            conn.text_factory = bytes
            conn.isolation_level = None
            conn.iter_chunk_size = 3
            conn.register_adapter(complex, str)
            conn.register_converter("point", lambda _: 1)
            assert await conn.fetch_all("SELECT ?, 'a'", (1j,)) == [[b"1j", b"a"]]
            # The pool itself goes by what it was created with.
            row = await pool.fetch_one("SELECT 'a' AS a")
            assert isinstance(row, aiolibsql.Row)
        assert pool.stats().opened == pool.size
        async with pool.write() as conn:
            assert await state_of(conn) == before
            with pytest.raises(aiolibsql.Error):
                await conn.execute("SELECT ?", (1j,))
        async with pool.write() as conn:
            conn.autocommit = False
            await conn.execute("INSERT INTO t (x) VALUES (1)")
        async with pool.write() as conn:
            assert await state_of(conn) == before
            assert await conn.fetch_scalar("SELECT count(*) FROM t") == 1


async def test_what_can_be_restored_in_memory_is() -> None:
    async with aiolibsql.create_pool(":memory:", 2, foreign_keys=True) as pool:
        await pool.execute(SCHEMA)
        await pool.execute("INSERT INTO t (x) VALUES (7)")
        async with pool.write() as conn:
            timeout = await conn.fetch_scalar("PRAGMA busy_timeout")
            length = await conn.getlimit(LENGTH)
            await conn.execute("PRAGMA query_only = 1")
            await conn.execute("PRAGMA foreign_keys = 0")
            await conn.execute("PRAGMA busy_timeout = 1")
            await conn.setlimit(LENGTH, 1000)
            await conn.setlimit(LENGTH, 900)
        async with pool.write() as conn:
            assert await conn.fetch_scalar("PRAGMA query_only") == 0
            assert await conn.fetch_scalar("PRAGMA foreign_keys") == 1
            assert await conn.fetch_scalar("PRAGMA busy_timeout") == timeout
            assert await conn.getlimit(LENGTH) == length
        await pool.execute("INSERT INTO t (x) VALUES (8)")
        assert await pool.fetch_all("SELECT x FROM t") == [(7,), (8,)]
        await until(lambda: pool.stats().in_use == 0)
