"""The shell as a program: what it reads, what it writes, and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from shells import ENDLESS, SHELL, environment, names, output, run, where

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend


@pytest.mark.everywhere
def test_statements_and_commands_run_on_every_kind_of_database(
    backend: Backend, tmp_path: Path
) -> None:
    arguments, env = where(backend)
    script = """
        CREATE TABLE planet (id INTEGER PRIMARY KEY, name TEXT);
        CREATE INDEX by_name ON planet (name);
        BEGIN;
        INSERT INTO planet (name) VALUES ('Ceres');
        INSERT INTO planet (name) VALUES ('Vesta; -- no comment');
        COMMIT;
        SELECT * FROM planet;
.tables
.indexes
        .schema planet
        .explain SELECT * FROM planet WHERE name = 'Ceres'
    """
    lines = output(tmp_path, *arguments, "--csv", stdin=script, **env).splitlines()
    assert lines[:5] == ["id,name", "1,Ceres", "2,Vesta; -- no comment", "planet", "by_name"]
    assert "CREATE TABLE planet (id INTEGER PRIMARY KEY, name TEXT);" in lines
    assert lines[-2:] == [
        "QUERY PLAN",
        "└─ SEARCH planet USING COVERING INDEX by_name (name=?)",
    ]


@pytest.mark.everywhere
def test_error_has_its_place_and_what_came_before_stands(backend: Backend, tmp_path: Path) -> None:
    arguments, env = where(backend)
    script = "CREATE TABLE t (a);\nINSERT INTO t VALUES (1);\n\nSELECT nope\nFROM t;\nSELECT 2;\n"
    done = run(tmp_path, *arguments, "--csv", stdin=script, **env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("<stdin>:4: ")
    assert "no such column: nope" in done.stderr


def test_keep_going_runs_the_rest_and_fails_still(tmp_path: Path) -> None:
    done = run(tmp_path, "--csv", "--keep-going", stdin="SELECT nope;\nSELECT 2 AS a;\n")
    assert (done.returncode, done.stdout) == (1, "a\n2\n")
    assert done.stderr == "<stdin>:1: no such column: nope\n"


def test_commands_are_told_by_their_number(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "SELECT 1", "-c", "SELECT 2;\nSELECT nope", "--csv")
    assert (done.returncode, done.stdout) == (1, "1\n1\n2\n2\n")
    assert done.stderr == "-c 2:2: no such column: nope\n"
    assert run(tmp_path, "-c", "SELECT nope").stderr == "-c:1: no such column: nope\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "unrecognized arguments"),
        (["--mode", "nope"], "invalid choice"),
        (["--json", "--csv"], "not allowed with"),
        (
            ["http://127.0.0.1:1", "--read-only", "-c", "SELECT 1"],
            "only the path of a file can be opened so",
        ),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_what_cannot_be_opened_exits_with_1_and_shows_no_secret(tmp_path: Path) -> None:
    done = run(tmp_path, "no/such/folder/x.db", "-c", "SELECT 1")
    assert done.returncode == 1
    assert done.stderr.startswith("aiolibsql: no/such/folder/x.db: unable to open")
    for secret in ("ann:pass-word@127.0.0.1:1/", "127.0.0.1:1/?authToken=pass-word"):
        done = run(tmp_path, f"http://{secret}", "-c", "SELECT 1")
        assert done.returncode == 1
        assert "127.0.0.1" in done.stderr
        assert "pass-word" not in done.stderr


def test_transaction_that_was_not_committed_is_told_of(tmp_path: Path) -> None:
    done = run(tmp_path, "x.db", "-c", "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1)")
    assert done.returncode == 1
    assert done.stderr == "The transaction was not committed: it was rolled back.\n"
    assert output(tmp_path, "x.db", "--csv", "-c", "SELECT count(*) AS n FROM t") == "n\n0\n"


def test_transaction_that_an_error_ended_is_told_of_and_over(tmp_path: Path) -> None:
    script = (
        "CREATE TABLE t (a UNIQUE ON CONFLICT ROLLBACK);\nBEGIN;\nINSERT INTO t VALUES (1);\n"
        "SELECT 1;\nINSERT INTO t VALUES (1);\nSELECT count(*) AS n FROM t;\n"
    )
    done = run(tmp_path, "--csv", "--keep-going", stdin=script)
    assert done.stdout == "1\n1\nn\n0\n"
    assert done.stderr == (
        "The transaction was rolled back.\n<stdin>:5: UNIQUE constraint failed: t.a\n"
    )


def test_inserts_that_go_out_together_fail_where_they_stand(tmp_path: Path) -> None:
    inserts = "".join(f"INSERT INTO t VALUES ({n % 300});\n" for n in range(302))
    script = f"CREATE TABLE t (a UNIQUE);\nBEGIN;\n{inserts}COMMIT;\nSELECT count(*) AS n FROM t;\n"
    done = run(tmp_path, "--csv", "--keep-going", stdin=script)
    place = "UNIQUE constraint failed: t.a\n"
    assert done.stderr == f"<stdin>:303: {place}<stdin>:304: {place}"
    assert done.stdout == "n\n300\n"
    # What ends the transaction ends it for the statements behind it too.
    script = script.replace("UNIQUE", "UNIQUE ON CONFLICT ROLLBACK")
    done = run(tmp_path, "--csv", stdin=script)
    assert done.returncode == 1
    assert "rolled back" in done.stderr
    assert "UNIQUE constraint failed" in done.stderr


def test_last_statement_needs_no_semicolon_and_bom_no_place(tmp_path: Path) -> None:
    assert output(tmp_path, "--csv", stdin="\ufeffSELECT 1 AS a;\nSELECT 'é' AS b -- end") == (
        "a\n1\nb\né\n"
    )
    assert output(tmp_path, stdin="") == ""


def test_statements_run_as_they_come(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SHELL, "--csv", "--no-header"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(b"SELECT\n%d;\n" % number)
            process.stdin.flush()
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("source", ["-c", "stdin", "waiting"])
def test_control_c_exits_with_130_and_undoes_the_transaction(source: str, tmp_path: Path) -> None:
    output(tmp_path, "x.db", "-c", "CREATE TABLE t (a)")
    script = "BEGIN; INSERT INTO t VALUES (1); SELECT 'begun' AS a;"
    script += ENDLESS if source != "waiting" else ""
    arguments = ["-c", script] if source == "-c" else []
    with subprocess.Popen(
        [*SHELL, "x.db", "--csv", "--no-header", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if source != "-c":
            process.stdin.write(script.encode())
            process.stdin.flush()
        assert process.stdout.readline() == b"begun\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 5
        assert b"rolled back" in process.stderr.read()
    assert output(tmp_path, "x.db", "--csv", "-c", "SELECT count(*) AS n FROM t") == "n\n0\n"


def test_reader_that_goes_away_ends_it_without_a_word(tmp_path: Path) -> None:
    endless = ENDLESS.replace("count(*)", "i")
    with subprocess.Popen(
        [*SHELL, "-c", endless, "--csv"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"i\n"
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


def test_json_is_json_whatever_the_values_are(tmp_path: Path) -> None:
    sql = (
        "SELECT 9223372036854775807 AS a, NULL AS a, 'é\u202e\u0085\x7f' AS text, x'00ff' AS blob, "
        "1.5 AS b UNION ALL SELECT 1, 2, '\"', 3, 4; SELECT 1 WHERE 0"
    )
    first, empty = output(tmp_path, "--json", "-c", sql).split("]\n")[:2]
    assert json.loads(first + "]") == [
        {
            "a": 9223372036854775807,
            "a_2": None,
            "text": "é\u202e\u0085\x7f",
            "blob": "x'00ff'",
            "b": 1.5,
        },
        {"a": 1, "a_2": 2, "text": '"', "blob": 3, "b": 4.0},
    ]
    assert not set("\u202e\u0085\x7f") & set(first)
    assert json.loads(empty + "]") == []
    # JSON has no word for infinity; this is read as it.
    assert output(tmp_path, "--mode", "jsonl", "-c", "SELECT 1e999 AS a, -1e999 AS b, 1 AS c") == (
        '{"a": 1e999, "b": -1e999, "c": 1}\n'
    )


def test_bytes_that_are_no_text_come_out_as_they_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [*SHELL, "--csv", "--no-header", "-c", "SELECT CAST(x'61ff62' AS TEXT)"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"a\xffb\n"


def test_pipe_gets_whole_values_and_no_colours(tmp_path: Path) -> None:
    text = "x" * 500
    shown = output(tmp_path, "-c", f"SELECT '{text}' AS a, NULL AS b, 'a\x1b[31m\nb' AS c")
    assert text in shown
    assert "\x1b" not in shown
    assert "a\\x1b[31m\\nb" in shown
    assert shown.count("\n") == 3


def test_read_only_file_is_not_written(tmp_path: Path) -> None:
    output(tmp_path, "odd ?#%.db", "-c", "CREATE TABLE t (a)")
    done = run(tmp_path, "odd ?#%.db", "--read-only", "-c", "INSERT INTO t VALUES (1)")
    assert done.returncode == 1
    assert "readonly" in done.stderr


def test_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("open sesame\nnot this\n", encoding="utf-8")
    output(tmp_path, "x.db", "--key-file", "key", "-c", "CREATE TABLE t (a)")
    assert output(tmp_path, "x.db", "-c", ".tables", AIOLIBSQL_KEY="open sesame") == "t\n"
    for env in ({}, {"AIOLIBSQL_KEY": "wrong"}):
        done = run(tmp_path, "x.db", "-c", ".tables", **env)
        assert done.returncode == 1
        assert "encryption key is wrong" in done.stderr


def test_read_is_nested_and_errors_name_the_innermost_place(tmp_path: Path) -> None:
    (tmp_path / "outer.sql").write_text(
        "SELECT 1 AS a;\n.read 'inner one.sql'\nSELECT 3;\n", encoding="utf-8"
    )
    (tmp_path / "inner one.sql").write_text("SELECT 2 AS b;\n\nSELECT nope;\n", encoding="utf-8")
    (tmp_path / "self.sql").write_text(".read self.sql\n", encoding="utf-8")
    done = run(tmp_path, "--csv", "-c", ".read outer.sql")
    assert (done.returncode, done.stdout) == (1, "a\n1\nb\n2\n")
    assert done.stderr == "inner one.sql:3: no such column: nope\n"
    done = run(tmp_path, "-c", ".read self.sql")
    assert done.returncode == 1
    assert done.stderr == "self.sql:1: .read is nested more than 20 times\n"
    assert (
        run(tmp_path, "-c", ".read gone.sql").stderr
        == "-c:1: gone.sql: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (".xyzzy", "there is no command .xyzzy: .help lists them"),
        (".expot", "did you mean .export?"),
        (".e", ".e may be .explain, .export, .exit"),
        (".mode nope", "there is no mode nope"),
        (".timer maybe", "on or off; usage: .timer [on|off]"),
        (".tables a b", "too much: b"),
        (".read", "FILE is missing"),
        (".import x.csv", "TABLE is missing"),
        (".import --nope x.csv t", "unknown option --nope"),
        (".explain", "STATEMENT is missing"),
        (".export x.csv", "a table or a query is missing"),
        (".export x.doc t", "x.doc has none of the suffixes .csv"),
        (".tables 'x", "a quote is not closed"),
        (".sync", "this is no replica"),
    ],
)
def test_command_that_is_written_wrong_says_so(command: str, message: str, tmp_path: Path) -> None:
    done = run(tmp_path, "-c", command)
    assert done.returncode == 1
    assert message in done.stderr


def test_commands_may_be_shortened_and_help_lists_all(tmp_path: Path) -> None:
    shown = output(tmp_path, "-c", ".he", "-c", ".help import", "-c", ".q", "-c", ".tables nope")
    for name in [
        "tables",
        "schema",
        "indexes",
        "explain",
        "import",
        "export",
        "dump",
        "backup",
        "sync",
        "timer",
        "mode",
        "read",
        "help",
        "quit",
    ]:
        assert f".{name}" in shown
    assert "--skip-bad" in shown


def test_mode_timer_and_null_are_settings(tmp_path: Path) -> None:
    script = """\
.mode
.mode line --null nil
SELECT 1 AS a, NULL AS long;
.mode list
SELECT 1 AS a, NULL AS b;
.mode tabs --no-header
SELECT 1 AS a, 2 AS b;
.mode markdown
SELECT 'a|b' AS c;
.timer on
.timer
"""
    lines = output(tmp_path, stdin=script).splitlines()
    assert lines[:3] == ["table", "   a = 1", "long = nil"]
    assert lines[3:9] == ["a|b", "1|", "1\t2", "| c |", "| --- |", "| a\\|b |"]
    assert any(line.startswith("Run time: ") for line in lines)
    assert "on" in lines


def test_prompt_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    program = """if 1:
        import sys
        for name in ("prompt_toolkit", "pygments", "rich"):
            sys.modules[name] = None  # importing it fails
        sys.stdin.isatty = sys.stdout.isatty = lambda: sys.argv[1:] == []
        from aiolibsql.shell.main import main
        sys.exit(main(sys.argv[1:]))
    """
    for arguments, code in (([], 2), (["-c", "SELECT '日本' AS a"], 0)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment(tmp_path, PYTHONIOENCODING="utf-8"),
            check=False,
        )
        assert done.returncode == code
        if code:
            assert "pip install 'aiolibsql[shell]'" in done.stderr
        else:
            assert done.stdout == " a\n──────\n 日本\n"


def test_other_encodings_get_what_they_can_write(tmp_path: Path) -> None:
    shown = output(tmp_path, "-c", "SELECT 'é' AS a, 1 AS b", PYTHONIOENCODING="ascii")
    assert shown == " a | b\n---+---\n \\xe9 | 1\n"


def test_shell_and_its_packages_are_imported_only_when_it_is_run(tmp_path: Path) -> None:
    parts = "{'aiolibsql.shell', 'prompt_toolkit', 'pygments', 'rich', 'asyncio', 'argparse'}"
    script = f"import sys, aiolibsql; print(sorted({parts} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_version_is_told(tmp_path: Path) -> None:
    version = f"aiolibsql {aiolibsql.__version__}, SQLite {aiolibsql.sqlite_version}\n"
    assert output(tmp_path, "--version") == version
    assert names(tmp_path) == []
