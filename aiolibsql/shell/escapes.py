"""Text that is safe to look at: what data may do to a terminal, and how wide it is there.

Whatever comes out of a database may hold escape sequences, which a terminal would obey. Here they
become the backslash escapes of Python.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Control characters but tab and line feed, marks that reorder or hide text, and halves of
# surrogate pairs, which stand for bytes that are no UTF-8.
_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069"
    r"\ud800-\udfff\ufeff"
)
_IN_BLOCK = re.compile(f"[{_UNSAFE}]")
_IN_LINE = re.compile(f"[\\t\\n{_UNSAFE}]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _width_by_character(text: str) -> int:
    return sum(map(_character_width, text))


_width_of: Callable[[str], int]
try:
    from rich.cells import cell_len as _width_of
except ImportError:
    _width_of = _width_by_character


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - the range of surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004


def visible(text: str) -> str:
    """Return a text of several lines with nothing in it that a terminal would obey."""
    return text if text.isprintable() else _IN_BLOCK.sub(_escape, text)


def visible_line(text: str) -> str:
    """Return a text as one line with nothing in it that a terminal would obey."""
    return text if text.isprintable() else _IN_LINE.sub(_escape, text)


def visible_json(text: str) -> str:
    """Return JSON that means the same, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return _IN_BLOCK.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(text: str) -> int:
    """Return how many columns of a terminal a line takes."""
    return len(text) if text.isascii() else _width_of(text)


def cut(text: str, limit: int, mark: str) -> str:
    """Return a line, or as much of it as fits into some columns with a mark that it goes on."""
    if width(text) <= limit:
        return text
    room = limit - width(mark)
    kept = text[:room]  # no character but a combining one is narrower than a column
    while kept and width(kept) > room:
        kept = kept[:-1]
    return kept + mark
