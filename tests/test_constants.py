"""Names of the module: SQLite's constants and PEP 249's types, compared with `sqlite3`'s."""

from __future__ import annotations

import datetime as dt
import sqlite3
import time

import pytest

import aiolibsql
from aiolibsql import _aiolibsql, _constants

THEIRS = {
    name: value
    for name, value in vars(sqlite3).items()
    if name.startswith("SQLITE_") and isinstance(value, int)
}

# PEP 249 wants them; sqlite3 has never had them.
TYPE_OBJECTS = ["BINARY", "DATETIME", "NUMBER", "ROWID", "STRING"]


@pytest.mark.parametrize("name", THEIRS)
def test_constant_is_that_of_sqlite3(name: str) -> None:
    assert getattr(aiolibsql, name) == THEIRS[name]


def test_constants_are_complete_whatever_python_runs() -> None:
    names = {name for name in vars(_constants) if not name.startswith("_")} - {"annotations"}
    assert names == {name for name in aiolibsql.__all__ if name.startswith("SQLITE_")}
    assert len(names) >= 173
    assert aiolibsql.SQLITE_DBCONFIG_REVERSE_SCANORDER == 1019
    assert aiolibsql.SQLITE_LIMIT_VARIABLE_NUMBER == 9


RESULT_CODES = [
    name
    for name, value in vars(_constants).items()
    if name.isupper()
    and value != 0
    and not name.startswith(("SQLITE_LIMIT_", "SQLITE_DBCONFIG_"))
    and getattr(_aiolibsql._error_for_code(value, ""), "sqlite_errorname", None) == name
]


@pytest.mark.parametrize("name", RESULT_CODES)
def test_error_of_a_result_code_has_the_name_and_the_value_of_its_constant(name: str) -> None:
    error = _aiolibsql._error_for_code(getattr(aiolibsql, name), "message")
    assert isinstance(error, aiolibsql.Error)
    assert (error.sqlite_errorname, error.sqlite_errorcode) == (name, getattr(aiolibsql, name))


def test_result_codes_are_all_known_to_the_table_of_errors() -> None:
    values = {getattr(aiolibsql, name) for name in RESULT_CODES}
    extended = {
        value
        for name, value in vars(_constants).items()
        if name.isupper() and value > 255 and not name.startswith("SQLITE_DBCONFIG_")
    }
    # Extended successes are no errors.
    assert extended - values <= {
        aiolibsql.SQLITE_OK_LOAD_PERMANENTLY,
        aiolibsql.SQLITE_OK_SYMLINK,
    }
    assert len(RESULT_CODES) > 100


@pytest.mark.parametrize(
    "statement",
    [
        "", ";", "SELECT 1", "SELECT 1;", "SELECT ';'", "SELECT ';';", "SELECT 1; -- and",
        "/* ; */",
        "CREATE TRIGGER i AFTER INSERT ON t BEGIN SELECT 1;",
        "CREATE TRIGGER i AFTER INSERT ON t BEGIN SELECT 1; END;",
    ],
)  # fmt: skip
def test_complete_statement_answers_as_sqlite3(statement: str) -> None:
    assert aiolibsql.complete_statement(statement) is sqlite3.complete_statement(statement)


def test_no_name_is_listed_and_missing() -> None:
    assert [name for name in aiolibsql.__all__ if not hasattr(aiolibsql, name)] == []
    assert len(aiolibsql.__all__) == len(set(aiolibsql.__all__))


@pytest.mark.parametrize("name", ["Date", "Time", "Timestamp", "Binary"])
def test_constructor_is_that_of_sqlite3(name: str) -> None:
    assert getattr(aiolibsql, name) is getattr(sqlite3, name)


@pytest.mark.parametrize("name", ["DateFromTicks", "TimeFromTicks", "TimestampFromTicks"])
@pytest.mark.parametrize("ticks", [0, 1.5, 86_400 * 365.25 * 40, 2**31, -1])
def test_ticks_are_read_as_by_sqlite3(name: str, ticks: float) -> None:
    ours, theirs = getattr(aiolibsql, name)(ticks), getattr(sqlite3, name)(ticks)
    assert (ours, type(ours)) == (theirs, type(theirs))


def test_ticks_are_local_time() -> None:
    now = time.time()
    assert aiolibsql.TimestampFromTicks(now) == dt.datetime.fromtimestamp(int(now))  # noqa: DTZ006
    assert aiolibsql.DateFromTicks(now) == dt.date.fromtimestamp(now)  # noqa: DTZ012


@pytest.mark.parametrize("name", TYPE_OBJECTS)
def test_type_object_is_a_class(name: str) -> None:
    assert isinstance(getattr(aiolibsql, name), type)
    assert not hasattr(sqlite3, name)
