"""Rows as an aligned table, written while they come.

The first rows decide how wide the columns are. On a terminal the table is made to fit: long values
are cut, and so are columns for which there is no room at all. Elsewhere nothing is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiolibsql.shell.escapes import cut, visible_line, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiolibsql.shell.output import Output, Span

# A column is not made narrower than this to make room for others.
_NARROW = 8


def text_of(value: Any, null: str) -> str:
    """Return how a value is shown: BLOBs as SQL writes them."""
    if isinstance(value, str):
        return value
    if value is None:
        return null
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float):
        return real(value)
    return str(value)


def real(value: float) -> str:
    """Return a REAL as SQL reads it: infinity has no word there."""
    return repr(value).replace("inf", "1e999")


class Table:
    """One result."""

    def __init__(self, output: Output, columns: Sequence[str], null: str, has_header: bool) -> None:
        """Take where to write, and the names of the columns."""
        self._output = output
        self._names = [visible_line(name) for name in columns]
        self._null = null
        self._has_header = has_header
        bar, line, cross, self._mark = "│─┼…" if output.has_boxes else "|-+~"
        self._bar: Span = (bar, "dim")
        self._rule = (line, cross)
        self._widths: list[int] | None = None
        self._is_number: list[bool] = []

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows; the first call also writes the header."""
        cells = [[self._cell(value) for value in row] for row in rows]
        if self._widths is None:
            self._widths = self._measure(cells)
            self._is_number = [
                all(isinstance(row[index], (int, float, type(None))) for row in rows)
                and any(row[index] is not None for row in rows)
                for index in range(len(self._names))
            ]
            if self._has_header:
                self._write_header()
        spans: list[Span] = []
        for row, line in zip(rows, cells, strict=True):
            self._add(spans, line, [None if value is not None else "dim" for value in row])
        self._output.write_spans(spans)

    def end(self) -> None:
        """Say what could not be shown."""
        shown = len(self._widths or self._names)
        if shown < len(self._names):
            names = f"{shown} of {len(self._names)} columns"
            self._output.note(f"({names} have room here: .mode line shows all)")

    def _cell(self, value: Any) -> str:
        limit = self._output.width
        if limit is not None and isinstance(value, (str, bytes)) and len(value) > limit:
            value = value[: limit + 1]  # the rest would be cut in any case
            if isinstance(value, bytes):
                return f"x'{value.hex()}"
        return visible_line(text_of(value, self._null))

    def _measure(self, cells: list[list[str]]) -> list[int]:
        widths = [max(1, width(name)) if self._has_header else 1 for name in self._names]
        for line in cells:
            for index, cell in enumerate(line):
                if len(cell) * 2 > widths[index]:  # no character takes more than two columns
                    widths[index] = max(widths[index], width(cell))
        limit = self._output.width
        return widths if limit is None else _fit(widths, limit)

    def _write_header(self) -> None:
        spans: list[Span] = []
        self._add(spans, self._names, ["bold"] * len(self._names), is_header=True)
        line, cross = self._rule
        rule = cross.join(line * (size + 2) for size in self._widths or ())
        self._output.write_spans([*spans, (rule + "\n", "dim")])

    def _add(
        self,
        spans: list[Span],
        cells: Sequence[str],
        styles: Sequence[str | None],
        is_header: bool = False,
    ) -> None:
        sizes = self._widths or []
        is_wide = self._output.width is None
        last = len(sizes) - 1
        for index, size in enumerate(sizes):
            cell = cells[index] if is_wide else cut(cells[index], size, self._mark)
            blank = " " * (size - width(cell))
            if index:
                spans.append(self._bar)
            if self._is_number[index] and not is_header:
                spans.append((f" {blank}{cell}" + (" " if index < last else ""), styles[index]))
            else:
                spans.append((f" {cell}" + (f"{blank} " if index < last else ""), styles[index]))
        spans.append(("\n", None))


def _fit(widths: list[int], limit: int) -> list[int]:
    """Make columns narrower, the widest first, and drop those on the right that have no room."""
    count = len(widths)
    while count > 1 and sum(min(size, _NARROW) + 3 for size in widths[:count]) - 1 > limit:
        count -= 1
    kept = widths[:count]
    room = limit - 3 * count + 1
    while sum(kept) > room:
        widest = max(kept)
        below = max((size for size in kept if size < widest), default=0)
        many = kept.count(widest)
        excess = sum(kept) - room
        # All the widest together, down to the next one or as far as is needed.
        step = max(1, min(widest - below, excess // many))
        for index, size in enumerate(kept):
            if size == widest and excess > 0:
                kept[index] = max(1, size - step)
                excess -= step
        if max(kept) == 1:
            break
    return kept
