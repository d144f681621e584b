"""The connections of a client: for its calls, and for its transactions.

Owns which are idle, and which are to be closed. Calls take turns for theirs; a transaction has its
own from its first statement to its end. May be used from several event loops and threads at once,
and from finalizers: without a lock, as the turns.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from aiolibsql.client._error import client_closed
from aiolibsql.client._result import ResultSet, result_set
from aiolibsql.client._turns import Turns
from aiolibsql.exceptions import Error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiolibsql._aiolibsql import Connection, Cursor
    from aiolibsql.client._address import Address
    from aiolibsql.client._statement import Bound, Parameters


async def run(conn: Connection[Any], sql: str, parameters: Parameters) -> ResultSet:
    """Execute a statement and read all of its rows."""
    async with conn.execute(sql, parameters) as cursor:
        return await _result(cursor)


async def run_batch(conn: Connection[Any], statements: list[Bound]) -> list[ResultSet]:
    """Execute statements in a transaction of their own, in one command, and read all rows."""
    cursors = await conn._batch(statements)  # noqa: SLF001 - `batch` gives the last one only
    return [await _result(cursor) for cursor in cursors]


async def _result(cursor: Cursor[Any]) -> ResultSet:
    rows = await cursor.fetchall()
    return result_set(cursor.description, rows, cursor.rowcount, cursor.lastrowid)


class _Unheard(Exception):  # noqa: N818 - it never leaves the module
    """Nobody waits for the operation."""


def undo(conn: Connection[Any]) -> None:
    """Have an open transaction rolled back, without waiting for that: it needs no event loop."""
    # A rollback is done even if its caller was cancelled before it began.
    with contextlib.suppress(_Unheard, Error):
        conn.rollback().throw(_Unheard())


class Connections:
    """The connections of a client."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._turns = Turns(address.calls)
        self._idle: list[Connection[Any]] = []
        # Transactions had them.
        self._used: list[Connection[Any]] = []
        self._stopped: list[Connection[Any]] = []
        self._was_opened = False
        self._is_closed = False

    @property
    def closed(self) -> bool:
        """Whether they are closed, or about to be."""
        return self._is_closed

    def check_open(self) -> None:
        """Raise `LibsqlError` if they are closed."""
        if self._is_closed:
            raise client_closed()

    @contextlib.asynccontextmanager
    async def for_call(self) -> AsyncGenerator[Connection[Any]]:
        """Lend a connection to a call, alone."""
        async with self._turns:
            conn = await self._one()
            try:
                yield conn
            finally:
                if conn.in_transaction:
                    undo(conn)
                self._keep(self._idle, conn)
                if self._is_closed:
                    await self.tidy()

    async def for_transaction(self) -> Connection[Any]:
        """Return a connection that has to be given back by `give_back`."""
        self.check_open()
        if self.address.is_kept:
            return await self._one()
        if self.address.is_memory and not self._was_opened:
            # Else the database would be gone with the transaction's connection.
            async with self.for_call():
                pass
        await self.tidy()
        return await self._new()

    async def _one(self) -> Connection[Any]:
        self.check_open()
        try:
            return self._idle.pop()
        except IndexError:
            return await self._new()

    async def _new(self) -> Connection[Any]:
        conn = self.address.connection()
        try:
            await conn
        except BaseException:
            # It may have been opened for nobody: it is closed then, but not at once.
            conn.stop()
            raise
        self._was_opened = True
        return conn

    def give_back(self, conn: Connection[Any]) -> None:
        """Take a transaction's connection back, and have rolled back what is open.

        It may have to be closed: that is for the next `tidy`.
        """
        undo(conn)
        self._keep(self._idle if self.address.is_kept else self._used, conn)

    def _keep(self, among: list[Connection[Any]], conn: Connection[Any]) -> None:
        if not conn.closed:
            among.append(conn)

    def _next_to_close(self) -> Connection[Any] | None:
        for among in (self._used, self._idle) if self._is_closed else (self._used,):
            with contextlib.suppress(IndexError):
                return among.pop()
        return None

    async def tidy(self) -> None:
        """Close the connections that nobody will have again.

        Cancellation:
            What is being closed is closed; the others wait for the next time.
        """
        while (conn := self._next_to_close()) is not None:
            with contextlib.suppress(Error):
                await conn.close()

    def shut(self) -> None:
        """Lend none from now on."""
        self._is_closed = True

    async def close(self) -> None:
        """Close them, which were shut, after the calls in hand.

        Cancellation:
            They are closed all the same; those in hand when their calls end.
        """
        taken = 0
        try:
            for _ in range(self.address.calls):
                await self._turns.take()
                taken += 1
            await self.tidy()
        finally:
            while (conn := self._next_to_close()) is not None:
                conn.stop()
                # One that is let go of before it has rolled back is reported as forgotten.
                self._stopped.append(conn)
            for _ in range(taken):
                self._turns.give()
