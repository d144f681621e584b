"""`ResultSet`, `Row` and `LibsqlError` of `aiolibsql.client`."""

from __future__ import annotations

import copy
import pickle
from collections import abc
from typing import Any

import pytest

from aiolibsql.client import LibsqlError, ResultSet, Row, create_client_sync

COLUMNS = {"a": 2, "B": 1}


@pytest.fixture
def row() -> Row:
    return Row(COLUMNS, (1, "x", 3))


@pytest.fixture
def results(row: Row) -> ResultSet:
    return ResultSet(("a", "B", "a"), [row, Row(COLUMNS, (4, None, b"6"))], 2, 7)


def test_row_has_values_by_index_and_slice(row: Row) -> None:
    assert (row[0], row[-1], len(row)) == (1, 3, 3)
    assert row[1:] == ("x", 3)
    assert row[::-1] == (3, "x", 1)
    with pytest.raises(IndexError):
        row[3]


def test_row_has_values_by_the_exact_name(row: Row) -> None:
    assert row["B"] == "x"
    for name in ("b", "c", ""):
        with pytest.raises(KeyError):
            row[name]


def test_row_of_columns_that_share_a_name_has_the_last_by_name(row: Row) -> None:
    assert row["a"] == 3
    assert row.asdict() == {"a": 3, "B": "x"}


def test_row_is_a_sequence(row: Row) -> None:
    assert isinstance(row, abc.Sequence)
    assert list(row) == [1, "x", 3]
    assert list(reversed(row)) == [3, "x", 1]
    assert (row.index("x"), row.count(3)) == (1, 1)
    assert "x" in row
    assert "a" not in row
    one, two, three = row
    assert (one, two, three) == row.astuple()


def test_row_shows_its_values(row: Row) -> None:
    assert repr(row) == str(row) == "(1, 'x', 3)"


def test_row_has_what_data_frames_look_for(row: Row) -> None:
    # pandas takes a sequence with _fields for a namedtuple, and those for the columns' names.
    assert row._fields == ("a", "B")
    assert row._asdict() == row.asdict()


def test_row_refuses_other_keys(row: Row) -> None:
    with pytest.raises(TypeError):
        row[None]  # type: ignore[call-overload]


def test_row_and_result_set_have_no_other_attributes(row: Row, results: ResultSet) -> None:
    for made in (row, results):
        with pytest.raises(AttributeError):
            made.other = 1  # type: ignore[union-attr]


def test_result_set_has_rows_by_index_and_slice(results: ResultSet) -> None:
    assert results.rows == list(results)
    assert results[1] is results.rows[1]
    assert results[-1:] == results.rows[1:]
    assert isinstance(results[:], list)
    assert len(results) == 2
    with pytest.raises(IndexError):
        results[2]


def test_result_set_says_what_was_done(results: ResultSet) -> None:
    assert results.columns == ("a", "B", "a")
    assert results.rows_affected == 2
    assert results.last_insert_rowid == 7
    assert repr(results) == "<ResultSet: 2 rows of ('a', 'B', 'a')>"
    with pytest.raises(AttributeError):
        results.columns = ()  # type: ignore[misc]


def test_result_set_without_rows_is_false() -> None:
    assert not ResultSet(("a",), [], -1, None)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_result_set_can_be_copied(results: ResultSet, again: Any) -> None:
    made = again(results)
    assert [row.asdict() for row in made] == [row.asdict() for row in results]
    assert (made.columns, made.rows_affected, made.last_insert_rowid) == (("a", "B", "a"), 2, 7)


@pytest.mark.parametrize("again", [copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_error_can_be_copied(again: Any) -> None:
    errors: list[LibsqlError] = [LibsqlError("what", "CODE"), again(LibsqlError("what", "CODE"))]
    assert issubclass(LibsqlError, RuntimeError)
    for error in errors:
        assert str(error) == "CODE: what"
        assert (error.code, error.explanation) == ("CODE", "what")


# What each statement says of itself: columns, rows, rows_affected, last_insert_rowid.
SAID: list[tuple[str, tuple[Any, ...]]] = [
    ("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)", ((), [], -1, 0)),
    ("INSERT INTO t (x) VALUES (10), (20)", ((), [], 2, 2)),
    ("SELECT x, id FROM t", (("x", "id"), [(10, 1), (20, 2)], -1, 0)),
    ("SELECT 1 AS a, 2 AS a", (("a", "a"), [(1, 2)], -1, 0)),
    ("DELETE FROM t WHERE 0", ((), [], 0, 0)),
    ("INSERT OR IGNORE INTO t VALUES (1, 5)", ((), [], 0, 0)),
    ("INSERT INTO t (x) VALUES (30) RETURNING id", (("id",), [(3,)], 1, 3)),
    ("WITH a AS (SELECT 7 AS z) INSERT INTO t (x) SELECT z FROM a", ((), [], 1, 4)),
    ("REPLACE INTO t VALUES (9, 9)", ((), [], 1, 9)),
    ("UPDATE t SET x = x + 1 WHERE id < 3", ((), [], 2, 9)),
    ("SELECT x FROM t WHERE 0", (("x",), [], -1, 0)),
    ("", ((), [], -1, 0)),
    ("-- nothing", ((), [], -1, 0)),
]


def test_statement_says_what_it_did() -> None:
    with create_client_sync("file::memory:") as client:
        for sql, said in SAID:
            results = client.execute(sql)
            rows = [row.astuple() for row in results]
            found = (results.columns, rows, results.rows_affected, results.last_insert_rowid)
            assert found == said, sql
