"""`Connection.backup`: the order of a backup's steps, as `sqlite3` has it."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING

from aiolibsql._aiolibsql import _dbapi
from aiolibsql.exceptions import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiolibsql.dbapi import Connection

_OK, _BUSY, _LOCKED = 0, 5, 6


def backup(
    self: Connection,
    target: Connection,
    *,
    pages: int = -1,
    progress: Callable[[int, int, int], object] | None = None,
    name: str = "main",
    sleep: float = 0.250,
) -> None:
    """Copy a database into another connection's."""
    if not isinstance(target, _dbapi.Connection):
        raise TypeError(f"target must be a Connection of aiolibsql.dbapi, not {type(target)}")
    if progress is not None and not callable(progress):
        raise TypeError("progress argument must be a callable")
    if inspect.iscoroutinefunction(progress):
        raise NotSupportedError("progress can't be async: nobody could await it")
    if not sleep >= 0:
        raise ValueError("sleep must be greater-than or equal to zero")
    parts = self._backup(target, name)
    try:
        self._finish(parts.begin())
        target._finish(parts.borrow_target())  # noqa: SLF001 - of the same class
        code = _OK
        while code in {_OK, _BUSY, _LOCKED}:
            code, remaining, total = self._finish(parts.step(pages or -1))
            if progress is not None:
                progress(code, remaining, total)
            if code in {_BUSY, _LOCKED}:
                time.sleep(sleep)
    finally:
        self._finish(parts.finish())
