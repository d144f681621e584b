"""Converters: what values become by their column, with the stdlib's `sqlite3` as oracle."""

from __future__ import annotations

import datetime as dt
import gc
import sqlite3
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from hypothesis import example, given
from hypothesis import strategies as st

import aiolibsql
from aiolibsql import PARSE_COLNAMES, PARSE_DECLTYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

BOTH = PARSE_DECLTYPES | PARSE_COLNAMES
MODES = [0, PARSE_DECLTYPES, PARSE_COLNAMES, BOTH]


def shown(value: bytes) -> str:
    assert type(value) is bytes
    return f"shown {value!r}"


def fussy(value: bytes) -> str:
    if value == b"bad":
        raise ZeroDivisionError("in the converter")
    return value.decode().upper()


@pytest.fixture
def register() -> Iterator[Callable[[str, Callable[[bytes], Any]], None]]:
    """Register converters with both modules, until the test ends."""
    before = dict(aiolibsql.converters), dict(sqlite3.converters)

    def both(name: str, converter: Callable[[bytes], Any]) -> None:
        aiolibsql.register_converter(name, converter)
        sqlite3.register_converter(name, converter)

    yield both
    for registry, content in zip((aiolibsql.converters, sqlite3.converters), before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture
async def detecting(backend: Backend) -> AsyncIterator[Connection]:
    """Return an open connection that looks for types everywhere."""
    async with backend.connect(detect_types=BOTH) as connection:
        yield connection
        await connection.rollback()


def with_sqlite3(detect_types: int, statements: list[str]) -> tuple[Any, Any]:
    connection = sqlite3.connect(":memory:", detect_types=detect_types)
    try:
        for statement in statements[:-1]:
            connection.execute(statement)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            cursor = connection.cursor()
            try:
                rows: Any = cursor.execute(statements[-1]).fetchall()
            except Exception as error:
                return type(error).__name__, None  # 3.10 fetches a row before it knows its columns
            return rows, cursor.description
    finally:
        connection.close()


async def with_aiolibsql(detect_types: int, statements: list[str]) -> tuple[Any, Any]:
    async with aiolibsql.connect(":memory:", detect_types=detect_types) as connection:
        for statement in statements[:-1]:
            await connection.execute(statement)
        cursor = await connection.execute(statements[-1])
        rows: Any
        try:
            rows = await cursor.fetchall()
        except Exception as error:
            return type(error).__name__, None
        finally:
            await connection.rollback()
        return rows, cursor.description


async def same(detect_types: int, *statements: str) -> Any:
    """Return the rows that both fetch, which have the same columns too."""
    ours = await with_aiolibsql(detect_types, list(statements))
    assert ours == with_sqlite3(detect_types, list(statements))
    return ours[0]


# Which converter a column has.

DECLARED = [
    "shown",
    "SHOWN",
    "Shown(10)",
    "shown (10, 5)",
    "shown NOT NULL",
    "shown varying character",
    "shown[5]",
    '"shown"',
    '"shown type"',
    '"sho""wn"',
    "shownumber",
    "not_shown",
    "ünïcode",
    "",
]


@pytest.mark.parametrize("detect_types", MODES)
@pytest.mark.parametrize("declared", DECLARED)
async def test_declared_type_as_in_sqlite3(register: Any, declared: str, detect_types: int) -> None:
    register("shown", shown)
    register("ÜNÏCODE", shown)
    await same(
        detect_types,
        f"CREATE TABLE t (a {declared})",
        "INSERT INTO t VALUES ('x')",
        "SELECT a, a AS b, a || '' AS c, (SELECT a) AS d, +a FROM t AS e",
    )


async def test_declared_type_is_found_at_all(register: Any) -> None:
    register("shown", shown)
    statements = [
        "CREATE TABLE t (a Shown(10), b)",
        "INSERT INTO t VALUES (1, 2)",
        "SELECT * FROM t",
    ]
    assert await same(PARSE_DECLTYPES, *statements) == [("shown b'1'", 2)]
    assert await same(PARSE_COLNAMES, *statements) == [(1, 2)]


NAMES = [
    "a [shown]",
    "a [SHOWN]",
    "a[shown]",
    "a  [shown]",
    "[shown]",
    " [shown]",
    "a [shown] b",
    "a [shown] [other]",
    "a [other] [shown]",
    "a [[shown]",
    "a [shown]]",
    "a ]shown[",
    "a [shown",
    "a [ shown ]",
    "a []",
    "a [shown(5)]",
    "é [ünïcode]",
    "a",
    "",
]


@pytest.mark.parametrize("detect_types", MODES)
@pytest.mark.parametrize("name", NAMES)
async def test_type_in_a_column_name_as_in_sqlite3(
    register: Any, name: str, detect_types: int
) -> None:
    register("shown", shown)
    register("ÜNÏCODE", shown)
    register("other", lambda _: "other")
    await same(detect_types, f"SELECT 'x' AS \"{name}\"")


@given(name=st.text("ab [](", max_size=12), declared=st.text("ab (", max_size=6))
@example(name="a [b]", declared="a")
async def test_any_name_and_type_as_in_sqlite3(name: str, declared: str) -> None:
    registries = (aiolibsql.converters, sqlite3.converters)
    for registry in registries:
        registry.update({"A": lambda _: "as a", "B": lambda _: "as b", "": lambda _: "as nothing"})
    try:
        create = f'CREATE TABLE t (x "{declared}")'
        insert = "INSERT INTO t VALUES (1)"
        await same(BOTH, create, insert, f'SELECT x AS "{name}" FROM t')
    finally:
        for registry in registries:
            for key in ("A", "B", ""):
                del registry[key]


async def test_type_in_the_name_comes_before_the_declared_one(register: Any) -> None:
    register("shown", shown)
    register("other", lambda _: "other")
    create, insert = "CREATE TABLE t (a other)", "INSERT INTO t VALUES (1)"
    for name, expected in [("a [shown]", "shown b'1'"), ("a [unknown]", "other")]:
        select = f'SELECT a AS "{name}" FROM t'
        assert await same(BOTH, create, insert, select) == [(expected,)]


async def test_names_without_their_types_name_the_values_of_a_row(
    backend: Backend, register: Any
) -> None:
    register("shown", shown)
    async with backend.connect(detect_types=BOTH, row_factory=aiolibsql.Row) as connection:
        row = await connection.fetch_one('SELECT 1 AS "a [shown]", 2 AS b')
        assert row.keys() == ["a", "b"]
        assert row["A"] == "shown b'1'"


# What a converter gets.

STORED = [
    *("NULL", "''", "x''", "'text'", "'é'", "x'00ff'", "'a' || char(0) || 'b'"),
    *("0", "-9223372036854775808", "1.0", "-0.0", "1e300", "9e999", "0.1", "1e-7", "12345678.9e10"),
]


@pytest.mark.parametrize("stored", STORED)
async def test_converter_gets_the_bytes_that_it_gets_in_sqlite3(register: Any, stored: str) -> None:
    register("shown", shown)
    (row,) = await same(PARSE_COLNAMES, f'SELECT {stored} AS "a [shown]"')
    assert (row[0] is None) == (stored in ("NULL", "''", "x''"))


@pytest.mark.local("its SQLite may write REALs otherwise than ours")
@given(number=st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1))
async def test_converter_gets_the_text_of_any_number(conn: Connection, number: float) -> None:
    conn.register_converter("number", bytes)
    await conn.execute("CREATE TABLE IF NOT EXISTS n (a number)")
    await conn.execute("DELETE FROM n")
    await conn.execute("INSERT INTO n VALUES (?)", (number,))
    (row,) = await conn.fetch_all("SELECT a, CAST(CAST(a AS TEXT) AS BLOB) FROM n")
    assert row[0] == row[1]


async def test_text_factory_has_no_say_in_what_a_converter_gets(
    detecting: Connection, register: Any
) -> None:
    register("shown", shown)
    for factory in (bytes, bytearray, lambda text: text.decode("latin-1")):
        detecting.text_factory = factory
        row = await detecting.fetch_one("""SELECT 'é' AS "a [shown]", 'é' AS b""")
        assert row == ("shown b'\\xc3\\xa9'", factory("é".encode()))


# What it returns.


async def test_value_of_any_class_reaches_every_kind_of_fetch(
    detecting: Connection, register: Any
) -> None:
    register("list", lambda text: text.decode().split(","))
    sql = """WITH t(a) AS (VALUES ('1,2'), ('3'), (NULL), ('4')) SELECT a AS "a [list]" FROM t"""
    expected: list[Any] = [(["1", "2"],), (["3"],), (None,), (["4"],)]
    assert await detecting.fetch_all(sql) == expected
    assert await detecting.fetch_one(sql) == expected[0]
    assert await detecting.fetch_optional(sql) == expected[0]
    assert await detecting.fetch_scalar(sql) == ["1", "2"]
    cursor = await detecting.execute(sql)
    assert await cursor.fetchone() == expected[0]
    assert await cursor.fetchmany(2) == expected[1:3]
    assert [row async for row in cursor] == expected[3:]


async def test_row_that_refers_to_itself_is_collected(detecting: Connection, register: Any) -> None:
    class Box:
        content: Any = None

    register("box", lambda _: Box())
    row = await detecting.fetch_one('SELECT 1 AS "a [box]"')
    row[0].content = row
    gone = weakref.ref(row[0])
    del row
    gc.collect()
    assert gone() is None


async def test_many_rows_are_converted_across_batches(detecting: Connection) -> None:
    detecting.register_converter("number", int)
    await detecting.execute("CREATE TABLE t (a number)")
    await detecting.executemany("INSERT INTO t VALUES (?)", ((str(n),) for n in range(5000)))
    assert await detecting.fetch_all("SELECT a FROM t") == [(n,) for n in range(5000)]
    cursor = await detecting.execute("SELECT a FROM t")
    assert [row[0] async for row in cursor] == list(range(5000))


async def test_returning_is_converted(detecting: Connection, register: Any) -> None:
    register("shown", shown)
    await detecting.execute("CREATE TABLE t (a shown)")
    rows = await detecting.fetch_all("INSERT INTO t VALUES (1), (2) RETURNING a, a AS 'b [shown]'")
    assert rows == [("shown b'1'",) * 2, ("shown b'2'",) * 2]


# When it is looked up.


async def test_converter_is_chosen_when_the_statement_is_executed(
    detecting: Connection, register: Any
) -> None:
    register("shown", lambda _: "first")
    cursor = await detecting.execute("""SELECT 1 AS "a [shown]" UNION SELECT 2""")
    register("shown", lambda _: "second")
    assert await cursor.fetchall() == [("first",), ("first",)]
    await cursor.execute("""SELECT 1 AS "a [shown]" UNION SELECT 2""")
    assert await cursor.fetchall() == [("second",), ("second",)]
    await cursor.execute("SELECT 1 AS a")
    assert await cursor.fetchall() == [(1,)]


async def test_declared_type_is_that_of_the_changed_schema(
    detecting: Connection, register: Any
) -> None:
    register("shown", shown)
    sql = "SELECT a FROM t"
    await detecting.execute("CREATE TABLE t (a)")
    await detecting.execute("INSERT INTO t VALUES (1)")
    assert await detecting.fetch_all(sql) == [(1,)]
    await detecting.executescript(
        "DROP TABLE t; CREATE TABLE t (a shown); INSERT INTO t VALUES (1);"
    )
    assert await detecting.fetch_all(sql) == [("shown b'1'",)]


async def test_converter_registered_with_sqlite3_counts_after_ours(
    detecting: Connection, register: Any
) -> None:
    register("unused", shown)  # for the fixture's sake
    sqlite3.register_converter("shown", lambda _: "sqlite3")
    sql = 'SELECT 1 AS "a [shown]"'
    assert await detecting.fetch_all(sql) == [("sqlite3",)]
    aiolibsql.register_converter("shown", lambda _: "ours")
    assert await detecting.fetch_all(sql) == [("ours",)]


# Errors.

FUSSY = """WITH t(a) AS (VALUES ('x'), ('bad'), ('y'), ('z')) SELECT a AS "a [fussy]" FROM t"""


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "anext"])
async def test_error_leaves_the_rows_after_it(
    detecting: Connection, register: Any, fetch: str
) -> None:
    register("fussy", fussy)
    cursor = await detecting.execute(FUSSY)

    async def next_row() -> Any:
        if fetch == "fetchone":
            return await cursor.fetchone()
        if fetch == "fetchmany":
            return (await cursor.fetchmany(1))[0]
        return await anext(aiter(cursor))

    assert await next_row() == ("X",)
    with pytest.raises(ZeroDivisionError, match="in the converter"):
        await next_row()
    assert await next_row() == ("Y",)
    assert await next_row() == ("Z",)
    await cursor.close()
    await assert_healthy(detecting)


async def test_error_within_fetchall_leaves_the_rows_after_it(
    detecting: Connection, register: Any
) -> None:
    # sqlite3 comes back to the row with the error for ever.
    register("fussy", fussy)
    cursor = await detecting.execute(FUSSY)
    with pytest.raises(ZeroDivisionError):
        await cursor.fetchall()
    assert await cursor.fetchall() == [("Y",), ("Z",)]
    await assert_healthy(detecting)


async def test_iterator_goes_on_after_an_error(detecting: Connection, register: Any) -> None:
    register("fussy", fussy)
    rows = aiter(await detecting.execute(FUSSY))
    assert await anext(rows) == ("X",)
    with pytest.raises(ZeroDivisionError):
        await anext(rows)
    assert [row async for row in rows] == [("Y",), ("Z",)]


async def test_error_in_a_helper_leaves_the_connection_healthy(
    detecting: Connection, register: Any
) -> None:
    register("fussy", fussy)
    for fetch in (detecting.fetch_one, detecting.fetch_scalar, detecting.fetch_all):
        with pytest.raises(ZeroDivisionError):
            await fetch("SELECT 'bad' AS \"a [fussy]\"")
    await assert_healthy(detecting)


async def test_converter_may_use_the_connection(detecting: Connection, register: Any) -> None:
    made: list[Any] = []

    def use(_: bytes) -> bool:
        made.append(detecting.execute("SELECT 7"))
        detecting.register_converter("use", None)
        return detecting.in_transaction

    register("use", use)
    assert await detecting.fetch_all('SELECT 1 AS "a [use]"') == [(False,)]
    assert await (await made[0]).fetchall() == [(7,)]


async def test_iterator_that_goes_on_with_another_execution_converts_as_that_one(
    detecting: Connection, register: Any
) -> None:
    register("shown", shown)
    cursor = await detecting.execute('SELECT 1 AS "a [shown]" UNION SELECT 2')
    rows = aiter(cursor)
    assert await anext(rows) == ("shown b'1'",)
    await cursor.execute("SELECT 3 AS a UNION SELECT 4")
    assert [row async for row in rows] == [(3,), (4,)]


# A connection's own.


async def test_converter_of_a_connection_needs_no_detect_types(
    conn: Connection, register: Any
) -> None:
    register("other", lambda _: "module")
    await conn.execute("CREATE TABLE t (a shown, b other)")
    await conn.execute("INSERT INTO t VALUES (1, 2)")
    sql = 'SELECT a, b, 3 AS "c [shown]" FROM t'
    assert await conn.fetch_all(sql) == [(1, 2, 3)]
    conn.register_converter("Shown", shown)
    assert await conn.fetch_all(sql) == [("shown b'1'", 2, 3)]
    assert (await conn.execute(sql)).description[2][0] == "c [shown]"  # type: ignore[index]
    conn.register_converter("sHOWN", None)
    conn.register_converter("sHOWN", None)
    assert await conn.fetch_all(sql) == [(1, 2, 3)]
    await conn.rollback()


async def test_converter_of_a_connection_comes_first_and_is_its_own(
    detecting: Connection, register: Any
) -> None:
    register("shown", lambda _: "module")
    detecting.register_converter("shown", lambda _: "connection")
    sql = 'SELECT 1 AS "a [shown]"'
    assert await detecting.fetch_all(sql) == [("connection",)]
    async with aiolibsql.connect(":memory:", detect_types=BOTH) as other:
        assert await other.fetch_all(sql) == [("module",)]
    async with detecting.transaction() as block:
        assert await block.fetch_all(sql) == [("connection",)]
        block.register_converter("shown", None)
    assert await detecting.fetch_all(sql) == [("module",)]


async def test_converter_may_be_registered_before_opening_and_not_after_closing(
    backend: Backend,
) -> None:
    connection = backend.connect(detect_types=PARSE_COLNAMES)
    connection.register_converter("shown", shown)
    async with connection:
        assert await connection.fetch_scalar('SELECT 1 AS "a [shown]"') == "shown b'1'"
    with pytest.raises(aiolibsql.ConnectionClosedError):
        connection.register_converter("shown", shown)


async def test_converter_that_refers_to_its_connection_is_collected(backend: Backend) -> None:
    async def use() -> weakref.ref[Connection]:
        async with backend.connect(detect_types=PARSE_COLNAMES) as connection:
            connection.register_converter("closed", lambda _: connection.closed)
            cursor = await connection.execute('SELECT 1 AS "a [closed]"')
            assert await cursor.fetchone() == (False,)
            return weakref.ref(connection)

    gone = await use()
    gc.collect()
    assert gone() is None


async def test_converter_that_refers_to_its_cursor_is_collected(detecting: Connection) -> None:
    async def use() -> weakref.ref[aiolibsql.Cursor[Any]]:
        cursor = detecting.cursor()
        detecting.register_converter("cursor", lambda _: cursor.rowcount)
        await cursor.execute('SELECT 1 AS "a [cursor]" UNION SELECT 2')
        detecting.register_converter("cursor", None)
        assert await cursor.fetchone() == (-1,)
        return weakref.ref(cursor)

    gone = await use()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("name", "converter"), [(1, str), (b"x", str), ("x", 5), ("x", "y")])
async def test_wrong_arguments_are_type_errors(conn: Connection, name: Any, converter: Any) -> None:
    with pytest.raises(TypeError):
        aiolibsql.register_converter(name, converter)
    with pytest.raises(TypeError):
        conn.register_converter(name, converter)


async def test_none_is_no_converter_of_the_module() -> None:
    with pytest.raises(TypeError):
        aiolibsql.register_converter("x", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "error"), [("1", TypeError), (None, TypeError), (2**40, OverflowError)]
)
async def test_detect_types_is_a_small_int(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        aiolibsql.connect(":memory:", detect_types=value)
    with pytest.raises(error):
        sqlite3.connect(":memory:", detect_types=value)


# Dates.


@given(value=st.dates() | st.datetimes())
@example(value=dt.date.min)
@example(value=dt.datetime(2024, 2, 29, 12, 30, 0, 5))  # noqa: DTZ001 - naive
async def test_dates_come_back_the_same_without_a_warning(
    detecting: Connection, value: dt.date
) -> None:
    kind = "timestamp" if isinstance(value, dt.datetime) else "date"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = await detecting.fetch_one(f'SELECT ? AS "a [{kind}]"', (value,))
    assert row == (value,)
    assert type(row[0]) is type(value)


TIMES = [
    "2004-02-14",
    "2004-2-1",
    "2004-02-14 07:15:00",
    "2004-02-14 7:5:0",
    "2004-02-14 07:15:00.5",
    "2004-02-14 07:15:00.",
    "2004-02-14 07:15:00.123456789",
    "2004-02-14 07:15:00.123456+02:00",
    "2004-02-14 07:15:00.5+02:00",
    "2004-02-14 07:15:00+02:00",
    "2004-02-14T07:15:00",
    "2004-02-14 07:15",
    "2004-02-30 07:15:00",
    "2004-02-14 25:15:00",
    "2004-02-14  07:15:00",
    "1234567890",
    "now",
    "",
]


@pytest.mark.parametrize("stored", TIMES)
async def test_default_converters_as_in_sqlite3(stored: str) -> None:
    for kind in ("date", "timestamp"):
        await same(PARSE_COLNAMES, f"SELECT '{stored}' AS \"a [{kind}]\"")


async def test_default_converters_both_read_and_refuse() -> None:
    sql = "SELECT '{}' AS \"a [timestamp]\""
    read = dt.datetime(2004, 2, 14, 7, 15, 0, 500000)  # noqa: DTZ001 - naive
    assert await same(PARSE_COLNAMES, sql.format("2004-02-14 07:15:00.5")) == [(read,)]
    assert await same(PARSE_COLNAMES, sql.format("now")) == "ValueError"


def test_converters_are_named_in_upper_case() -> None:
    assert {"DATE", "TIMESTAMP"} <= set(aiolibsql.converters)
    assert set(sqlite3.converters) <= set(aiolibsql.converters)
    assert (PARSE_DECLTYPES, PARSE_COLNAMES) == (sqlite3.PARSE_DECLTYPES, sqlite3.PARSE_COLNAMES)
