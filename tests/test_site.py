"""The built site: every public name has its place in the reference, and links lead somewhere.

``nox -s docs`` builds it and says where it is; other runs have none.
"""

from __future__ import annotations

import importlib
import inspect
import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import aiolibsql

SITE = Path(os.environ.get("AIOLIBSQL_SITE", "no-site"))
MODULES = [
    "aiolibsql",
    "aiolibsql.dbapi",
    "aiolibsql.client",
    "aiolibsql.opentelemetry",
    "aiolibsql.sqlalchemy",
]

pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason="nox -s docs builds the site")


class Page(HTMLParser):
    """What a page refers to, and what may be referred to on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if anchor := found.get("id"):
            self.anchors.add(anchor)
        if tag == "a" and (target := found.get("href")):
            self.links.append(target)
        elif tag in {"link", "script", "img", "iframe"}:
            self.loaded += [url for name in ("href", "src") if (url := found.get(name))]


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(SITE.resolve().rglob("*.html"))}


def public_names(module: str) -> list[str]:
    """Return the names of a module: those that it lists, or what it has."""
    imported = importlib.import_module(module)
    if names := getattr(imported, "__all__", None):
        return list(names)
    return [
        name
        for name, value in vars(imported).items()
        if not name.startswith("_") and name != "annotations" and not inspect.ismodule(value)
    ]


def is_shared(module: str, name: str) -> bool:
    value = getattr(importlib.import_module(module), name)
    return module == "aiolibsql.dbapi" and value is getattr(aiolibsql, name, None)


@pytest.mark.parametrize("module", MODULES)
def test_reference_has_every_public_name(module: str, pages: dict[Path, Page]) -> None:
    if module.endswith(("opentelemetry", "sqlalchemy")):
        pytest.importorskip(module.rpartition(".")[2])
    reference = {
        anchor
        for path, page in pages.items()
        if path.parent.name == "api"
        for anchor in page.anchors
    }
    names = public_names(module)
    assert names
    # What the blocking module shares with the package is described there.
    shared = {
        name for name in names if is_shared(module, name) and f"aiolibsql.{name}" in reference
    }
    missing = {name for name in names if f"{module}.{name}" not in reference}
    assert missing - shared == set()


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Tell whether a link of a page has its target; those to other sites are not looked at."""
    url = urlsplit(link)
    if url.scheme:
        return True
    target = (path.parent / unquote(url.path)).resolve() if url.path else path
    if url.fragment and target in pages:
        return unquote(url.fragment) in pages[target].anchors
    return target.exists()


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = [
        (path.name, link)
        for path, page in pages.items()
        if path.name != "404.html"  # a server may show it for any path
        for link in page.links + page.loaded
        if not leads_somewhere(path, link, pages)
    ]
    assert broken == []


def test_broken_links_are_found(pages: dict[Path, Page]) -> None:
    home = SITE.resolve() / "index.html"
    assert leads_somewhere(home, "api/connect.html#aiolibsql.connect", pages)
    assert not leads_somewhere(home, "api/connect.html#aiolibsql.disconnect", pages)
    assert not leads_somewhere(home, "api/disconnect.html", pages)


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert pages
    assert {url for page in pages.values() for url in page.loaded if urlsplit(url).netloc} == set()
