"""Adapters: what parameters of any class are stored as, with the stdlib's `sqlite3` as oracle."""

from __future__ import annotations

import datetime as dt
import decimal
import gc
import os
import re
import sqlite3
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from hypothesis import example, given
from hypothesis import strategies as st

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

PLAIN: list[Any] = [None, True, 1, 0.5, "text", b"bytes", bytearray(b"array")]


class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y


class Point3(Point):
    """A class whose base has an adapter."""


class Conforming:
    """A value that knows what it is stored as."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer

    def __conform__(self, protocol: Any) -> Any:
        return self.answer(protocol)


def as_text(point: Point) -> str:
    return f"{point.x};{point.y}"


@pytest.fixture
def register() -> Iterator[Callable[[type[Any], Callable[[Any], Any]], None]]:
    """Register adapters with both modules, until the test ends."""
    before = dict(aiolibsql.adapters), dict(sqlite3.adapters)

    def both(class_: type[Any], adapter: Callable[[Any], Any]) -> None:
        aiolibsql.register_adapter(class_, adapter)
        sqlite3.register_adapter(class_, adapter)

    yield both
    for registry, content in zip((aiolibsql.adapters, sqlite3.adapters), before, strict=True):
        registry.clear()
        registry.update(content)


def with_sqlite3(value: object) -> tuple[Any, ...] | str:
    connection = sqlite3.connect(":memory:")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            row: tuple[Any, ...] = connection.execute("SELECT ?1, typeof(?1)", (value,)).fetchone()
            return row
    except sqlite3.InterfaceError:
        return "ProgrammingError"  # the class that 3.10 had for it
    except Exception as error:
        return type(error).__name__
    finally:
        connection.close()


async def with_aiolibsql(conn: Connection, value: object) -> tuple[Any, ...] | str:
    try:
        row: tuple[Any, ...] = await conn.fetch_one("SELECT ?1, typeof(?1)", (value,))
    except Exception as error:
        return type(error).__name__
    else:
        return row


async def same(conn: Connection, value: object) -> tuple[Any, ...] | str:
    """Return what both make of a value."""
    ours = await with_aiolibsql(conn, value)
    assert ours == with_sqlite3(value)
    return ours


def fails(_: object) -> Any:
    raise ZeroDivisionError("in the adapter")


# The module's adapters.


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (as_text, ("1;2", "text")),
        (lambda point: point.x, (1, "integer")),
        (lambda _: 0.5, (0.5, "real")),
        (lambda _: b"\0", (b"\0", "blob")),
        (lambda _: bytearray(b"x"), (b"x", "blob")),
        (lambda _: memoryview(b"x"), (b"x", "blob")),
        (lambda _: None, (None, "null")),
        (lambda _: True, (1, "integer")),
        (lambda point: point, "ProgrammingError"),
        (lambda _: Point(0, 0), "ProgrammingError"),
        (lambda _: [], "ProgrammingError"),
        (lambda _: 2**63, "OverflowError"),
        (fails, "ZeroDivisionError"),
        (lambda _: ().index(1), "ValueError"),
        (lambda a, b: a + b, "TypeError"),
    ],
)
async def test_adapter_as_in_sqlite3(
    conn: Connection, register: Any, adapter: Any, expected: Any
) -> None:
    register(Point, adapter)
    assert await same(conn, Point(1, 2)) == expected
    await assert_healthy(conn)


async def test_adapter_is_looked_up_by_the_exact_class(conn: Connection, register: Any) -> None:
    register(Point, as_text)
    assert await same(conn, Point3(1, 2)) == "ProgrammingError"
    register(Point3, lambda _: 3)
    assert await same(conn, Point3(1, 2)) == (3, "integer")


async def test_what_an_adapter_returns_is_not_adapted_again(
    conn: Connection, register: Any
) -> None:
    register(Point, lambda _: decimal.Decimal(1))
    register(decimal.Decimal, str)
    assert await same(conn, Point(1, 2)) == "ProgrammingError"


def test_adapters_of_classes_that_sqlite_has_a_type_for() -> None:
    """In a process of their own: after the first, quick queries take the long way for good."""
    tests = Path(__file__).with_name("adapters_of_plain_classes.py")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tests],
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) >= 7 * 3 * 3  # values, runtimes, local backends


async def test_subclass_of_int_has_an_adapter_of_its_own(conn: Connection, register: Any) -> None:
    class Celsius(int):
        pass

    assert await same(conn, Celsius(20)) == (20, "integer")
    register(Celsius, lambda value: f"{int(value)} °C")
    assert await same(conn, Celsius(20)) == ("20 °C", "text")
    assert await same(conn, 20) == (20, "integer")


async def test_adapter_registered_again_replaces_the_first(conn: Connection, register: Any) -> None:
    register(Point, lambda _: 1)
    register(Point, lambda _: 2)
    assert await same(conn, Point(0, 0)) == (2, "integer")


async def test_adapter_registered_with_sqlite3_counts_after_ours(
    conn: Connection, register: Any
) -> None:
    register(Point3, as_text)  # for the fixture's sake
    sqlite3.register_adapter(Point, lambda _: "sqlite3")
    assert await same(conn, Point(1, 2)) == ("sqlite3", "text")
    aiolibsql.register_adapter(Point, lambda _: "ours")
    assert await with_aiolibsql(conn, Point(1, 2)) == ("ours", "text")


async def test_adapters_in_each_place_of_parameters(conn: Connection, register: Any) -> None:
    register(Point, as_text)
    point, row = Point(1, 2), ("1;2", "1;2")
    assert await conn.fetch_one("SELECT ?, ?", (point, point)) == row
    assert await conn.fetch_one("SELECT ?, ?", [point, point]) == row
    assert await conn.fetch_one("SELECT :a, :b", {"a": point, "b": point}) == row


async def test_error_of_an_adapter_changes_nothing(conn: Connection, register: Any) -> None:
    await conn.execute("CREATE TABLE t (a)")
    register(Point, fails)
    with pytest.raises(ZeroDivisionError, match="in the adapter"):
        await conn.execute("INSERT INTO t VALUES (?)", (Point(1, 2),))
    assert not conn.in_transaction
    await assert_healthy(conn)


async def test_executemany_adapts_and_an_error_undoes_all(conn: Connection, register: Any) -> None:
    def positive(point: Point) -> float:
        if point.x < 0:
            raise ZeroDivisionError
        return point.x

    register(Point, positive)
    await conn.execute("CREATE TABLE t (a)")
    points = [(Point(x, 0),) for x in range(3000)]

    async def later() -> AsyncIterator[tuple[Point]]:
        for row in points:
            yield row

    await conn.executemany("INSERT INTO t VALUES (?)", points)
    await conn.executemany("INSERT INTO t VALUES (?)", later())
    assert await conn.fetch_one("SELECT count(*), sum(a) FROM t") == (6000, 2 * sum(range(3000)))
    await conn.commit()
    with pytest.raises(ZeroDivisionError):
        await conn.executemany("INSERT INTO t VALUES (?)", [*points, (Point(-1, 0),)])
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 6000
    await conn.rollback()
    await assert_healthy(conn)


async def test_adapter_may_use_the_connection(conn: Connection, register: Any) -> None:
    made: list[Any] = []

    def use(_: Point) -> int:
        made.append(conn.execute("SELECT 1"))
        return conn.total_changes

    register(Point, use)
    assert await with_aiolibsql(conn, Point(1, 2)) == (0, "integer")
    assert await (await made[0]).fetchall() == [(1,)]


# __conform__.


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _: "text", ("text", "text")),
        (lambda _: 7, (7, "integer")),
        (lambda _: None, "ProgrammingError"),
        (lambda _: object(), "ProgrammingError"),
        (lambda _: 1 + "", "ProgrammingError"),  # type: ignore[operator]
        (fails, "ZeroDivisionError"),
        (lambda protocol: str(protocol is sqlite3.PrepareProtocol), ("True", "text")),
        (lambda protocol: str(protocol is aiolibsql.PrepareProtocol), ("True", "text")),
    ],
)
async def test_conform_as_in_sqlite3(conn: Connection, answer: Any, expected: Any) -> None:
    assert await same(conn, Conforming(answer)) == expected


async def test_adapter_comes_before_conform(conn: Connection, register: Any) -> None:
    register(Conforming, lambda _: "adapter")
    assert await same(conn, Conforming(lambda _: "conform")) == ("adapter", "text")


async def test_conform_of_a_subclass_of_str_that_declines(conn: Connection) -> None:
    class Declining(str):
        __slots__ = ()

        def __conform__(self, protocol: object) -> None:
            pass

    assert await same(conn, Declining("itself")) == ("itself", "text")


async def test_error_of_looking_for_conform_reaches_the_caller(conn: Connection) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    assert await same(conn, Broken()) == "KeyError"


# Dates.

datetimes = st.datetimes(timezones=st.none() | st.just(dt.timezone.utc))


@given(value=st.dates() | datetimes)
@example(value=dt.date.min)
@example(value=dt.datetime.max)  # noqa: DTZ901 - naive
@example(value=dt.datetime(2024, 2, 29, 12, 30))  # noqa: DTZ001 - naive
@example(value=dt.datetime(2024, 2, 29, 12, 30, 0, 5))  # noqa: DTZ001 - naive
@example(value=dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3))))
async def test_dates_are_stored_as_in_sqlite3_and_without_a_warning(
    conn: Connection, value: dt.date
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = await with_aiolibsql(conn, value)
    assert ours == with_sqlite3(value)
    assert ours == (str(value), "text")


async def test_time_has_no_adapter(conn: Connection) -> None:
    assert await same(conn, dt.time(12)) == "ProgrammingError"


# A connection's own.


async def test_adapter_of_a_connection_comes_first_and_is_its_own(
    conn: Connection, register: Any
) -> None:
    register(Point, lambda _: "module")
    conn.register_adapter(Point, lambda _: "connection")
    assert await with_aiolibsql(conn, Point(1, 2)) == ("connection", "text")
    async with aiolibsql.connect(":memory:") as other:
        assert await with_aiolibsql(other, Point(1, 2)) == ("module", "text")
    conn.register_adapter(Point, None)
    assert await with_aiolibsql(conn, Point(1, 2)) == ("module", "text")
    conn.register_adapter(Point, None)


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
async def test_adapter_of_a_connection_for_a_class_that_sqlite_has_a_type_for(
    conn: Connection, value: Any
) -> None:
    conn.register_adapter(type(value), lambda _: "adapted")
    assert await conn.fetch_one("SELECT ?", (value,)) == ("adapted",)
    conn.register_adapter(type(value), None)
    assert await same(conn, value) != ("adapted", "text")


async def test_adapter_of_a_connection_in_blocks_cursors_and_batches(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    conn.register_adapter(Point, as_text)
    async with conn.transaction() as block:
        await block.execute("INSERT INTO t VALUES (?)", (Point(1, 1),))
        await conn.cursor().execute("INSERT INTO t VALUES (?)", (Point(2, 2),))
        await conn.executemany("INSERT INTO t VALUES (:a)", [{"a": Point(3, 3)}])
        block.register_adapter(Point, lambda _: "later")
    await conn.execute_insert("INSERT INTO t VALUES (?)", (Point(4, 4),))
    assert await conn.fetch_all("SELECT a FROM t") == [("1;1",), ("2;2",), ("3;3",), ("later",)]


async def test_adapter_registered_after_the_call_is_too_late(conn: Connection) -> None:
    conn.register_adapter(Point, lambda _: "first")
    operation = conn.fetch_one("SELECT ?", (Point(1, 2),))
    conn.register_adapter(Point, lambda _: "second")
    assert await operation == ("first",)


async def test_adapter_may_be_registered_before_opening_and_not_after_closing(
    backend: Backend,
) -> None:
    connection = backend.connect()
    connection.register_adapter(Point, as_text)
    async with connection:
        assert await connection.fetch_one("SELECT ?", (Point(1, 2),)) == ("1;2",)
    with pytest.raises(aiolibsql.ConnectionClosedError):
        connection.register_adapter(Point, as_text)


@pytest.mark.parametrize(
    ("class_", "adapter"), [({}, None), ("int", str), (Point(1, 2), str), (Point, 5), (Point, "x")]
)
async def test_wrong_arguments_are_type_errors(conn: Connection, class_: Any, adapter: Any) -> None:
    with pytest.raises(TypeError):
        aiolibsql.register_adapter(class_, adapter)
    with pytest.raises(TypeError):
        conn.register_adapter(class_, adapter)


async def test_adapter_that_refers_to_its_connection_is_collected(backend: Backend) -> None:
    async def use() -> weakref.ref[Connection]:
        async with backend.connect() as connection:
            connection.register_adapter(Point, lambda _: connection.closed)
            assert await with_aiolibsql(connection, Point(1, 2)) == (0, "integer")
            return weakref.ref(connection)

    gone = await use()
    gc.collect()
    assert gone() is None


# `adapt` by itself.


@pytest.mark.parametrize("module", [sqlite3, aiolibsql], ids=lambda module: module.__name__)
def test_adapt_as_in_sqlite3(module: Any, register: Any) -> None:
    class Protocol:
        @staticmethod
        def __adapt__(value: object) -> object:
            return None if value == 5 else ("protocol", value)

    with pytest.raises(sqlite3.ProgrammingError, match="can't adapt"):
        module.adapt(1)
    with pytest.raises(sqlite3.ProgrammingError, match="can't adapt"):
        module.adapt(Point(1, 2), module.PrepareProtocol)
    assert module.adapt(1, module.PrepareProtocol, None) is None
    assert module.adapt(1, module.PrepareProtocol, "else") == "else"
    assert module.adapt(1, Protocol) == ("protocol", 1)
    assert module.adapt(5, Protocol, "else") == "else"
    assert module.adapt(Conforming(lambda protocol: protocol)) is module.PrepareProtocol
    register(Point, as_text)
    assert module.adapt(Point(1, 2)) == "1;2"
    assert module.adapters[Point, module.PrepareProtocol] is as_text
    with pytest.raises(TypeError):
        module.adapt()


def test_protocol_is_that_of_sqlite3() -> None:
    assert aiolibsql.PrepareProtocol is sqlite3.PrepareProtocol
