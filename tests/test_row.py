"""Rows: `Row` behaves as `sqlite3.Row` and a little more, and what a row factory may be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

SQL = "SELECT 1 AS id, 'text' AS Name, NULL AS empty, 2.5 AS id, x'00' AS \"é\""
NAMES = ["id", "Name", "empty", "id", "é"]
VALUES = (1, "text", None, 2.5, b"\0")


@pytest.fixture
async def row(conn: Connection) -> Any:
    """Return one `Row`."""
    conn.row_factory = aiolibsql.Row
    return await conn.fetch_one(SQL)


@pytest.fixture
def oracle() -> Iterable[sqlite3.Row]:
    """Return the stdlib's row for the same SQL."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    yield connection.execute(SQL).fetchone()
    connection.close()


LOOKS: dict[str, Callable[[Any], object]] = {
    "first": lambda row: row[0],
    "last": lambda row: row[-1],
    "past the end": lambda row: row[5],
    "before the start": lambda row: row[-6],
    "huge": lambda row: row[2**1000],
    "slice": lambda row: row[1:3],
    "step": lambda row: row[::-2],
    "name": lambda row: row["Name"],
    "name in other case": lambda row: row["nAME"],
    "name given twice": lambda row: row["ID"],
    "name not in ASCII": lambda row: row["é"],
    "name not in ASCII in other case": lambda row: row["É"],
    "unknown name": lambda row: row["nothing"],
    "empty name": lambda row: row[""],
    "float": lambda row: row[1.0],
    "None": lambda row: row[None],
    "bool": lambda row: row[True],
    "keys": lambda row: row.keys(),
    "len": len,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "reversed": lambda row: list(reversed(row)),
    "contains a value": lambda row: "text" in row,
    "contains no name": lambda row: "Name" in row,
    "equals its tuple": lambda row: row == VALUES,
    "less than": lambda row: row < row,  # noqa: PLR0124
    "itself": lambda row: (row == row, row != row, hash(row) == hash(row)),  # noqa: PLR0124
    "true": bool,
    "sequence": lambda row: isinstance(row, Sequence),
    "assignment": lambda row: row.__setitem__(0, 1),
}


def seen(look: Callable[[Any], object], row: Any) -> object:
    try:
        return look(row)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_row_looks_as_that_of_sqlite3(
    row: Any, oracle: sqlite3.Row, look: Callable[[Any], object]
) -> None:
    assert seen(look, row) == seen(look, oracle)


async def test_row_unpacks(conn: Connection) -> None:
    conn.row_factory = aiolibsql.Row
    one, two = await conn.fetch_one("SELECT 1, 2")
    assert (one, two) == (1, 2)


async def test_rows_are_equal_with_equal_names_and_values(conn: Connection) -> None:
    conn.row_factory = aiolibsql.Row
    rows = await conn.fetch_all("SELECT 1 AS a, 2 AS b UNION ALL SELECT 1, 2 UNION ALL SELECT 1, 3")
    renamed = await conn.fetch_one("SELECT 1 AS a, 2 AS c")
    assert rows[0] == rows[1]
    assert hash(rows[0]) == hash(rows[1])
    assert rows[0] != rows[2]
    assert rows[0] != renamed
    assert len({rows[0], rows[1], rows[2], renamed}) == 3


async def test_row_converts_to_plain_data(row: Any) -> None:
    assert row.keys() == NAMES
    assert row._fields == tuple(NAMES)
    assert row.astuple() == VALUES
    assert type(row.astuple()) is tuple
    assert list(row.values()) == list(VALUES)
    assert list(row.items()) == list(zip(NAMES, VALUES, strict=True))
    for names in (row.asdict(), row._asdict()):
        assert type(names) is dict
        assert list(names) == ["id", "Name", "empty", "é"]
        assert {name: names[name] for name in ("Name", "empty", "é")} == {
            "Name": "text", "empty": None, "é": b"\0",
        }  # fmt: skip


async def test_get_gives_the_value_or_a_default(row: Any) -> None:
    assert row.get("name") == "text"
    assert row.get("empty", 7) is None
    assert row.get("nothing") is None
    assert row.get("nothing", 7) == 7


async def test_repr_shows_names_and_values(row: Any) -> None:
    assert "Name" in repr(row)
    assert "'text'" in repr(row)


async def test_row_outlives_its_connection(conn: Connection) -> None:
    conn.row_factory = aiolibsql.Row
    row = await conn.fetch_one("SELECT 1 AS a, 'x' AS b")
    await conn.close()
    assert row["b"] == "x"
    assert row.keys() == ["a", "b"]


# Row factories.


def as_dict(cursor: aiolibsql.Cursor[Any], row: tuple[Any, ...]) -> dict[str, Any]:
    assert cursor.description is not None
    names = [column[0] for column in cursor.description]
    return dict(zip(names, row, strict=True))


async def test_rows_are_tuples_by_default(conn: Connection) -> None:
    assert conn.row_factory is None
    (row,) = await conn.fetch_all("SELECT 1, 'a'")
    assert type(row) is tuple


@pytest.mark.parametrize("factory", [aiolibsql.Row, sqlite3.Row])
async def test_both_row_classes_make_our_rows(conn: Connection, factory: Any) -> None:
    conn.row_factory = factory
    cursor = await conn.execute("SELECT 1 AS a")
    row = await cursor.fetchone()
    assert isinstance(row, aiolibsql.Row)
    assert row["A"] == 1


async def test_subclass_of_row_makes_its_own_rows(conn: Connection) -> None:
    class Loud(aiolibsql.Row):
        def shout(self) -> str:
            return str(self["word"]).upper()

    conn.row_factory = Loud
    row = await conn.fetch_one("SELECT 'hi' AS word")
    assert type(row) is Loud
    assert row.shout() == "HI"
    assert row[:] == ("hi",)


async def test_row_can_be_made_by_hand(conn: Connection) -> None:
    cursor = await conn.execute("SELECT 1 AS a, 2 AS b")
    row = aiolibsql.Row(cursor, (3, 4))
    assert row["b"] == 4
    assert row.keys() == ["a", "b"]


async def test_callable_gets_cursor_and_tuple_in_every_way_to_fetch(conn: Connection) -> None:
    conn.row_factory = as_dict
    assert conn.row_factory is as_dict
    sql = "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4"
    expected = [{"a": number} for number in (1, 2, 3, 4)]
    cursor = await conn.execute(sql)
    assert await cursor.fetchone() == expected[0]
    assert await cursor.fetchmany(1) == expected[1:2]
    assert await cursor.fetchall() == expected[2:]
    assert [row async for row in await conn.execute(sql)] == expected
    assert await conn.fetch_all(sql) == expected
    assert await conn.execute_fetchall(sql) == expected
    assert await conn.fetch_one(sql) == expected[0]
    assert await conn.fetch_optional(sql) == expected[0]
    assert await conn.fetch_scalar(sql) == 1


async def test_cursor_takes_the_factory_at_its_birth(conn: Connection) -> None:
    before = conn.cursor()
    conn.row_factory = as_dict
    after = conn.cursor()
    assert after.row_factory is as_dict
    await before.execute("SELECT 1 AS a")
    await after.execute("SELECT 1 AS a")
    assert await before.fetchone() == (1,)
    assert await after.fetchone() == {"a": 1}


async def test_cursor_has_a_factory_of_its_own(conn: Connection) -> None:
    cursor = await conn.execute("VALUES (1), (2), (3)")
    cursor.row_factory = lambda _, row: row[0] * 10
    assert await cursor.fetchone() == 10
    cursor.row_factory = None
    assert await cursor.fetchone() == (2,)
    cursor.row_factory = aiolibsql.Row
    row = await cursor.fetchone()
    assert isinstance(row, aiolibsql.Row)
    assert conn.row_factory is None
    assert await conn.fetch_all("SELECT 1") == [(1,)]


async def test_factory_of_connect_is_used() -> None:
    async with aiolibsql.connect(":memory:", row_factory=aiolibsql.Row) as conn:
        assert conn.row_factory is aiolibsql.Row
        assert (await conn.fetch_one("SELECT 5 AS five"))["five"] == 5


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "iterate"])
async def test_error_of_a_factory_reaches_the_caller(conn: Connection, fetch: str) -> None:
    error = LookupError("this row displeases")

    def refuse(_: object, row: tuple[Any, ...]) -> object:
        if row == (3,):
            raise error
        return row

    cursor = await conn.execute("VALUES (1), (2), (3), (4)")
    cursor.row_factory = refuse
    with pytest.raises(LookupError) as caught:
        if fetch == "iterate":
            async for _ in cursor:
                pass
        else:
            for _ in range(4):
                await getattr(cursor, fetch)()
    assert caught.value is error
    await cursor.close()
    await assert_healthy(conn)


async def test_iterator_that_goes_on_with_another_execution_has_its_names(
    conn: Connection,
) -> None:
    cursor = await conn.execute("SELECT 1 AS a UNION SELECT 2")
    cursor.row_factory = aiolibsql.Row
    rows = aiter(cursor)
    assert (await anext(rows)).keys() == ["a"]
    await cursor.execute("SELECT 3 AS b, 4 AS c")
    assert [row.keys() async for row in rows] == [["b", "c"]]
