"""The system task that wakes a trio run's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def pump(
    wait_readable: Callable[[int], Awaitable[None]], fd: int, drain: Callable[[], None]
) -> None:
    """Drain a run's finished operations whenever its wakeup descriptor is readable."""
    while True:
        await wait_readable(fd)
        drain()
