"""Closing: what is kept, what is undone, and what a closed connection still answers."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

Use = Callable[[aiolibsql.Connection[Any]], Awaitable[object]]

USES: dict[str, Use] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "executemany": lambda conn: conn.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda conn: conn.executescript("SELECT 1"),
    "execute_insert": lambda conn: conn.execute_insert("INSERT INTO t VALUES (1)"),
    "execute_fetchall": lambda conn: conn.execute_fetchall("SELECT 1"),
    "fetch_all": lambda conn: conn.fetch_all("SELECT 1"),
    "fetch_one": lambda conn: conn.fetch_one("SELECT 1"),
    "fetch_optional": lambda conn: conn.fetch_optional("SELECT 1"),
    "fetch_scalar": lambda conn: conn.fetch_scalar("SELECT 1"),
    "begin": lambda conn: conn.begin("DEFERRED"),
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
}


async def count(connection: aiolibsql.Connection[Any]) -> Any:
    async with connection as conn:
        return await conn.fetch_scalar("SELECT count(*) FROM t")


async def opened_with_table(backend: Backend, **options: Any) -> aiolibsql.Connection[Any]:
    connection = await backend.connect(**options)
    await connection.execute("CREATE TABLE t (a)")
    await connection.commit()
    return connection


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_use_after_close_is_one_clear_error(backend: Backend, use: Use) -> None:
    connection = await opened_with_table(backend)
    await connection.close()
    with pytest.raises(aiolibsql.ConnectionClosedError, match=r"^Connection closed$") as caught:
        await use(connection)
    assert isinstance(caught.value, aiolibsql.ProgrammingError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "CLIENT_CLOSED"


async def test_cursor_of_a_closed_connection_is_refused(backend: Backend) -> None:
    connection = await opened_with_table(backend)
    cursor = await connection.execute("SELECT 1")
    await connection.close()
    with pytest.raises(aiolibsql.ConnectionClosedError, match="Connection closed"):
        await cursor.fetchall()
    with pytest.raises(aiolibsql.ConnectionClosedError, match="Connection closed"):
        await cursor.execute("SELECT 1")


async def test_iteration_over_a_connection_closed_meanwhile_is_refused(backend: Backend) -> None:
    connection = await backend.connect()
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    cursor = await connection.execute(sql)
    assert await cursor.fetchone() == (1,)
    await connection.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        async for _ in cursor:
            pass


async def test_close_twice_is_harmless(backend: Backend) -> None:
    connection = await backend.connect()
    await connection.close()
    await connection.close()
    assert connection.closed


async def test_close_before_open_is_harmless(backend: Backend) -> None:
    connection = backend.connect()
    await connection.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await connection


async def test_close_inside_async_with_is_harmless(backend: Backend) -> None:
    async with backend.connect() as conn:
        await conn.close()
    assert conn.closed


# Leaving `async with`.


async def test_leaving_normally_commits_and_closes(shared_backend: Backend) -> None:
    connection = await opened_with_table(shared_backend)
    async with connection as conn:
        await conn.execute("INSERT INTO t VALUES (1)")
        assert conn.in_transaction
    assert connection.closed
    assert await count(shared_backend.second()) == 1


async def test_leaving_by_exception_rolls_back_and_closes(shared_backend: Backend) -> None:
    connection = await opened_with_table(shared_backend)
    error = RuntimeError("the user's own")
    with pytest.raises(RuntimeError) as caught:
        async with connection as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            raise error
    assert caught.value is error
    assert connection.closed
    assert await count(shared_backend.second()) == 0


async def test_leaving_raises_the_error_of_its_commit(shared_backend: Backend) -> None:
    connection = await shared_backend.enforcing()
    await connection.executescript(
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (p REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
    )
    with pytest.raises(aiolibsql.IntegrityError, match="FOREIGN KEY"):
        async with connection as conn:
            await conn.execute("INSERT INTO t VALUES (7)")
    assert connection.closed
    assert await count(shared_backend.second()) == 0


async def test_leaving_by_exception_without_a_transaction_keeps_commits(
    shared_backend: Backend,
) -> None:
    connection = await opened_with_table(shared_backend)
    with pytest.raises(RuntimeError):
        async with connection as conn:
            await conn.execute("INSERT INTO t VALUES (1)")
            await conn.commit()
            raise RuntimeError
    assert await count(shared_backend.second()) == 1


# What was not committed.


async def test_close_that_discards_changes_warns(shared_backend: Backend) -> None:
    connection = await opened_with_table(shared_backend)
    await connection.execute("INSERT INTO t VALUES (1)")
    with pytest.warns(ResourceWarning, match="uncommitted"):
        await connection.close()
    assert await count(shared_backend.second()) == 0


async def test_close_in_a_transaction_that_only_read_is_silent(shared_backend: Backend) -> None:
    connection = await opened_with_table(shared_backend)
    await connection.begin("DEFERRED")
    assert await connection.fetch_all("SELECT * FROM t") == []
    await connection.close()  # a ResourceWarning would be an error


async def test_connection_dropped_after_stop_is_not_left_open(backend: Backend) -> None:
    for _ in range(50):  # the close may be over before the connection is dropped
        connection = await backend.connect()
        connection.stop()
        del connection  # a ResourceWarning would be an error
    gc.collect()


async def test_connection_dropped_after_stop_in_a_transaction_warns(
    shared_backend: Backend,
) -> None:
    connection = await opened_with_table(shared_backend)
    await connection.execute("INSERT INTO t VALUES (1)")
    with pytest.warns(ResourceWarning, match="uncommitted|before being closed"):
        connection.stop()
        del connection
        gc.collect()


async def test_connection_dropped_open_warns_and_keeps_what_was_committed(
    shared_backend: Backend,
) -> None:
    connection = await opened_with_table(shared_backend)
    await connection.execute("INSERT INTO t VALUES (1)")
    await connection.commit()
    await connection.execute("INSERT INTO t VALUES (2)")
    with pytest.warns(ResourceWarning, match="was deleted before being closed"):
        del connection
        gc.collect()
    # The dropped one may still be closing: the timeout outlasts it.
    assert await count(shared_backend.second()) == 1
