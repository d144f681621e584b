"""The row factories that come with the package: what they make of rows, wherever rows come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from pathlib import Path

    Connection = aiolibsql.Connection[Any]

SQL = "SELECT 1 AS x, 'two' AS y UNION ALL SELECT 3, NULL"


@dataclass
class Point:
    x: int
    y: str | None = None


EXPECTED: dict[str, tuple[Any, list[Any]]] = {
    "tuple_row": (aiolibsql.tuple_row, [(1, "two"), (3, None)]),
    "dict_row": (aiolibsql.dict_row, [{"x": 1, "y": "two"}, {"x": 3, "y": None}]),
    "namedtuple_row": (aiolibsql.namedtuple_row, [(1, "two"), (3, None)]),
    "class_row": (aiolibsql.class_row(Point), [Point(1, "two"), Point(3)]),
    "scalar_row": (aiolibsql.scalar_row, [1, 3]),
}
factories = pytest.mark.parametrize("name", list(EXPECTED))


@pytest.mark.anyio
@pytest.mark.everywhere
@factories
async def test_every_way_to_rows_gives_them(conn: Connection, name: str) -> None:
    conn.row_factory, expected = EXPECTED[name]
    assert await conn.fetch_all(SQL) == expected
    assert await conn.fetch_one(SQL) == expected[0]
    cursor = await conn.execute(SQL)
    assert await cursor.fetchone() == expected[0]
    assert [row async for row in cursor] == expected[1:]
    await assert_healthy(conn)


@pytest.mark.anyio
@factories
async def test_rows_of_a_pool(tmp_path: Path, name: str) -> None:
    factory, expected = EXPECTED[name]
    async with aiolibsql.create_pool(tmp_path / "a.db", row_factory=factory) as pool:
        assert await pool.fetch_all(SQL) == expected


@factories
def test_rows_of_the_blocking_module(name: str) -> None:
    with dbapi.connect(":memory:") as conn:
        conn.row_factory, expected = EXPECTED[name]
        assert conn.execute(SQL).fetchall() == expected
        assert list(conn.execute(SQL)) == expected
    conn.close()


@pytest.mark.anyio
async def test_named_tuples_of_the_same_columns_have_one_class(conn: Connection) -> None:
    conn.row_factory = aiolibsql.namedtuple_row
    first, second = await conn.fetch_all(SQL)
    assert (first.x, second.x, first._fields) == (1, 3, ("x", "y"))
    assert type(first) is type(second) is type(await conn.fetch_one(SQL))
    odd = await conn.fetch_one("SELECT 1 AS a, 2 AS a, 3 AS 'no name', 4 AS class")
    assert odd._fields == ("a", "_1", "_2", "_3")


@pytest.mark.anyio
async def test_of_columns_with_one_name_a_dict_has_the_last(conn: Connection) -> None:
    conn.row_factory = aiolibsql.dict_row
    assert await conn.fetch_one("SELECT 1 AS a, 2 AS b, 3 AS a") == {"a": 3, "b": 2}


@pytest.mark.anyio
async def test_class_that_lacks_a_column_fails_the_fetch_and_nothing_else(conn: Connection) -> None:
    conn.row_factory = aiolibsql.class_row(Point)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        await conn.fetch_all("SELECT 1 AS x, 2 AS z")
    assert await conn.fetch_one(SQL) == Point(1, "two")
    conn.row_factory = None
    await assert_healthy(conn)
