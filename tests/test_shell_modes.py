"""How rows and texts look: safe on a terminal, exact in a file."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiolibsql.shell.escapes import cut, visible, visible_json, visible_line, width
from aiolibsql.shell.modes import MODES, distinct
from aiolibsql.shell.output import Output

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=8),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=5)


def written(mode: str, columns: list[str], *batches: list[Any], null: str | None = None) -> str:
    stream = io.StringIO()
    writer = MODES[mode](Output(stream), columns, null, True)
    for rows in batches:
        writer.rows(rows)
    writer.end()
    return stream.getvalue()


class Screen(io.StringIO):
    """A terminal that remembers what it was told."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return True


def shown(
    monkeypatch: pytest.MonkeyPatch, mode: str, columns: list[str], rows: list[Any], size: int = 40
) -> list[str]:
    """Return the lines that a terminal of some width shows, without colours."""
    monkeypatch.setenv("COLUMNS", str(size))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    writer = MODES[mode](Output(screen), columns, None, True)
    writer.rows(rows)
    writer.end()
    return screen.getvalue().splitlines()


@given(st.text())
def test_visible_text_has_nothing_a_terminal_obeys(text: str) -> None:
    controls = {chr(code) for code in (*range(32), *range(127, 160))}
    assert not controls & set(visible_line(text))
    assert not (controls - {"\n", "\t"}) & set(visible(text))
    assert not {"\u202e", "\u2066", "\ud800"} & set(visible(text))
    quoted = json.dumps(text, ensure_ascii=False)
    assert json.loads(visible_json(quoted)) == text
    assert not controls & set(visible_json(quoted))


def test_escapes_tell_what_was_there() -> None:
    assert (
        visible_line("a\x1b[31m\n\t\r\u202e\udcff é 日") == "a\\x1b[31m\\n\\t\\r\\u202e\\xff é 日"
    )
    assert visible("a\n\tb\x07") == "a\n\tb\\x07"


@given(st.text("aé日🎉e\u0301", max_size=30), st.integers(1, 20))
def test_cut_text_fits(text: str, limit: int) -> None:
    short = cut(visible_line(text), limit, "…")
    assert width(short) <= limit
    assert short == text or short.endswith("…")


@given(ROWS)
def test_csv_reads_back(rows: list[tuple[Any, Any]]) -> None:
    text = written("csv", ["a", "b, c"], rows)
    header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["a", "b, c"]
    expected = [[as_text(value) for value in row] for row in rows]
    assert lines == expected


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return str(value)


@given(ROWS)
def test_json_reads_back(rows: list[tuple[Any, Any]]) -> None:
    expected = [
        {
            name: as_text(value) if isinstance(value, bytes) else value
            for name, value in zip("ab", row, strict=True)
        }
        for row in rows
    ]
    assert json.loads(written("json", ["a", "b"], rows[:2], rows[2:])) == expected
    lines = written("jsonl", ["a", "b"], rows).splitlines() if rows else []
    assert [json.loads(line) for line in lines] == expected


def test_columns_of_one_name_stay_apart() -> None:
    assert distinct(["a", "a", "a_2", "b", "a"]) == ["a", "a_2", "a_2_2", "b", "a_3"]


def test_table_is_aligned_whatever_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("日本", 1), ("é", 20), (None, None), ("e\u0301🎉", 300)]
    lines = shown(monkeypatch, "table", ["text", "n"], rows)
    assert lines[1] == "──────┼──────"
    assert [width(line.partition("│")[0]) for line in (lines[0], *lines[2:])] == [6] * 5
    assert lines[2].endswith("│    1")
    assert lines[4] == " NULL │ NULL"


def test_table_fits_the_terminal_and_says_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, "table", ["a", "b"], [("x" * 100, "short"), ("y", "日" * 50)])
    assert {width(line) <= 40 for line in lines} == {True}
    assert "x…" in lines[2]
    assert "日…" in lines[3]
    many = [f"column{number}" for number in range(20)]
    lines = shown(monkeypatch, "table", many, [tuple("long value" for _ in many)])
    assert {width(line) <= 40 for line in lines[:-1]} == {True}
    assert lines[-1] == "(3 of 20 columns have room here: .mode line shows all)"
    # However little room there is.
    assert {
        width(line) <= 9 for line in shown(monkeypatch, "table", ["abc"], [("x" * 90,)], 9)
    } == {True}


def test_later_rows_of_a_file_are_not_cut() -> None:
    lines = written("table", ["a", "b"], [("x", 1)], [("y" * 50, 2)]).splitlines()
    assert lines[3] == f" {'y' * 50} | 2"


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_lets_data_command_the_terminal(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b]0;title\x07\x9b31m\u202e\r"
    text = "\n".join(shown(monkeypatch, mode, [evil, "b"], [(evil, 1)], 200))
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(text)
