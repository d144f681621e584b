"""ConnectionPool: one connection that writes, others that read, shared by any number of tasks."""

from __future__ import annotations

import contextvars
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from aiolibsql._aiolibsql import Connection, _Pool
from aiolibsql.exceptions import (
    Error,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - this package's own
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Cursor, Transaction

_Held = tuple[tuple["ConnectionPool", Connection[Any], bool], ...]
# What the running task has borrowed: pool, connection, and whether it is a reader.
_held: contextvars.ContextVar[_Held] = contextvars.ContextVar("aiolibsql.held", default=())


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


def _is_in_memory(database: object, uri: bool) -> bool:
    name = database.decode() if isinstance(database, bytes) else str(database)
    if name.startswith("file:") or uri:
        return ":memory:" in name or "mode=memory" in name
    return name in {":memory:", ""}


class ConnectionPool(_Pool):
    """Connections to one database: one that writes, the others read."""

    def __init__(
        self,
        database: Any,
        size: int = 10,
        *,
        acquire_timeout: float = 30.0,
        max_waiting: int | None = None,
        init: Callable[[Connection[Any]], Awaitable[object]] | None = None,
        **options: Any,
    ) -> None:
        self._database = database
        self._is_single = _is_in_memory(database, options.get("uri", False))
        pragmas = dict(options.pop("pragmas", None) or {})
        if not self._is_single:
            pragmas = {"journal_mode": "wal", "synchronous": "NORMAL", **pragmas}
        self._connections: list[Connection[Any]] = []
        self._closed = False
        count = 1 if self._is_single else size
        for place in range(count):
            if place:
                pragmas.pop("journal_mode", None)
            connection: Connection[Any] = Connection(
                database, **options, pragmas=pragmas, init_hook=init
            )
            self._join(connection, place > 0)
            self._connections.append(connection)

    def __new__(
        cls,
        database: Any,
        size: int = 10,
        *,
        acquire_timeout: float = 30.0,
        max_waiting: int | None = None,
        **options: Any,
    ) -> Self:
        if size < 2:
            raise ValueError("size must be at least 2: one connection writes, the others read")
        return super().__new__(
            cls, acquire_timeout, max_waiting, _is_in_memory(database, options.get("uri", False))
        )

    async def _open(self) -> Self:
        if self._closed:
            self._shut()
        # The writer first: it makes the file, and the log that readers need.
        for place, connection in enumerate(self._connections):
            await connection
            self._serve(place)
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
        """Refuse what waits, and close the connections when they have been given back."""
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
        """Refuse what waits, and close the connections, lent or not."""
        self._closed = True
        self._shut()
        for connection in self._connections:
            connection.interrupt()
        await self._close_all()

    async def _close_all(self) -> None:
        # The writer last, whose part it is to remove the log.
        for connection in reversed(self._connections):
            await connection.close()

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
        for pool, connection, _ in reversed(_held.get()):
            if pool is self:
                return connection
        return None

    async def acquire(
        self, readonly: bool = False, *, timeout: float | None = None
    ) -> Connection[Any]:
        """Borrow a connection; the writer, unless it is for reading only."""
        return await self._acquire(readonly, timeout)

    async def release(self, connection: Connection[Any]) -> None:
        """Give a borrowed connection back; an open transaction is rolled back."""
        await self._release(connection)

    def read(self) -> _Loan:
        """Borrow a connection that reads, for a block."""
        return _Loan(self, True)

    def write(self) -> _Loan:
        """Borrow the connection that writes, for a block that commits at its end."""
        return _Loan(self, False)

    def transaction(self, mode: str = "IMMEDIATE") -> _PoolTransaction:
        """Borrow a connection for a transaction block."""
        return _PoolTransaction(self, mode)

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor[Any]:
        """Execute a statement for each row of parameters, all of them or none."""
        async with self.write() as connection:
            return await connection.executemany(sql, parameters)

    async def executebatch(self, operations: Iterable[Any]) -> Any:
        """Execute several statements, all of them or none."""
        async with self.write() as connection:
            return await connection.batch(operations)

    batch = executebatch


class _Loan:
    """A connection that is borrowed for a block."""

    def __init__(self, pool: ConnectionPool, readonly: bool) -> None:
        self._pool = pool
        self._readonly = readonly
        self._connection: Connection[Any] | None = None
        self._is_own = False

    async def __aenter__(self) -> Connection[Any]:
        if self._connection is not None:
            raise ProgrammingError("a block of read() or write() can be entered once")
        for pool, connection, readonly in reversed(_held.get()):
            if pool is self._pool and (self._readonly or not readonly):
                self._connection = connection
                return connection
        self._connection = await self._pool.acquire(self._readonly)
        self._is_own = True
        _held.set((*_held.get(), (self._pool, self._connection, self._readonly)))
        return self._connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        connection = self._connection
        if not self._is_own or connection is None:
            return
        _held.set(tuple(held for held in _held.get() if held[1] is not connection))
        try:
            if exc_type is None and not connection.closed and connection.in_transaction:
                await connection.commit()
        finally:
            await self._pool.release(connection)


class _PoolTransaction:
    """A transaction block on a borrowed connection."""

    def __init__(self, pool: ConnectionPool, mode: str) -> None:
        self._loan = _Loan(pool, mode == "READ")
        self._mode = mode
        self._block: Transaction[Any] | None = None

    async def __aenter__(self) -> Transaction[Any]:
        connection = await self._loan.__aenter__()
        try:
            self._block = connection.transaction(self._mode)
            return await self._block.__aenter__()
        except BaseException as error:
            await self._loan.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        if self._block is None:
            return None
        try:
            return await self._block.__aexit__(exc_type, exc, tb)
        finally:
            await self._loan.__aexit__(Error, None, None)


def create_pool(database: Any, size: int = 10, **options: Any) -> ConnectionPool:
    """Return a pool that is opened when it is awaited or entered with ``async with``."""
    return ConnectionPool(database, size, **options)
