"""The documents have no words that neither a dictionary nor ``docs/words.txt`` knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

spellchecker = pytest.importorskip("spellchecker", reason="nox -s docs has the dictionary")

ROOT = Path(__file__).resolve().parent.parent
OURS = (ROOT / "docs" / "words.txt").read_text(encoding="utf-8").split()
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
]
# Code, addresses, and what the reference is made of.
SKIPPED = re.compile(
    r"^```.*?^```$|`[^`]*`|\]\([^)]*\)|<[^>]*>|^::: .*?$|https?:\S+", re.MULTILINE | re.DOTALL
)
# No names with digits, capitals within, points or underscores.
WORD = re.compile(r"(?<![\w.@/-])[A-Za-z]?[a-z]+(?:'[a-z]+)?(?![\w@/]|\.\w)")


def words(text: str) -> set[str]:
    """Return the words of a page's prose."""
    return {word.lower().removesuffix("'s") for word in WORD.findall(SKIPPED.sub(" ", text))}


@pytest.fixture(scope="module")
def dictionary() -> set[str]:
    checker = spellchecker.SpellChecker(language="en")
    return {*checker.word_frequency.words(), *OURS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_words_are_known(page: Path, dictionary: set[str]) -> None:
    unknown = " ".join(sorted(words(page.read_text(encoding="utf-8")) - dictionary))
    assert unknown == ""


def test_own_words_are_in_order() -> None:
    assert sorted(set(OURS)) == OURS


def test_unknown_words_are_found(dictionary: set[str]) -> None:
    assert words("A conection, `not_this`, [link](nor/this) and SQLite") - dictionary == {
        "conection"
    }
