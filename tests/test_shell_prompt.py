"""What the prompt offers and remembers, apart from the terminal."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

import aiolibsql
from aiolibsql.shell.completion import Names, ShellCompleter, candidates, written
from aiolibsql.shell.database import Database, without_secrets
from aiolibsql.shell.history import PrivateHistory, is_secret, open_history, state_folder

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"planet": ["id", "Name", "my mass"], "moon": ["id", "planet_id"], "Group": ["of"]}


def completions(text: str, columns: dict[str, list[str]] = COLUMNS, after: str = "") -> list[str]:
    names = Names(aiolibsql.connect(":memory:"), is_remote=False)
    names.columns = columns
    document = Document(text + after, len(text))
    found = ShellCompleter(names).get_completions(document, CompleteEvent())
    return [completion.text for completion in found]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("SELECT * FROM pl", ["planet"]),
        ("select * from ", ["planet", "moon", '"Group"']),
        ("SELECT NA", ["Name", "NATURAL"]),
        ("select na", ["Name", "natural"]),
        ("SELECT my", ['"my mass"']),
        ("SELECT p.", []),
        ("SELECT * FROM planet AS p WHERE p.n", ["Name"]),
        ("SELECT * FROM planet p WHERE p.", ["id", "Name", '"my mass"']),
        ("SELECT planet.i", ["id"]),
        ("SELECT planet_ ", []),
        ("UPDATE mo", ["moon"]),
        ("INSERT INTO m", ["moon"]),
        ("SELECT coa", ["coalesce"]),
        (".ta", [".tables"]),
        (".mode js", ["json", "jsonl"]),
        (".timer o", ["on", "off"]),
        (".schema m", ["moon"]),
        (".help .ex", [".explain", ".export", ".exit"]),
    ],
)
def test_offers_fit_where_the_cursor_is(text: str, offered: list[str]) -> None:
    found = completions(text)
    assert [name for name in found if name in offered] == offered
    if offered or "." in text:
        assert len(found) == len(offered)


def test_tables_behind_the_cursor_count() -> None:
    assert completions("SELECT p.", after=" FROM planet AS p") == ["id", "Name", '"my mass"']
    assert candidates("SELECT ", " FROM moon", COLUMNS)[1][:2] == [
        ("id", "column"),
        ("planet_id", "column"),
    ]


def test_files_are_offered(tmp_path: Path) -> None:
    (tmp_path / "people.csv").touch()
    assert completions(f".import {tmp_path}/peo") == ["ple.csv"]
    assert completions(".import people.csv pl") == ["planet"]


def test_names_are_written_as_sql_wants_them() -> None:
    names = ["a", "a b", "select", 'q"', "9", "é"]
    assert [written(name) for name in names] == ["a", '"a b"', '"select"', '"q"""', '"9"', '"é"']


@pytest.mark.anyio
async def test_names_follow_the_schema() -> None:
    async with aiolibsql.connect(":memory:", isolation_level=None) as conn:
        names = Names(conn, is_remote=False)
        await names.refresh()
        assert names.columns == {}
        await conn.execute("CREATE TABLE t (a, b AS (a + 1))")
        await names.refresh()
        assert names.columns == {"t": ["a", "b"]}
        # A broken view costs the columns, not the names.
        await conn.execute("CREATE VIEW v AS SELECT * FROM gone")
        await names.refresh()
        assert names.columns == {"t": [], "v": []}
    await names.refresh()  # of a connection that is closed: no more, no less


@pytest.mark.parametrize(
    "text",
    [
        "PRAGMA key = 'sesame'",
        "pragma main.rekey='sesame'",
        'PRAGMA hexkey="00"',
        "ATTACH 'x.db' AS x KEY 'sesame'",
        "attach 'x' as x key x'00'",
        "SELECT 'libsql://db.example.com?authToken=sesame'",
        "ATTACH 'http://ann:sesame@host'",
        "UPDATE user SET password = 'sesame'",
    ],
)
def test_secret_is_not_kept(text: str, tmp_path: Path) -> None:
    assert is_secret(text)
    history = PrivateHistory.open(tmp_path / "history")
    history.append_string(text)
    history.append_string("SELECT 1;")
    assert history.get_strings()[-1] == "SELECT 1;"
    kept = (tmp_path / "history").read_text(encoding="utf-8")
    assert "sesame" not in kept
    assert "SELECT 1;" in kept


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, keyword TEXT)",
        "SELECT key FROM t",
        "PRAGMA foreign_keys",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert not is_secret(text)


def test_history_that_grew_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    history = PrivateHistory.open(path)
    for number in range(9000):
        history.store_string(f"SELECT {number}, '{'x' * 100}';")
    size = path.stat().st_size
    path.chmod(0o644)
    loaded = list(PrivateHistory.open(path).load_history_strings())
    assert path.stat().st_size < size / 1.5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert loaded[0].startswith("SELECT 8999,")
    assert all(text.startswith("SELECT ") and text.endswith("';") for text in loaded)


def test_history_is_where_the_user_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "aiolibsql"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "aiolibsql"
    (tmp_path / ".local").touch()
    assert isinstance(open_history(), InMemoryHistory)


@pytest.mark.parametrize(
    ("name", "shown", "short"),
    [
        (
            "libsql://shop.example.com?authToken=abc&tls=0",
            "libsql://shop.example.com?authToken=…&tls=0",
            "shop.example.com",
        ),
        ("http://ann:secret@127.0.0.1:8080/", "http://…@127.0.0.1:8080/", "127.0.0.1:8080"),
        ("/data/shop.db", "/data/shop.db", "shop.db"),
        (":memory:", ":memory:", "memory"),
        ("file:x.db?mode=ro", "file:x.db?mode=ro", "file:x.db?mode=ro"),
    ],
)
def test_secrets_of_urls_are_not_shown(name: str, shown: str, short: str) -> None:
    database = Database(name, "the key", options={"auth_token": "abc"})
    assert (database.title, database.short_title) == (shown, short)
    assert "the key" not in repr(database)
    assert without_secrets(f"at {name}: no") == f"at {shown}: no"
