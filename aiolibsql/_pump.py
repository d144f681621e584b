"""What waits for wakeup descriptors that loops do not watch themselves; coroutines for trio."""

from __future__ import annotations

import selectors
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from typing import Any

LOOK = 0.5
"""Seconds between two looks at whether the loop was closed."""


async def pump(
    wait_readable: Callable[[int], Awaitable[None]],
    fd: int,
    drain: Callable[[], None],
    retire: Callable[[], None],
) -> None:
    """Drain finished operations whenever the wakeup descriptor is readable, until the run ends."""
    try:
        while True:
            await wait_readable(fd)
            drain()
    finally:
        retire()


def listen(loop: AbstractEventLoop, fd: int, drain: Callable[[], None]) -> None:
    """Drain finished operations from a thread, for an asyncio loop that can't watch a descriptor.

    That is Windows' proactor. The thread ends soon after the loop was closed.
    """
    drained = threading.Event()

    def look() -> None:
        try:
            drain()
        finally:
            drained.set()

    def wait() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while not loop.is_closed():
                if not selector.select(LOOK):
                    continue
                drained.clear()
                try:
                    loop.call_soon_threadsafe(look)
                except RuntimeError:  # it was closed in between
                    return
                while not drained.wait(LOOK):
                    if loop.is_closed():
                        return

    threading.Thread(target=wait, name="aiolibsql wakeups", daemon=True).start()


async def within(scope: AbstractContextManager[object], awaitable: Awaitable[Any]) -> Any:
    """Await something in a cancel scope of its own; None if that was cancelled."""
    with scope:
        return await awaitable
    return None
