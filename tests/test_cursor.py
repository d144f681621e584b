"""Cursors: PEP 249's attributes by sqlite3's rules, and every way to read rows."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere, pytest.mark.every_runtime]

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT i FROM n"


@pytest.fixture
async def numbers(conn: Connection) -> Connection:
    """Return a connection with the numbers from 1 to 10,000 in table `number`."""
    await conn.execute("CREATE TABLE number (i INTEGER PRIMARY KEY)")
    await conn.execute("INSERT INTO number " + NUMBERS.format(10_000))
    await conn.commit()
    return conn


# sqlite3 as oracle, statement by statement.

STATEMENTS = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
    "INSERT INTO t VALUES (1, 'one')",
    "INSERT INTO t (name) VALUES ('two'), ('three'), ('four')",
    "SELECT * FROM t ORDER BY id",
    "SELECT name AS \"a [b]\", 1, count(*) AS 'q', NULL n, 1 AS n FROM t",
    "SELECT * FROM t WHERE 0",
    "UPDATE t SET name = upper(name)",
    "UPDATE t SET name = '' WHERE 0",
    "DELETE FROM t WHERE id = 2",
    "REPLACE INTO t VALUES (1, 'again')",
    "  /* a comment */ INSERT INTO t VALUES (99, 'hundred less one')",
    "-- a comment\n UPDATE t SET name = 'x' WHERE id > 50",
    "INSERT OR IGNORE INTO t VALUES (99, 'there')",
    "INSERT INTO t (name) VALUES ('r'), ('s') RETURNING id, name AS n",
    "UPDATE t SET name = 'u' WHERE id < 4 RETURNING id",
    "DELETE FROM t WHERE id = 99 RETURNING *",
    "UPDATE t SET name = 'u' WHERE 0 RETURNING id",
    "PRAGMA user_version",
    "PRAGMA user_version = 3",
    "EXPLAIN QUERY PLAN DELETE FROM t",
    "CREATE TABLE u AS SELECT * FROM t",
    "SELECT * FROM u",
    "INSERT INTO u SELECT * FROM t",
    "VALUES (1, 2), (3, 4)",
    "",
    "  -- only a comment",
    "/* the same */",
    ";",
    "DELETE FROM u",
    "DROP TABLE u",
    "SAVEPOINT s",
    "INSERT INTO t (name) VALUES ('in s')",
    "ROLLBACK TO s",
    "RELEASE s",
    "COMMIT",
    "BEGIN",
    "INSERT INTO t (name) VALUES ('last')",
    "ROLLBACK",
    "SELECT last_insert_rowid()",
]


async def test_attributes_after_each_statement_are_those_of_sqlite3(conn: Connection) -> None:
    oracle = sqlite3.connect(":memory:")
    theirs, ours = oracle.cursor(), conn.cursor()
    for sql in ["", *STATEMENTS]:
        if sql:
            theirs.execute(sql)
            await ours.execute(sql)
        assert ours.description == theirs.description, sql
        assert ours.lastrowid == theirs.lastrowid, sql
        assert await ours.fetchall() == theirs.fetchall(), sql
        # Only now: sqlite3 counts the rows of a RETURNING as they are read, aiolibsql at once.
        assert ours.rowcount == theirs.rowcount, sql
        assert conn.in_transaction == oracle.in_transaction, sql
        assert conn.total_changes == oracle.total_changes, sql
    oracle.close()


@pytest.mark.parametrize("sql", [sql for sql in STATEMENTS if sql != "COMMIT"][:27])
async def test_attributes_of_a_fresh_cursor_are_those_of_sqlite3(
    conn: Connection, sql: str
) -> None:
    oracle = sqlite3.connect(":memory:", isolation_level=None)
    conn.isolation_level = None
    for setup in STATEMENTS[: STATEMENTS.index(sql)]:
        oracle.execute(setup).fetchall()
        await conn.execute(setup)
    theirs, ours = oracle.execute(sql), await conn.execute(sql)
    assert await ours.fetchall() == theirs.fetchall()
    attributes = ("description", "rowcount", "lastrowid", "arraysize")
    for name in attributes:
        assert getattr(ours, name) == getattr(theirs, name), name
    oracle.close()


async def test_fresh_cursor_has_the_attributes_of_pep_249(conn: Connection) -> None:
    cursor = conn.cursor()
    assert cursor.description is None
    assert cursor.rowcount == -1
    assert cursor.lastrowid is None
    assert cursor.arraysize == 1
    assert cursor.connection is conn
    assert cursor.row_factory is None
    assert isinstance(cursor, aiolibsql.Cursor)


@pytest.mark.parametrize("sql", ["SELECT 1 AS a", "INSERT INTO t VALUES (1), (2)"])
async def test_closed_cursor_still_tells_what_it_did(conn: Connection, sql: str) -> None:
    oracle = sqlite3.connect(":memory:")
    oracle.execute("CREATE TABLE t (a)")
    await conn.execute("CREATE TABLE t (a)")
    theirs = oracle.execute(sql)
    theirs.close()
    async with conn.execute(sql) as ours:
        pass
    for name in ("description", "rowcount", "lastrowid", "arraysize"):
        assert getattr(ours, name) == getattr(theirs, name), name
    await conn.rollback()
    oracle.close()


@pytest.mark.parametrize("name", ["description", "rowcount", "lastrowid", "connection"])
async def test_facts_about_the_statement_are_read_only(conn: Connection, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(conn.cursor(), name, None)


async def test_rowcount_of_returning_is_known_at_once(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    cursor = await conn.execute("INSERT INTO t VALUES (1), (2), (3) RETURNING a")
    assert cursor.rowcount == 3
    await conn.commit()  # although no row was read yet
    assert await cursor.fetchall() == [(1,), (2,), (3,)]


async def test_with_insert_is_dml_and_begins_a_transaction(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    cursor = await conn.execute("WITH s(x) AS (VALUES (1), (2)) INSERT INTO t SELECT x FROM s")
    assert cursor.rowcount == 2
    assert conn.in_transaction
    await conn.rollback()
    assert await conn.fetch_all("SELECT * FROM t") == []


async def test_with_select_begins_no_transaction(conn: Connection) -> None:
    await conn.execute("WITH s(x) AS (VALUES (1)) SELECT x AS 'insert' FROM s")
    assert not conn.in_transaction


async def test_explain_of_dml_begins_no_transaction(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    await conn.execute("EXPLAIN INSERT INTO t VALUES (1)")
    assert not conn.in_transaction


async def test_description_follows_a_changed_schema(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    cursor = await conn.execute("SELECT * FROM t")
    assert await cursor.fetchall() == []
    await conn.execute("ALTER TABLE t ADD COLUMN b DEFAULT 7")
    await conn.execute("INSERT INTO t (a) VALUES (1)")
    await cursor.execute("SELECT * FROM t")
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == ["a", "b"]
    assert await cursor.fetchall() == [(1, 7)]


# Ways to get a cursor.


async def test_cursor_methods_return_the_cursor(conn: Connection) -> None:
    cursor = conn.cursor()
    assert await cursor.execute("CREATE TABLE t (a)") is cursor
    assert await cursor.executemany("INSERT INTO t VALUES (?)", [(1,)]) is cursor
    assert await cursor.executescript("SELECT 1; SELECT 2") is cursor
    assert await cursor is cursor


async def test_cursor_is_awaitable_and_a_context(conn: Connection) -> None:
    awaited = await conn.cursor()
    assert isinstance(awaited, aiolibsql.Cursor)
    async with conn.cursor() as cursor:
        await cursor.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)
    with pytest.raises(aiolibsql.ProgrammingError):
        await cursor.fetchone()


async def test_operations_are_contexts_that_close_their_cursor(conn: Connection) -> None:
    async with conn.executescript("CREATE TABLE t (a)") as script:
        assert isinstance(script, aiolibsql.Cursor)
    async with conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)]) as many:
        assert many.rowcount == 2
    async with conn.execute("SELECT a FROM t") as cursor:
        assert [row async for row in cursor] == [(1,), (2,)]
    for closed in (script, many, cursor):
        with pytest.raises(aiolibsql.ProgrammingError):
            await closed.fetchall()


async def test_context_of_execute_raises_the_error_of_execute(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="no such table: nowhere"):
        async with conn.execute("SELECT * FROM nowhere"):
            pytest.fail("entered")
    await assert_healthy(conn)


async def test_context_left_by_an_exception_closes_the_cursor(numbers: Connection) -> None:
    with pytest.raises(RuntimeError):
        async with numbers.execute("SELECT i FROM number") as cursor:
            assert await cursor.fetchone() == (1,)
            raise RuntimeError
    await assert_healthy(numbers)


# A closed cursor.


async def test_closed_cursor_refuses_everything_but_close(conn: Connection) -> None:
    cursor = await conn.execute("SELECT 1")
    await cursor.close()
    await cursor.close()
    for use in (
        lambda: cursor.execute("SELECT 1"),
        lambda: cursor.executemany("INSERT INTO t VALUES (?)", [(1,)]),
        lambda: cursor.executescript("SELECT 1"),
        cursor.fetchone,
        cursor.fetchmany,
        cursor.fetchall,
        lambda: anext(cursor.__aiter__()),
    ):
        with pytest.raises(aiolibsql.ProgrammingError, match="closed cursor"):
            await use()
    await assert_healthy(conn)


# Reading.


async def test_fetches_of_all_kinds_share_one_position(numbers: Connection) -> None:
    cursor = await numbers.execute("SELECT i FROM number WHERE i <= 500 ORDER BY i")
    seen = [await cursor.fetchone()]
    seen += await cursor.fetchmany()
    seen += await cursor.fetchmany(3)
    cursor.arraysize = 7
    seen += await cursor.fetchmany()
    assert len(seen) == 12
    async for row in cursor:
        seen.append(row)
        if row == (100,):
            break
    seen.append(await cursor.fetchone())
    seen += await cursor.fetchmany(size=150)
    seen += await cursor.fetchall()
    assert seen == [(i,) for i in range(1, 501)]


async def test_exhausted_cursor_keeps_saying_so(conn: Connection) -> None:
    cursor = await conn.execute("VALUES (1), (2)")
    assert await cursor.fetchmany(5) == [(1,), (2,)]
    for _ in range(2):
        assert await cursor.fetchone() is None
        assert await cursor.fetchmany(5) == []
        assert await cursor.fetchall() == []
        assert [row async for row in cursor] == []


async def test_cursor_without_a_result_has_no_rows(conn: Connection) -> None:
    cursor = conn.cursor()
    for sql in (None, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)", ""):
        if sql is not None:
            await cursor.execute(sql)
        assert await cursor.fetchone() is None
        assert await cursor.fetchall() == []
        assert [row async for row in cursor] == []


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
async def test_iteration_gives_every_row_once_for_each_chunk_size(
    numbers: Connection, size: int
) -> None:
    cursor = await numbers.execute("SELECT i FROM number ORDER BY i")
    assert cursor.iter_chunk_size == numbers.iter_chunk_size == 64
    cursor.iter_chunk_size = size
    assert cursor.iter_chunk_size == size
    assert [row async for row in cursor] == [(i,) for i in range(1, 10_001)]
    await assert_healthy(numbers)


async def test_chunk_size_of_connect_is_that_of_its_cursors(backend: Backend) -> None:
    async with backend.connect(iter_chunk_size=7) as conn:
        assert conn.iter_chunk_size == 7
        cursor = await conn.execute(NUMBERS.format(100))
        assert cursor.iter_chunk_size == 7
        assert len([row async for row in cursor]) == 100


async def test_execute_again_drops_the_rows_that_were_left(numbers: Connection) -> None:
    cursor = await numbers.execute("SELECT i FROM number ORDER BY i")
    assert await cursor.fetchone() == (1,)
    await cursor.execute("SELECT 'other'")
    assert await cursor.fetchall() == [("other",)]
    await assert_healthy(numbers)


async def test_execute_that_fails_drops_the_rows_that_were_left(numbers: Connection) -> None:
    cursor = await numbers.execute("SELECT i FROM number ORDER BY i")
    with pytest.raises(aiolibsql.OperationalError):
        await cursor.execute("SELECT * FROM nowhere")
    assert await cursor.fetchall() == []
    await assert_healthy(numbers)


async def test_two_cursors_interleave_over_the_same_sql(numbers: Connection) -> None:
    sql = "SELECT i FROM number WHERE i > ? ORDER BY i"
    one = await numbers.execute(sql, (0,))
    other = await numbers.execute(sql, (1,))
    pairs = []
    async for (i,) in one:
        row = await other.fetchone()
        pairs.append((i, row and row[0]))
    assert pairs == [(i, i + 1 if i < 10_000 else None) for i in range(1, 10_001)]
    await assert_healthy(numbers)


async def test_many_tasks_iterate_cursors_of_one_connection(numbers: Connection) -> None:
    sums: list[int] = []

    async def add() -> None:
        async with numbers.execute("SELECT i FROM number") as cursor:
            sums.append(sum([i async for (i,) in cursor]))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(add)
    assert sums == [50_005_000] * 5
    await assert_healthy(numbers)


async def test_writing_goes_on_beside_a_half_read_cursor(numbers: Connection) -> None:
    await numbers.execute("CREATE TABLE copy (i)")
    read = 0
    async for (i,) in await numbers.execute("SELECT i FROM number ORDER BY i"):
        read += 1
        if i % 1000 == 0:
            await numbers.execute("INSERT INTO copy VALUES (?)", (i,))
            await numbers.commit()
    assert read == 10_000
    assert await numbers.fetch_scalar("SELECT count(*) FROM copy") == 10


async def test_half_read_cursor_survives_commit(numbers: Connection) -> None:
    await numbers.execute("INSERT INTO number VALUES (10001)")
    cursor = await numbers.execute("SELECT i FROM number ORDER BY i")
    assert await cursor.fetchmany(3) == [(1,), (2,), (3,)]
    await numbers.commit()
    assert len(await cursor.fetchall()) == 9_998


@pytest.mark.local("results come whole")
@pytest.mark.parametrize("how", ["close", "drop", "exhaust", "execute"])
async def test_half_read_cursor_holds_its_table_until_released(
    numbers: Connection, how: str
) -> None:
    cursor = await numbers.execute("SELECT i FROM number")
    assert await cursor.fetchone() == (1,)
    with pytest.raises(aiolibsql.OperationalError, match="locked"):
        await numbers.execute("DROP TABLE number")
    if how == "close":
        await cursor.close()
    elif how == "drop":
        del cursor
    elif how == "exhaust":
        await cursor.fetchall()
    else:
        await cursor.execute("SELECT 1")
    await numbers.execute("DROP TABLE number")
    await assert_healthy(numbers)


async def test_half_read_cursor_keeps_its_snapshot(file_backend: Backend) -> None:
    async with file_backend.connect() as reader, file_backend.second() as writer:
        await writer.execute("PRAGMA journal_mode=WAL")
        await writer.execute("CREATE TABLE t AS " + NUMBERS.format(5_000))
        cursor = await reader.execute("SELECT i FROM t")
        assert await cursor.fetchone() == (1,)
        await writer.execute("DELETE FROM t")
        await writer.commit()
        assert len(await cursor.fetchall()) == 4_999
        assert await reader.fetch_all("SELECT * FROM t") == []


# Errors in the middle of a result.

OVERFLOW_AT = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2 * ?1)
    SELECT abs(CASE i WHEN ?1 THEN -9223372036854775808 ELSE -i END) FROM n"""


@pytest.mark.local("results come whole")
@pytest.mark.parametrize("place", [2, 5, 64, 65, 5_000])
async def test_rows_before_an_error_come_first(conn: Connection, place: int) -> None:
    before = [(i,) for i in range(1, place)]
    cursor = await conn.execute(OVERFLOW_AT, (place,))
    assert await cursor.fetchmany(place - 1) == before
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        await cursor.fetchone()
    assert await cursor.fetchone() is None
    await assert_healthy(conn)

    rows = []
    cursor = await conn.execute(OVERFLOW_AT, (place,))
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        async for row in cursor:
            rows.append(row)  # noqa: PERF401 - a comprehension would lose them with the error
    assert rows == before
    await assert_healthy(conn)


@pytest.mark.local("results come whole")
async def test_fetchall_raises_an_error_in_the_middle(conn: Connection) -> None:
    cursor = await conn.execute(OVERFLOW_AT, (300,))
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        await cursor.fetchall()
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        await conn.fetch_all(OVERFLOW_AT, (300,))
    await assert_healthy(conn)


async def test_error_in_the_first_row_is_that_of_execute(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="integer overflow"):
        await conn.execute(OVERFLOW_AT, (1,))
    await assert_healthy(conn)


@pytest.mark.local("VACUUM")
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 66, 128, 1000])
async def test_statement_is_at_its_end_once_its_last_row_was_fetched(
    conn: Connection, count: int
) -> None:
    conn.isolation_level = None
    await conn.execute("CREATE TABLE t (x)")
    await conn.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(count)))
    by_one = await conn.execute("SELECT x FROM t")
    by_many = await conn.execute("SELECT x FROM t")
    for i in range(count):
        assert await by_one.fetchone() == (i,)
    assert await by_many.fetchmany(count) == [(i,) for i in range(count)]
    # As in sqlite3; with a statement in progress this would fail.
    await conn.execute("VACUUM")


async def test_fetchall_abandoned_at_any_turn_loses_no_row(conn: Connection) -> None:
    await conn.execute("CREATE TABLE number (i INTEGER PRIMARY KEY)")
    everything = [(i,) for i in range(1, 60_001)]
    cancelled = 0
    for turns in [*range(0, 100, 7), 200, 400, 10_000]:
        # All its rows are there when it has executed.
        cursor = await conn.execute("INSERT INTO number " + NUMBERS.format(60_000) + " RETURNING i")
        fetched: list[Any] = []

        async def fetch(into: list[Any], cursor: aiolibsql.Cursor[Any]) -> None:
            into += await cursor.fetchall()

        async with anyio.create_task_group() as group:
            group.start_soon(fetch, fetched, cursor)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
                if fetched:
                    break
            group.cancel_scope.cancel()
        cancelled += not fetched
        assert fetched + await cursor.fetchall() == everything
        await conn.execute("DELETE FROM number")
    assert cancelled
    await conn.commit()
    await assert_healthy(conn)
