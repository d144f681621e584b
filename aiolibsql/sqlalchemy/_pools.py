"""Pools of SQLAlchemy that wait on whichever event loop runs.

SQLAlchemy's own waits in an asyncio queue. The queue here lends to the waiting task itself, so
nobody overtakes it, and may be used from several loops on several threads at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from sqlalchemy import pool
from sqlalchemy.util import queue as sqla_queue

from aiolibsql import _runtime
from aiolibsql.sqlalchemy._adapted import await_

if TYPE_CHECKING:
    from collections.abc import Callable


class _Turn:
    """One task's wait for something that it is given, made in that task."""

    def __init__(self) -> None:
        self.given: Any = None
        trio = _runtime.running_trio()
        if trio is None:
            loop = asyncio.get_running_loop()
            done = asyncio.Event()
            self._call: Callable[[Callable[[], None]], Any] = loop.call_soon_threadsafe
        else:
            done = trio.Event()
            self._call = trio.lowlevel.current_trio_token().run_sync_soon
        self._done = done

    def give(self, value: Any) -> bool:
        """Give it, from any thread; False if the loop has ended."""
        self.given = value
        try:
            self._call(self._done.set)
        except RuntimeError:
            return False
        return True

    async def wait(self) -> None:
        await self._done.wait()


class _Queue(sqla_queue.QueueCommon[Any]):
    """Things that tasks wait for, first come, first served."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._items: deque[Any] = deque()
        self._turns: deque[_Turn] = deque()
        # Garbage collection may return a connection while this thread holds the lock.
        self._lock = threading.RLock()

    def empty(self) -> bool:
        return not self._items

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._items)

    def qsize(self) -> int:
        return len(self._items)

    def put_nowait(self, item: Any) -> None:
        with self._lock:
            while self._turns:
                if self._turns.popleft().give(item):
                    return
            if self.full():
                raise sqla_queue.Full
            self._items.append(item)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        # SQLAlchemy never waits for a place.
        self.put_nowait(item)

    def get_nowait(self) -> Any:
        with self._lock:
            if not self._items:
                raise sqla_queue.Empty
            return self._items.pop() if self.use_lifo else self._items.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self.get_nowait()
        except sqla_queue.Empty:
            if not block:
                raise
        return await_(self._wait(timeout))

    async def _wait(self, timeout: float | None) -> Any:
        with self._lock:
            if self._items:
                return self.get_nowait()
            turn = _Turn()
            self._turns.append(turn)
        try:
            if timeout is None:
                await turn.wait()
            else:
                await _runtime.within(timeout, turn.wait)
        except BaseException as error:
            with self._lock:
                is_given = turn not in self._turns
                if not is_given:
                    self._turns.remove(turn)
            if isinstance(error, _runtime.Expired):
                if is_given:
                    return turn.given
                raise sqla_queue.Empty from error
            if is_given:
                self.put_nowait(turn.given)
            raise
        return turn.given


class _Gate:
    """Lets one task at a time make a connection, until one was made.

    With its first connection SQLAlchemy sets up the dialect, under a lock of asyncio. Where nobody
    else comes that far, nobody waits for that lock.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._queue = _Queue()
        self._queue.put_nowait(None)

    def __call__(self, make: Callable[[], Any]) -> Any:
        if self._is_open:
            return make()
        self._queue.get()
        try:
            made = make()
            self._is_open = True
        finally:
            self._queue.put_nowait(None)
        return made


class AsyncQueuePool(pool.AsyncAdaptedQueuePool):
    """`sqlalchemy.pool.AsyncAdaptedQueuePool` for every event loop."""

    _queue_class = _Queue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = _Gate()

    def _create_connection(self) -> pool.ConnectionPoolEntry:
        entry: pool.ConnectionPoolEntry = self._gate(super()._create_connection)
        return entry


class AsyncNullPool(pool.NullPool):
    """`sqlalchemy.pool.NullPool` for every event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = _Gate()

    def _create_connection(self) -> pool.ConnectionPoolEntry:
        entry: pool.ConnectionPoolEntry = self._gate(super()._create_connection)
        return entry


class AsyncStaticPool(pool.StaticPool):
    """`sqlalchemy.pool.StaticPool` for every event loop: one connection, which all share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = _Gate()

    def _do_get(self) -> pool.ConnectionPoolEntry:
        entry: pool.ConnectionPoolEntry = self._gate(super()._do_get)
        return entry
