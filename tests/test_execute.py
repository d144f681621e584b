"""Execute: one statement a call, and the helpers that execute and fetch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere, pytest.mark.every_runtime]


@pytest.mark.parametrize("sql", ["", " \n\t", "-- nothing", "/* nothing */", "-- a\n/* b */ -- c"])
async def test_sql_without_a_statement_does_nothing(conn: Connection, sql: str) -> None:
    cursor = await conn.execute(sql)
    assert cursor.description is None
    assert await cursor.fetchall() == []
    assert await conn.fetch_all(sql) == []


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1;", "SELECT 1; ", "SELECT 1; -- end", "SELECT 1;/* ; */\n", "-- first\nSELECT 1"],
)
async def test_comments_around_a_statement_are_fine(conn: Connection, sql: str) -> None:
    assert await conn.fetch_all(sql) == [(1,)]


@pytest.mark.parametrize("sql", ["CREATE TABLE a (x); CREATE TABLE b (x)", "SELECT 1; SELECT 2",
                                 "CREATE TABLE a (x); garbage", "SELECT 1; -- c\n SELECT 2",
                                 "INSERT INTO t VALUES (1); COMMIT"])  # fmt: skip
async def test_two_statements_are_refused_and_neither_runs(conn: Connection, sql: str) -> None:
    await conn.execute("CREATE TABLE t (x)")
    with pytest.raises(aiolibsql.ProgrammingError, match="one statement at a time"):
        await conn.execute(sql)
    assert not conn.in_transaction
    assert await conn.fetch_all("SELECT name FROM sqlite_master") == [("t",)]
    assert await conn.fetch_all("SELECT * FROM t") == []
    await assert_healthy(conn)


@pytest.mark.parametrize("sql", ["SELECT 1\0", "\0", "SELECT 'a\0b'", "SELECT 1;\0SELECT 2"])
async def test_nul_in_sql_is_refused(conn: Connection, sql: str) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match=r"(?i)null character|nul\b"):
        await conn.execute(sql)
    await assert_healthy(conn)


@pytest.mark.parametrize("sql", [b"SELECT 1", None, 1])
async def test_sql_must_be_text(conn: Connection, sql: Any) -> None:
    with pytest.raises(TypeError):
        await conn.execute(sql)
    with pytest.raises(TypeError):
        await conn.cursor().execute(sql)


@pytest.mark.local("other words")
async def test_syntax_error_shows_the_place(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match='near "selec": syntax error') as caught:
        await conn.execute("selec 1")
    assert caught.value.sql == "selec 1"


async def test_same_sql_runs_again_with_other_parameters(conn: Connection) -> None:
    for number in range(300):  # more often than any cache would notice by accident
        assert await conn.fetch_all("SELECT ?", (number,)) == [(number,)]


@pytest.mark.parametrize("size", [0, 1, 2, 128])
async def test_statement_cache_of_any_size_changes_no_result(size: int) -> None:
    async with aiolibsql.connect(":memory:", cached_statements=size) as conn:
        for number in [1, 2, 3, 1, 1, 3, 2]:
            sql = f"SELECT {number}, ?"
            assert await conn.fetch_all(sql, ("x",)) == [(number, "x")]
        await assert_healthy(conn)


async def test_statement_waiting_for_a_changed_schema_is_prepared_anew(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    insert = "INSERT INTO t VALUES (?)"
    await conn.execute(insert, (1,))
    await conn.commit()
    await conn.execute("ALTER TABLE t RENAME TO old")
    with pytest.raises(aiolibsql.OperationalError, match="no such table: t"):
        await conn.execute(insert, (2,))
    await conn.execute("CREATE TABLE t (a, b DEFAULT 5)")
    with pytest.raises(aiolibsql.OperationalError, match="2 columns"):
        await conn.execute(insert, (2,))
    assert await conn.fetch_all("SELECT * FROM old") == [(1,)]


# Helpers.


async def test_execute_insert_gives_the_rowid(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    assert await conn.execute_insert("INSERT INTO t (a) VALUES (?)", ("x",)) == (1,)
    assert await conn.execute_insert("INSERT INTO t VALUES (40, 'y')") == (40,)
    assert conn.in_transaction
    async with conn.execute_insert("INSERT INTO t (a) VALUES (:a)", {"a": "z"}) as row:
        assert row == (41,)


@pytest.mark.parametrize("name", ["execute_fetchall", "fetch_all"])
async def test_fetch_all_gives_a_list_of_rows(conn: Connection, name: str) -> None:
    fetch = getattr(conn, name)
    assert await fetch("VALUES (1, 'a'), (2, 'b')") == [(1, "a"), (2, "b")]
    assert await fetch("SELECT ?, ?", (1, 2)) == [(1, 2)]
    assert await fetch("SELECT :a", {"a": 1}) == [(1,)]
    assert await fetch("SELECT 1 WHERE 0") == []
    assert await fetch("CREATE TABLE t (a)") == []
    assert await fetch("INSERT INTO t VALUES (1), (2) RETURNING a") == [(1,), (2,)]
    await conn.commit()
    await assert_healthy(conn)


async def test_execute_fetchall_is_a_context(conn: Connection) -> None:
    async with conn.execute_fetchall("VALUES (1), (2)") as rows:
        assert rows == [(1,), (2,)]


async def test_fetch_one_gives_the_first_row_or_an_error(conn: Connection) -> None:
    assert await conn.fetch_one("SELECT ?, 2", (1,)) == (1, 2)
    assert await conn.fetch_one("VALUES (1), (2)") == (1,)
    with pytest.raises(aiolibsql.DatabaseError, match="no row"):
        await conn.fetch_one("SELECT 1 WHERE 0")
    await assert_healthy(conn)


async def test_fetch_optional_gives_the_first_row_or_none(conn: Connection) -> None:
    assert await conn.fetch_optional("SELECT :a", {"a": None}) == (None,)
    assert await conn.fetch_optional("VALUES (1), (2)") == (1,)
    assert await conn.fetch_optional("SELECT 1 WHERE 0") is None
    await assert_healthy(conn)


async def test_fetch_blob_gives_bytes_and_refuses_other_types(conn: Connection) -> None:
    assert await conn.fetch_blob("SELECT x'00ff', 2") == b"\x00\xff"
    assert await conn.fetch_blob("SELECT x''") == b""
    assert await conn.fetch_blob("SELECT NULL") is None
    assert await conn.fetch_blob("SELECT 1 WHERE 0") is None
    with pytest.raises(TypeError, match="not a BLOB but 'str'"):
        await conn.fetch_blob("SELECT 'text'")
    await assert_healthy(conn)


async def test_fetch_scalar_gives_the_first_value(conn: Connection) -> None:
    assert await conn.fetch_scalar("SELECT ?, 2", ("x",)) == "x"
    assert await conn.fetch_scalar("VALUES (1), (2)") == 1
    assert await conn.fetch_scalar("SELECT NULL") is None
    await assert_healthy(conn)


@pytest.mark.parametrize("name", ["fetch_one", "fetch_optional", "fetch_scalar"])
async def test_first_row_of_an_endless_result_is_enough(conn: Connection, name: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    assert await getattr(conn, name)(endless) in (1, (1,))
    await assert_healthy(conn)


@pytest.mark.parametrize("name", ["fetch_one", "fetch_optional", "fetch_scalar"])
async def test_write_with_returning_is_done_although_one_row_is_taken(
    conn: Connection, name: str
) -> None:
    await conn.execute("CREATE TABLE t (a)")
    sql = "INSERT INTO t VALUES (1), (2), (3) RETURNING a"
    assert await getattr(conn, name)(sql) in (1, (1,))
    await conn.commit()
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3


async def test_total_changes_counts_every_changed_row(conn: Connection) -> None:
    assert conn.total_changes == 0
    await conn.execute("CREATE TABLE t (a)")
    await conn.execute("INSERT INTO t VALUES (1), (2)")
    assert conn.total_changes == 2
    await conn.executemany("INSERT INTO t VALUES (?)", [(3,), (4,), (5,)])
    await conn.execute("DELETE FROM t WHERE a < 3")
    assert conn.total_changes == 7
