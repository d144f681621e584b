"""Turns: so many tasks at a time, the others in the order in which they came.

Owns the free turns and the queue. Used from every event loop and thread at once, and from the
finalizers of coroutines, which may interrupt any line: so there is no lock, only operations that
Python's containers do in one piece, and whoever has added to one of them looks at the other.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from aiolibsql._runtime import Signal

if TYPE_CHECKING:
    from types import TracebackType


class Turns:
    """A number of turns. ``async with`` takes one and gives it back."""

    def __init__(self, number: int) -> None:
        self._free = [True] * number
        self._waiting: deque[Signal] = deque()

    def try_take(self) -> bool:
        """Take a turn if one is free."""
        try:
            return self._free.pop()
        except IndexError:
            return False

    async def take(self) -> None:
        """Take a turn, as soon as those who came before have had theirs.

        Cancellation:
            It is not taken.
        """
        if self.try_take():
            return
        signal = Signal()
        self._waiting.append(signal)
        # One may have become free since.
        self._hand_out()
        try:
            await signal.wait()
        except BaseException:
            with contextlib.suppress(ValueError):
                self._waiting.remove(signal)
            if not signal.claim() and not signal.is_lost:
                # It was granted, and nobody has heard of it.
                self.give()
            raise

    def give(self) -> None:
        """Give a turn back: to who waits longest, if anybody does."""
        self._free.append(True)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.try_take():
            is_taken = False
            with contextlib.suppress(IndexError):
                signal = self._waiting.popleft()
                is_taken = signal.claim() and signal.give()
            if not is_taken:
                self._free.append(True)

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.give()
