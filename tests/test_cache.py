"""The cache in a table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


async def test_cache_gives_back_what_was_set(conn: Connection) -> None:
    cache = aiolibsql.SQLiteCache(conn)
    assert await cache.get("a") is None
    assert await conn.get_tables() == []
    await cache.set("a", b"1")
    await cache.set("a", b"2")
    await cache.set("", b"")
    assert not conn.in_transaction
    assert await cache.get("a") == b"2"
    assert await cache.get("") == b""
    assert await cache.delete("a") is True
    assert await cache.delete("a") is False
    assert await cache.get("a") is None
    await assert_healthy(conn)


async def test_cache_forgets_in_time(conn: Connection, clock: Clock) -> None:
    cache = aiolibsql.SQLiteCache(conn, table_name="other")
    await cache.set("short", b"1", ttl=10)
    await cache.set("long", b"2", ttl=20.5)
    await cache.set("for ever", b"3")
    await cache.set("not at all", b"4", ttl=0)
    assert await cache.get("not at all") is None
    clock.now += 10
    assert await cache.get("short") is None
    assert await cache.get("long") == b"2"
    assert await cache.cleanup_expired(limit=1) == 1
    assert await cache.cleanup_expired() == 1
    assert await cache.cleanup_expired() == 0
    clock.now += 1e9
    assert await cache.get("for ever") == b"3"
    await cache.set("for ever", b"3", ttl=1)
    clock.now += 2
    assert await cache.get("for ever") is None


async def test_cache_is_there_for_the_next_connection(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await aiolibsql.SQLiteCache(conn).set("a", b"1")
    async with file_backend.connect() as conn:
        assert await aiolibsql.SQLiteCache(conn).get("a") == b"1"


async def test_cache_in_a_transaction_is_undone_with_it(conn: Connection) -> None:
    cache = aiolibsql.SQLiteCache(conn)
    for _ in range(2):
        async with conn.transaction(force_rollback=True) as block:
            await cache.set("a", b"1")
            assert await aiolibsql.SQLiteCache(block).get("a") == b"1"
        # The table is gone with the transaction.
        assert await cache.get("a") is None
        assert await cache.delete("a") is False
        assert await cache.cleanup_expired() == 0
        await conn.execute("DROP TABLE rapsqlite_cache")
    await conn.execute("CREATE TABLE t (x)")
    await conn.execute("INSERT INTO t VALUES (1)")
    await cache.initialize()
    await cache.set("a", b"1")
    await conn.rollback()
    await cache.set("b", b"2")
    assert await cache.get("b") == b"2"
    await assert_healthy(conn)


async def test_cache_takes_no_notice_of_factories(conn: Connection) -> None:
    conn.row_factory = lambda *_: None
    conn.text_factory = bytes
    cache = aiolibsql.SQLiteCache(conn)
    assert await cache.get("a") is None
    await cache.set("a", b"1")
    assert await cache.get("a") == b"1"


async def test_cache_error_that_is_no_missing_table_is_raised(conn: Connection) -> None:
    await conn.execute("CREATE TABLE rapsqlite_cache (something)")
    cache = aiolibsql.SQLiteCache(conn)
    with pytest.raises(aiolibsql.OperationalError):
        await cache.get("a")
    with pytest.raises(aiolibsql.OperationalError):
        await cache.set("a", b"1")
    await assert_healthy(conn)


@pytest.mark.parametrize("name", ["", "1a", "a b", 'a"', "a" * 101, "ä"])
async def test_cache_with_what_is_no_name_is_refused(conn: Connection, name: str) -> None:
    with pytest.raises(ValueError, match="table_name"):
        aiolibsql.SQLiteCache(conn, table_name=name)


async def test_cache_refuses_wrong_arguments(conn: Connection) -> None:
    wrong: Any = 1
    cache = aiolibsql.SQLiteCache(conn)
    with pytest.raises(TypeError):
        aiolibsql.SQLiteCache(conn, table_name=wrong)
    with pytest.raises(TypeError):
        await cache.get(wrong)
    with pytest.raises(TypeError):
        await cache.delete(wrong)
    with pytest.raises(TypeError):
        await cache.set("a", wrong)
    for ttl in ("1", True):
        with pytest.raises(TypeError):
            await cache.set("a", b"", ttl=ttl)  # type: ignore[arg-type]
    for number in (-1, float("inf"), float("nan"), 10**400):
        with pytest.raises(ValueError, match="ttl"):
            await cache.set("a", b"", ttl=number)
    for limit in (1.0, True):
        with pytest.raises(TypeError):
            await cache.cleanup_expired(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit"):
        await cache.cleanup_expired(limit=0)
    assert await conn.get_tables() == []


async def test_cache_on_a_closed_connection_is_refused(conn: Connection) -> None:
    await conn.close()
    cache = aiolibsql.SQLiteCache(conn)
    for operation in (cache.get("a"), cache.set("a", b""), cache.delete("a"), cache.initialize()):
        with pytest.raises(aiolibsql.ConnectionClosedError):
            await operation
