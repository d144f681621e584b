"""`TransactionSync`: `Transaction` for code that blocks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aiolibsql.client._connections_sync import run
from aiolibsql.client._error import transaction_closed, translated
from aiolibsql.client._statement import bound
from aiolibsql.exceptions import Error

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from aiolibsql.client._connections_sync import ConnectionsSync
    from aiolibsql.client._result import ResultSet
    from aiolibsql.client._statement import InArgs, InStatement
    from aiolibsql.dbapi import Connection


class TransactionSync:
    """A transaction of a client that blocks; made by `ClientSync.transaction`.

    It is as `Transaction`. Threads may share it: their statements run one after the other.
    ``with`` closes it, which is a rollback if there was no `commit`.
    """

    def __init__(self, connections: ConnectionsSync) -> None:
        self._connections = connections
        self._connection: Connection | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def _check_open(self) -> None:
        if self._is_closed:
            self._connections.check_open()
            raise transaction_closed()

    def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        """Execute a statement in the transaction; see `Transaction.execute`.

        Args:
            stmt: SQL, a `Statement`, or a tuple of SQL and arguments.
            args: The arguments, if `stmt` has none; see `Statement`.

        Returns:
            Its rows, and what it did.

        Raises:
            LibsqlError: With SQLite's or the server's code if it fails; ``"TRANSACTION_CLOSED"`` if
                the transaction is over, also because SQLite has ended it; ``"CLIENT_CLOSED"``.
            TypeError, ValueError, OverflowError: For arguments that can't be stored.
        """
        self._check_open()
        sql, parameters = bound(stmt, args)
        with self._lock:
            self._check_open()
            try:
                conn = self._begun()
                return run(conn, sql, parameters)
            except Error as error:
                raise translated(error, self._connections.address.code) from error
            finally:
                if self._connection is not None and not self._connection.in_transaction:
                    self._leave()

    def _begun(self) -> Connection:
        if self._connection is None:
            conn = self._connections.for_transaction()
            self._connection = conn
            conn.execute("BEGIN")
        return self._connection

    def _leave(self) -> None:
        self._is_closed = True
        conn, self._connection = self._connection, None
        if conn is not None:
            self._connections.give_back(conn)

    def commit(self) -> None:
        """Commit, and close the transaction.

        Raises:
            LibsqlError: If it can't be committed. The transaction is open still: it may be tried
                again where a lock or a deferred constraint was in the way. ``"TRANSACTION_CLOSED"``
                if the transaction is over.
        """
        with self._lock:
            self._check_open()
            if self._connection is not None:
                try:
                    self._connection.execute("COMMIT")
                except Error as error:
                    if not self._connection.in_transaction:
                        self._leave()
                    raise translated(error, self._connections.address.code) from error
            self._leave()

    def rollback(self) -> None:
        """Undo the transaction and close it, after a statement that runs. See `close`."""
        self.close()

    def close(self) -> None:
        """Undo the transaction unless it was committed. Does nothing if it is over.

        Raises:
            LibsqlError: If a server can't be reached; it rolls back by itself.
        """
        with self._lock:
            try:
                self._leave()
            except Error as error:
                raise translated(error, self._connections.address.code) from error

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
