"""`.dump`, `.backup`, `.read` and `.sync`: whole databases."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from shells import Terminal, names, output, run, where

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend
    from sqld import Sqld

SCRIPT = """
CREATE TABLE t (a INTEGER PRIMARY KEY, b);
CREATE INDEX by_b ON t (b);
CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;
INSERT INTO t (b) VALUES ('it''s; é'), (x'00ff'), (NULL), (1.5);
"""


def content(folder: Path, name: str, **env: str) -> str:
    return output(folder, name, "--json", "-c", "SELECT * FROM t", "-c", ".schema", **env)


@pytest.mark.everywhere
def test_dump_and_backup_of_every_kind_of_database(backend: Backend, tmp_path: Path) -> None:
    arguments, env = where(backend)
    commands = "SELECT * FROM t;\n.schema\n.dump copy.sql\n.backup copy.db\n"
    done = run(tmp_path, *arguments, "--json", stdin=SCRIPT + commands, **env)
    assert done.returncode == 0, done.stderr
    assert "copied to copy.db" in done.stderr
    assert content(tmp_path, "copy.db", **env) == done.stdout
    assert output(tmp_path, "read.db", "-c", ".read copy.sql") == ""
    assert content(tmp_path, "read.db") == done.stdout
    left = {"copy.db", "copy.sql", "read.db"}
    assert {path.name for path in tmp_path.iterdir()} - {"test.db"} == left


def test_dump_is_text_that_sqlite3_reads(tmp_path: Path) -> None:
    output(tmp_path, "x.db", stdin=SCRIPT)
    with sqlite3.connect(":memory:") as other:
        other.executescript(output(tmp_path, "x.db", "-c", ".dump"))
        assert other.execute("SELECT count(*) FROM t").fetchall() == [(4,)]
    other.close()
    assert "CREATE INDEX" not in output(tmp_path, "x.db", "-c", ".dump - t")


def test_backup_of_an_encrypted_file_is_encrypted(tmp_path: Path) -> None:
    key = {"AIOLIBSQL_KEY": "sesame"}
    output(tmp_path, "x.db", stdin=SCRIPT, **key)
    assert run(tmp_path, "x.db", "-c", ".backup y.db", **key).returncode == 0
    assert (tmp_path / "y.db").read_bytes()[:15] != b"SQLite format 3"
    assert run(tmp_path, "y.db", "-c", ".tables").returncode == 1
    assert output(tmp_path, "y.db", "-c", ".tables", **key) == "t\n"


def test_backup_asks_for_another_key_without_showing_it(tmp_path: Path) -> None:
    output(tmp_path, "x.db", stdin=SCRIPT)
    with Terminal(tmp_path, "x.db") as terminal:
        terminal.expect("x.db>")
        for keys in (("one", "other"), ("sesame", "sesame")):
            terminal.enter(".backup --ask-key y.db")
            terminal.expect("Key of y.db:")
            terminal.enter(keys[0])
            terminal.expect("The same key again:")
            terminal.enter(keys[1])
            terminal.expect("are not the same" if keys[0] == "one" else "copied to y.db")
        assert terminal.leave() == 0
        assert "sesame" not in terminal.text
    assert output(tmp_path, "y.db", "-c", ".tables", AIOLIBSQL_KEY="sesame") == "t\n"
    assert "nobody to ask" in run(tmp_path, "x.db", "-c", ".backup --ask-key z.db").stderr


def test_backup_writes_over_a_file_only_by_force(tmp_path: Path) -> None:
    output(tmp_path, "x.db", stdin=SCRIPT)
    output(tmp_path, "y.db", "-c", "PRAGMA journal_mode = WAL; CREATE TABLE mine (a)")
    done = run(tmp_path, "x.db", "-c", ".backup y.db")
    assert done.returncode == 1
    assert "y.db exists; --force replaces it" in done.stderr
    assert output(tmp_path, "y.db", "-c", ".tables") == "mine\n"
    assert run(tmp_path, "x.db", "-c", ".backup --force y.db").returncode == 0
    assert output(tmp_path, "y.db", "-c", ".tables") == "t\n"
    # A log that somebody left would be taken for a part of the copy.
    (tmp_path / "z.db-wal").write_bytes(b"x")
    done = run(tmp_path, "x.db", "-c", ".backup z.db")
    assert done.returncode == 1
    assert "z.db-wal exists" in done.stderr
    (tmp_path / "no.db").write_text("this is no database, but a text of some length" * 9)
    assert run(tmp_path, "x.db", "-c", ".backup --force no.db").returncode == 1
    assert (tmp_path / "no.db").read_text().startswith("this is no")
    assert names(tmp_path) == ["no.db", "x.db", "y.db", "z.db-wal"]


def test_sync_of_what_is_no_replica_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "x.db", "-c", ".sync")
    assert done.returncode == 1
    assert "this is no replica" in done.stderr


def test_names_of_attached_databases_are_shown(tmp_path: Path) -> None:
    script = (
        "ATTACH 'a.db' AS other; CREATE TABLE other.t (a); CREATE TEMP TABLE u (a);"
        "CREATE VIEW main.v AS SELECT 1 AS x;\n.tables\n.tables %t\n.schema t\n"
    )
    shown = output(tmp_path, stdin=script)
    assert shown == "other.t\nu\nv\nother.t\nCREATE TABLE t (a);\n"


def test_replica_is_synced_read_and_written_through(server: Sqld, tmp_path: Path) -> None:
    name = server.create_namespace()
    url = f"http://127.0.0.1:{server.port}"
    place = ("--sync-url", url, "--namespace", name)
    primary = (url, "--namespace", name)
    output(tmp_path, *primary, stdin="CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);")
    script = (
        "SELECT count(*) FROM t; INSERT INTO t VALUES (3); SELECT count(*) FROM t;\n"
        ".sync\n.tables\n.backup copy.db\n"
    )
    done = run(tmp_path, "copy-of-it.db", *place, "--csv", stdin=script)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\d+$", done.stdout, re.MULTILINE) == ["2", "3"]
    assert re.search(r"synced in \d\.\d s: \d+ frames came, 0 went", done.stderr)
    assert output(tmp_path, *primary, "--csv", "-c", "SELECT sum(a) FROM t").split()[-1] == "6"
    # Without the server's address it is a file as any other.
    read_only = ("--read-only", "--csv", "-c", "SELECT sum(a) FROM t")
    assert output(tmp_path, "copy-of-it.db", *read_only).split()[-1] == "6"
    assert output(tmp_path, "copy.db", "--csv", "-c", "SELECT sum(a) FROM t").split()[-1] == "6"
    server.remove_namespace(name)
