"""`Client`: a database's statements, batches and transactions, under every event loop."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from aiolibsql.client import _address
from aiolibsql.client._connections import Connections, run, run_batch
from aiolibsql.client._error import translated
from aiolibsql.client._statement import bound, check_batch, check_call
from aiolibsql.client._transaction import Transaction
from aiolibsql.exceptions import Error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql.client._result import ResultSet
    from aiolibsql.client._statement import InArgs, InStatement


def create_client(url: str, *, auth_token: str | None = None, tls: bool | None = None) -> Client:
    """Return a client for a database. Nothing is opened, and nobody waited for, before it is used.

    Args:
        url: ``file:path`` for a file, ``file::memory:`` for a database that only this client has,
            or a server's URL: ``libsql:``, ``https:``, ``http:``, ``wss:``, ``ws:``. A server's may
            have ``?authToken=`` and ``?tls=0`` or ``1``, which come before the parameters. The path
            of a file is taken as it is: ``%20`` is no space.
        auth_token: Sent to the server.
        tls: Whether to use TLS. Only ``libsql:`` leaves the choice; without TLS it has to name its
            port.

    Returns:
        The client.

    Raises:
        LibsqlError: With the code ``"URL_UNDEFINED"``, ``"URL_INVALID"``,
            ``"URL_SCHEME_NOT_SUPPORTED"`` or ``"URL_PARAM_NOT_SUPPORTED"``.

    Example:
        ```python
        async with create_client("file:planets.db") as client:
            for row in await client.execute("SELECT name FROM planet WHERE mass > ?", [0.5]):
                print(row["name"])
        ```
    """
    return Client(_address.parse(url, auth_token, tls))


class Client:
    """A client; made by `create_client`, for any event loop, or several in several threads.

    `execute` and `batch` are committed by themselves. To a file they have one connection, and run
    one after the other; to a server up to eight at once. Each `transaction` has a connection of its
    own, so calls do not wait for it; where they need a lock that it holds, they wait for that as
    long as SQLite's other users do, 5 seconds, and then fail with ``"SQLITE_BUSY"``.

    ``async with`` closes it.
    """

    def __init__(self, address: _address.Address) -> None:
        self._connections = Connections(address)
        self._transactions: weakref.WeakSet[Transaction] = weakref.WeakSet()
        self._lock = threading.Lock()

    async def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        """Execute a statement, which is committed by itself.

        Args:
            stmt: SQL, a `Statement`, or a tuple of SQL and arguments.
            args: The arguments, if `stmt` has none; see `Statement`.

        Returns:
            Its rows, and what it did.

        Raises:
            LibsqlError: With SQLite's or the server's code if it fails; ``"CLIENT_CLOSED"``; and
                ``"TRANSACTIONS_NOT_SUPPORTED"`` for BEGIN and SAVEPOINT, whose transaction no other
                call would have.
            TypeError, ValueError, OverflowError: For arguments that can't be stored.

        Cancellation:
            Queued, it never runs; running, it is stopped, and a write is undone. It stands if it
            was done already.
        """
        self._connections.check_open()
        sql, parameters = bound(stmt, args)
        check_call(sql)
        try:
            async with self._connections.for_call() as conn:
                return await run(conn, sql, parameters)
        except Error as error:
            raise translated(error, self._connections.address.code) from error

    async def batch(self, stmts: Iterable[InStatement]) -> list[ResultSet]:
        """Execute several statements in a transaction: all of them, or none.

        Args:
            stmts: Statements as `execute` takes them, in order.

        Returns:
            The result of each, in order.

        Raises:
            LibsqlError: If one fails; none of them is kept. As `execute`, and
                ``"TRANSACTIONS_NOT_SUPPORTED"`` for statements that would end the transaction,
                before any is executed.
            TypeError, ValueError, OverflowError: As `execute`, before any is executed.

        Cancellation:
            None of them is kept, unless the COMMIT was done already.
        """
        self._connections.check_open()
        statements = [bound(stmt) for stmt in stmts]
        check_batch(statements)
        try:
            async with self._connections.for_call() as conn:
                return await run_batch(conn, statements)
        except Error as error:
            raise translated(error, self._connections.address.code) from error

    def transaction(self) -> Transaction:
        """Return a transaction, for ``with``. It does not wait: its first statement begins it.

        Raises:
            LibsqlError: With the code ``"CLIENT_CLOSED"``.
        """
        with self._lock:
            self._connections.check_open()
            made = Transaction(self._connections)
            self._transactions.add(made)
            return made

    async def close(self) -> None:
        """Close the client, after the calls in hand. Open transactions are rolled back.

        Calls that wait for their turn, and later ones, raise ``"CLIENT_CLOSED"``. Closing again
        does nothing.

        Cancellation:
            It is closed all the same; connections in hand are when their calls end.
        """
        with self._lock:
            if self._connections.closed:
                return
            self._connections.shut()
            transactions = list(self._transactions)
        for transaction in transactions:
            transaction.close()
        await self._connections.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._connections.closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
