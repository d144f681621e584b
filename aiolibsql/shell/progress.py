"""Bars for work that takes a while: rows, bytes, rate and the time that is left."""

from __future__ import annotations

import os
import sys
import termios
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID
    from typing_extensions import Self

_REFRESHES = 10  # a second


def size_text(count: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(count: int, noun: str) -> str:
    """Return a number of things as people write it."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


@contextmanager
def _without_echo_of_controls() -> Iterator[None]:
    """Have the terminal not write ^C into a bar, which could not be taken away then."""
    try:
        terminal = sys.stdin.fileno()
        is_ours = os.tcgetpgrp(terminal) == os.getpgrp()
        before = termios.tcgetattr(terminal)
    except (OSError, ValueError, termios.error):
        is_ours = False
    if not is_ours:  # in the background it would stop us
        yield
        return
    quiet = before.copy()
    quiet[3] &= ~termios.ECHOCTL
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class Bar:
    """A bar on a terminal; elsewhere nothing is shown, and the counts are there all the same.

    Attributes:
        rows: How many rows are done.
        bytes: How many bytes are done.
    """

    def __init__(
        self, stream: TextIO, title: str, total: float | None = None, unit: str = "row"
    ) -> None:
        """Take where to show it.

        Args:
            stream: The terminal, or something else.
            title: What is being done.
            total: How much `done` will be in the end, or None if nobody knows.
            unit: What is counted besides bytes.
        """
        self.rows: int = 0
        self.bytes: int = 0
        self._began = time.monotonic()
        self._open = ExitStack()
        self._unit = unit
        self._total = total
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if stream.isatty():
            self._show(stream, title)

    def _show(self, stream: TextIO, title: str) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 - it may be missing
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
        except ImportError:
            return
        left = TextColumn("left") if self._total is not None else TextColumn("")
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%" if self._total is not None else ""),
            TextColumn("{task.fields[counts]}", markup=False),
            *(
                [TimeRemainingColumn(compact=True), left]
                if self._total is not None
                else [TimeElapsedColumn()]
            ),
            console=Console(file=stream),
            refresh_per_second=_REFRESHES,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=self._total, counts="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._open.enter_context(_without_echo_of_controls())
            self._open.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    @property
    def counts(self) -> str:
        """What is done: rows, bytes and rows a second."""
        parts = [counted(self.rows, self._unit)] if self._unit else []
        if self.bytes:
            parts.append(size_text(self.bytes))
        if self._unit and self.seconds:
            parts.append(f"{self.rows / self.seconds:,.0f}/s")
        elif self.bytes and self.seconds:
            parts.append(f"{size_text(self.bytes / self.seconds)}/s")
        return ", ".join(parts)

    def update(self, done: float, total: float | None = None) -> None:
        """Show how far it is.

        Args:
            done: In the unit of the total.
            total: The total, if it has changed.
        """
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, completed=done, total=total or self._total, counts=self.counts
            )
