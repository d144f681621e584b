"""`connect`, with the parameters of the drivers whose place it takes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from aiolibsql._aiolibsql import Connection
from aiolibsql.exceptions import NotSupportedError

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Mapping

    from aiolibsql._aiolibsql import AutocommitSetting, IsolationLevel, RowFactory, TextFactory

def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    *,
    autocommit: AutocommitSetting = -1,
    detect_types: int = 0,
    check_same_thread: bool = True,
    factory: Callable[..., Connection] | None = None,
    cached_statements: int = 128,
    uri: bool = False,
    iter_chunk_size: int = 64,
    loop: object = None,
    foreign_keys: bool = False,
    row_factory: RowFactory = None,
    text_factory: TextFactory = str,
    pragmas: Mapping[str, object] | None = None,
    init_hook: Callable[[Connection], Awaitable[object]] | None = None,
    _check_same_thread: bool = True,
    _uri: bool = False,
) -> Connection:
    """Return a connection that is opened when it is awaited or entered with ``async with``.

    Args:
        database: A path, ``":memory:"``, or a ``file:`` URI; any other object stands for its ``str()``.
        timeout: Seconds to wait for another connection's lock before `TimeoutError`.
        isolation_level: ``""``, ``"DEFERRED"``, ``"IMMEDIATE"`` or ``"EXCLUSIVE"``: the BEGIN that runs before
            INSERT, UPDATE, DELETE and REPLACE; None leaves transactions to the caller (as `sqlite3`).
        autocommit: True, False (PEP 249), or `LEGACY_TRANSACTION_CONTROL` for `isolation_level` (as `sqlite3`).
        detect_types: 0; converters do not exist yet.
        check_same_thread: Accepted; a connection may be used from any thread.
        factory: A subclass of `Connection`, or a callable that returns one.
        cached_statements: Prepared statements to keep.
        uri: Take `database` for a URI. Names that begin with ``file:`` are taken so in any case.
        iter_chunk_size: Rows that ``async for`` fetches first; later batches grow.
        loop: Ignored, with a DeprecationWarning (as aiosqlite).
        foreign_keys: Enforce foreign keys.
        row_factory: None for tuples, `Row`, or a callable ``(cursor, tuple)``.
        text_factory: `str`, `bytes`, `bytearray`, or a callable ``(bytes)``.
        pragmas: Run as ``PRAGMA name=value`` when the connection is opened, in order.
        init_hook: An async callable that is awaited with the connection when it was opened.

    Returns:
        The connection, not opened yet. Awaiting it again gives the same, open connection.

    Raises:
        TypeError: For an unknown keyword.
        ValueError: For a null character in the path, or an unknown isolation level.
        NotSupportedError: For the URL of a remote database.

    Cancellation:
        Nothing happens before the await. A cancelled open is undone; it may be awaited again.
    """
    if loop is not None:
        warnings.warn(
            "connect(loop=...) has no effect: a connection belongs to no event loop",
            DeprecationWarning,
            stacklevel=2,
        )
    if detect_types:
        message = "detect_types is not supported yet"
        raise NotSupportedError(message)
    return (factory or Connection)(
        database,
        timeout,
        isolation_level,
        autocommit=autocommit,
        cached_statements=cached_statements,
        uri=uri or _uri,
        foreign_keys=foreign_keys,
        row_factory=row_factory,
        text_factory=text_factory,
        iter_chunk_size=iter_chunk_size,
        pragmas=pragmas,
        init_hook=init_hook,
    )
