"""Which database is meant, how it is opened, and what may be shown of its name."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiolibsql
from aiolibsql._database_name import is_in_memory, is_remote

# What is not UTF-8 is shown and exported as it is, and not refused.
_TEXT = partial(str, encoding="utf-8", errors="surrogateescape")
_PASSWORD = re.compile(r"(://)[^/@\s]*@")
_TOKEN = re.compile(r"(?i)(authToken=)[^&#\s]*")
_TRIES = 3


class KeyWantedError(Exception):
    """The file is no database, or an encrypted one whose key is not known or not right."""


def without_secrets(name: str) -> str:
    """Return a name or URL without its password and token."""
    return _TOKEN.sub(r"\1…", _PASSWORD.sub(r"\1…@", name))


@dataclass
class Database:
    """A database and how it is to be opened.

    Attributes:
        name: A path, ``:memory:``, a ``file:`` URI or the URL of a server.
        key: The key of an encrypted file.
        is_read_only: Whether the file of a path is not to be written.
        options: More keywords for `aiolibsql.connect`.
    """

    name: str = ":memory:"
    key: str | None = field(default=None, repr=False)
    is_read_only: bool = False
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether a server has it."""
        return is_remote(self.name)

    @property
    def is_replica(self) -> bool:
        """Whether it is a copy of one at a server."""
        return "sync_url" in self.options

    @property
    def path(self) -> Path | None:
        """The file, if it is one that can be told."""
        if self.is_remote or is_in_memory(self.name) or self.name.startswith("file:"):
            return None
        return Path(self.name)

    @property
    def title(self) -> str:
        """What it is called, without anything secret."""
        return without_secrets(self.name)

    @property
    def short_title(self) -> str:
        """What it is called in the prompt."""
        if self.is_remote:
            return self.title.partition("://")[2].partition("?")[0].rpartition("@")[2].rstrip("/")
        return self.path.name if self.path else "memory" if is_in_memory(self.name) else self.title

    def connect(self) -> aiolibsql.Connection[Any]:
        """Return a connection that is not open yet, in which statements commit by themselves.

        Raises:
            TypeError, ValueError, aiolibsql.ProgrammingError: As `aiolibsql.connect`.
        """
        options = dict(self.options)
        name = self.name
        if self.is_read_only and self.path is not None:
            name = f"file:{quote(os.fsencode(self.path.absolute()))}?mode=ro"
        if self.key is not None:
            options["encryption_key"] = self.key
        if not self.is_remote:
            options["text_factory"] = _TEXT
        return aiolibsql.connect(name, isolation_level=None, **options)

    async def open(self) -> aiolibsql.Connection[Any]:
        """Return an open connection.

        Raises:
            KeyWantedError: If the file looks encrypted, or the key is wrong.
            aiolibsql.Error: As `aiolibsql.connect`.
        """
        conn = self.connect()
        try:
            return await conn
        except aiolibsql.DatabaseError as error:
            if error.sqlite_errorname == "SQLITE_NOTADB" and self.path is not None:
                raise KeyWantedError(str(error)) from error
            raise


def ask_for_key(path: object, is_new: bool) -> str:
    """Ask for a key at the terminal, without echo; for a new file twice.

    Raises:
        ValueError: If the two are not the same.
        EOFError: If there is no answer.
    """
    key = getpass.getpass(f"Key of {path}: ")
    if is_new and getpass.getpass("The same key again: ") != key:
        raise ValueError("the two keys are not the same")
    return key


def tries() -> range:
    """Return how often somebody may be wrong about a key."""
    return range(_TRIES)
