"""`.import` and `.export`: files into tables and back."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from shells import SHELL, Terminal, environment, names, output, run, where

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend

PEOPLE = 'name,zip,n,x\nann,01234,1,1.5\n\n"bob; ""b""\nc",99999,,2\n'


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (folder / name).write_bytes(text.encode(encoding))


def rows(folder: Path, sql: str, *arguments: str, **env: str) -> list[list[Any]]:
    """Return the rows of a query on x.db, or on another database."""
    text = output(folder, *(arguments or ["x.db"]), "--json", "-c", sql, **env)
    return [list(row.values()) for row in json.loads(text)]


def imported(folder: Path, arguments: str) -> None:
    done = run(folder, "x.db", "-c", f".import {arguments}")
    assert done.returncode == 0, done.stderr


def refused(folder: Path, arguments: str) -> str:
    """Return the error of an import that leaves nothing behind."""
    before = output(folder, "x.db", "-c", ".dump")
    done = run(folder, "x.db", "-c", f".import {arguments}")
    assert done.returncode == 1
    assert output(folder, "x.db", "-c", ".dump") == before
    return done.stderr


@pytest.mark.everywhere
def test_import_and_export_on_every_kind_of_database(backend: Backend, tmp_path: Path) -> None:
    write(tmp_path, "people.csv", PEOPLE)
    arguments, env = where(backend)
    script = """\
.import people.csv person
.import people.csv person
.export a.csv person
.export b.jsonl SELECT name, n FROM person WHERE n = 1
SELECT count(*), typeof(zip), typeof(n), typeof(x) FROM person WHERE n;
"""
    done = run(tmp_path, *arguments, "--csv", "--no-header", stdin=script, **env)
    assert (done.returncode, done.stdout) == (0, "2,text,integer,real\n")
    assert "2 rows" in done.stderr
    lines = PEOPLE.replace("\n\n", "\n").replace(",2\n", ",2.0\n").partition("\n")[2]
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == f"name,zip,n,x\n{lines}{lines}"
    assert (tmp_path / "b.jsonl").read_text(encoding="utf-8") == '{"name": "ann", "n": 1}\n' * 2


def test_types_of_a_new_table_lose_nothing(tmp_path: Path) -> None:
    columns = {
        "whole": (["1", "-20", "0"], "INTEGER"),
        "large": (["1", "8999999999999999999", ""], "INTEGER"),
        "too_large": (["1", "9223372036854775808", "2"], "TEXT"),
        "zeros": (["1", "007", "2"], "TEXT"),
        "plus": (["1", "+1", "2"], "TEXT"),
        "minus_zero": (["1", "-0", "2"], "INTEGER"),
        "decimal": (["1", "2.50", "-3e5"], "REAL"),
        "long_decimal": (["1.5", "0.12345678901234567890", "2"], "TEXT"),
        "long_whole": (["1.5", "12345678901234567", "2"], "TEXT"),
        "blank": (["1", " 2", "3"], "TEXT"),
        "word": (["1", "x", "3"], "TEXT"),
        "empty": (["", "", ""], "TEXT"),
    }
    lines = [
        ",".join(columns),
        *(",".join(line) for line in zip(*(v for v, _ in columns.values()), strict=True)),
    ]
    write(tmp_path, "x.csv", "\n".join(lines))
    imported(tmp_path, "x.csv t")
    types = rows(tmp_path, "SELECT name, type FROM pragma_table_info('t')")
    assert types == [[name, kind] for name, (_, kind) in columns.items()]
    assert rows(
        tmp_path, "SELECT whole, too_large, zeros, decimal, empty FROM t LIMIT 1 OFFSET 1"
    ) == [[-20, "9223372036854775808", "007", 2.5, None]]


def test_options_of_an_import(tmp_path: Path) -> None:
    write(tmp_path, "semi.txt", "é;2;\n3;4;x\n", "latin-1")
    imported(tmp_path, "semi.txt a --no-header --delimiter ';' --encoding latin-1 --types text")
    assert rows(tmp_path, "SELECT * FROM a") == [["é", "2", None], ["3", "4", "x"]]
    assert rows(tmp_path, "SELECT * FROM pragma_table_info('a')")[0][1:3] == ["c1", "TEXT"]
    write(tmp_path, "x.tsv", "a\tb\tc\n1\t\t5\n")
    imported(tmp_path, "x.tsv b --keep-empty --types b=BLOB,C=NUMERIC")
    assert rows(tmp_path, "SELECT *, typeof(a) FROM b") == [[1, "", 5, "integer"]]
    assert "BLOB" in output(tmp_path, "x.db", "-c", ".schema b")
    write(tmp_path, "data.weird", '{"a": 1}\n')
    imported(tmp_path, "--format jsonl data.weird c")
    assert rows(tmp_path, "SELECT * FROM c") == [[1]]


def test_columns_of_a_table_that_exists_are_found_by_name(tmp_path: Path) -> None:
    output(
        tmp_path, "x.db", "-c",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, A TEXT, b INT, g AS (b + 1), d DEFAULT 9)",
    )  # fmt: skip
    write(tmp_path, "x.csv", "b,a\n1,x\n")
    imported(tmp_path, "x.csv t")
    assert rows(tmp_path, "SELECT * FROM t") == [[1, "x", 1, 2, 9]]
    write(tmp_path, "y.csv", "7,y,2,8\n")
    imported(tmp_path, "--no-header y.csv t")
    assert rows(tmp_path, "SELECT * FROM t WHERE id = 7") == [[7, "y", 2, 3, "8"]]
    write(tmp_path, "z.csv", "a,nope\nx,1\n")
    assert refused(tmp_path, "z.csv t") == (
        "-c:1: z.csv: the table t has no column nope; with --no-header the first line is data\n"
    )
    assert "3 columns" not in refused(tmp_path, "--no-header z.csv t")
    assert "--types is for new ones" in refused(tmp_path, "x.csv t --types text")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "x.csv:3: 1 value for 2 columns; nothing was imported"),
        ('a,b\n1,"2\n3,4\n', "x.csv:3: unexpected end of data"),
        ('a,b\n1,"2"x\n3,4\n', "x.csv:2: ',' expected after '\"'"),
        ("a,A\n1,2\n", "x.csv:1: the header has the column A twice"),
        ("", "x.csv: the file is empty"),
    ],
)
def test_line_that_is_wrong_undoes_the_import(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, "x.csv", text)
    assert message in refused(tmp_path, "x.csv t")


def test_text_in_another_encoding_undoes_the_import(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", "a\n" + "x\n" * 5000 + "é\n", "latin-1")
    assert "not utf-8; see --encoding" in refused(tmp_path, "x.csv t --types text").lower()
    assert "unknown encoding" in refused(tmp_path, "x.csv t --encoding nope")


def test_row_that_is_refused_is_told_by_its_line(tmp_path: Path) -> None:
    output(tmp_path, "x.db", "-c", "CREATE TABLE t (a INTEGER PRIMARY KEY, b CHECK (b <> 'no'))")
    lines = [f"{n},{'no' if n in {3000, 4001} else 'x'}\n" for n in range(5000)]
    write(tmp_path, "x.csv", "a,b\n" + "".join(lines) + "7,again\n")
    assert "x.csv:3002: CHECK constraint failed" in refused(tmp_path, "x.csv t")
    done = run(tmp_path, "x.db", "-c", ".import --skip-bad x.csv t")
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == [
        "x.csv:3002: left out: CHECK constraint failed: b <> 'no'",
        "x.csv:4003: left out: CHECK constraint failed: b <> 'no'",
        "x.csv:5002: left out: UNIQUE constraint failed: t.a",
        "3 lines left out in all",
    ]
    assert rows(tmp_path, "SELECT count(*) FROM t") == [[4998]]


def test_import_is_part_of_the_users_own_transaction(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", "a\n1\n2\n")
    write(tmp_path, "bad.csv", "a\n1\n2,3\n")
    script = (
        "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (0);\n.import x.csv t\n.import bad.csv t\n"
        "SELECT count(*) FROM t; ROLLBACK; SELECT count(*) FROM t;\n"
    )
    done = run(tmp_path, "--csv", "--no-header", "--keep-going", stdin=script)
    assert done.stdout == "3\n0\n"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_imported(form: str, tmp_path: Path) -> None:
    objects = [
        {"a": 1, "b": "x", "c": True},
        {"b": None, "d": [1, {"é": 2}], "a": 2.5},
        {"a": 3, "c": False, "e": 2**60},
    ]
    text = json.dumps(objects) if form == "json" else "\n\n".join(map(json.dumps, objects))
    write(tmp_path, f"x.{form}", text)
    imported(tmp_path, f"x.{form} t")
    assert rows(tmp_path, "SELECT a, b, c, d, e FROM t") == [
        [1.0, "x", 1, None, None],
        [2.5, None, None, '[1, {"é": 2}]', None],
        [3.0, None, 0, None, 2**60],
    ]
    types = rows(tmp_path, "SELECT type FROM pragma_table_info('t')")
    assert types == [["REAL"], ["TEXT"], ["INTEGER"], ["TEXT"], ["INTEGER"]]
    bad = json.dumps([{"a": 1}, 2]) if form == "json" else '{"a": 1}\n{"a": \n'
    write(tmp_path, f"bad.{form}", bad)
    assert f"bad.{form}:2: " in refused(tmp_path, f"bad.{form} u")
    large = {"a": 2**70}
    write(tmp_path, f"large.{form}", json.dumps([large] if form == "json" else large))
    assert f"large.{form}:1: " in refused(tmp_path, f"large.{form} u")


def test_parquet_comes_and_goes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet files need it")
    sql = (
        "CREATE TABLE t (i INT, r REAL, s TEXT, b BLOB, n);"
        "INSERT INTO t VALUES (1, 1.5, 'é', x'00ff', NULL), (NULL, 2, NULL, NULL, NULL)"
    )
    output(tmp_path, "x.db", "-c", sql)
    for command in (".export x.parquet t", ".import x.parquet u"):
        assert run(tmp_path, "x.db", "-c", command).returncode == 0
    assert rows(tmp_path, "SELECT * FROM u") == rows(tmp_path, "SELECT * FROM t")
    types = [row[0] for row in rows(tmp_path, "SELECT type FROM pragma_table_info('u')")]
    assert types == ["INTEGER", "REAL", "TEXT", "BLOB", "TEXT"]
    done = run(tmp_path, "x.db", "-c", ".export y.parquet SELECT 1 AS a UNION ALL SELECT 'x'")
    assert done.returncode == 1
    assert "column a has values of several types" in done.stderr
    assert not (tmp_path / "y.parquet").exists()


def test_parquet_without_its_package_says_so(tmp_path: Path) -> None:
    write(tmp_path, "pyarrow.py", "raise ImportError('not here')")
    write(tmp_path, "x.parquet", "PAR1")
    for command in (".import x.parquet t", ".export y.parquet SELECT 1"):
        done = run(
            tmp_path,
            "-c",
            command,
            PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        )
        assert done.returncode == 1
        assert "Parquet files need the package pyarrow" in done.stderr
    assert names(tmp_path)[-1] == "x.parquet"


def test_export_is_there_when_it_is_complete_and_replaces_only_by_force(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", "mine\n")
    (tmp_path / "x.csv").chmod(0o640)
    done = run(tmp_path, "-c", ".export x.csv SELECT 1 AS a")
    assert done.returncode == 1
    assert "x.csv exists; --force replaces it" in done.stderr
    # An error in the middle of the rows leaves what was there.
    middle = "SELECT abs(i) FROM (SELECT 1 AS i UNION ALL SELECT -9223372036854775808)"
    assert run(tmp_path, "-c", f".export --force x.csv {middle}").returncode == 1
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "mine\n"
    assert run(tmp_path, "-c", ".export --force x.csv SELECT 1 AS a").returncode == 0
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "a\n1\n"
    assert stat.S_IMODE((tmp_path / "x.csv").stat().st_mode) == 0o640
    assert run(tmp_path, "-c", ".export . SELECT 1").returncode == 1
    assert names(tmp_path) == ["x.csv"]
    done = run(tmp_path, "-c", ".export y.csv CREATE TABLE t (a)")
    assert done.returncode == 1


def test_control_c_undoes_an_import_and_an_export(tmp_path: Path) -> None:
    output(tmp_path, "x.db", "-c", "CREATE TABLE kept (a); INSERT INTO kept VALUES (1)")
    before = output(tmp_path, "x.db", "-c", ".dump")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    # Seconds of work, of which the first milliseconds are waited for.
    write(tmp_path, "x.csv", "a,b\n" + "1,2\n" * 1_500_000)
    for command in (".import --types text x.csv t", f".export out.csv {numbers}"):
        with subprocess.Popen(
            [*SHELL, "x.db", "-c", "SELECT 'begun'", "-c", command],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            while process.stdout.readline() != b" begun\n":
                pass
            deadline = time.monotonic() + 20
            while not list(tmp_path.glob("x.db-journal")) and not list(tmp_path.glob(".out*")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
    assert output(tmp_path, "x.db", "-c", ".dump") == before
    assert names(tmp_path) == ["x.csv", "x.db"]


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", "a,b\n" + "1,2\n" * 400_000)
    with Terminal(tmp_path, "x.db", "-c", ".import --types text x.csv t") as terminal:
        terminal.expect("importing x.csv")
        terminal.expect("rows")
        terminal.expect("400,000 rows (1.6 MB) imported in")
        assert terminal.end() == 0
    assert "MB" in terminal.text
    assert "%" in terminal.text
    assert "left" in terminal.text
