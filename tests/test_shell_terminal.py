"""The shell at a terminal: the prompt, Control-C, history, keys."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from shells import ENDLESS, Terminal, output

if TYPE_CHECKING:
    from pathlib import Path


def test_statements_over_several_lines_and_the_state_of_the_transaction(tmp_path: Path) -> None:
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db is new")
        terminal.expect("x.db>")
        terminal.enter("CREATE TABLE t (a,")
        terminal.expect("...>")
        terminal.enter("b);")
        terminal.expect("x.db>")
        terminal.enter("BEGIN;")
        terminal.expect("x.db*>")
        terminal.enter("INSERT INTO t VALUES (1, 'a'), (2, 'b');")
        terminal.expect("(2 rows changed)")
        terminal.expect("x.db*>")
        terminal.enter("SELECT * FROM t; SELECT nope; SELECT 3;")
        terminal.expect("(2 rows)")
        terminal.expect("Error: no such column: nope")
        terminal.expect("x.db*>")
        terminal.enter("ROLLBACK;")
        terminal.expect("x.db>")
        terminal.enter(".quit")
        assert terminal.end() == 0
    assert output(tmp_path, "x.db", "--csv", "-c", "SELECT count(*) AS n FROM t") == "n\n0\n"


def test_control_c_cancels_the_statement_and_keeps_the_session(tmp_path: Path) -> None:
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        terminal.enter("CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1);")
        terminal.expect("x.db*>")
        terminal.enter("SELECT 'begun';")
        terminal.expect("(1 row)")
        terminal.expect("x.db*>")
        # A query that is stopped leaves the transaction as it is.
        terminal.enter(f"SELECT 'now' AS a; {ENDLESS}")
        terminal.expect("(1 row)")
        began = time.monotonic()
        terminal.interrupt()
        terminal.expect("Interrupted.")
        assert time.monotonic() - began < 5
        terminal.expect("x.db*>")
        terminal.enter("SELECT count(*) FROM t;")
        terminal.expect("(1 row)")
        # A write that is stopped ends it: that is SQLite's way.
        terminal.expect("x.db*>")
        insert = ENDLESS.replace("SELECT count(*)", "INSERT INTO t SELECT i")
        terminal.enter(f"SELECT 'now' AS a; {insert}")
        terminal.expect("(1 row)")
        _wait_for_spill(tmp_path)
        terminal.interrupt()
        terminal.expect("The transaction was rolled back.")
        terminal.expect("Interrupted.")
        terminal.expect("x.db>")
        # What was typed so far is dropped.
        terminal.send("SELECT nonsense")
        terminal.expect("nonsense")
        terminal.interrupt()
        terminal.expect("x.db>")
        terminal.enter("SELECT 'still' || ' there';")
        terminal.expect("still there")
        assert terminal.leave() == 0


def _wait_for_spill(folder: Path) -> None:
    """Wait until a transaction that writes has outgrown its page cache."""
    deadline = time.monotonic() + 30
    while sum(file.stat().st_size for file in folder.iterdir()) < 4_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_transaction_that_is_left_open_is_told_of(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.expect("memory>")
        terminal.enter("BEGIN;")
        terminal.expect("memory*>")
        terminal.send("\x04")
        terminal.expect("The transaction was not committed: it was rolled back.")
        assert terminal.end() == 0


def test_data_and_names_do_not_command_the_terminal(tmp_path: Path) -> None:
    # Errors repeat what they are about.
    (tmp_path / "evil.sql").write_text('SELECT * FROM "\x1b]0;owned\x07";', encoding="utf-8")
    with Terminal(tmp_path, "a\x1b]0;x\x07.db") as terminal:
        terminal.expect("db>")
        terminal.enter("SELECT char(27) || ']0;owned' || char(7) AS a;")
        terminal.expect("\\x1b]0;owned\\x07")
        for mode in ("csv", "list", "line", "json"):
            terminal.expect("db>")
            terminal.enter(f".mode {mode}")
            terminal.expect("db>")
            terminal.enter("SELECT char(27) || ']0;owned' || char(7) AS a;")
            terminal.expect("(1 row)")
        terminal.expect("db>")
        terminal.enter(".read evil.sql")
        terminal.expect("evil.sql:1: ")
        assert terminal.leave() == 0
    assert "\x1b]0;owned" not in terminal.raw
    assert "\x1b]0;x" not in terminal.raw


def test_long_values_are_cut_to_the_width_of_the_terminal(tmp_path: Path) -> None:
    with Terminal(tmp_path, "-c", f"SELECT '{'x' * 500}' AS a, 'end' AS b") as terminal:
        terminal.expect("…")
        terminal.expect("end")
        assert terminal.end() == 0
    assert "x" * 80 not in terminal.text


def test_key_is_asked_for_without_echo(tmp_path: Path) -> None:
    output(tmp_path, "x.db", "-c", "CREATE TABLE t (a)", AIOLIBSQL_KEY="sesame")
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("Key of x.db:")
        terminal.enter("wrong-key")
        terminal.expect("encryption key is wrong")
        terminal.expect("Key of x.db:")
        terminal.enter("sesame")
        terminal.expect("x.db>")
        terminal.enter(".tables")
        terminal.expect("t\r\n")
        assert terminal.leave() == 0
        assert "sesame" not in terminal.text
        assert "wrong-key" not in terminal.text
    with Terminal(tmp_path, "new.db", "--key") as terminal:
        for _ in range(2):
            terminal.expect(": ")
            terminal.enter("abracadabra")
        terminal.expect("new.db>")
        terminal.enter("CREATE TABLE u (a);")
        terminal.expect("new.db>")
        assert terminal.leave() == 0
    assert output(tmp_path, "new.db", "-c", ".tables", AIOLIBSQL_KEY="abracadabra") == "u\n"
    with Terminal(tmp_path, "x.db", "-c", ".tables") as terminal:
        terminal.expect("Key of x.db:")
        terminal.interrupt()
        assert terminal.end() == 130


def test_history_is_private_and_has_no_keys(tmp_path: Path) -> None:
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        for line in ("SELECT 'first';", "ATTACH 'y.db' AS y KEY 'sesame';", "SELECT 'last';"):
            terminal.enter(line)
            terminal.expect("x.db>")
        assert terminal.leave() == 0
    path = tmp_path / "state" / "aiolibsql" / "history"
    text = path.read_text(encoding="utf-8")
    assert "SELECT 'first';" in text
    assert "SELECT 'last';" in text
    assert "sesame" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    # The next session has it: two lines up is the first.
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        terminal.send("\x1b[A")
        terminal.expect("last")
        terminal.send("\x1b[A")
        terminal.expect("first")
        terminal.send("\r")
        terminal.expect("(1 row)")
        assert terminal.leave() == 0


def test_history_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way", encoding="utf-8")
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        terminal.enter("SELECT 1;")
        terminal.expect("(1 row)")
        assert terminal.leave() == 0


def test_tab_completes_names_of_the_schema(tmp_path: Path) -> None:
    output(
        tmp_path,
        "x.db",
        "-c",
        "CREATE TABLE planet (name, diameter); INSERT INTO planet VALUES ('Ceres', 939)",
    )
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        terminal.send("SELECT dia\t")
        terminal.expect("diameter")
        terminal.send(" FROM plan\t")
        terminal.expect("planet")
        terminal.enter(";")
        terminal.expect("939")
        # A table that was made since is known too.
        terminal.expect("x.db>")
        terminal.enter("CREATE TABLE moon (title);")
        terminal.expect("x.db>")
        terminal.send("SELECT count(tit\t")
        terminal.expect("title")
        terminal.enter(") + 40 FROM moon;")
        terminal.expect(" 40")
        terminal.expect("x.db>")
        terminal.send(".tim\t")
        terminal.expect(".timer")
        terminal.enter(" on")
        terminal.expect("Run time")
        assert terminal.leave() == 0


def test_pasted_lines_run_as_statements(tmp_path: Path) -> None:
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        terminal.send(
            "\x1b[200~CREATE TABLE t (a);\nINSERT INTO t VALUES (41);\n.mode line\x1b[201~"
        )
        terminal.enter("")
        terminal.expect("(1 row changed)")
        terminal.expect("x.db>")
        terminal.enter("SELECT a + 1 AS b FROM t;")
        terminal.expect("b = 42")
        assert terminal.leave() == 0


def test_colours_are_left_out_where_they_are_not_wanted(tmp_path: Path) -> None:
    for env, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(tmp_path, "-c", "SELECT nope", **env) as terminal:
            assert terminal.end() == 1
        assert ("\x1b[1;31m" in terminal.raw) == has_colours
