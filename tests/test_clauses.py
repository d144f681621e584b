"""SQL text and rows, put into form."""

from __future__ import annotations

from typing import Any

import pytest

import aiolibsql

pytestmark = pytest.mark.everywhere


@pytest.mark.parametrize(
    ("sql", "expanded"),
    [
        ("SELECT 1 WHERE x IN (?)", "SELECT 1 WHERE x IN (?,?,?)"),
        ("x in ( ? ) AND y IN (?)", "x IN (?,?,?) AND y IN (?)"),
        ("x NOT\nIN(\n?\n)", "x NOT\nIN (?,?,?)"),
        ("'IN (?)' IN (?)", "'IN (?)' IN (?,?,?)"),
        ("'it''s IN (?)', \"IN (?)\", [IN (?)], `IN (?)` IN (?)",
         "'it''s IN (?)', \"IN (?)\", [IN (?)], `IN (?)` IN (?,?,?)"),
        ("-- IN (?)\n/* IN (?) */ x IN (?)", "-- IN (?)\n/* IN (?) */ x IN (?,?,?)"),
    ],
)  # fmt: skip
def test_in_clause_query_gives_a_place_to_each_value(sql: str, expanded: str) -> None:
    assert aiolibsql.in_clause_query(sql, (1, 2, 3)) == (expanded, [1, 2, 3])


@pytest.mark.parametrize(
    "sql", ["", "SELECT ?", "x IN (?, ?)", "x = 'IN (?)'", "bin (?)", "/* IN (?)", "-- IN (?)"]
)
def test_in_clause_query_without_the_clause_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"no 'IN \(\?\)'"):
        aiolibsql.in_clause_query(sql, [1])


def test_in_clause_query_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        aiolibsql.in_clause_query("x IN (?)", [])


@pytest.mark.anyio
async def test_in_clause_query_finds_the_rows(conn: aiolibsql.Connection[Any]) -> None:
    sql, values = aiolibsql.in_clause_query(
        "SELECT value FROM json_each('[1, 2, 3]') WHERE value IN (?)", [1, 3, 5]
    )
    assert await conn.fetch_all(sql, values) == [(1,), (3,)]


def test_rows_to_dicts_names_the_values() -> None:
    assert aiolibsql.rows_to_dicts([(1, 2), [3, 4]], ["a", "b"]) == [
        {"a": 1, "b": 2},
        {"a": 3, "b": 4},
    ]
    assert aiolibsql.rows_to_dicts([]) == []


@pytest.mark.anyio
async def test_rows_to_dicts_takes_the_names_that_rows_have(
    conn: aiolibsql.Connection[Any],
) -> None:
    conn.row_factory = aiolibsql.Row
    rows = await conn.fetch_all("SELECT 1 AS a, 2 AS b")
    assert aiolibsql.rows_to_dicts(rows) == [{"a": 1, "b": 2}]
    assert aiolibsql.rows_to_dicts([{"a": 1}]) == [{"a": 1}]


@pytest.mark.parametrize("columns", [None, [], ["a"], ["a", "b", "c"]])
def test_rows_to_dicts_with_wrong_columns_is_refused(columns: list[str] | None) -> None:
    with pytest.raises(ValueError, match="columns"):
        aiolibsql.rows_to_dicts([(1, 2)], columns)
