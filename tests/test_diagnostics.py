"""Query plans, times, counts, and queries in messages."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from situations import SLOW

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


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


async def test_query_usage_counts_what_is_executed(conn: Connection) -> None:
    await conn.execute("SELECT 0")
    assert conn.query_usage_tracking is False
    conn.query_usage_tracking = True
    await conn.execute("CREATE TABLE t (x)")
    for x in range(3):
        await conn.fetch_all("SELECT ?", (x,))
    await conn.prepare("SELECT ?").fetch_scalar((3,))
    await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    async with conn.savepoint() as block:
        await block.fetch_one("SELECT 2")
    assert await conn.get_tables() == ["t"]  # the driver's own questions are not counted
    with pytest.raises(aiolibsql.OperationalError):
        await conn.execute("nonsense")
    usage = {
        "CREATE TABLE t (x)": 1,
        "SELECT ?": 4,
        "INSERT INTO t VALUES (?)": 1,
        "SELECT 2": 1,
        "nonsense": 1,
    }
    assert conn.query_usage() == usage
    conn.query_usage_tracking = False
    await conn.fetch_all("SELECT ?", (1,))
    assert conn.query_usage() == usage
    conn.clear_query_usage()
    assert conn.query_usage() == {}
    await conn.commit()
    await assert_healthy(conn)


async def test_query_usage_is_bounded(conn: Connection) -> None:
    conn.query_usage_tracking = True
    for i in range(1003):
        await conn.execute(f"-- {i}")
    await conn.execute("-- 0")
    assert len(conn.query_usage()) == 1000
    assert conn.query_usage()["-- 0"] == 2
    assert conn.query_usage_dropped() == 3
    conn.clear_query_usage()
    assert conn.query_usage_dropped() == 0


async def test_slow_query_is_told_of(conn: Connection) -> None:
    heard: list[tuple[float, str]] = []
    conn.set_slow_query_threshold(0.005, lambda seconds, sql: heard.append((seconds, sql)))
    for _ in range(5):
        await conn.fetch_all("SELECT 1")
    assert [sql for _, sql in heard].count("SELECT 1") < 5
    heard.clear()
    await conn.fetch_all(SLOW)
    async with conn.savepoint() as block, block.execute(SLOW) as cursor:
        await cursor.fetchall()
    assert [sql for _, sql in heard] == [SLOW, SLOW]
    assert all(0.005 <= seconds < 10 for seconds, _ in heard)
    conn.set_slow_query_threshold(0)
    await conn.fetch_all(SLOW)
    assert len(heard) == 2
    await assert_healthy(conn)


async def test_slow_query_without_a_callback_is_logged(
    conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    conn.set_slow_query_threshold(1e-9)
    await conn.fetch_all("SELECT 'slow %s'")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("aiolibsql.query", "WARNING")
    assert record.getMessage().startswith("slow query: 0.")
    assert record.getMessage().endswith(" s: SELECT 'slow %s'")


async def test_slow_query_callback_that_fails_leaves_the_result_alone(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: unraisable.append(args.exc_value))
    conn.set_slow_query_threshold(1e-9, lambda *_: 1 / 0)
    assert await conn.fetch_scalar("SELECT 1") == 1
    assert [type(error) for error in unraisable] == [ZeroDivisionError]
    conn.set_slow_query_threshold(1e-9, lambda *_: conn.set_slow_query_threshold(0))
    assert await conn.fetch_scalar("SELECT 1") == 1
    await assert_healthy(conn)


async def test_async_slow_query_callback_is_refused(conn: Connection) -> None:
    async def callback(*_: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="async"):
        conn.set_slow_query_threshold(1e-9, callback)
    assert await conn.fetch_scalar("SELECT 1") == 1


async def test_slow_query_callback_makes_no_leak(backend: Backend) -> None:
    def forgotten() -> weakref.ref[Connection]:
        conn = backend.connect()
        conn.set_slow_query_threshold(1, lambda *_: conn)
        return weakref.ref(conn)

    gone = forgotten()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("threshold", [-1, float("nan")])
async def test_slow_query_threshold_that_is_none_is_refused(
    conn: Connection, threshold: float
) -> None:
    with pytest.raises(ValueError, match="threshold_secs"):
        conn.set_slow_query_threshold(threshold)


@pytest.mark.local("other words")
async def test_query_is_in_messages_when_it_was_asked_for(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (x UNIQUE)")
    insert = "INSERT INTO t VALUES (?)"

    async def messages() -> list[str]:
        found = []
        for operation in (
            conn.execute("SELECT nope"),
            conn.executemany(insert, [("secret",), ("secret",)]),
            conn.executescript("SELECT 1; DROP TABLE missing"),
        ):
            with pytest.raises(aiolibsql.DatabaseError) as raised:
                await operation
            assert raised.value.sql is not None
            found.append(str(raised.value))
        return found

    assert conn.include_query_in_errors is False
    plain = await messages()
    assert plain[0] == "no such column: nope"
    conn.include_query_in_errors = True
    assert await messages() == [
        f"{plain[0]}\nQuery: SELECT nope",
        f"{plain[1]}\nQuery: {insert}",
        f"{plain[2]}\nQuery: DROP TABLE missing",
    ]
    await assert_healthy(conn)
