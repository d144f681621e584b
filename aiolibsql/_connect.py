"""`connect` and `connect_memory`, with the parameters of the drivers whose place they take."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, overload

from aiolibsql._aiolibsql import Connection, _MemoryName

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable

    from typing_extensions import TypeVar, Unpack

    from aiolibsql._aiolibsql import Cursor, Row
    from aiolibsql._types import (
        AuthToken,
        AutocommitSetting,
        ConnectOptions,
        InitHook,
        IsolationLevel,
        RowFactory,
        TextFactory,
    )

    _RowT = TypeVar("_RowT", default=tuple[Any, ...])
    _ConnectionT = TypeVar("_ConnectionT", bound=Connection[Any])


@overload
def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    *,
    row_factory: Callable[[Cursor[Any], tuple[Any, ...]], _RowT] | None = None,
    factory: None = None,
    **options: Unpack[ConnectOptions],
) -> Connection[_RowT]: ...


@overload
def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    *,
    row_factory: type[sqlite3.Row],
    factory: None = None,
    **options: Unpack[ConnectOptions],
) -> Connection[Row]: ...


@overload
def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    *,
    row_factory: RowFactory[Any] = None,
    factory: Callable[..., _ConnectionT],
    **options: Unpack[ConnectOptions],
) -> _ConnectionT: ...


def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    *,
    autocommit: AutocommitSetting = -1,
    detect_types: int = 0,
    check_same_thread: bool = True,  # noqa: ARG001 - a thread is nothing to a connection
    factory: Callable[..., Connection[Any]] | None = None,
    cached_statements: int = 128,
    uri: bool = False,
    encryption_key: str | bytes | None = None,
    iter_chunk_size: int = 64,
    loop: object = None,
    foreign_keys: bool = False,
    row_factory: RowFactory[Any] = None,
    text_factory: TextFactory = str,
    pragmas: dict[str, Any] | None = None,
    init_hook: InitHook | None = None,
    trusted_schema: bool | None = None,
    defensive: bool | None = None,
    auth_token: AuthToken | None = None,
    tls: bool | None = None,
    namespace: str | None = None,
    request_timeout: float | None = None,
    connect_timeout: float | None = None,
    sync_url: str | None = None,
    sync_interval: float | None = None,
    read_your_writes: bool | None = None,
    offline: bool = False,
    inline_budget: int = 0,
    _check_same_thread: bool = True,
    _uri: bool = False,
) -> Connection[Any]:
    """Return a connection that is opened when it is awaited or entered with ``async with``.

    Local databases keep the defaults of stock SQLite; databases at a server have the server's. The
    parameters are those of `sqlite3` and aiosqlite, with a few more.

    Args:
        database: A path, ``":memory:"``, a ``file:`` URI, or the URL of a database at a libSQL
            server: ``libsql:``, ``https:`` and ``http:`` for HTTP, ``wss:`` and ``ws:`` for a
            WebSocket, with ``?authToken=`` and ``?tls=``. Any object but a path stands for its
            ``str()``.
        timeout: Seconds to wait for another connection's lock before `TimeoutError`. At a server
            the server says how long; here it bounds the wait for a transaction block.
        isolation_level: ``""``, ``"DEFERRED"``, ``"IMMEDIATE"`` or ``"EXCLUSIVE"``: the BEGIN that
            runs before INSERT, UPDATE, DELETE and REPLACE; None leaves transactions to the caller
            (as `sqlite3`).
        autocommit: True, False (PEP 249), or `LEGACY_TRANSACTION_CONTROL` for `isolation_level` (as
            `sqlite3`).
        detect_types: Where the name of a value's converter is looked for (as `sqlite3`):
            `PARSE_DECLTYPES` for the first word of the column's declared type, `PARSE_COLNAMES` for
            brackets in its name, as in ``AS "born [date]"``, which are then no part of the name;
            both added together, or 0. See `register_converter`.
        check_same_thread: Accepted; a connection may be used from any thread.
        factory: A subclass of `Connection`, or a callable that returns one.
        cached_statements: Prepared statements to keep.
        uri: Take `database` for a URI. Names that begin with ``file:`` are taken so in any case.
        encryption_key: The passphrase of an encrypted file, str standing for its UTF-8. At most 32
            bytes: the cipher takes no notice of more, so a file that libSQL encrypted with a longer
            one opens with its first 32. A new file gets this key. The connection overwrites its
            copy when it is closed; the object given is the caller's.
        iter_chunk_size: Rows that ``async for`` fetches first; later batches grow.
        loop: Ignored, with a DeprecationWarning (as aiosqlite).
        foreign_keys: Enforce foreign keys.
        row_factory: None for tuples, `Row`, or a callable of the cursor and the tuple.
        text_factory: `str`, `bytes`, `bytearray`, or a callable of bytes.
        pragmas: Run as ``PRAGMA name=value`` when the connection is opened, in order.
        init_hook: An async callable that is awaited with the connection when it was opened. If it
            raises, the open is undone.
        trusted_schema: Whether the schema of a database may use functions and virtual tables that
            are not known to be harmless; None for SQLite's default, which is True. Say False for
            files that you did not make yourself.
        defensive: Whether SQL is refused that could damage the file on purpose, such as writes to
            shadow tables and to the schema; None for SQLite's default, which is False.
        auth_token: What the server knows us by, or a callable that returns it, which may be
            ``async def`` and is asked again when the server refuses a token. Like all callbacks
            it runs in the context of whoever awaits the operation that needs it. Nobody awaits
            the syncs of a `sync_interval`: they call a plain callable without a context, and go on
            with the last token of one that is ``async def``.
        tls: Whether the connection is encrypted, where the URL leaves that open: ``libsql:`` URLs
            are unless this is False.
        namespace: The database at a server that has several, for which the server's host name
            has no part.
        request_timeout: Seconds from a request to the end of its answer before `TimeoutError`, for
            streamed rows between two portions; 60 unless given.
        connect_timeout: Seconds until the first request can be sent: name, TCP, TLS, token; 10
            unless given.
        sync_url: The URL of a database at a libSQL server that the file at `database` follows: a
            replica. Reads are the file's, also when the server is gone; writes and transactions are
            the server's. A file that was never synced is synced when it is opened. Without
            `sync_url` such a file can only be read.
        sync_interval: Seconds between syncs of a replica that nobody asks for, the first one when
            it was opened; None for none. What keeps them from it is logged.
        read_your_writes: Whether a read of a replica that follows a write of this connection syncs
            first; None for True, which it always is with ``offline=True``.
        offline: Whether a replica is written offline: all of it is the file's, writes and
            transactions too, and syncs exchange changes with the server. Only Turso's cloud serves
            that.
        inline_budget: Steps of SQLite's virtual machine that a read may take on the thread that
            awaits it, which saves the way to the connection's worker; 0 for none. 4000 take about
            a tenth of a millisecond. Only reads that were quick the last time are run so, outside
            of transactions, on a connection that does nothing else; what would have to wait for
            the disk or a lock is left to the worker. It needs Linux and a file system that can
            tell, and has no effect elsewhere. Of local databases, not of replicas.
        _check_same_thread: The same as `check_same_thread`.
        _uri: The same as `uri`.

    Returns:
        The connection, not opened yet. Awaiting it again gives the same, open connection.

    Raises:
        TypeError: For an argument of a wrong type, or an unknown keyword.
        ValueError: For a null character in the path, an unknown isolation level or setting of
            autocommit, a NaN, a pragma whose name is not one, an encryption key that is empty
            or longer than 32 bytes, or an `inline_budget` below 0.
        ProgrammingError: For an encryption key with a database in memory, a URL that makes no
            sense, and for parameters of local databases with a URL or the other way round.
        OperationalError: From the await, if the file can't be opened, or is gone and was a replica,
            of which a note is left.
        NotSupportedError: With ``offline=True`` for an encryption key, and an ``async def`` as
            `auth_token`.
        ConnectError, AuthError, TimeoutError: From the await, if the server can't be reached, lets
            us not in, or is silent; of a replica only if the file was never synced.
        SyncError: From the await, if a file that was never synced can't be.
        DatabaseError: From the await, if the file is not a database, or its encryption key is
            wrong or missing, also while another connection has it locked.

    Cancellation:
        Nothing happens before the await. A cancelled open is undone; it may be awaited again.

    Example:
        ```python
        async with aiolibsql.connect("planets.db", row_factory=aiolibsql.Row) as conn:
            planets = await conn.fetch_all("SELECT * FROM planet")
        ```
    """
    if loop is not None:
        warnings.warn(
            "connect(loop=...) has no effect: a connection belongs to no event loop",
            DeprecationWarning,
            stacklevel=2,
        )
    return (factory or Connection)(
        database,
        timeout,
        isolation_level,
        autocommit=autocommit,
        cached_statements=cached_statements,
        uri=uri or _uri,
        encryption_key=encryption_key,
        foreign_keys=foreign_keys,
        row_factory=row_factory,
        text_factory=text_factory,
        iter_chunk_size=iter_chunk_size,
        pragmas=pragmas,
        init_hook=init_hook,
        detect_types=detect_types,
        trusted_schema=trusted_schema,
        defensive=defensive,
        auth_token=auth_token,
        tls=tls,
        namespace=namespace,
        request_timeout=request_timeout,
        connect_timeout=connect_timeout,
        sync_url=sync_url,
        sync_interval=sync_interval,
        read_your_writes=read_your_writes,
        offline=offline,
        inline_budget=inline_budget,
    )


@overload
def connect_memory(
    name: str | None = None,
    *,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    row_factory: Callable[[Cursor[Any], tuple[Any, ...]], _RowT] | None = None,
    factory: None = None,
    **options: Unpack[ConnectOptions],
) -> Connection[_RowT]: ...


@overload
def connect_memory(
    name: str | None = None,
    *,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    row_factory: type[sqlite3.Row],
    factory: None = None,
    **options: Unpack[ConnectOptions],
) -> Connection[Row]: ...


@overload
def connect_memory(
    name: str | None = None,
    *,
    timeout: float = 5.0,
    isolation_level: IsolationLevel = "",
    row_factory: RowFactory[Any] = None,
    factory: Callable[..., _ConnectionT],
    **options: Unpack[ConnectOptions],
) -> _ConnectionT: ...


def connect_memory(name: str | None = None, **options: Any) -> Connection[Any]:
    """Return a connection to a database in memory, its own or one that has a name.

    All connections of the process that give the same name have one database, which is made when
    the first of them is opened and gone when the last one is closed. They share one handle of
    SQLite, so their operations run one at a time, and what belongs to a handle is of all of them:
    temporary tables, attached databases, PRAGMAs, functions and hooks, counters such as
    ``total_changes``. Their own are transaction blocks, cursors, blobs, ``isolation_level`` and
    ``autocommit``, ``timeout``, row and text factories, adapters and converters, and being closed.

    Use ``transaction()`` blocks where several of them write: a transaction that was begun
    otherwise, by the first INSERT or ``begin()``, is one that the others' statements get into, as
    those of several tasks of one connection do. The connection that began it ends it also by being
    closed. With ``autocommit=False`` a transaction is open at all times, so the other connections
    can't enter blocks: use it where there is one connection.

    Args:
        name: Any text; None for a database that no other connection has.
        options: The keywords of `connect`. Of a named database, ``cached_statements`` is that of
            the connection that named it first; ``pragmas`` and the like are run for each one.

    Returns:
        The connection, not opened yet.

    Raises:
        TypeError, ValueError, ProgrammingError: As `connect`.
        OperationalError: From the await, if there are ``foreign_keys`` or ``pragmas`` to set while
            another connection has a transaction open.

    Cancellation:
        Nothing happens before the await. A cancelled open is undone; it may be awaited again.

    Example:
        ```python
        async with aiolibsql.connect_memory("cache") as one:
            await one.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, value)")
            async with aiolibsql.connect_memory("cache") as other:
                await other.execute("INSERT INTO entry VALUES ('a', 1)")
        ```
    """
    database = ":memory:" if name is None else _MemoryName(name)
    return connect(database, **options)
