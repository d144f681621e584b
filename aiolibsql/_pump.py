"""The system task that wakes a trio run's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
