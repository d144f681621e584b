"""URLs of `aiolibsql.client`: what each means, and the code of each that means nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients import Code

from aiolibsql.client import ClientSync, LibsqlError, create_client, create_client_sync

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "URL_UNDEFINED"),
    ("planets.db", {}, "URL_SCHEME_NOT_SUPPORTED"),
    ("/planets.db", {}, "URL_SCHEME_NOT_SUPPORTED"),
    ("sqlite:planets.db", {}, "URL_SCHEME_NOT_SUPPORTED"),
    ("postgres://host/planets", {}, "URL_SCHEME_NOT_SUPPORTED"),
    ("ftp://host", {}, "URL_SCHEME_NOT_SUPPORTED"),
    ("file://host/planets.db", {}, "URL_INVALID"),
    ("file:planets.db#part", {}, "URL_INVALID"),
    ("file:planets.db?tls=2", {}, "URL_INVALID"),
    ("file:planets.db?mode=ro", {}, "URL_PARAM_NOT_SUPPORTED"),
    ("libsql://host?token=x", {}, "URL_PARAM_NOT_SUPPORTED"),
    ("libsql://host?authToken=x&mode=ro", {}, "URL_PARAM_NOT_SUPPORTED"),
    ("libsql://host?secret", {}, "URL_PARAM_NOT_SUPPORTED"),
    ("libsql://host#part", {}, "URL_INVALID"),
    ("libsql://host?tls=yes", {}, "URL_INVALID"),
    ("libsql://host?tls=", {}, "URL_INVALID"),
    ("libsql://host?tls=0", {}, "URL_INVALID"),
    ("libsql://host", {"tls": False}, "URL_INVALID"),
    ("libsql://host:x?tls=0", {}, "URL_INVALID"),
    ("libsql://host:99999?tls=0", {}, "URL_INVALID"),
    ("http://host?tls=1", {}, "URL_INVALID"),
    ("http://host", {"tls": True}, "URL_INVALID"),
    ("https://host?tls=0", {}, "URL_INVALID"),
    ("https://host", {"tls": False}, "URL_INVALID"),
    ("ws://host?tls=1", {}, "URL_INVALID"),
    ("ws://host", {"tls": True}, "URL_INVALID"),
    ("wss://host?tls=0", {}, "URL_INVALID"),
    ("wss://host", {"tls": False}, "URL_INVALID"),
    ("https://host/a;b", {}, "URL_INVALID"),
    ("http://[::1", {}, "URL_INVALID"),
]

FILES = [
    "file:{path}",
    "FILE:{path}",
    "file://{path}",
    "file://localhost{path}",
    "file:{path}?tls=0",
    "file:{path}?tls=1&authToken=x",
    "file:{path}?authToken=",
    "file:{relative}",
]

NAMES = [
    "a b.db",
    "a%20b.db",
    "a;b.db",
    "a:b.db",
    "http:x.db",
    "file:x.db",
    ":memory:.db",
    "\N{SNOWMAN}.db",
]

each_maker = pytest.mark.parametrize("make", [create_client, create_client_sync])


def test_every_code_of_a_url_is_in_the_table() -> None:
    assert {code for _, _, code in REFUSED} == {
        "URL_UNDEFINED",
        "URL_INVALID",
        "URL_SCHEME_NOT_SUPPORTED",
        "URL_PARAM_NOT_SUPPORTED",
    }


@each_maker
@pytest.mark.parametrize(("url", "options", "code"), REFUSED)
def test_url_that_is_wrong_is_refused_at_once(
    make: Callable[..., object], url: str, options: dict[str, Any], code: str
) -> None:
    with Code(code):
        make(url, **options)


@each_maker
def test_url_that_is_none_is_undefined(make: Callable[..., object]) -> None:
    with Code("URL_UNDEFINED"):
        make(None)


@each_maker
@pytest.mark.parametrize("url", ["libsql://host?S3CRET", "libsql://host?S3CRET=1", "file:x?S3CRET"])
def test_url_that_may_hold_a_secret_is_not_in_the_message(
    make: Callable[..., object], url: str
) -> None:
    with pytest.raises(LibsqlError) as raised:
        make(url)
    assert "S3CRET" not in str(raised.value)


def written(make: str) -> ClientSync:
    client = create_client_sync(make)
    client.execute("CREATE TABLE t (x)")
    return client


@pytest.mark.parametrize("form", FILES)
def test_file_url_is_that_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / "planets.db"
    with written(form.format(path=path, relative=os.path.relpath(path))):
        assert path.stat().st_size > 0


@pytest.mark.parametrize("name", NAMES)
def test_file_url_names_a_file_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with written(f"file:{name}"):
        assert Path(name).stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["file:", "file::memory:"])
def test_memory_url_is_a_database_of_the_client_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with written(url) as client, create_client_sync(url) as other:
        with Code("SQLITE_ERROR"):
            other.execute("SELECT x FROM t")
        with client.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (1)")
            transaction.commit()
        assert client.execute("SELECT x FROM t")[0][0] == 1
    assert list(tmp_path.iterdir()) == []


def test_create_client_opens_nothing(tmp_path: Path) -> None:
    create_client(f"file:{tmp_path / 'planets.db'}")
    assert list(tmp_path.iterdir()) == []


def test_create_client_sync_tells_of_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with Code("SQLITE_CANTOPEN"):
        create_client_sync(f"file:{tmp_path / 'missing' / 'planets.db'}")
