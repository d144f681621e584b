"""ConnectionPool: one connection that writes, others that read, shared by any number of tasks."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Literal

from aiolibsql import _pool_rekey
from aiolibsql._connect import connect
from aiolibsql._database_name import is_in_memory, is_read_only, is_remote, shown
from aiolibsql._loan import Loan, PoolTransaction, held_of
from aiolibsql._pool_statements import PoolStatements
from aiolibsql._pool_stats import PoolStats
from aiolibsql.exceptions import (
    NotSupportedError,
    PoolClosed,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - this package's own
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Connection, Operation

_SMALLEST = 2


class ConnectionPool(PoolStatements):
    """Connections to one database for any number of tasks: one writes, the others read.

    Statements go to a connection that is free and may run them: those that only read to one of the
    readers, which on a file never wait for the writer, all others to the writer. Writes that wait
    at the same time are committed together. A file is in WAL mode, with ``synchronous=NORMAL``:
    what was acknowledged survives a crash of the process. ``pragmas={"synchronous": "FULL"}`` makes
    it survive one of the machine. Databases in memory have one connection for everything. At a
    server all have what was committed, in the order in which the server did it; writes that wait at
    the same time go there in one request, each a transaction of its own.

    `create_pool` makes one. Like a connection it belongs to no event loop, and has no task of its
    own: a connection that is needed is opened by one of the tasks that wait for it, and closed by
    its own thread.

    Args:
        database: As for `connect`.
        size: Connections there may be: one writer and ``size - 1`` readers. 2 at least.
        timeout: Seconds that a statement waits for a lock of another process, as for `connect`.
        encryption_key: The passphrase of an encrypted file, as for `connect`.
        acquire_timeout: Seconds that anybody waits for a connection.
        min_size: How many connections the await of the pool opens, the writer first, and
            ``max_idle`` leaves open; None: all of them. Others are opened when they are needed.
        max_waiting: How many may wait, for readers and for the writer each; None: any number.
        max_lifetime: Seconds after which a connection is replaced, or up to a twentieth less, so
            that not all are at once. That is looked at where it is used: a reader is closed when
            it is free, the writer when it is about to be used. None: never.
        max_idle: Seconds after which a reader is closed that nothing needed; None: never.
        init: An async callable that is awaited with each connection when it was opened, to create
            functions, attach databases and so on. It runs in the task that needs the connection.
        **options: Keywords of `connect`, for every connection; ``init_hook`` is ``init``.

    Raises:
        ValueError: For a size below 2, and sizes or times that make no sense.
        TypeError: For an unknown keyword.
        NotSupportedError: For ``offline=True``.

    Example:
        ```python
        async with aiolibsql.create_pool("planets.db") as pool:
            await pool.execute("CREATE TABLE IF NOT EXISTS planet (name TEXT, moons INT)")
            await pool.execute("INSERT INTO planet VALUES (?, ?)", ("Mars", 2))
            async with pool.transaction() as transaction:
                await transaction.execute("UPDATE planet SET moons = moons + 1")
            rows = await pool.fetch_all("SELECT * FROM planet")
        ```
    """

    def __init__(
        self,
        database: object,
        size: int = 10,
        timeout: float = 5.0,
        encryption_key: str | bytes | None = None,
        *,
        acquire_timeout: float = 30.0,  # noqa: ARG002 - `__new__` takes them
        min_size: int | None = None,
        max_waiting: int | None = None,  # noqa: ARG002
        max_lifetime: float | None = None,  # noqa: ARG002
        max_idle: float | None = None,  # noqa: ARG002
        init: Callable[[Connection[Any]], Awaitable[object]] | None = None,
        **options: Any,
    ) -> None:
        if (hook := options.pop("init_hook", None)) is not None:
            if init is not None:
                raise ProgrammingError("init and init_hook can't be combined: they are the same")
            init = hook
        self._database = database
        self._is_single = is_in_memory(database)
        self._is_remote = is_remote(database)
        if options.get("inline_budget"):
            raise NotSupportedError("inline_budget is not supported by pools: use connect()")
        is_replica = options.get("sync_url") is not None
        if options.get("offline"):
            raise NotSupportedError("offline=True is not supported by pools: use connect()")
        if not (self._is_single or self._is_remote or is_replica or is_read_only(database)):
            wanted = options.get("pragmas") or {}
            pragmas = {"journal_mode": "wal", "synchronous": "NORMAL", **wanted}
            options = {**options, "pragmas": pragmas}
        self._options: dict[str, Any] = {
            "timeout": timeout,
            "encryption_key": encryption_key,
            "init_hook": init,
            **options,
        }
        self._closed = False
        self._size, self._min_size = self._checked_sizes(size, min_size)
        self._keep_model(self._make(readonly=False))
        # It has warned of this.
        self._options.pop("loop", None)

    def __new__(
        cls,
        database: object,
        size: int = 10,  # noqa: ARG004 - `__init__` takes these
        timeout: float = 5.0,  # noqa: ARG004
        encryption_key: str | bytes | None = None,  # noqa: ARG004
        *,
        acquire_timeout: float = 30.0,
        min_size: int | None = None,  # noqa: ARG004
        max_waiting: int | None = None,
        max_lifetime: float | None = None,
        max_idle: float | None = None,
        init: Callable[[Connection[Any]], Awaitable[object]] | None = None,  # noqa: ARG004
        **options: Any,  # noqa: ARG004
    ) -> Self:
        for name, value in (("max_lifetime", max_lifetime), ("max_idle", max_idle)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0 seconds, or None")
        kind = (is_in_memory(database), is_remote(database))
        return super().__new__(cls, acquire_timeout, max_waiting, *kind, max_lifetime, max_idle)

    def _checked_sizes(self, size: int, min_size: int | None) -> tuple[int, int]:
        if size < _SMALLEST:
            raise ValueError("size must be at least 2: one connection writes, the others read")
        if min_size is not None and not 1 <= min_size <= size:
            raise ValueError("min_size must be between 1 and size")
        if self._is_single:
            return 1, 1
        return size, size if min_size is None else min_size

    def _make(self, readonly: bool) -> Connection[Any]:
        options = self._options
        if readonly and (pragmas := options.get("pragmas")):
            # The writer has set it, and a reader can't.
            pragmas = {k: v for k, v in pragmas.items() if k != "journal_mode"}
            options = {**options, "pragmas": pragmas}
        return connect(self._database, **options)

    async def _open(self) -> Self:
        if self._closed:
            raise PoolClosed("the pool is closed")
        try:
            # The writer first: it makes the file, and the log that readers need.
            self._admit()
            await self._open_next()
            self._set_readers(self._size - 1, self._min_size - 1)
            await self._fill()
        except GeneratorExit:
            self._closed = True
            self._shut()
            self._stop_all()
            raise
        except BaseException:
            self._closed = True
            self._shut()
            with contextlib.suppress(BaseException):
                await self._close_all()
            raise
        return self

    async def _fill(self) -> None:
        while await self._open_next():
            pass

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuse what waits, and close the connections when what is lent has been given back.

        It waits for that at most ``acquire_timeout`` seconds, then closes them with a
        `ResourceWarning`. Statements that run already are waited for.

        Cancellation:
            It goes on as `terminate`, and the caller waits for that: under trio every wait of a
            cancelled scope is cancelled, that at the end of ``async with`` too.
        """
        self._closed = True
        self._shut()
        try:
            await self._drained()
            left = 0
        except TimeoutError:
            left = self._borrowed()
        except GeneratorExit:
            self._stop_all()
            raise
        except BaseException:
            await self.terminate()
            raise
        await self._close_all()
        if left:
            message = f"{self!r} was closed with {left} connections lent: was release() forgotten?"
            warnings.warn(message, ResourceWarning, stacklevel=2)

    async def terminate(self) -> None:
        """Refuse what waits, stop what runs, and close the connections, lent or not.

        Connections that are being opened just now are closed by those who open them.

        Cancellation:
            The connections are closed all the same, and the caller waits for that.
        """
        self._closed = True
        self._shut()
        for connection in self._members():
            connection.interrupt()
        await self._close_all()

    async def _close_all(self) -> None:
        raised: BaseException | None = None
        # The writer last, whose part it is to remove the log. Each is closed before the next,
        # whatever is raised here meanwhile.
        for connection in self._members():
            try:
                await connection.close()
            except GeneratorExit:  # noqa: PERF203
                self._stop_all()
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised when all are closed
                raised = raised or error
        self._options["encryption_key"] = None
        self._forget_key()
        if raised is not None:
            raise raised

    def _stop_all(self) -> None:
        for connection in self._members():
            connection.stop()

    async def resize(self, size: int, *, min_size: int | None = None) -> None:
        """Change how many connections there may be.

        More are opened when they are needed, but for those that are kept: these the caller opens.
        If there are too many, readers are closed as soon as they are free: those that are lent when
        they come back. Nobody is interrupted. A database in memory keeps its one connection.

        Args:
            size: As for `create_pool`.
            min_size: As for `create_pool`.

        Raises:
            ValueError: For a size below 2, or a ``min_size`` that is not between 1 and that.
            PoolClosed: If the pool was closed.
            Error: If a connection can't be opened, as `connect`; it is tried again when it is
                needed.

        Cancellation:
            The sizes are changed all the same. Connections that were not opened by then are opened
            when they are needed.
        """
        sizes = self._checked_sizes(size, min_size)
        if self._closed:
            raise PoolClosed("the pool is closed")
        self._size, self._min_size = sizes
        self._set_readers(self._size - 1, self._min_size - 1)
        await self._fill()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def size(self) -> int:
        """How many connections there may be."""
        return self._size

    @property
    def min_size(self) -> int:
        """How many are opened before anybody needs them, and kept."""
        return self._min_size

    @property
    def reader_count(self) -> int:
        """How many readers there may be."""
        return self._size - 1

    def stats(self) -> PoolStats:
        """Return the state of the pool, and its counters. It waits for nothing."""
        return PoolStats(*self._state())

    def __repr__(self) -> str:
        stats = self.stats()
        state = "closed" if self._closed else f"{stats.in_use} in use, {stats.waiting} waiting"
        count = f"{stats.size} of {self._size} connections"
        return f"<aiolibsql.ConnectionPool '{shown(self._database)}' with {count} ({state})>"

    def _held(self) -> Connection[Any] | None:
        for connection, _ in held_of(self):
            return connection
        return None

    def acquire(
        self, readonly: bool = False, *, timeout: float | None = None
    ) -> Operation[Connection[Any]]:
        """Borrow a connection, to be given back by `release`, or for a block that gives it back.

        Who waits gets one first who came first. Nothing of the pool runs on the connection until it
        is given back. The end of a block is a `release`, which commits nothing; `write` does, and
        `transaction`.

        Args:
            readonly: Whether a reader is enough.
            timeout: Seconds to wait; None for the pool's ``acquire_timeout``.

        Returns:
            A connection, in the transaction mode that the pool was created with. After `release` it
            refuses to be used. One that is dropped without it comes back with a `ResourceWarning`.

        Raises:
            PoolTimeout: If none came free in time, or ``max_waiting`` wait already.
            PoolClosed: If the pool was closed.

        Cancellation:
            The wait ends; a connection that came at the same moment goes to the next who waits.
            That of a block is given back all the same.

        Example:
            ```python
            async with pool.acquire(readonly=True) as conn:
                planets = await conn.fetch_all("SELECT * FROM planet")
            ```
        """
        return self._acquire(readonly, timeout)

    async def release(self, connection: Connection[Any]) -> None:
        """Give a borrowed connection back. Open transactions are rolled back, cursors closed.

        The next borrower gets a connection as the pool was created with. What was assigned to this
        one, row factories and so on, was the loan's own. If it was changed otherwise, by
        PRAGMAs, ATTACH, temporary tables, functions, hooks, limits, it is replaced, which costs
        an open. The one connection of a database in memory can't be: its limits and the PRAGMAs
        that the pool was created with are set again, other things stay.

        Args:
            connection: What `acquire` returned.

        Raises:
            ProgrammingError: If it is not lent, or of no pool.

        Cancellation:
            It is given back all the same.
        """
        await self._release(connection)

    def read(self) -> Loan:
        """Borrow a connection that only reads, for a block.

        Returns:
            An async context manager; its value is the connection.

        Raises:
            PoolTimeout: From entering it, as `acquire`.
        """
        return Loan(self, True)

    def write(self) -> Loan:
        """Borrow the connection that writes, for a block.

        Leaving it normally commits a transaction that is open, leaving by exception or cancellation
        rolls it back.

        Returns:
            An async context manager; its value is the connection. Inside of another such block of
            the task it is the same one, which the outer block commits.

        Raises:
            PoolTimeout: From entering it, as `acquire`.
        """
        return Loan(self, False)

    async def rekey(self, new_key: str | bytes | None) -> None:
        """Encrypt the file with another key, encrypt a plain one, or decrypt it for good.

        It borrows all connections, waiting for what runs and for what is lent, closes the readers,
        changes the key as `Connection.rekey`, and opens the readers again, on which ``init`` runs
        once more. Statements wait meanwhile. All or nothing: if the key can't be changed, the pool
        goes on with the old one; if it was, all of the pool has the new one.

        Args:
            new_key: As `connect`'s ``encryption_key``; None for plain text.

        Raises:
            TypeError: If the key is neither str nor bytes.
            ValueError: If it is empty or longer than 32 bytes.
            ProgrammingError: If the database is in memory, inside of a block of the pool, or while
                another such call runs.
            NotSupportedError: If the database is at a server.
            PoolTimeout: If a connection was not given back within ``acquire_timeout``.
            TimeoutError: If another connection has the file open.
            OperationalError: If SQLite can't do it; the old key stays. If the error says that the
                key was changed, readers could not be opened again; the others serve.

        Cancellation:
            Before the readers are closed nothing has happened; then it goes on to its end, which
            the caller waits for.
        """
        if self._is_remote:
            raise NotSupportedError("rekey() is not supported by remote databases")
        await _pool_rekey.rekey(self, new_key)

    def transaction(
        self, mode: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "READ"] = "IMMEDIATE"
    ) -> PoolTransaction:
        """Borrow a connection for a transaction block, as `Connection.transaction`.

        Args:
            mode: ``"DEFERRED"``, ``"IMMEDIATE"`` or ``"EXCLUSIVE"`` on the writer, or ``"READ"``
                for a snapshot on a reader.

        Returns:
            An async context manager; its value is the `Transaction`.

        Raises:
            PoolTimeout: From entering it, as `acquire`.
        """
        return PoolTransaction(self, mode)


def create_pool(
    database: object,
    size: int = 10,
    timeout: float = 5.0,
    encryption_key: str | bytes | None = None,
    **options: Any,
) -> ConnectionPool:
    """Return a `ConnectionPool`, which is opened when it is awaited or entered with ``async with``.

    Args:
        database: As for `connect`.
        size: Connections there may be: one that writes, the others read.
        timeout: Seconds that a statement waits for a lock of another process.
        encryption_key: The passphrase of an encrypted file.
        **options: Those of `ConnectionPool` and of `connect`.

    Raises:
        ValueError: For a size below 2.
        TypeError: For an unknown keyword.
        NotSupportedError: For ``offline=True`` and an ``inline_budget``.

        Error: From the await, as `connect`; the pool is closed then.

    Cancellation:
        Nothing happens before the await. A pool whose open was cancelled is closed.
    """
    return ConnectionPool(database, size, timeout, encryption_key, **options)
