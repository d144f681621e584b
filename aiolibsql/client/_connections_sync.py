"""The connections of a client that blocks: `Connections`, for threads."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from aiolibsql.client._error import client_closed
from aiolibsql.client._result import ResultSet, result_set

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiolibsql.client._address import Address
    from aiolibsql.client._statement import Bound, Parameters
    from aiolibsql.dbapi import Connection, Cursor


def run(conn: Connection, sql: str, parameters: Parameters) -> ResultSet:
    """Execute a statement and read all of its rows."""
    return _result(conn.execute(sql, parameters))


def run_batch(conn: Connection, statements: list[Bound]) -> list[ResultSet]:
    """Execute statements in a transaction of their own, in one command, and read all rows."""
    cursors = conn._batch(statements)  # noqa: SLF001 - sqlite3 has no such method
    return [_result(cursor) for cursor in cursors]


def _result(cursor: Cursor) -> ResultSet:
    try:
        rows = cursor.fetchall()
        return result_set(cursor.description, rows, cursor.rowcount, cursor.lastrowid)
    finally:
        cursor.close()


class ConnectionsSync:
    """The connections of a client that blocks. The first one is opened at once."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._turns = threading.Semaphore(address.calls)
        self._lock = threading.Lock()
        self._is_closed = False
        self._idle = [address.open_blocking()]

    @property
    def closed(self) -> bool:
        """Whether they are closed, or about to be."""
        return self._is_closed

    def check_open(self) -> None:
        """Raise `LibsqlError` if they are closed."""
        if self._is_closed:
            raise client_closed()

    @contextlib.contextmanager
    def for_call(self) -> Generator[Connection]:
        """Lend a connection to a call, alone."""
        with self._turns:
            conn = self._one()
            try:
                yield conn
            finally:
                if conn.in_transaction:
                    conn.rollback()
                self._keep(conn)

    def for_transaction(self) -> Connection:
        """Return a connection that has to be given back by `give_back`."""
        self.check_open()
        return self._one() if self.address.is_kept else self.address.open_blocking()

    def _one(self) -> Connection:
        self.check_open()
        with self._lock:
            conn = self._idle.pop() if self._idle else None
        return conn or self.address.open_blocking()

    def give_back(self, conn: Connection) -> None:
        """Take a transaction's connection back, and roll back what is open."""
        try:
            conn.rollback()
        finally:
            if self.address.is_kept:
                self._keep(conn)
            else:
                conn.close()

    def _keep(self, conn: Connection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(conn)
                return
        conn.close()

    def shut(self) -> None:
        """Lend none from now on."""
        with self._lock:
            self._is_closed = True

    def close(self) -> None:
        """Close them, which were shut, after the calls in hand."""
        with contextlib.ExitStack() as turns:
            for _ in range(self.address.calls):
                turns.enter_context(self._turns)
            while self._idle:
                self._idle.pop().close()
