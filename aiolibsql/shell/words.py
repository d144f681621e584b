"""What stands behind a command: words, options and, for some, a statement."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from aiolibsql.shell.errors import UsageError

_WORD = re.compile(r"""\s*(?:[^\s'"]|'[^']*'|"[^"]*")+""")


class Words:
    """Words that are taken one by one; options may stand anywhere among them."""

    def __init__(self, usage: str, text: str) -> None:
        """Take how the command is used, which errors say, and the text."""
        self._usage = usage
        self._rest = text.strip()

    def error(self, problem: str) -> UsageError:
        """Return an error that says how the command is used."""
        return UsageError(f"{problem}; usage: {self._usage}")

    def _take(self) -> str | None:
        found = _WORD.match(self._rest)
        if found is None:
            if self._rest:
                raise self.error("a quote is not closed")
            return None
        self._rest = self._rest[found.end() :].lstrip()
        try:
            return "".join(shlex.split(found[0]))
        except ValueError as error:
            raise self.error(str(error).lower()) from error

    def optional(self) -> str | None:
        """Return the next word, or None."""
        return self._take()

    def required(self, name: str) -> str:
        """Return the next word."""
        word = self._take()
        if not word:
            raise self.error(f"{name} is missing")
        return word

    def optional_path(self) -> Path | None:
        """Return the next word as a file, or None."""
        word = self._take()
        return Path(word).expanduser() if word else None

    def path(self) -> Path:
        """Return the next word as a file."""
        return Path(self.required("FILE")).expanduser()

    def statement(self) -> str:
        """Return all that is left, as it is written."""
        rest, self._rest = self._rest.removesuffix(";").strip(), ""
        return rest

    def options(self, flags: str = "", values: str = "") -> dict[str, str]:
        """Take all options out of what is left.

        Args:
            flags: The names of options without a value.
            values: The names of options with one.

        Returns:
            The values; that of a flag is its name.
        """
        found = {}
        others = []
        while (word := self._take()) is not None:
            if not word.startswith("--"):
                others.append(word)
                continue
            name, separator, value = word[2:].partition("=")
            if name in flags.split() and not separator:
                found[name] = name
            elif name in values.split():
                given = value if separator else self._take()
                if given is None:
                    raise self.error(f"--{name} wants a value")
                found[name] = given
            else:
                raise self.error(f"unknown option {word}")
        self._rest = shlex.join(others)
        return found

    def leading_flag(self, name: str) -> bool:
        """Take a flag that comes first, for a command that ends with a statement."""
        found = re.match(rf"--{name}(\s+|$)", self._rest)
        if found is not None:
            self._rest = self._rest[found.end() :]
        return found is not None

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._rest:
            raise self.error(f"too much: {self._rest}")
