"""The event loops, and what differs between them: tasks, sleeping, cancelling.

Thread: the loop's. Everything here is made of the event loop's own calls, so that nothing between
it and the driver is measured.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

T = TypeVar("T")

TICK = 0.001
# Enough turns for the tick to be recorded that was due while the work ended.
LAST_TICK = 0.005


class Runtime(ABC):
    """One event loop."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a program in a new loop."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task."""

    @abstractmethod
    async def gather(self, works: Sequence[Callable[[], Awaitable[Any]]]) -> None:
        """Run each in a task of its own, and wait for all."""

    @abstractmethod
    async def tick_during(self, work: Callable[[], Awaitable[T]]) -> tuple[T, list[float]]:
        """Return what the work returns and the lateness, in seconds, of a task that ticks."""

    @abstractmethod
    async def cancel_after(
        self, seconds: float, work: Callable[[], Awaitable[Any]]
    ) -> tuple[float, float]:
        """Return when a task was cancelled and when that was raised in it."""

    async def _tick(self, lateness: list[float]) -> None:
        while True:
            began = time.perf_counter()
            await self.sleep(TICK)
            lateness.append(time.perf_counter() - began - TICK)

    async def _ticks(self, work: Callable[[], Awaitable[T]], lateness: list[float]) -> T:
        await self.sleep(LAST_TICK)
        lateness.clear()
        result = await work()
        await self.sleep(LAST_TICK)
        return result


class NotCancelledError(Exception):
    """The work ended before it could be cancelled, so nothing was measured."""


class Asyncio(Runtime):
    """Asyncio with the loop that it brings."""

    name = "asyncio"

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a program in a new loop."""
        return asyncio.run(main())

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task."""
        await asyncio.sleep(seconds)

    async def gather(self, works: Sequence[Callable[[], Awaitable[Any]]]) -> None:
        """Run each in a task of its own, and wait for all."""

        async def run(work: Callable[[], Awaitable[Any]]) -> None:
            await work()

        await asyncio.gather(*[asyncio.create_task(run(work)) for work in works])

    async def tick_during(self, work: Callable[[], Awaitable[T]]) -> tuple[T, list[float]]:
        """Return what the work returns and the lateness, in seconds, of a task that ticks."""
        lateness: list[float] = []
        ticker = asyncio.create_task(self._tick(lateness))
        try:
            return await self._ticks(work, lateness), lateness
        finally:
            ticker.cancel()

    async def cancel_after(
        self, seconds: float, work: Callable[[], Awaitable[Any]]
    ) -> tuple[float, float]:
        """Return when a task was cancelled and when that was raised in it."""
        raised = 0.0

        async def run() -> None:
            nonlocal raised
            try:
                await work()
            except asyncio.CancelledError:
                raised = time.perf_counter()
                raise

        task = asyncio.create_task(run())
        await asyncio.sleep(seconds)
        cancelled = time.perf_counter()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            raise NotCancelledError(f"ended with {task.exception()!r}")
        return cancelled, raised


class Uvloop(Asyncio):
    """Asyncio on uvloop."""

    name = "uvloop"

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a program in a new loop."""
        result: T = importlib.import_module("uvloop").run(main())
        return result


class Trio(Runtime):
    """Trio."""

    name = "trio"

    def __init__(self) -> None:
        self._trio = importlib.import_module("trio")

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a program in a new loop."""
        result: T = self._trio.run(main)
        return result

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task."""
        await self._trio.sleep(seconds)

    async def gather(self, works: Sequence[Callable[[], Awaitable[Any]]]) -> None:
        """Run each in a task of its own, and wait for all."""
        async with self._trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    async def tick_during(self, work: Callable[[], Awaitable[T]]) -> tuple[T, list[float]]:
        """Return what the work returns and the lateness, in seconds, of a task that ticks."""
        lateness: list[float] = []
        async with self._trio.open_nursery() as nursery:
            nursery.start_soon(self._tick, lateness)
            result = await self._ticks(work, lateness)
            nursery.cancel_scope.cancel()
        return result, lateness

    async def cancel_after(
        self, seconds: float, work: Callable[[], Awaitable[Any]]
    ) -> tuple[float, float]:
        """Return when a task was cancelled and when that was raised in it."""
        raised = 0.0

        async def run() -> None:
            nonlocal raised
            try:
                await work()
            except self._trio.Cancelled:
                raised = time.perf_counter()
                raise

        async with self._trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await self._trio.sleep(seconds)
            cancelled = time.perf_counter()
            nursery.cancel_scope.cancel()
        if not raised:
            raise NotCancelledError("ended without being cancelled")
        return cancelled, raised


RUNTIMES: dict[str, type[Runtime]] = {runtime.name: runtime for runtime in (Asyncio, Uvloop, Trio)}
