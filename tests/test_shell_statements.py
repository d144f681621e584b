"""Text that is cut into statements and commands."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from aiolibsql.shell.statements import Item, Splitter, is_whole

TRIGGER = (
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT ';'; "
    "UPDATE t SET a = CASE 1 WHEN 1 THEN 2 END; END;"
)
# Whole statements with everything in them that may hide a semicolon.
STATEMENTS = [
    "SELECT 1;",
    "SELECT 'it''s; fine', \"a;b\", `c;d`, [e;f];",
    "SELECT 1 -- not; here\n, 2;",
    "SELECT /* nor; 'here */ 3;",
    "SELECT 5-4/2;",
    "SELECT '--', '/*';",
    TRIGGER,
    "EXPLAIN SELECT 'multi\nline;\n';",
]


def items(text: str, *pieces: int) -> list[Item]:
    """Return the items of a text that comes in pieces, which end at some places."""
    splitter = Splitter("x.sql")
    found: list[Item] = []
    ends = [*sorted(end for end in pieces if end < len(text)), len(text)]
    begin = 0
    for end in ends:
        found += splitter.feed(text[begin:end])
        begin = end
    found += splitter.finish()
    assert not splitter.is_pending
    return found


@given(
    st.lists(st.sampled_from([*STATEMENTS, "\n.tables x\n"]), max_size=6),
    st.sampled_from(["\n", " \n\n  "]),
)
def test_statements_come_out_as_they_went_in(parts: list[str], between: str) -> None:
    text = between.join(parts)
    assert [item.text for item in items(text)] == [part.strip() for part in parts]
    for item in items(text):
        line = text.splitlines()[item.place.line - 1]
        assert item.text.splitlines()[0] in line


@given(st.lists(st.sampled_from(STATEMENTS), max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_pieces_of_any_size_make_no_difference(parts: list[str], ends: list[int]) -> None:
    text = "\n".join(parts)
    assert items(text, *ends) == items(text)


@given(st.text("ab'\"`[];-/*\n. ", max_size=60))
def test_every_statement_but_the_last_is_complete_and_nothing_is_lost(text: str) -> None:
    found = items(text)
    for item in found[:-1]:
        assert item.is_command or sqlite3.complete_statement(item.text)
    rest = text
    for item in found:
        _, separator, rest = rest.partition(item.text)
        assert separator


def test_command_is_one_line_at_the_beginning_of_one() -> None:
    text = "-- a comment\n  .tables x;\n/* and */\n.mode csv\nSELECT\n.5; .nope\n;.x"
    assert [(item.text, item.place.line, item.is_command) for item in items(text)] == [
        (".tables x;", 2, True),
        (".mode csv", 4, True),
        ("SELECT\n.5;", 5, False),
        (".nope\n;", 6, True),
        (".x", 7, True),
    ]


def test_text_is_whole_when_nothing_is_missing() -> None:
    for text in ("", "  ", "SELECT 1;", "SELECT 1; -- done", ".tables", "-- only this", TRIGGER):
        assert is_whole(text), text
    for text in ("SELECT 1", "SELECT ';", "/* ;", TRIGGER[:-5], "SELECT 1; SELECT"):
        assert not is_whole(text), text


def test_large_texts_are_scanned_once() -> None:
    # Cubic or quadratic work would take minutes.
    text = "INSERT INTO t VALUES ('" + "a;" * 2_000_000 + "');\n" + "SELECT 1;\n" * 20_000
    splitter = Splitter("x.sql")
    count = 0
    for begin in range(0, len(text), 1 << 16):
        count += len(list(splitter.feed(text[begin : begin + (1 << 16)])))
    assert count == 20_001
