"""ConnectionPool: several statements at once, other drivers' names, and who watches statements."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from situations import ENDLESS, NUMBERS, SLOW

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

Pool = aiolibsql.ConnectionPool

MANY = f"{NUMBERS} SELECT i FROM n LIMIT 5000"


@pytest.fixture
async def pool(backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool with a table ``t``."""
    async with backend.create_pool(3, acquire_timeout=5, row_factory=aiolibsql.Row) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


async def values(pool: Pool) -> list[Any]:
    return [row[0] for row in await pool.fetch_all("SELECT x FROM t ORDER BY id")]


async def test_fetch_methods(pool: Pool) -> None:
    assert await pool.execute_insert("INSERT INTO t (x) VALUES (?)", (b"a",)) == (1,)
    assert await pool.execute_insert("INSERT INTO t (x) VALUES (:x)", {"x": 2}) == (2,)
    rows = await pool.execute_fetchall("SELECT id, x FROM t")
    assert [tuple(row) for row in rows] == [(1, b"a"), (2, 2)]
    assert rows[1]["X"] == 2
    assert (await pool.fetch_one("SELECT x FROM t WHERE id = ?", (2,)))["x"] == 2
    assert await pool.fetch_optional("SELECT 1 WHERE 0") is None
    assert await pool.fetch_scalar("SELECT 1 WHERE 0") is None
    assert await pool.raw_fetch_scalar("SELECT count(*) FROM t") == 2
    assert await pool.raw_fetch_scalar("SELECT x FROM t", blob=True) == b"a"
    with pytest.raises(TypeError, match="not a BLOB"):
        await pool.raw_fetch_scalar("SELECT 'text'", None, True)
    with pytest.raises(TypeError, match="not a BLOB"):
        await pool.fetch_blob("SELECT 'text'")
    with pytest.raises(aiolibsql.DatabaseError, match="no row"):
        await pool.fetch_one("SELECT 1 WHERE 0")
    # They also write.
    assert await pool.fetch_scalar("INSERT INTO t (x) VALUES (3) RETURNING x") == 3
    assert [tuple(row) for row in await pool.fetch_all("DELETE FROM t RETURNING x")] == [
        (b"a",),
        (2,),
        (3,),
    ]
    # However much a statement has left, no connection is kept.
    for _ in range(5):
        assert await pool.fetch_scalar(MANY) == 1
        assert (await pool.fetch_one(MANY))[0] == 1


@pytest.mark.parametrize(
    "method",
    ["execute", "fetch_all", "fetch_one", "fetch_optional", "fetch_scalar", "execute_insert"],
)
async def test_time_limit_of_one_call(pool: Pool, method: str) -> None:
    with pytest.raises(aiolibsql.TimeoutError):
        await getattr(pool, method)(ENDLESS, timeout=0.05)
    with pytest.raises(ValueError, match="timeout"):
        await getattr(pool, method)("SELECT 1", timeout=float("nan"))
    assert await pool.fetch_scalar("SELECT 1", timeout=5) == 1


async def test_operations_are_lazy(pool: Pool) -> None:
    insert = "INSERT INTO t (x) VALUES (1)"
    for method, argument in (
        ("execute", insert),
        ("fetch_all", insert),
        ("execute_insert", insert),
        ("executebatch", [insert]),
        ("batch", [insert]),
    ):
        with pytest.warns(RuntimeWarning, match=rf"ConnectionPool\.{method}' was never awaited"):
            getattr(pool, method)(argument)
    with pytest.warns(RuntimeWarning, match=r"ConnectionPool\.executemany' was never awaited"):
        pool.executemany("INSERT INTO t (x) VALUES (?)", [(1,)])
    gc.collect()
    assert await values(pool) == []


async def test_executemany(pool: Pool) -> None:
    cursor = await pool.executemany("INSERT INTO t (x) VALUES (?)", [(i,) for i in range(5)])
    assert type(cursor) is aiolibsql.PoolCursor
    assert (cursor.rowcount, cursor.connection) == (5, pool)
    assert await cursor.fetchall() == []

    async def rows() -> AsyncIterator[tuple[int]]:
        for i in range(5, 8):
            await anyio.lowlevel.checkpoint()
            yield (i,)

    async with pool.executemany("INSERT INTO t (x) VALUES (?)", rows()) as cursor:
        assert cursor.rowcount == 3
    cursor = await pool.execute_many("INSERT INTO t (x) VALUES (?)", ([i] for i in range(8, 10)))
    assert cursor.rowcount == 2
    with pytest.raises(aiolibsql.IntegrityError):
        await pool.executemany("INSERT INTO t (x) VALUES (?)", [(100,), (1,)])
    with pytest.raises(aiolibsql.ProgrammingError, match="DML"):
        await pool.executemany("SELECT ?", [(1,)])
    with pytest.raises(aiolibsql.TimeoutError):
        await pool.executemany(
            f"INSERT INTO t (x) SELECT ? WHERE ({ENDLESS})", [(100,)], timeout=0.05
        )
    assert await values(pool) == list(range(10))


async def test_executemany_takes_part_in_the_block_of_its_task(pool: Pool) -> None:
    with pytest.raises(KeyError):
        async with pool.transaction():
            await pool.executemany("INSERT INTO t (x) VALUES (?)", [(1,), (2,)])
            assert await values(pool) == [1, 2]
            raise KeyError
    assert await values(pool) == []


async def test_executebatch(pool: Pool) -> None:
    cursor = await pool.executebatch(
        [
            ("INSERT INTO t (x) VALUES (?)", (1,)),
            ("INSERT INTO t (x) VALUES (2)", None),
            ("INSERT INTO t (x) VALUES (:x)", {"x": 3}),
            "INSERT INTO t (x) VALUES (4)",
            ("UPDATE t SET x = x + 10 WHERE x > 2",),
        ]
    )
    assert type(cursor) is aiolibsql.PoolCursor
    assert (cursor.rowcount, cursor.lastrowid, cursor.connection) == (6, 4, pool)
    assert await values(pool) == [1, 2, 13, 14]
    # Upstream's takes pairs, and no SELECT.
    cursor = await pool.batch([("SELECT 1", None), ("DELETE FROM t RETURNING x", None)])
    assert sorted(row[0] for row in await cursor.fetchall()) == [1, 2, 13, 14]
    assert cursor.rowcount == 4
    cursor = await pool.executebatch([])
    assert (cursor.rowcount, await cursor.fetchall()) == (-1, [])
    cursor = await pool.executebatch(["SELECT 1"])
    assert cursor.rowcount == -1


async def test_executebatch_gives_all_rows_of_the_last_statement(pool: Pool) -> None:
    async with pool.executebatch([MANY, MANY]) as cursor:
        assert await cursor.fetchone()
        # The connection is not kept for them.
        await pool.execute("INSERT INTO t (x) VALUES (1)")
        assert len(await cursor.fetchall()) == 4999


async def test_executebatch_is_all_or_nothing(pool: Pool) -> None:
    insert = "INSERT INTO t (x) VALUES (?)"
    with pytest.raises(aiolibsql.IntegrityError):
        await pool.executebatch([(insert, (1,)), (insert, (2,)), (insert, (1,))])
    with pytest.raises(TypeError, match="operation 2"):
        await pool.executebatch([(insert, (1,)), 5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="operation 1"):
        await pool.executebatch([(insert, (1,), 3)])  # type: ignore[list-item]
    with pytest.raises(aiolibsql.ProgrammingError):
        await pool.executebatch([(insert, (1,)), "COMMIT"])
    assert await values(pool) == []
    async with pool.transaction():
        await pool.executebatch([(insert, (1,))])
        with pytest.raises(aiolibsql.IntegrityError):
            await pool.executebatch([(insert, (2,)), (insert, (1,))])
        await pool.executebatch([(insert, (3,))])
    assert await values(pool) == [1, 3]


async def test_cancelled_batch_is_all_or_nothing(pool: Pool) -> None:
    insert = "INSERT INTO t (x) VALUES (?)"
    for turns in range(25):
        async with anyio.create_task_group() as group:
            batch = [(insert, (2 * turns,)), (insert, (2 * turns + 1,))]
            group.start_soon(pool.executebatch, batch)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    there = set(await values(pool))
    assert {x // 2 for x in there if x % 2} == {x // 2 for x in there if not x % 2}
    await pool.executebatch([(insert, (1000,))])


async def test_execute_iter(pool: Pool) -> None:
    chunks = [chunk async for chunk in pool.execute_iter(MANY, chunk_size=1000)]
    assert [len(chunk) for chunk in chunks] == [1000] * 5
    assert pool.iter_chunk_size == 64
    async with pool.execute_iter(MANY) as rows:
        assert len(await rows.__anext__()) == 64
    with pytest.raises(ValueError, match="chunk_size"):
        pool.execute_iter(MANY, chunk_size=0)
    for _ in range(5):
        async for _ in aiolibsql.execute_iter(pool, "SELECT ?", (1,)):
            pass
    assert await pool.fetch_scalar("SELECT 1", timeout=5) == 1


async def test_helpers_take_a_pool(pool: Pool) -> None:
    await pool.executemany("INSERT INTO t (x) VALUES (?)", [(i,) for i in range(10)])
    page = await aiolibsql.paginate(pool, "SELECT x FROM t ORDER BY x", None, 3, 4)
    assert [row[0] for row in page] == [4, 5, 6]
    rows, seconds = await aiolibsql.timed_fetch_all(pool, "SELECT 1")
    assert (tuple(rows[0]), seconds > 0) == ((1,), True)
    plan = await aiolibsql.analyze_query_plan(pool, "SELECT * FROM t WHERE x = 1")
    assert (plan["uses_index"], plan["table_scan"]) == (True, False)
    assert await aiolibsql.suggest_indexes(pool, "SELECT * FROM t WHERE id + 1 = 2")

    async def work() -> int:
        await pool.execute("DELETE FROM t WHERE x > 0")
        return 7

    assert await aiolibsql.transaction_retry(pool, work) == 7
    assert await values(pool) == [0]

    async def endless() -> None:
        await pool.execute("DELETE FROM t")
        await pool.fetch_all(ENDLESS)

    with pytest.raises(aiolibsql.TimeoutError, match="did not end"):
        await aiolibsql.transaction_with_timeout(pool, endless, 0.05)
    assert await values(pool) == [0]


async def test_cache_in_a_pool(pool: Pool) -> None:
    cache = aiolibsql.SQLiteCache(pool)
    assert await cache.get("a") is None
    await cache.set("a", b"1")
    await cache.set("b", b"2", ttl=0)
    assert (await cache.get("a"), await cache.get("b")) == (b"1", None)
    assert await cache.cleanup_expired() == 1
    with pytest.raises(KeyError):
        async with pool.transaction():
            await cache.set("a", b"3")
            assert await cache.delete("a")
            raise KeyError
    assert await cache.get("a") == b"1"
    await cache.initialize()

    async def count(name: str) -> None:
        for i in range(5):
            await cache.set(name, b"%d" % i)
            assert await cache.get(name) == b"%d" % i

    async with anyio.create_task_group() as group:
        for name in "cdefg":
            group.start_soon(count, name)


async def test_introspection_and_query_plan(pool: Pool) -> None:
    await pool.execute("CREATE TABLE child (t INTEGER REFERENCES t (id), y)")
    await pool.execute("CREATE INDEX by_y ON child (y)")
    await pool.execute("CREATE VIEW v AS SELECT x FROM t")
    async with pool.read() as connection:
        for method, *arguments in (
            ("get_tables",),
            ("get_tables", "T"),
            ("get_views",),
            ("get_table_info", "t"),
            ("get_table_xinfo", "t"),
            ("get_indexes",),
            ("get_indexes", "child"),
            ("get_index_list", "t"),
            ("get_index_info", "by_y"),
            ("get_foreign_keys", "child"),
            ("get_schema",),
            ("get_schema", "child"),
            ("explain_query_plan", "SELECT * FROM child WHERE y = ?", (1,)),
        ):
            theirs = await getattr(connection, method)(*arguments)
            assert theirs
            assert await getattr(pool, method)(*arguments) == theirs
    assert await pool.get_tables() == ["child", "t"]


async def test_own_questions_are_plain() -> None:
    """Whatever the factories say."""
    async with aiolibsql.create_pool(
        ":memory:", 2, row_factory=lambda *_: None, text_factory=bytes
    ) as pool:
        await pool.execute("CREATE TABLE t (x)")
        pool.query_usage_tracking = True
        assert await pool.get_tables() == ["t"]
        assert pool.query_usage() == {}
        assert await pool.fetch_one("SELECT 'a'") is None
        assert await pool.fetch_scalar("SELECT 'a'") == b"a"


async def test_query_usage_counts_what_is_executed(pool: Pool) -> None:
    await pool.execute("SELECT 0")
    assert pool.query_usage_tracking is False
    pool.query_usage_tracking = True
    insert = "INSERT INTO t (x) VALUES (?)"
    async with anyio.create_task_group() as group:
        for i in range(20):
            group.start_soon(pool.fetch_scalar, "SELECT ?", (i,))
            group.start_soon(pool.execute, insert, (i,))
    await pool.executemany(insert, [(100,), (101,)])
    await pool.executebatch(["SELECT 1", (insert, (102,))])
    async with pool.read() as connection:
        assert connection.query_usage_tracking
        await connection.fetch_all("SELECT 2")
        await pool.fetch_all("SELECT 2")
    async with pool.transaction() as block:
        await block.execute("SELECT 3")
    with pytest.raises(aiolibsql.OperationalError):
        await pool.execute("nonsense")
    expected = {
        "SELECT ?": 20,
        insert: 22,
        "SELECT 1": 1,
        "SELECT 2": 2,
        "SELECT 3": 1,
        "nonsense": 1,
    }
    assert pool.query_usage() == expected
    assert pool.query_usage_dropped() == 0
    for i in range(1000):
        await pool.fetch_scalar(f"SELECT {i} + 1")
    assert pool.query_usage_dropped() == len(expected)
    pool.clear_query_usage()
    assert pool.query_usage() == {}
    pool.query_usage_tracking = False
    await pool.execute("SELECT 1")
    assert pool.query_usage() == {}


async def test_slow_statements_are_reported(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[float, str]] = []

    def note(seconds: float, sql: str) -> None:
        heard.append((seconds, sql))

    pool.set_slow_query_threshold(0.000_000_1, note)
    await pool.fetch_all("SELECT 1")
    await pool.execute("INSERT INTO t (x) VALUES (1)")
    async with anyio.create_task_group() as group:
        for i in range(10):
            group.start_soon(pool.execute, "INSERT INTO t (x) VALUES (?)", (f"together {i}",))
    async with pool.read() as connection:
        await connection.fetch_all("SELECT 2")
        await pool.fetch_all("SELECT 3")
    assert sorted({sql for _, sql in heard}) == [
        "INSERT INTO t (x) VALUES (1)",
        "INSERT INTO t (x) VALUES (?)",
        "SELECT 1",
        "SELECT 2",
        "SELECT 3",
    ]
    assert len(heard) == 14
    assert all(0 < seconds < 20 for seconds, _ in heard)
    heard.clear()
    pool.set_slow_query_threshold(20, note)
    await pool.fetch_all("SELECT 1")
    assert heard == []
    pool.set_slow_query_threshold(0.000_1)
    with caplog.at_level(logging.WARNING, "aiolibsql"):
        await pool.fetch_all(SLOW)
    assert SLOW in caplog.text
    pool.set_slow_query_threshold(0)
    caplog.clear()
    await pool.fetch_all(SLOW)
    assert caplog.text == ""
    with pytest.raises(ValueError, match="negative"):
        pool.set_slow_query_threshold(-1)
    with pytest.raises(ValueError, match="threshold_secs"):
        pool.set_slow_query_threshold(float("nan"))


async def test_slow_statement_callback_that_fails_changes_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))
    pool.set_slow_query_threshold(0.000_000_1, lambda *_: 1 / 0)
    assert await pool.fetch_scalar("SELECT 1") == 1
    assert [type(error) for error in seen] == [ZeroDivisionError]
    pool.set_slow_query_threshold(0)


async def test_queries_in_messages(pool: Pool) -> None:
    assert pool.include_query_in_errors is False
    pool.include_query_in_errors = True
    for use in (pool.execute, pool.fetch_all):
        with pytest.raises(aiolibsql.OperationalError, match="Query: SELECT nothing"):
            await use("  SELECT nothing ")
    with pytest.raises(aiolibsql.IntegrityError, match=r"Query: INSERT INTO t \(x\)"):
        await pool.executemany("INSERT INTO t (x) VALUES (?)", [(1,), (1,)])
    async with pool.write() as connection:
        with pytest.raises(aiolibsql.OperationalError, match="Query: SELECT nothing"):
            await connection.execute("SELECT nothing")
    pool.include_query_in_errors = False
    with pytest.raises(aiolibsql.OperationalError) as raised:
        await pool.execute("SELECT nothing")
    assert "Query" not in str(raised.value)
    assert raised.value.sql == "SELECT nothing"


async def test_watched_pool_in_a_cycle_is_collected() -> None:
    class Callback:
        pool: Any = None

        def __call__(self, *_: object) -> None: ...

    callback = Callback()
    callback.pool = await aiolibsql.create_pool(":memory:", 2)
    callback.pool.set_slow_query_threshold(1, callback)
    await callback.pool.close()
    gone = weakref.ref(callback)
    del callback
    gc.collect()
    assert gone() is None
