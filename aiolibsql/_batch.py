"""The operations that `batch` takes, read before any of them runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiolibsql._types import BatchOperation, Parameters


def _read_one(operation: object, position: int) -> tuple[str, Parameters | None]:
    if isinstance(operation, str):
        return operation, None
    parts = tuple(operation) if isinstance(operation, Iterable) else ()
    if not 1 <= len(parts) <= 2 or not isinstance(parts[0], str):  # noqa: PLR2004 - SQL, parameters
        message = f"operation {position} of a batch must be SQL, or a tuple of SQL and parameters"
        raise TypeError(message)
    return parts[0], parts[1] if len(parts) > 1 else None


def read(operations: Iterable[BatchOperation]) -> list[tuple[str, Parameters | None]]:
    """Read all of them, for an iterable of the caller's must not run in between."""
    return [_read_one(operation, index) for index, operation in enumerate(operations, 1)]
