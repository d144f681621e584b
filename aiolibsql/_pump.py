"""What runs as a coroutine in a trio run: its system task, and what callbacks return."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from typing import Any


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


async def within(scope: AbstractContextManager[object], awaitable: Awaitable[Any]) -> Any:
    """Await something in a cancel scope of its own; None if that was cancelled."""
    with scope:
        return await awaitable
    return None
