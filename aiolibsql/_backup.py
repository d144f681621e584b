"""`Connection.backup`: the order of a backup's steps, and databases of the stdlib as targets."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from aiolibsql import _runtime
from aiolibsql._aiolibsql import Connection, _Backup, _error_for_code
from aiolibsql.exceptions import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from threading import Event

    Progress = Callable[[int, int, int], object]

_OK, _BUSY, _LOCKED, _DONE = 0, 5, 6, 101
# Pages that the stdlib copies between two looks at whether to go on.
_SLICE = 256


class _Stopped(BaseException):
    """Nobody waits any more; it leaves the stdlib's backup unfinished."""


def backup(
    self: Connection[Any],
    target: Connection[Any] | sqlite3.Connection,
    *,
    pages: int = -1,
    progress: Progress | Callable[[int, int, int], Awaitable[object]] | None = None,
    name: str = "main",
    sleep: float = 0.250,
) -> Coroutine[Any, Any, None]:
    """Copy a database into another connection's."""
    if progress is not None and not callable(progress):
        raise TypeError("progress argument must be a callable")
    if not isinstance(target, (Connection, sqlite3.Connection)):
        kind = type(target).__name__
        raise TypeError(f"target must be a Connection of aiolibsql or sqlite3, not {kind}")
    if not -(2**31) <= pages < 2**31:
        raise OverflowError("pages does not fit in 32 bits")
    if not sleep >= 0:
        raise ValueError("sleep must be greater-than or equal to zero")
    return _backup((self, target), pages or -1, progress, name, float(sleep))


async def _backup(
    connections: tuple[Connection[Any], Connection[Any] | sqlite3.Connection],
    pages: int,
    progress: Progress | None,
    name: str,
    sleep: float,
) -> None:
    source, target = connections
    ours = target if isinstance(target, Connection) else None
    parts = _Backup(source, ours, name)
    try:
        await parts.begin()
        await parts.borrow_target()
        code = _OK
        while code in {_OK, _BUSY, _LOCKED}:
            code, remaining, total = await parts.step(pages)
            if progress is not None:
                answer = progress(code, remaining, total)
                if hasattr(answer, "__await__"):
                    await parts.answer(answer)
            if code in {_BUSY, _LOCKED}:
                await _runtime.sleep(sleep)
        if isinstance(target, sqlite3.Connection) and code == _DONE:
            timeout, is_secret = parts.timeout, parts.is_encrypted
            image = await parts.image()
            await _runtime.in_thread(
                lambda stop: _copy(image, target, (timeout, sleep), is_secret, stop)
            )
    except BaseException:
        # Submitted by the call: the source and the target are free when it has run, and whoever
        # uses them now waits for that.
        parts.finish()
        raise
    await parts.finish()


_backup.__qualname__ = "Connection.backup"


def _copy(
    image: bytes,
    target: sqlite3.Connection,
    waits: tuple[float, float],
    is_secret: bool,
    stop: Event,
) -> None:
    """Copy an image into the stdlib's connection, on a thread that may block."""
    timeout, sleep = waits
    until = time.monotonic() + timeout

    def look(status: int, _remaining: int, _total: int) -> None:
        nonlocal until
        if stop.is_set():
            raise _Stopped
        if status not in {_BUSY, _LOCKED}:
            until = time.monotonic() + timeout
        elif time.monotonic() >= until:
            raise _error_for_code(status, "database is locked")

    if sys.version_info >= (3, 11):
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.deserialize(image)
            memory.backup(target, pages=_SLICE, progress=look, sleep=sleep)
        return
    if is_secret:
        raise NotSupportedError(
            "backup() of an encrypted database into a sqlite3.Connection needs Python 3.11: "
            "before, its plain text would have to be written to a temporary file"
        )
    import tempfile  # noqa: PLC0415 - slow to import, and no later version needs it

    file, path = tempfile.mkstemp(prefix="aiolibsql-", suffix=".db")
    try:
        with os.fdopen(file, "wb") as copy:
            copy.write(image)
        with closing(sqlite3.connect(path)) as temporary:
            temporary.backup(target, pages=_SLICE, progress=look, sleep=sleep)
    finally:
        os.unlink(path)  # noqa: PTH108 - a name that is not a Path
