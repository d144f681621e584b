"""The messages that the page of troubleshooting explains are those that a user gets to see."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)


@cache
def printed() -> str:
    """Return what the page's examples print, which the tests of all pages compare."""
    return "\n".join(re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@cache
def sources() -> str:
    """Return the text of the sources, where Rust's literals of several lines are one."""
    files = [*sorted((ROOT / "rust").rglob("*.rs")), *sorted((ROOT / "aiolibsql").rglob("*.py"))]
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in files if "tests" not in path.parts
    )
    return re.sub(r'\\\n\s*|"\n\s*f?"', "", text)


def is_said(message: str) -> bool:
    """Tell whether a message stands in the output of an example or in the sources."""
    anything = ".{0,120}?".join(re.escape(part) for part in message.split("…"))
    placeholder = r"(?:\{[^{}\n]*\})+".join(
        re.escape(part) for part in message.strip("… ").split("…")
    )
    return bool(re.search(anything, printed()) or re.search(placeholder, sources()))


def test_page_explains_messages() -> None:
    assert len(MESSAGES) > len(set(MESSAGES)) - 1 > 20


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_ours(message: str) -> None:
    assert is_said(message)


def test_other_messages_are_found_out() -> None:
    assert not is_said("database is lost")
    assert not is_said("waited … s for the end of …, which nobody knows")
