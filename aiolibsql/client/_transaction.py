"""`Transaction`: statements of a client that are committed together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from aiolibsql.client._connections import run
from aiolibsql.client._error import transaction_closed, translated
from aiolibsql.client._statement import bound
from aiolibsql.client._turns import Turns
from aiolibsql.exceptions import Error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql._aiolibsql import Connection
    from aiolibsql.client._connections import Connections
    from aiolibsql.client._result import ResultSet
    from aiolibsql.client._statement import InArgs, InStatement


class Transaction:
    """A transaction of a client; made by `Client.transaction`.

    It has a connection for itself, and begins with its first statement, as SQLite's ``BEGIN`` does:
    without a lock until a statement needs one. An error of a statement does not end it, but for
    those at which SQLite itself rolls back (``OR ROLLBACK``, a full disk, an interrupted write):
    after these it is closed, so that nothing that belongs to it is committed by itself. Its
    statements run one after the other, from whatever tasks they come.

    ``with`` closes it, which is a rollback if there was no `commit`. Leaving needs no ``await``.

    Example:
        ```python
        with client.transaction() as transaction:
            await transaction.execute("INSERT INTO planet VALUES (?)", ["Ceres"])
            await transaction.commit()
        ```
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: Connection[Any] | None = None
        self._has_begun = False
        self._is_closed = False
        self._turns = Turns(1)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Have the connection alone; afterwards give it up, if the transaction is over."""
        await self._turns.take()
        try:
            yield
        finally:
            self._turns.give()
            if self._is_closed:
                self._leave()
                if self._connections.closed:
                    await self._connections.tidy()

    def _leave(self) -> None:
        # Whoever has the turn leaves when that is over.
        if self._turns.try_take():
            conn, self._connection = self._connection, None
            if conn is not None:
                self._connections.give_back(conn)
            self._turns.give()

    def _check_open(self) -> None:
        if self._is_closed:
            self._connections.check_open()
            raise transaction_closed()

    async def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        """Execute a statement in the transaction.

        Args:
            stmt: SQL, a `Statement`, or a tuple of SQL and arguments.
            args: The arguments, if `stmt` has none; see `Statement`.

        Returns:
            Its rows, and what it did.

        Raises:
            LibsqlError: With SQLite's or the server's code if it fails; ``"TRANSACTION_CLOSED"`` if
                the transaction is over, also because SQLite has ended it; ``"CLIENT_CLOSED"``.
            TypeError, ValueError, OverflowError: For arguments that can't be stored.

        Cancellation:
            Queued, it never runs; a read is stopped. A write that was running is undone with the
            whole transaction.
        """
        self._check_open()
        sql, parameters = bound(stmt, args)
        async with self._turn():
            self._check_open()
            try:
                conn = await self._begun()
            except Error as error:
                raise translated(error, self._connections.address.code) from error
            # While it began it may have been closed.
            self._check_open()
            try:
                return await run(conn, sql, parameters)
            except Error as error:
                raise self._translated(conn, error) from error
            finally:
                self._is_closed = self._is_closed or not conn.in_transaction

    async def _begun(self) -> Connection[Any]:
        if self._connection is None:
            self._connection = await self._connections.for_transaction()
        if not self._has_begun:
            await self._connection.begin("DEFERRED")
            self._has_begun = True
        return self._connection

    def _translated(self, conn: Connection[Any], error: Error) -> Exception:
        code = self._connections.address.code
        return translated(error, code if conn.in_transaction else "TRANSACTION_CLOSED")

    async def commit(self) -> None:
        """Commit, and close the transaction.

        Raises:
            LibsqlError: If it can't be committed. The transaction is open still: it may be tried
                again where a lock or a deferred constraint was in the way. ``"TRANSACTION_CLOSED"``
                if the transaction is over.

        Cancellation:
            Queued, or waiting for a lock, it does not commit, and the transaction is open still.
            Once it holds its locks it runs to its end while the cancelled caller waits.
        """
        self._check_open()
        async with self._turn():
            self._check_open()
            conn = self._connection
            if conn is not None and self._has_begun:
                try:
                    await conn.commit()
                except Error as error:
                    self._is_closed = self._is_closed or not conn.in_transaction
                    raise self._translated(conn, error) from error
            self._is_closed = True
        await self._connections.tidy()

    async def rollback(self) -> None:
        """Undo the transaction and close it. Does nothing if it is over.

        Raises:
            LibsqlError: If a server can't be reached; it rolls back by itself.

        Cancellation:
            It is done all the same; the cancelled caller waits for it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        async with self._turn():
            conn = self._connection
            if conn is not None:
                try:
                    await conn.rollback()
                except Error as error:
                    raise translated(error, self._connections.address.code) from error
        await self._connections.tidy()

    def close(self) -> None:
        """Undo the transaction unless it was committed. Does not wait, and may be repeated.

        The rollback is queued behind a statement that runs.
        """
        self._is_closed = True
        self._leave()

    @property
    def closed(self) -> bool:
        """Whether the transaction is over."""
        return self._is_closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()
