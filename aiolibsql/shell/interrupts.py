"""Control-C: it cancels what runs, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Interrupted(Exception):  # noqa: N818 - it is what the user wanted
    """Control-C was pressed, and what ran has ended."""


class Interrupts:
    """Turns Control-C into the cancellation of one task.

    It belongs to the loop in which it is made.
    """

    def __init__(self) -> None:
        """Take over Control-C, unless whoever started us wants it to be ignored."""
        self._task: asyncio.Future[Any] | None = None
        self._is_pressed = False
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._press)

    def _press(self) -> None:
        if self._task is not None:
            self._is_pressed = True
            self._task.cancel()

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that Control-C may end.

        Raises:
            Interrupted: If Control-C was pressed meanwhile, when the work has ended.
        """
        self._is_pressed = False
        self._task = asyncio.ensure_future(work)
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._is_pressed:
                raise
        finally:
            self._task = None
        if self._is_pressed:
            raise Interrupted
