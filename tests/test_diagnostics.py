"""Query plans and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tables(conn: Connection) -> Connection:
    await conn.executescript(
        "CREATE TABLE planet (id INTEGER PRIMARY KEY, name, mass);"
        "CREATE INDEX by_name ON planet (name);"
        "CREATE TABLE moon (planet_id, name, size)"
    )
    return conn


@pytest.mark.parametrize(
    ("sql", "uses_index", "table_scan"),
    [
        ("SELECT * FROM planet WHERE name = 'Ceres'", True, False),
        ("SELECT name FROM planet ORDER BY name", True, False),
        ("SELECT * FROM planet WHERE id = 1", True, False),
        ("SELECT * FROM planet WHERE mass = 1", False, True),
        ("SELECT * FROM planet JOIN moon ON moon.planet_id = planet.id", True, True),
        ("SELECT 1", False, False),
        ("VALUES (1), (2)", False, False),
        ("SELECT * FROM json_each('[1]')", False, False),
    ],
)
async def test_analyze_query_plan_tells_index_and_scan(
    tables: Connection, sql: str, uses_index: bool, table_scan: bool
) -> None:
    plan = await aiolibsql.analyze_query_plan(tables, sql)
    assert plan["rows"] == await tables.explain_query_plan(sql)
    assert plan["details"] == [row[3] for row in plan["rows"]]
    assert (plan["uses_index"], plan["table_scan"]) == (uses_index, table_scan)


async def test_suggest_indexes_names_the_table_that_is_scanned(tables: Connection) -> None:
    sql = "SELECT * FROM planet WHERE mass = ?"
    (suggestion,) = await aiolibsql.suggest_indexes(tables, sql, (1,))
    assert (suggestion["table"], suggestion["column"]) == ("planet", "")
    assert "planet" in suggestion["suggestion"]
    assert await aiolibsql.suggest_indexes(tables, "SELECT name FROM planet ORDER BY name") == []


async def test_suggest_indexes_gives_the_index_that_sqlite_makes_each_time(
    tables: Connection,
) -> None:
    sql = "SELECT a.size, b.size FROM moon AS a JOIN moon AS b ON a.name = b.name"
    suggestions = await aiolibsql.suggest_indexes(tables, sql)
    (index,) = [each for each in suggestions if each["column"]]
    assert index["column"] == "name"
    statement = index["suggestion"].replace(f"ON {index['table']}(", "ON moon(")
    await tables.execute(statement)
    suggestions = await aiolibsql.suggest_indexes(tables, sql)
    assert [each for each in suggestions if each["column"]] == []


async def test_timed_fetch_all_gives_rows_and_seconds(conn: Connection) -> None:
    rows, seconds = await aiolibsql.timed_fetch_all(conn, "SELECT ?", (1,))
    assert rows == [(1,)]
    assert 0 < seconds < 10
    heard: list[tuple[float, str]] = []

    def on_timing(seconds: float, sql: str) -> None:
        heard.append((seconds, sql))

    assert await aiolibsql.timed_fetch_all(conn, "SELECT 2", on_timing=on_timing) == [(2,)]
    ((seconds, sql),) = heard
    assert 0 < seconds < 10
    assert sql == "SELECT 2"
    await assert_healthy(conn)


@pytest.mark.parametrize("helper", ["analyze_query_plan", "suggest_indexes", "timed_fetch_all"])
async def test_helper_on_a_closed_connection_is_refused(conn: Connection, helper: str) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await getattr(aiolibsql, helper)(conn, "SELECT 1")
