"""The forms that rows are written in; `.mode` chooses one, and `.export` uses some of them."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any, Protocol

from aiolibsql.shell.escapes import visible_json, visible_line
from aiolibsql.shell.table import Table, real, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiolibsql.shell.output import Output


class Writer(Protocol):
    """What writes one result."""

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, at least once and maybe none."""

    def end(self) -> None:
        """Write what comes after the last row."""


class Separated:
    """Values with a separator between them, quoted where needed as in CSV, or never."""

    def __init__(
        self,
        output: Output,
        columns: Sequence[str],
        null: str,
        has_header: bool,
        *,
        separator: str,
        quotes: bool = True,
    ) -> None:
        """Take where to write, and the names of the columns."""
        self._output = output
        self._null = null
        self._separator = separator
        self._quotes = quotes
        self._first: Sequence[str] | None = columns if has_header else None

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows."""
        lines = list(rows)
        if not self._quotes or self._null or _has_special(rows):
            lines = [[text_of(value, self._null) for value in row] for row in rows]
        if self._first is not None:
            lines.insert(0, list(self._first))
            self._first = None
        if self._quotes:
            csv.writer(self, delimiter=self._separator).writerows(lines)
        else:
            self._output.write("".join(self._separator.join(line) + "\n" for line in lines))

    def write(self, line: str) -> None:
        """Write a line of the csv module's, which quotes CR only where that is in lines' ends."""
        self._output.write(f"{line[:-2]}\n")

    def end(self) -> None:
        """Write nothing."""


class Json:
    """An array of objects, or an object a line."""

    def __init__(self, output: Output, columns: Sequence[str], is_array: bool) -> None:
        """Take where to write, and the names of the columns."""
        self._output = output
        self._keys = distinct(columns)
        self._is_array = is_array
        self._before = "[\n" if is_array else ""

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows."""
        keys = self._keys
        between = ",\n" if self._is_array else "\n"
        objects = [visible_json(_encode_object(dict(zip(keys, row, strict=True)))) for row in rows]
        if objects:
            self._output.write(self._before + between.join(objects))
            self._before = between

    def end(self) -> None:
        """Close the array."""
        if not self._is_array:
            self._output.write("\n" if self._before else "")
        else:
            self._output.write("[]\n" if self._before == "[\n" else "\n]\n")


def _has_special(rows: Sequence[Sequence[Any]]) -> bool:
    """Tell whether there is a value that the csv module would write in another way than SQL."""
    return any(math.inf in row or -math.inf in row or bytes in map(type, row) for row in rows)


def _blob(value: bytes) -> str:
    return text_of(value, "")


# All values but infinity, for which JSON has no word.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_blob).encode


def _encode_object(row: dict[str, Any]) -> str:
    try:
        return _encode(row)
    except ValueError:
        pairs = [
            f"{_encode(key)}: {real(value) if isinstance(value, float) else _encode(value)}"
            for key, value in row.items()
        ]
        return f"{{{', '.join(pairs)}}}"


def distinct(names: Sequence[str]) -> list[str]:
    """Return names of which no two are the same: a query may have columns of one name."""
    seen: dict[str, None] = {}
    for name in names:
        number, other = 2, name
        while other in seen:
            number, other = number + 1, f"{name}_{number}"
        seen[other] = None
    return list(seen)


class Lines:
    """A value a line, and an empty line between rows."""

    def __init__(self, output: Output, columns: Sequence[str], null: str) -> None:
        """Take where to write, and the names of the columns."""
        self._output = output
        self._null = null
        names = [visible_line(name) for name in columns]
        longest = max(map(len, names), default=0)
        self._names = [name.rjust(longest) for name in names]
        self._is_first = True

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows."""
        for row in rows:
            if not self._is_first:
                self._output.write("\n")
            self._is_first = False
            for name, value in zip(self._names, row, strict=True):
                style = "dim" if value is None else None
                text = visible_line(text_of(value, self._null))
                self._output.write_spans([(f"{name} = ", "bold"), (f"{text}\n", style)])

    def end(self) -> None:
        """Write nothing."""


class Markdown:
    """A table for documents."""

    def __init__(self, output: Output, columns: Sequence[str], null: str) -> None:
        """Take where to write, and the names of the columns."""
        self._output = output
        self._null = null
        self._output.write(self._line(columns) + self._line(["---"] * len(columns)))

    def _line(self, cells: Sequence[str]) -> str:
        escaped = [visible_line(cell).replace("|", "\\|") for cell in cells]
        return f"| {' | '.join(escaped)} |\n"

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows."""
        for row in rows:
            self._output.write(self._line([text_of(value, self._null) for value in row]))

    def end(self) -> None:
        """Write nothing."""


def _or(null: str | None, default: str) -> str:
    return default if null is None else null


# Each is given where to write, the columns, the text for NULL or None for the mode's own, and
# whether the names of the columns are wanted.
MODES: dict[str, Callable[[Output, Sequence[str], str | None, bool], Writer]] = {
    "table": lambda out, names, null, header: Table(out, names, _or(null, "NULL"), header),
    "line": lambda out, names, null, _: Lines(out, names, _or(null, "NULL")),
    "list": lambda out, names, null, header: Separated(
        out, names, _or(null, ""), header, separator="|", quotes=False
    ),
    "csv": lambda out, names, null, header: Separated(
        out, names, _or(null, ""), header, separator=","
    ),
    "tabs": lambda out, names, null, header: Separated(
        out, names, _or(null, ""), header, separator="\t"
    ),
    "json": lambda out, names, _, __: Json(out, names, is_array=True),
    "jsonl": lambda out, names, _, __: Json(out, names, is_array=False),
    "markdown": lambda out, names, null, _: Markdown(out, names, _or(null, "NULL")),
}
