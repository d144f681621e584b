"""What a database consists of, as methods of the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

SCHEMA = """
CREATE TABLE planet (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x', mass REAL,
                     heavy REAL GENERATED ALWAYS AS (mass * 2) VIRTUAL);
CREATE TABLE moon (name, planet REFERENCES planet (id) ON DELETE CASCADE, UNIQUE (name, planet));
CREATE TABLE sqlitecity (a INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE UNIQUE INDEX by_name ON planet (name, mass);
CREATE VIEW heavy AS SELECT * FROM planet;
"""
NAME = {"cid": 1, "name": "name", "type": "TEXT", "notnull": 1, "dflt_value": "'x'", "pk": 0}
BY_NAME = {
    "name": "by_name",
    "table": "planet",
    "unique": 1,
    "sql": "CREATE UNIQUE INDEX by_name ON planet (name, mass)",
}
TO_PLANET = {
    "id": 0,
    "seq": 0,
    "table": "planet",
    "from": "planet",
    "to": "id",
    "on_update": "NO ACTION",
    "on_delete": "CASCADE",
    "match": "NONE",
}
# Every method of this file with arguments that find something.
CALLS: list[tuple[str, tuple[str, ...]]] = [
    ("get_tables", ()),
    ("get_views", ()),
    ("get_table_info", ("planet",)),
    ("get_table_xinfo", ("planet",)),
    ("get_indexes", ()),
    ("get_index_list", ("moon",)),
    ("get_index_info", ("by_name",)),
    ("get_foreign_keys", ("moon",)),
    ("get_schema", ()),
    ("get_schema", ("planet",)),
    ("explain_query_plan", ("SELECT 1 FROM planet",)),
]


@pytest.fixture
async def schema(conn: Connection) -> AsyncIterator[Connection]:
    await conn.executescript(SCHEMA)
    yield conn
    if not conn.closed:
        await assert_healthy(conn)


async def test_get_tables_leaves_out_what_is_sqlites_own(schema: Connection) -> None:
    assert await schema.get_tables() == ["moon", "planet", "sqlitecity"]
    assert await schema.get_tables("PLANET") == ["planet"]
    assert await schema.get_tables("heavy") == []


async def test_get_views_are_the_views(schema: Connection) -> None:
    assert await schema.get_views() == ["heavy"]
    assert await schema.get_views("planet") == []


async def test_get_table_info_has_the_columns(schema: Connection) -> None:
    info = await schema.get_table_info("planet")
    assert [column["name"] for column in info] == ["id", "name", "mass"]
    assert info[1] == NAME
    assert await schema.get_table_info("nothing; DROP TABLE planet") == []


async def test_get_table_xinfo_has_the_generated_columns_too(schema: Connection) -> None:
    info = await schema.get_table_xinfo("planet")
    assert [column["name"] for column in info] == ["id", "name", "mass", "heavy"]
    assert info[1] == {**NAME, "hidden": 0}
    assert info[3]["hidden"] == 2


async def test_get_indexes_are_those_of_create_index(schema: Connection) -> None:
    assert await schema.get_indexes() == [BY_NAME]
    assert await schema.get_indexes("Planet") == [BY_NAME]
    assert await schema.get_indexes("moon") == []


async def test_get_index_list_has_those_of_constraints_too(schema: Connection) -> None:
    (index,) = await schema.get_index_list("moon")
    assert index == {
        "seq": 0,
        "name": "sqlite_autoindex_moon_1",
        "unique": 1,
        "origin": "u",
        "partial": 0,
    }


async def test_get_index_info_has_the_columns(schema: Connection) -> None:
    assert await schema.get_index_info("by_name") == [
        {"seqno": 0, "cid": 1, "name": "name"},
        {"seqno": 1, "cid": 2, "name": "mass"},
    ]


async def test_get_foreign_keys_are_those_of_the_table(schema: Connection) -> None:
    assert await schema.get_foreign_keys("moon") == [TO_PLANET]
    assert await schema.get_foreign_keys("planet") == []


async def test_get_schema_has_the_tables_or_all_about_one(schema: Connection) -> None:
    tables = [{"name": "moon"}, {"name": "planet"}, {"name": "sqlitecity"}]
    assert await schema.get_schema() == {"tables": tables}
    assert await schema.get_schema("moon") == {
        "table_name": "moon",
        "columns": await schema.get_table_info("moon"),
        "indexes": [],
        "foreign_keys": [TO_PLANET],
    }
    assert (await schema.get_schema("planet"))["indexes"] == [BY_NAME]
    assert await schema.get_schema("nothing") == {}


async def test_explain_query_plan_gives_sqlites_rows(schema: Connection) -> None:
    sql = "SELECT mass FROM planet WHERE name = ?"
    (row,) = await schema.explain_query_plan(sql, ("Ceres",))
    assert row[1] == 0
    assert row[3] == "SEARCH planet USING COVERING INDEX by_name (name=?)"


@pytest.mark.parametrize(("method", "arguments"), CALLS)
async def test_method_takes_no_notice_of_factories(
    schema: Connection, method: str, arguments: tuple[str, ...]
) -> None:
    expected = await getattr(schema, method)(*arguments)
    assert expected
    for text_factory in (bytes, lambda _: 1 / 0):
        schema.text_factory = text_factory
        schema.row_factory = lambda *_: None
        assert await getattr(schema, method)(*arguments) == expected
        assert schema.text_factory is text_factory
    schema.text_factory = str


@pytest.mark.parametrize(("method", "arguments"), CALLS)
async def test_method_takes_part_in_a_transaction(
    conn: Connection, method: str, arguments: tuple[str, ...]
) -> None:
    async with conn.transaction(force_rollback=True) as block:
        for sql in SCHEMA.split(";"):
            await block.execute(sql)
        inside = await getattr(block, method)(*arguments)
        assert inside
        assert await getattr(conn, method)(*arguments) == inside
    with pytest.raises(aiolibsql.ProgrammingError):
        await getattr(block, method)(*arguments)
    await assert_healthy(conn)


@pytest.mark.parametrize(("method", "arguments"), CALLS)
async def test_method_on_a_closed_connection_is_refused(
    backend: Backend, method: str, arguments: tuple[str, ...]
) -> None:
    conn = backend.connect()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await getattr(conn, method)(*arguments)
    await conn
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await getattr(conn, method)(*arguments)


@pytest.mark.parametrize(("method", "arguments"), CALLS)
async def test_method_leaves_an_implicit_transaction_open(
    schema: Connection, method: str, arguments: tuple[str, ...]
) -> None:
    await schema.execute("INSERT INTO planet (name) VALUES ('Ceres')")
    await getattr(schema, method)(*arguments)
    assert schema.in_transaction
    await schema.rollback()
    assert await schema.fetch_scalar("SELECT count(*) FROM planet") == 0


async def test_method_that_is_not_awaited_warns_by_its_name(conn: Connection) -> None:
    with pytest.warns(RuntimeWarning, match=r"Connection\.get_tables' was never awaited"):
        conn.get_tables()  # type: ignore[unused-coroutine]


async def test_method_is_a_coroutine_for_task_groups(schema: Connection) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schema.get_tables)
        tasks.start_soon(schema.get_schema, "planet")


@pytest.mark.local("PRAGMAs that set something")
@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("cache_size", 123, 123),
        ("main.cache_size", -77, -77),
        ("foreign_keys", True, 1),
        ("recursive_triggers", "on", 1),
    ],
)
async def test_set_pragma_sets_it(conn: Connection, name: str, value: Any, read: int) -> None:
    assert await conn.set_pragma(name, value) is None  # type: ignore[func-returns-value]
    assert await conn.fetch_scalar(f"PRAGMA {name}") == read


async def test_set_pragma_drops_the_answer(file_backend: Backend) -> None:
    async with file_backend.connect() as conn:
        await conn.set_pragma("journal_mode", "wal")
        assert await conn.fetch_scalar("PRAGMA journal_mode") == "wal"
        await assert_healthy(conn)


@pytest.mark.parametrize("name", ["", "a b", "cache_size=1;--", "a.", "'x'"])
async def test_set_pragma_with_what_is_no_name_is_refused(conn: Connection, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a pragma"):
        await conn.set_pragma(name, 1)


@pytest.mark.local("PRAGMAs that set something")
async def test_set_pragma_value_is_no_sql(conn: Connection) -> None:
    await conn.set_pragma("application_id", "1; CREATE TABLE t (x)")
    await conn.set_pragma("application_id", "'); CREATE TABLE t (x); --")
    assert await conn.get_tables() == []


async def test_set_pragma_on_a_closed_connection_is_refused(conn: Connection) -> None:
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.set_pragma("cache_size", 1)
