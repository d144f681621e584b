"""Parameters: sequences and mappings, with the stdlib's `sqlite3` as oracle."""

from __future__ import annotations

import collections
import sqlite3
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


class Missing(dict[str, object]):
    def __missing__(self, key: str) -> object:
        return f"made for {key}"


class Lookup(Mapping[str, object]):
    """A mapping that is no dict."""

    def __init__(self, **items: object) -> None:
        self.items_ = items

    def __getitem__(self, key: str) -> object:
        return self.items_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


class Squares(Sequence[int]):
    """A sequence that is neither list nor tuple."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return index**2


class SequenceProtocol:
    """Only what the old sequence protocol wants."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return "ab"[index]


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024

HIDDEN = """SELECT ':a' AS ":b", 1 AS `:c`, 2 AS [:d] -- :e
    , /* :f ? */ :g AS "?", 'it''s :h', x'3a69' -- ?"""

CASES: list[tuple[str, Any]] = [
    # Sequences.
    ("SELECT 1", ()),
    ("SELECT ?, ?", (1, "two")),
    ("SELECT ?, ?", [1, "two"]),
    ("SELECT ?, ?", range(2)),
    ("SELECT ?, ?", "ab"),
    ("SELECT ?, ?", b"ab"),
    ("SELECT ?, ?", bytearray(b"ab")),
    ("SELECT ?, ?", Point(1, 2)),
    ("SELECT ?, ?", collections.UserList([1, 2])),
    ("SELECT ?, ?", collections.deque([1, 2])),
    ("SELECT ?, ?, ?", Squares()),
    ("SELECT ?, ?", SequenceProtocol()),
    ("SELECT ?2, ?1", (1, 2)),
    ("SELECT ?1, ?1, ?2", (1, 2)),
    ("SELECT ?3", (1, 2, 3)),
    ("SELECT ?, ?1, ?", (1, 2)),
    ("SELECT ?2, ?", (1, 2, 3)),
    ("SELECT ?1, ?, :name", (1, 2, 3)),
    # Wrong counts.
    ("SELECT ?", ()),
    ("SELECT ?, ?", (1,)),
    ("SELECT ?, ?", (1, 2, 3)),
    ("SELECT 1", (1,)),
    ("SELECT ?3", (1,)),
    ("SELECT ?1, ?1", (1, 2)),
    ("SELECT ?", ""),
    ("SELECT '?'", (1,)),
    ("", (1,)),
    # Mappings.
    ("SELECT :a, :b", {"a": 1, "b": 2}),
    ("SELECT @a, $b, :c", {"a": 1, "b": 2, "c": 3}),
    ("SELECT :a, @a, $a", {"a": 1}),
    ("SELECT :a, :a", {"a": 1}),
    ("SELECT :a", {"a": 1, "extra": 2}),
    ("SELECT 1", {}),
    ("SELECT 1", {"extra": 2}),
    ("SELECT :é, :名", {"é": 1, "名": 2}),
    ("SELECT :a1_b, :A1_b", {"a1_b": 1, "A1_b": 2}),
    ("SELECT $a::b(c)", {"a::b(c)": 1}),
    ("SELECT :a, :b", Missing(a=1)),
    ("SELECT :a, :b", collections.defaultdict(int, a=1)),
    ("SELECT :a", collections.OrderedDict(a=1)),
    ("SELECT :a", {"A": 1}),
    ("SELECT :a", {":a": 1}),
    ("SELECT :a", {}),
    ("SELECT :a, :b", {"a": 1}),
    ("SELECT ?", {"a": 1}),
    ("SELECT ?1, :a", {"a": 1}),
    (HIDDEN, {"g": 7}),
    (HIDDEN, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}),
    (HIDDEN.replace(":g", "?"), ("seven",)),
    # Neither.
    ("SELECT ?", {1}),
    ("SELECT ?", 5),
    ("SELECT ?", iter([1])),
    ("SELECT ?", object()),
]


# Servers bind no names by position, and have a parser of their own.
AT_SERVERS: dict[str, list[Any] | str] = {
    "SELECT ?1, ?, :name": "ProgrammingError",
    "SELECT $a::b(c)": "OperationalError",
}


def with_sqlite3(sql: str, parameters: Any) -> list[Any] | str:
    connection = sqlite3.connect(":memory:")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # positions for named places
            return connection.execute(sql, parameters).fetchall()
    except (sqlite3.Error, ValueError) as error:
        # 3.10 refused parameters that are no sequence with a ValueError.
        refused = isinstance(error, ValueError) and sys.version_info < (3, 11)
        return "ProgrammingError" if refused else type(error).__name__
    finally:
        connection.close()


async def with_aiolibsql(conn: Connection, sql: str, parameters: Any) -> list[Any] | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return await (await conn.execute(sql, parameters)).fetchall()
    except aiolibsql.Error as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("sql", "parameters"), CASES, ids=[f"{sql[:20]}-{type(p).__name__}-{i}" for i, (sql, p) in
                                       enumerate(CASES)]
)  # fmt: skip
async def test_parameters_bind_as_in_sqlite3(
    backend: Backend, conn: Connection, sql: str, parameters: Any
) -> None:
    expected = with_sqlite3(sql, parameters)
    if backend.is_hosted:
        expected = AT_SERVERS.get(sql, expected)
    assert await with_aiolibsql(conn, sql, parameters) == expected
    await assert_healthy(conn)


def test_the_oracle_both_accepts_and_refuses() -> None:
    results = [with_sqlite3(sql, parameters) for sql, parameters in CASES]
    assert sum(isinstance(result, list) for result in results) > 25
    assert results.count("ProgrammingError") > 15


@pytest.mark.parametrize(
    "mapping",
    [collections.UserDict(a=1), collections.ChainMap({"b": 2}, {"a": 1}), Lookup(a=1)],
    ids=lambda mapping: type(mapping).__name__,
)
async def test_mapping_that_is_no_dict_binds_by_name(conn: Connection, mapping: Any) -> None:
    assert await conn.fetch_all("SELECT :a", mapping) == [(1,)]
    with pytest.raises(aiolibsql.ProgrammingError, match="other"):
        await conn.fetch_all("SELECT :a, :other", mapping)


@pytest.mark.local("other words")
async def test_wrong_count_says_how_many(conn: Connection) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match=r"uses 2, and there (are|is) 3"):
        await conn.execute("SELECT ?, ?", (1, 2, 3))


async def test_unknown_name_is_named(conn: Connection) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match="colour"):
        await conn.execute("SELECT :size, :colour", {"size": 1})


@pytest.mark.local("other words")
async def test_position_without_a_name_is_named(conn: Connection) -> None:
    with pytest.raises(aiolibsql.ProgrammingError, match="2 has no name"):
        await conn.execute("SELECT :a, ?", {"a": 1})


async def test_generator_is_refused_and_not_consumed(conn: Connection) -> None:
    items = (item for item in [1])
    with pytest.raises(aiolibsql.ProgrammingError, match="unsupported type"):
        await conn.execute("SELECT ?", items)  # type: ignore[arg-type]
    assert list(items) == [1]


@pytest.mark.parametrize("parameters", [None, (), [], {}])
async def test_no_parameters_can_be_said_in_four_ways(conn: Connection, parameters: Any) -> None:
    assert await conn.fetch_all("SELECT 1", parameters) == [(1,)]
    cursor = await conn.cursor().execute("SELECT 1", parameters)
    assert await cursor.fetchall() == [(1,)]
    with pytest.raises(aiolibsql.ProgrammingError):
        await conn.execute("SELECT ?", parameters)


async def test_parameters_by_keyword(conn: Connection) -> None:
    cursor = await conn.execute("SELECT ?", parameters=(1,))
    assert await cursor.fetchall() == [(1,)]


async def test_refused_parameters_change_nothing(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    with pytest.raises(aiolibsql.ProgrammingError):
        await conn.execute("INSERT INTO t VALUES (?)", (1, 2))
    assert conn.total_changes == 0
    assert await conn.fetch_all("SELECT * FROM t") == []
    await conn.rollback()
    await assert_healthy(conn)


async def test_parameters_of_the_last_execution_do_not_linger(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a, b)")
    sql = "INSERT INTO t VALUES (:a, :b)"
    await conn.execute(sql, {"a": 1, "b": 2})
    with pytest.raises(aiolibsql.ProgrammingError):
        await conn.execute(sql, {"a": 3})
    await conn.execute(sql, {"a": None, "b": None})
    assert await conn.fetch_all("SELECT * FROM t") == [(1, 2), (None, None)]


@pytest.mark.parametrize("error", [ZeroDivisionError, ValueError])
async def test_error_of_a_mapping_reaches_the_caller(
    conn: Connection, error: type[Exception]
) -> None:
    class Broken(dict[str, object]):
        def __missing__(self, key: str) -> object:
            raise error(key)

    with pytest.raises(error, match="a"):
        await conn.execute("SELECT :a", Broken())


async def test_error_of_a_sequence_reaches_the_caller(conn: Connection) -> None:
    class Broken(Squares):
        def __getitem__(self, index: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await conn.execute("SELECT ?, ?, ?", Broken())


async def test_mapping_is_asked_only_for_the_names_of_the_statement(conn: Connection) -> None:
    asked = collections.defaultdict[str, int](int)
    await conn.execute("SELECT ':no' /* :nor */, :yes, :yes -- :never", asked)
    assert list(asked) == ["yes"]


async def test_thousands_of_parameters_bind_in_order(conn: Connection) -> None:
    count = 5_000
    rows = await conn.fetch_all("VALUES " + ", ".join(["(?)"] * count), range(count))
    assert rows == [(number,) for number in range(count)]


async def test_position_far_too_large_is_an_error(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="variable number"):
        await conn.execute("SELECT ?99999999", (1,))
