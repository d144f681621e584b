"""`Statement` of `aiolibsql.client`, and what values are stored as."""

from __future__ import annotations

import array
import contextlib
import datetime as dt
import enum
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from clients import Code, tuples
from hypothesis import given
from hypothesis import strategies as st

import aiolibsql
from aiolibsql.client import ClientSync, LibsqlError, Statement, create_client_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def client() -> Iterator[ClientSync]:
    with create_client_sync("file::memory:") as made:
        yield made


class Colour(enum.IntEnum):
    RED = 3


class Text(str):
    __slots__ = ()


class Real(float):
    __slots__ = ()


CONVERTED: list[tuple[Any, Any, tuple[Any, Any]]] = [
    ("s", None, ("s", None)),
    ("s", [1], ("s", [1])),
    ("s", {"a": 1}, ("s", {"a": 1})),
    (("s",), None, ("s", None)),
    (("s",), (1,), ("s", (1,))),
    (("s", [1]), None, ("s", [1])),
    (("s", None), None, ("s", None)),
    (("s", [1]), [], ("s", [1])),
    (Statement("s", [1]), None, ("s", [1])),
    (Statement("s", [1]), (), ("s", [1])),
]


@pytest.mark.parametrize(("stmt", "args", "expected"), CONVERTED)
def test_convert_takes_every_form(stmt: Any, args: Any, expected: tuple[Any, Any]) -> None:
    statement = Statement.convert(stmt, args)
    assert (statement.sql, statement.args) == expected


def test_convert_returns_the_very_statement() -> None:
    statement = Statement("s")
    assert Statement.convert(statement) is statement


@pytest.mark.parametrize(
    ("stmt", "args"),
    [
        (("s", [1]), [2]),
        (("s", None), {"a": 2}),
        (Statement("s"), [2]),
        ((), None),
        (("s", [1], 2), None),
    ],
)
def test_convert_refuses_what_is_ambiguous(stmt: Any, args: Any) -> None:
    with pytest.raises(TypeError):
        Statement.convert(stmt, args)


def test_statement_shows_its_sql_and_no_argument() -> None:
    assert repr(Statement("SELECT ?", ["S3CRET"])) == "Statement('SELECT ?', ...)"
    assert repr(Statement("SELECT 1")) == "Statement('SELECT 1')"


STORED: dict[str, tuple[Any, Any, str]] = {
    "None": (None, None, "null"),
    "True": (True, 1, "integer"),
    "False": (False, 0, "integer"),
    "int": (5, 5, "integer"),
    "least int": (-(2**63), -(2**63), "integer"),
    "greatest int": (2**63 - 1, 2**63 - 1, "integer"),
    "enum": (Colour.RED, 3, "integer"),
    "float": (1.5, 1.5, "real"),
    "subclass of float": (Real(2.5), 2.5, "real"),
    "text": ("x", "x", "text"),
    "text with NUL": ("a\0b", "a\0b", "text"),
    "subclass of str": (Text("q"), "q", "text"),
    "bytes": (b"a\0b", b"a\0b", "blob"),
    "no bytes": (b"", b"", "blob"),
    "bytearray": (bytearray(b"ab"), b"ab", "blob"),
    "memoryview with gaps": (memoryview(b"abcd")[::2], b"ac", "blob"),
    "array": (array.array("B", [1, 2]), b"\1\2", "blob"),
    "moment": (dt.datetime(2024, 1, 1, 12, tzinfo=UTC), 1704110400000, "integer"),
    "moment elsewhere": (
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        1704060000000,
        "integer",
    ),
    # As a float this is 1672531200000.9999.
    "millisecond": (
        dt.datetime(2023, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
        1672531200001,
        "integer",
    ),
    "less than a millisecond": (
        dt.datetime(1970, 1, 1, 0, 0, 0, 999, tzinfo=UTC),
        0,
        "integer",
    ),
    "less than a millisecond before 1970": (
        dt.datetime(1969, 12, 31, 23, 59, 59, 999_001, tzinfo=UTC),
        0,
        "integer",
    ),
    "before 1970": (dt.datetime(1960, 1, 1, tzinfo=UTC), -315619200000, "integer"),
}


@pytest.mark.parametrize(("value", "expected", "kind"), STORED.values(), ids=STORED)
def test_value_is_stored_as(client: ClientSync, value: Any, expected: Any, kind: str) -> None:
    ((found, found_kind),) = tuples(client.execute("SELECT ?1, typeof(?1)", [value]))
    assert (found, found_kind) == (expected, kind)
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2**63, OverflowError),
        (-(2**63) - 1, OverflowError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        (dt.date(2024, 1, 1), TypeError),
        pytest.param(object(), TypeError, id="object"),
        ([1], TypeError),
        ({}, TypeError),
        (1j, TypeError),
    ],
    ids=str,
)
def test_value_that_cannot_be_stored_is_refused(
    client: ClientSync, value: Any, error: type[Exception]
) -> None:
    for args in ([value], {"a": value}):
        with pytest.raises(error) as raised:
            client.execute("SELECT :a", args)
        assert type(raised.value) is error


def test_moment_without_a_zone_is_local() -> None:
    program = (
        "import datetime as dt\nfrom aiolibsql.client import create_client_sync\n"
        "with create_client_sync('file:') as client:\n"
        "    when = dt.datetime(2024, 7, 1, 12)\n"
        "    print(client.execute('SELECT ?', [when])[0][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": "UTC-3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == 1719835200000 - 3 * 3600_000
    assert time.tzname  # The zone is the other process's alone.


@given(st.datetimes(timezones=st.just(UTC)))
def test_moment_is_its_whole_milliseconds(client: ClientSync, moment: dt.datetime) -> None:
    since = abs(moment - EPOCH)
    whole = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    stored = client.execute("SELECT ?", [moment])[0][0]
    assert stored == (whole if moment >= EPOCH else -whole)


ARGUMENTS: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("SELECT ?, ?", [1, 2], (1, 2)),
    ("SELECT ?, ?", (1, 2), (1, 2)),
    ("SELECT ?, ?", iter([1, 2]), (1, 2)),
    ("SELECT 1", None, (1,)),
    ("SELECT 1", [], (1,)),
    ("SELECT 1", {}, (1,)),
    ("SELECT :a, @b, $c", {"a": 1, "b": 2, "c": 3}, (1, 2, 3)),
    ("SELECT :a, @b, $c", {":a": 1, "@b": 2, "$c": 3}, (1, 2, 3)),
    ("SELECT :a", {"$a": 1}, (1,)),
    ("SELECT :a", {"a": 1, "unused": 2}, (1,)),
]


@pytest.mark.parametrize(("sql", "args", "expected"), ARGUMENTS)
def test_arguments_by_place_and_by_name(
    client: ClientSync, sql: str, args: Any, expected: tuple[Any, ...]
) -> None:
    assert tuples(client.execute(sql, args)) == [expected]


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        ("SELECT ?, ?", [1]),
        ("SELECT ?, ?", [1, 2, 3]),
        ("SELECT ?", None),
        ("SELECT :a, :b", {"a": 1}),
        ("SELECT 1; SELECT 2", None),
    ],
)
def test_arguments_that_do_not_fit_are_an_error(client: ClientSync, sql: str, args: Any) -> None:
    with Code("SQLITE") as raised:
        client.execute(sql, args)
    assert raised.error is not None
    assert isinstance(raised.error.__cause__, aiolibsql.ProgrammingError)


OPENING = [
    "BEGIN",
    "begin immediate",
    " \n;BEGIN",
    "-- one\nBEGIN",
    "/* one */ /**/ Savepoint a",
    "/* BEGIN * / **/BEGIN",
]
HARMLESS = ["SELECT 1 AS begin", "-- BEGIN\nSELECT 1", "/* BEGIN */ SELECT 1", "VALUES (1)"]


@pytest.mark.parametrize("sql", OPENING)
def test_execute_begins_no_transaction(client: ClientSync, sql: str) -> None:
    with Code("TRANSACTIONS_NOT_SUPPORTED"):
        client.execute(sql)
    assert client.execute("SELECT 1")[0][0] == 1


@pytest.mark.parametrize("sql", HARMLESS)
def test_execute_takes_statements_that_only_mention_one(client: ClientSync, sql: str) -> None:
    assert client.execute(sql)[0][0] == 1
    assert client.batch([sql])[0][0][0] == 1


def test_comments_without_end_take_no_time(client: ClientSync) -> None:
    began = time.perf_counter()
    for sql in ("/**/" * 50_000 + "x", "/*" + "*" * 100_000, "--\n" * 50_000 + "x"):
        with contextlib.suppress(LibsqlError):
            client.execute(f"{sql} nothing")
    assert time.perf_counter() - began < 5
