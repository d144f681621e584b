"""Clients for tests: the one that blocks behind the methods of the other, and rows as tuples.

Needs no event loop in particular and imports none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiolibsql.client import Client, ClientSync, LibsqlError, Transaction, TransactionSync

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterable

    from typing_extensions import Self

    from aiolibsql.client import InArgs, InStatement, ResultSet


class TransactionBehindAwait(Transaction):
    """A `TransactionSync` with the methods of `Transaction`, which block."""

    def __init__(self, transaction: TransactionSync) -> None:
        self._made = transaction

    async def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        return self._made.execute(stmt, args)

    async def commit(self) -> None:
        self._made.commit()

    async def rollback(self) -> None:
        self._made.rollback()

    def close(self) -> None:
        self._made.close()

    @property
    def closed(self) -> bool:
        return self._made.closed


class ClientBehindAwait(Client):
    """A `ClientSync` with the methods of `Client`, which block: one test holds for both."""

    def __init__(self, client: ClientSync) -> None:
        self._made = client

    async def execute(self, stmt: InStatement, args: InArgs = None) -> ResultSet:
        return self._made.execute(stmt, args)

    async def batch(self, stmts: Iterable[InStatement]) -> list[ResultSet]:
        return self._made.batch(stmts)

    def transaction(self) -> Transaction:
        return TransactionBehindAwait(self._made.transaction())

    async def close(self) -> None:
        self._made.close()

    @property
    def closed(self) -> bool:
        return self._made.closed


def tuples(results: ResultSet) -> list[tuple[Any, ...]]:
    """Return rows that can be compared."""
    return [row.astuple() for row in results]


async def xs(client: Client) -> list[Any]:
    """Return what table t holds."""
    return [row[0] for row in await client.execute("SELECT x FROM t ORDER BY x")]


class Code:
    """What ``with`` expects: a `LibsqlError` of this code."""

    def __init__(self, code: str) -> None:
        self._code = code
        self.error: LibsqlError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _tb: object) -> bool:
        if error is None:
            raise AssertionError(f"there was no {self._code}")
        if not isinstance(error, LibsqlError):
            return False
        assert error.code == self._code, error
        assert str(error) == f"{error.code}: {error.explanation}"
        self.error = error
        return True


class CancelledAt:
    """Awaits something, and cancels it where it suspends for the n-th time.

    Attributes:
        suspensions: How often it has suspended.
    """

    def __init__(self, work: Coroutine[Any, Any, object], n: int, scope: Any) -> None:
        self._work = work
        self._n = n
        self._scope = scope
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, object]:
        step, given = self._work.send, None
        while True:
            try:
                asked = step(given)
            except StopIteration as end:
                return end.value
            self.suspensions += 1
            if self.suspensions == self._n:
                self._scope.cancel()
            try:
                step, given = self._work.send, (yield asked)
            except BaseException as error:
                step, given = self._work.throw, error
