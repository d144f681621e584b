"""Sleeping, giving up in time, and threads, on whichever event loop runs.

trio is looked up among the modules that are there: whoever runs under it has imported it. asyncio
is imported when it is needed, for it takes longer than all of this package.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Expired(Exception):  # noqa: N818 - it never leaves the package
    """The time was up, and what ran in it was cancelled."""


def running_trio() -> Any:
    """Return trio, if the running task is one of its tasks."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return None
    return trio


async def sleep(seconds: float) -> None:
    """Sleep, as the running loop does."""
    trio = running_trio()
    if trio is not None:
        await trio.sleep(seconds)
        return
    import asyncio  # noqa: PLC0415 - see above

    await asyncio.sleep(seconds)


class Signal:
    """What the running task sleeps for, until it is given from any thread. Made by who sleeps.

    Attributes:
        is_lost: Whether it was given, and the sleeper's loop was over.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._claims = [True]
        trio = running_trio()
        if trio is not None:
            event = trio.Event()
            self._sleep: Callable[[], Awaitable[object]] = event.wait
            self._wake = partial(trio.lowlevel.current_trio_token().run_sync_soon, event.set)
            self._gone: type[BaseException] = trio.RunFinishedError
            return
        import asyncio  # noqa: PLC0415 - see above

        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def resume() -> None:
            if not future.done():
                future.set_result(None)

        self._sleep = lambda: future
        self._wake = partial(loop.call_soon_threadsafe, resume)
        self._gone = RuntimeError

    async def wait(self) -> None:
        """Sleep until it is given."""
        await self._sleep()

    def give(self) -> bool:
        """Wake who sleeps; False if that loop is over."""
        try:
            self._wake()
        except self._gone:
            self.is_lost = True
        return not self.is_lost

    def claim(self) -> bool:
        """Decide whether it is given or not wanted any more: True for the first who asks."""
        try:
            return self._claims.pop()
        except IndexError:
            return False


async def within(seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """Await what `work` returns, and cancel it when the time is up.

    Raises:
        Expired: If it did not end in time. Its own `TimeoutError`s are its own.
    """
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds):
            return await work()
        raise Expired
    if sys.version_info < (3, 11):
        return await _within_task(seconds, work)
    import asyncio  # noqa: PLC0415 - see above

    try:
        async with asyncio.timeout(seconds) as deadline:
            return await work()
    except TimeoutError as error:
        if deadline.expired() and isinstance(error.__cause__, asyncio.CancelledError):
            raise Expired from error
        raise


async def _within_task(seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """Do the same before Python 3.11, whose asyncio can't cancel a part of a task."""
    import asyncio  # noqa: PLC0415 - see above

    async def run() -> T:
        return await work()

    task = asyncio.ensure_future(run())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    if done:
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    if task.cancelled():
        raise Expired
    return task.result()


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Await what `work` returns to its end, also if the caller is cancelled meanwhile."""
    trio = running_trio()
    if trio is not None:
        with trio.CancelScope(shield=True):
            value = await work()
        await trio.lowlevel.checkpoint_if_cancelled()
        return value
    import asyncio  # noqa: PLC0415 - see above

    async def run() -> T:
        return await work()

    task = asyncio.ensure_future(run())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            # Whoever cancels again waits too.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            # Nobody hears how it ended.
            task.exception()
        raise


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run something that blocks on a thread, and return what it returns.

    It is given an event that is set when the caller is cancelled, upon which it should end soon:
    the cancellation waits for that.
    """
    stop = threading.Event()
    trio = running_trio()
    if trio is not None:
        return await _in_thread_of_trio(trio, work, stop)
    import asyncio  # noqa: PLC0415 - see above

    future = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        while not future.done():
            # Whoever cancels again waits too.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({future})
        # It was told to stop, and nobody hears how it ended.
        future.exception()
        raise


async def _in_thread_of_trio(
    trio: Any, work: Callable[[threading.Event], T], stop: threading.Event
) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            errors.append(error)

    async def watch() -> None:
        # The caller raises it when the thread has ended, and without a group around it.
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(run)
        nursery.cancel_scope.cancel()
    await trio.lowlevel.checkpoint_if_cancelled()
    if errors:
        raise errors[0]
    return results[0]
