"""Where the shell writes: plain to pipes and files, safe and coloured to a terminal.

Every character that a terminal gets goes through here, so this is the only place that has to see
to it that data can't command the terminal.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TextIO

from aiolibsql.shell.escapes import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

# A piece of text and how it looks: a style of rich, or None.
Span = tuple[str, "str | None"]


class Output:
    """A stream, which may be a terminal."""

    def __init__(self, stream: TextIO, is_terminal: bool | None = None) -> None:
        """Take the stream.

        Args:
            stream: Where text goes.
            is_terminal: Whether somebody looks at it; None asks the stream.
        """
        self.stream = stream
        self.is_terminal: bool = stream.isatty() if is_terminal is None else is_terminal
        self._console = _console(stream) if self.is_terminal else None

    @property
    def width(self) -> int | None:
        """How many columns there are, or None where there is no limit."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    @property
    def has_boxes(self) -> bool:
        """Whether the stream can have lines of boxes."""
        try:
            "│─┼…".encode(self.stream.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return False
        return True

    def write(self, text: str) -> None:
        """Write lines of text."""
        self.stream.write(visible(text) if self.is_terminal else text)

    def write_spans(self, spans: Iterable[Span]) -> None:
        """Write pieces of text, on a terminal in their styles."""
        if self._console is None:
            self.write("".join(text for text, _ in spans))
            return
        from rich.segment import Segment, Segments  # noqa: PLC0415 - it may be missing

        styles = self._console.get_style
        segments = [
            Segment(visible(text), styles(style) if style else None) for text, style in spans
        ]
        self._console.print(Segments(segments), end="", crop=False, soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Write a line that is no data."""
        self.write_spans([(text, style), ("\n", None)])

    def flush(self) -> None:
        """Hand over what was written."""
        self.stream.flush()


def _console(stream: TextIO) -> Console | None:
    try:
        from rich.console import Console  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False)
