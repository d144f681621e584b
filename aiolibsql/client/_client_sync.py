"""`ClientSync`: `Client` for code that blocks, with no event loop behind it."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from aiolibsql.client import _address
from aiolibsql.client._connections_sync import ConnectionsSync, run, run_batch
from aiolibsql.client._error import translated
from aiolibsql.client._statement import bound, check_batch, check_call
from aiolibsql.client._transaction_sync import TransactionSync
from aiolibsql.exceptions import Error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql.client._result import ResultSet
    from aiolibsql.client._statement import InArgs, InStatement


def create_client_sync(
    url: str, *, auth_token: str | None = None, tls: bool | None = None
) -> ClientSync:
    """Open a database, and return a client for it that blocks.

    Args:
        url: See `create_client`.
        auth_token: Sent to the server.
        tls: See `create_client`.

    Returns:
        The client.

    Raises:
        LibsqlError: As `create_client`, and if the database can't be opened.

    Example:
        ```python
        with create_client_sync("file:planets.db") as client:
            for row in client.execute("SELECT name FROM planet WHERE mass > ?", [0.5]):
                print(row["name"])
        ```
    """
    return ClientSync(_address.parse(url, auth_token, tls))


class ClientSync:
    """A client for code that blocks; made by `create_client_sync`.

    It is as `Client`, and works on the thread that calls. Threads may share it. ``with`` closes it.
    """

    def __init__(self, address: _address.Address) -> None:
        try:
            self._connections = ConnectionsSync(address)
        except Error as error:
            raise translated(error, address.code) from error
        self._transactions: weakref.WeakSet[TransactionSync] = weakref.WeakSet()
        self._lock = threading.Lock()

    def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        """Execute a statement, which is committed by itself; see `Client.execute`.

        Args:
            stmt: SQL, a `Statement`, or a tuple of SQL and arguments.
            args: The arguments, if `stmt` has none; see `Statement`.

        Returns:
            Its rows, and what it did.

        Raises:
            LibsqlError, TypeError, ValueError, OverflowError: As `Client.execute`.
        """
        self._connections.check_open()
        sql, parameters = bound(stmt, args)
        check_call(sql)
        try:
            with self._connections.for_call() as conn:
                return run(conn, sql, parameters)
        except Error as error:
            raise translated(error, self._connections.address.code) from error

    def batch(self, stmts: Iterable[InStatement]) -> list[ResultSet]:
        """Execute several statements in a transaction, all of them or none; see `Client.batch`.

        Args:
            stmts: Statements as `execute` takes them, in order.

        Returns:
            The result of each, in order.

        Raises:
            LibsqlError, TypeError, ValueError, OverflowError: As `Client.batch`.
        """
        self._connections.check_open()
        statements = [bound(stmt) for stmt in stmts]
        check_batch(statements)
        try:
            with self._connections.for_call() as conn:
                return run_batch(conn, statements)
        except Error as error:
            raise translated(error, self._connections.address.code) from error

    def transaction(self) -> TransactionSync:
        """Return a transaction, for ``with``. Its first statement begins it.

        Raises:
            LibsqlError: With the code ``"CLIENT_CLOSED"``.
        """
        with self._lock:
            self._connections.check_open()
            made = TransactionSync(self._connections)
            self._transactions.add(made)
            return made

    def close(self) -> None:
        """Close the client, after the calls in hand. Open transactions are rolled back.

        Calls of other threads that wait for their turn, and later ones, raise ``"CLIENT_CLOSED"``.
        Closing again does nothing.
        """
        with self._lock:
            if self._connections.closed:
                return
            self._connections.shut()
            transactions = list(self._transactions)
        try:
            for transaction in transactions:
                transaction.close()
        finally:
            self._connections.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._connections.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()
