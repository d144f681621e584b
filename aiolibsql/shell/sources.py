"""Files that `.import` reads, as rows in chunks.

A source may be read twice: once to see which columns and types there are, once for the rows. Every
row has the number of its line, so that an error can name it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from aiolibsql.shell.errors import UsageError
from aiolibsql.shell.progress import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CHUNK = 2000

# Texts that a column of this type gives back as they were: anything else would lose something,
# such as the zeros before a postcode.
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17}|[1-8][0-9]{18})").fullmatch
_REAL = re.compile(
    r"-?(?=.{1,17}$)(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
).fullmatch
# Fields of any size; what a field may hold is SQLite's business.
_LONGEST_FIELD = 2**31 - 1


@dataclass
class Chunk:
    """Some rows.

    Attributes:
        rows: Their values, as many as there are columns.
        lines: The number of the line that each of them ends on.
    """

    rows: list[Sequence[Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


class BadLineError(Exception):
    """A line is not what it has to be."""

    def __init__(self, line: int, message: str) -> None:
        """Take the number of the line and what is wrong."""
        super().__init__(message)
        self.line = line


class Source(Protocol):
    """A file with rows.

    Attributes:
        size: What `position` is at the end.
    """

    size: int

    @property
    def position(self) -> int:
        """How far it was read."""
        ...

    def columns(self) -> list[str]:
        """Return the names of the columns, without reading all rows if that is possible."""
        ...

    def types(self) -> Iterator[dict[str, str]]:
        """Read all of it and give, again and again, the types seen so far: the last are right."""
        ...

    def chunks(self, bad: Callable[[BadLineError], None]) -> Iterator[Chunk]:
        """Give all rows; what is wrong with a line is told, and the line is left out."""
        ...


def _size(path: Path) -> int:
    return path.stat().st_size


class Separated:
    """CSV, and what differs from it in the separator."""

    def __init__(
        self,
        path: Path,
        separator: str,
        encoding: str,
        has_header: bool,
        keeps_empty: bool,
    ) -> None:
        """Take the file and how it is written."""
        self.size: int = _size(path)
        self._path = path
        self._separator = separator
        self._encoding = encoding
        self.has_header: bool = has_header
        self._keeps_empty = keeps_empty
        self._file: BinaryIO | None = None
        self._columns: list[str] | None = None
        csv.field_size_limit(_LONGEST_FIELD)

    @property
    def position(self) -> int:
        """How far the file was read."""
        return self._file.tell() if self._file is not None and not self._file.closed else self.size

    def columns(self) -> list[str]:
        """Return the header, or names for as many columns as the first line has."""
        if self._columns is None:
            first: list[str] = []
            with self._path.open("rb") as file, self._text(file) as text:
                try:
                    first = next((row for row in self._reader(text) if row), [])
                except (csv.Error, UnicodeDecodeError) as error:
                    raise BadLineError(1, str(error)) from error
            names = [
                (name.strip() if self.has_header else "") or f"c{number}"
                for number, name in enumerate(first, 1)
            ]
            if not names:
                raise UsageError(f"{self._path}: the file is empty")
            self._columns = names
        return self._columns

    def types(self) -> Iterator[dict[str, str]]:
        """Look at all values: a type is one that loses nothing of any of them."""
        names = self.columns()
        tests = [[("INTEGER", _INTEGER), ("REAL", _REAL)] for _ in names]
        is_empty = [True] * len(names)
        for chunk in self.chunks(lambda _: None):
            for index, values in enumerate(zip(*chunk.rows, strict=True)):
                left = (
                    [value for value in values if value]
                    if None in values or "" in values
                    else values
                )
                if not left:
                    continue
                is_empty[index] = False
                while tests[index] and not all(map(tests[index][0][1], left)):
                    del tests[index][0]
            yield {
                name: tests[index][0][0] if tests[index] and not is_empty[index] else "TEXT"
                for index, name in enumerate(names)
            }

    def chunks(self, bad: Callable[[BadLineError], None]) -> Iterator[Chunk]:
        """Give the rows."""
        count = len(self.columns())
        with self._path.open("rb") as file, self._text(file) as text:
            self._file = file
            reader = self._reader(text)
            if self.has_header:
                next((row for row in reader if row), None)
            chunk = Chunk()
            for row in self._rows(reader, bad):
                if len(row) != count:
                    message = f"{counted(len(row), 'value')} for {counted(count, 'column')}"
                    bad(BadLineError(reader.line_num, message))
                    continue
                has_null = not self._keeps_empty and "" in row
                chunk.rows.append([value or None for value in row] if has_null else row)
                chunk.lines.append(reader.line_num)
                if len(chunk.lines) == CHUNK:
                    yield chunk
                    chunk = Chunk()
            if chunk.lines:
                yield chunk

    @staticmethod
    def _rows(reader: Any, bad: Callable[[BadLineError], None]) -> Iterator[list[str]]:
        """Give all lines that are CSV and not empty."""
        while True:
            try:
                yield from filter(None, reader)
            except csv.Error as error:  # noqa: PERF203 - it is about one line
                bad(BadLineError(reader.line_num, str(error)))
            except UnicodeDecodeError as error:
                # A file that is not what it is said to be: no line of it can be trusted.
                message = f"after this line: not {error.encoding}; see --encoding"
                raise BadLineError(reader.line_num, message) from error
            else:
                return

    def _text(self, file: BinaryIO) -> io.TextIOWrapper:
        return io.TextIOWrapper(file, self._encoding, newline="")

    def _reader(self, text: io.TextIOWrapper) -> Any:
        return csv.reader(text, delimiter=self._separator, strict=True)


_TYPES = {bool: "INTEGER", int: "INTEGER", float: "REAL"}


def sql_value(value: Any) -> Any:
    """Return a value of JSON as SQLite takes it."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value


class Objects:
    """JSON: an array of objects, or an object a line."""

    def __init__(self, path: Path, is_array: bool) -> None:
        """Take the file; an array is read at once."""
        self.size: int = _size(path)
        self.position: int = 0
        self._path = path
        self._columns: dict[str, str | None] = {}
        self._all: list[Any] | None = None
        if is_array:
            with path.open(encoding="utf-8-sig") as file:
                found = json.load(file)
            if not isinstance(found, list):
                raise UsageError(f"{path}: no array of objects")
            self._all = found

    def columns(self) -> list[str]:
        """Return all keys that any object has."""
        if not self._columns:
            for _ in self.types():
                pass
        return list(self._columns)

    def types(self) -> Iterator[dict[str, str]]:
        """Look at all values."""
        seen: dict[str, str | None] = {}
        for index, (_, value) in enumerate(self._objects(_ignore)):
            for key, item in value.items():
                kind = None if item is None else _TYPES.get(type(item), "TEXT")
                old = seen.setdefault(key, kind)
                if old != kind and kind is not None:
                    both = {old, kind}
                    seen[key] = (
                        kind if old is None else "REAL" if both == {"INTEGER", "REAL"} else "TEXT"
                    )
            if index % CHUNK == 0:
                yield {}
        self._columns = seen
        if not seen:
            raise UsageError(f"{self._path}: there is no object with a key")
        yield {key: kind or "TEXT" for key, kind in seen.items()}

    def chunks(self, bad: Callable[[BadLineError], None]) -> Iterator[Chunk]:
        """Give the rows."""
        names = self.columns()
        chunk = Chunk()
        for line, value in self._objects(bad):
            chunk.rows.append([sql_value(value.get(name)) for name in names])
            chunk.lines.append(line)
            if len(chunk.lines) == CHUNK:
                yield chunk
                chunk = Chunk()
        if chunk.lines:
            yield chunk

    def _objects(self, bad: Callable[[BadLineError], None]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give objects with their lines, which are their numbers in an array."""
        if self._all is not None:
            for number, value in enumerate(self._all, 1):
                self.position = self.size * number // len(self._all)
                if isinstance(value, dict):
                    yield number, value
                else:
                    bad(BadLineError(number, "no object"))
            return
        with self._path.open("rb") as file:
            self.position = 0
            for line, text in enumerate(file, 1):
                self.position += len(text)
                if not text.strip():
                    continue
                try:
                    value = json.loads(text)
                except ValueError as error:
                    bad(BadLineError(line, str(error)))
                    continue
                if isinstance(value, dict):
                    yield line, value
                else:
                    bad(BadLineError(line, "no object"))


def _ignore(_: BadLineError) -> None:
    """Leave it to the second reading to tell of a bad line."""
