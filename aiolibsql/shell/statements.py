"""Text that is typed, piped or read, cut into statements and commands.

Whether a statement is whole is decided by the library's own `complete_statement`. The pattern
below only finds the semicolons worth asking about, so that those in quotes and comments of a large
file cost nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiolibsql import complete_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = re.compile(r"\s*")
_COMMENT = re.compile(r"--[^\n]*\n|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"""[^'"`\[;/-]+ | '[^']*' | "[^"]*" | `[^`]*` | \[[^\]]*\] | ;"""
    r""" | --[^\n]*\n | /\*.*?\*/ | -(?=[^-]) | /(?=[^*])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Place:
    """Where something stands.

    Attributes:
        source: The name of a file, or what stands for one.
        line: The line in it, from 1.
    """

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Item:
    """One statement, or one command that begins with a dot."""

    text: str
    place: Place

    @property
    def is_command(self) -> bool:
        """Whether it is a command of the shell."""
        return self.text.startswith(".")


class Splitter:
    """Takes text in pieces of any size and gives what is whole."""

    def __init__(self, source: str) -> None:
        """Take the name that places are given with."""
        self._source = source
        self._text = ""
        self._start = 0  # of what was not given yet
        self._scanned = 0
        self._line = 1  # at _start
        self._is_line_start = True  # nothing but blanks before _start

    @property
    def is_pending(self) -> bool:
        """Whether something has begun that is not whole."""
        return self._start < len(self._text)

    def feed(self, text: str) -> Iterator[Item]:
        """Take more text and give what it completes."""
        self._text = self._text[self._start :] + text
        self._scanned -= self._start
        self._start = 0
        yield from self._items()

    def finish(self) -> Iterator[Item]:
        """Give what is left at the end: a statement need not have its semicolon there."""
        yield from self._items()
        if self.is_pending:
            yield self._take(len(self._text))

    def _items(self) -> Iterator[Item]:
        while self._skip_blanks():
            if self._is_line_start and self._text[self._start] == ".":
                end = self._text.find("\n", self._start)
            else:
                end = self._find_end()
            if end < 0:
                return
            item = self._take(end)
            if item.text != ";":
                yield item

    def _skip_blanks(self) -> bool:
        """Go to the next thing that is neither blank nor a whole comment, if there is one."""
        while self._scanned == self._start:
            blank = _BLANK.match(self._text, self._start)
            comment = _COMMENT.match(self._text, blank.end() if blank else self._start)
            end = comment.end() if comment else blank.end() if blank else self._start
            if end == self._start:
                break
            self._advance(end)
        return self.is_pending

    def _find_end(self) -> int:
        """Return where the statement ends, or -1; what was looked at is not looked at again."""
        while found := _TOKEN.match(self._text, self._scanned):
            self._scanned = found.end()
            if found[0] == ";" and complete_statement(self._text[self._start : self._scanned]):
                return self._scanned
        return -1

    def _take(self, end: int) -> Item:
        item = Item(self._text[self._start : end].rstrip(), Place(self._source, self._line))
        self._advance(end)
        self._is_line_start = False
        return item

    def _advance(self, end: int) -> None:
        passed = self._text.count("\n", self._start, end)
        self._line += passed
        self._is_line_start |= bool(passed)
        self._start = self._scanned = end


def is_whole(text: str) -> bool:
    """Tell whether a text that was typed can be run, or wants another line."""
    splitter = Splitter("")
    for _ in splitter.feed(text + "\n"):
        pass
    return not splitter.is_pending
