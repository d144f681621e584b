"""ConnectionPool: one connection that writes, others that read, shared by any number of tasks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aiolibsql import _pool_rekey
from aiolibsql._connect import connect
from aiolibsql._database_name import is_in_memory, is_read_only
from aiolibsql._loan import Loan, PoolTransaction, held_of
from aiolibsql._pool_statements import PoolStatements
from aiolibsql.exceptions import (
    PoolClosed,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - this package's own
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Connection

_SMALLEST = 2


class PoolStats(NamedTuple):
    """The state of a pool at one moment.

    Attributes:
        size: Connections that are open.
        readers: How many of them only read.
        in_use: How many are lent by `acquire`, `read`, `write` or `transaction`.
        waiting: Callers that wait for a connection.
    """

    size: int
    readers: int
    in_use: int
    waiting: int


class ConnectionPool(PoolStatements):
    """Connections to one database for any number of tasks: one writes, the others read.

    Statements go to a connection that is free and may run them: those that only read to one of the
    readers, which on a file never wait for the writer, all others to the writer. Writes that wait
    at the same time are committed together. A file is in WAL mode, with ``synchronous=NORMAL``:
    what was acknowledged survives a crash of the process. ``pragmas={"synchronous": "FULL"}`` makes
    it survive one of the machine. Databases in memory have one connection for everything.

    `create_pool` makes one. Like a connection it belongs to no event loop.

    Args:
        database: As for `connect`.
        size: Connections: one writer and ``size - 1`` readers. 2 at least.
        timeout: Seconds that a statement waits for a lock of another process, as for `connect`.
        encryption_key: The passphrase of an encrypted file, as for `connect`.
        acquire_timeout: Seconds that anybody waits for a connection.
        max_waiting: How many may wait, for readers and for the writer each; None: any number.
        init: An async callable that is awaited with each connection when it was opened, to create
            functions, attach databases and so on.
        **options: Keywords of `connect`, for every connection; ``init_hook`` is ``init``.

    Raises:
        ValueError: For a size below 2.
        TypeError: For an unknown keyword.

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
        max_waiting: int | None = None,  # noqa: ARG002
        init: Callable[[Connection[Any]], Awaitable[object]] | None = None,
        **options: Any,
    ) -> None:
        if (hook := options.pop("init_hook", None)) is not None:
            if init is not None:
                raise ProgrammingError("init and init_hook can't be combined: they are the same")
            init = hook
        self._database = database
        self._is_single = is_in_memory(database)
        pragmas = dict(options.pop("pragmas", None) or {})
        if not (self._is_single or is_read_only(database)):
            pragmas = {"journal_mode": "wal", "synchronous": "NORMAL", **pragmas}
        self._connections: list[Connection[Any]] = []
        self._closed = False
        count = 1 if self._is_single else size
        for place in range(count):
            if place:
                pragmas.pop("journal_mode", None)
            connection: Connection[Any] = connect(
                database,
                timeout,
                encryption_key=encryption_key,
                pragmas=pragmas,
                init_hook=init,
                **options,
            )
            self._join(connection, place > 0)
            self._connections.append(connection)

    def __new__(
        cls,
        database: object,
        size: int = 10,
        timeout: float = 5.0,  # noqa: ARG004 - `__init__` takes these
        encryption_key: str | bytes | None = None,  # noqa: ARG004
        *,
        acquire_timeout: float = 30.0,
        max_waiting: int | None = None,
        init: Callable[[Connection[Any]], Awaitable[object]] | None = None,  # noqa: ARG004
        **options: Any,  # noqa: ARG004
    ) -> Self:
        if size < _SMALLEST:
            raise ValueError("size must be at least 2: one connection writes, the others read")
        return super().__new__(cls, acquire_timeout, max_waiting, is_in_memory(database))

    async def _open(self) -> Self:
        if self._closed:
            raise PoolClosed("the pool is closed")
        try:
            # The writer first: it makes the file, and the log that readers need.
            for place, connection in enumerate(self._connections):
                await connection
                self._serve(place)
        except BaseException:
            self._closed = True
            self._shut()
            for connection in reversed(self._connections):
                connection.stop()
            raise
        return self

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
            What waits is refused all the same. Connections that were not closed by then stay open;
            it may be called again.
        """
        self._closed = True
        self._shut()
        try:
            await self._drained()
            left = 0
        except TimeoutError:
            left = self._borrowed()
        await self._close_all()
        if left:
            message = f"{self!r} was closed with {left} connections lent: was release() forgotten?"
            warnings.warn(message, ResourceWarning, stacklevel=2)

    async def terminate(self) -> None:
        """Refuse what waits, stop what runs, and close the connections, lent or not.

        Cancellation:
            As `close`.
        """
        self._closed = True
        self._shut()
        for connection in self._connections:
            connection.interrupt()
        await self._close_all()

    async def _close_all(self) -> None:
        # The writer last, whose part it is to remove the log.
        for connection in reversed(self._connections):
            await connection.close()
        self._forget_key()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def size(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def reader_count(self) -> int:
        """How many of them only read."""
        return len(self._connections) - 1

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        return PoolStats(self.size, self.reader_count, self._borrowed(), sum(self._waiting()))

    def __repr__(self) -> str:
        stats = self.stats()
        state = "closed" if self._closed else f"{stats.in_use} in use, {stats.waiting} waiting"
        return f"<aiolibsql.ConnectionPool '{self._database}' of {stats.size} ({state})>"

    def _held(self) -> Connection[Any] | None:
        for connection, _ in held_of(self):
            return connection
        return None

    async def acquire(
        self, readonly: bool = False, *, timeout: float | None = None
    ) -> Connection[Any]:
        """Borrow a connection; better by `read`, `write` or `transaction`, which give it back.

        Who waits gets one first who came first. Nothing of the pool runs on the connection until it
        is given back.

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
        """
        return await self._acquire(readonly, timeout)

    async def release(self, connection: Connection[Any]) -> None:
        """Give a borrowed connection back. Open transactions are rolled back, cursors closed.

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
            PoolTimeout: If a connection was not given back within ``acquire_timeout``.
            TimeoutError: If another connection has the file open.
            OperationalError: If SQLite can't do it; the old key stays. If the error says that the
                key was changed, readers could not be opened again; the others serve.

        Cancellation:
            Before the readers are closed nothing has happened; then it goes on to its end, which
            the caller waits for.
        """
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
        size: Connections: one that writes, the others read.
        timeout: Seconds that a statement waits for a lock of another process.
        encryption_key: The passphrase of an encrypted file.
        **options: Those of `ConnectionPool` and of `connect`.

    Raises:
        ValueError: For a size below 2.
        TypeError: For an unknown keyword.

        Error: From the await, as `connect`; the pool is closed then.

    Cancellation:
        Nothing happens before the await. A pool whose open was cancelled is closed.
    """
    return ConnectionPool(database, size, timeout, encryption_key, **options)
