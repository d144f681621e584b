"""Transactions that are tried again, or given up in time: rapsqlite's helpers for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aiolibsql import _runtime
from aiolibsql.exceptions import Error, TimeoutError  # noqa: A004 - this package's own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiolibsql._aiolibsql import Connection
    from aiolibsql._pool import ConnectionPool

T = TypeVar("T")

_BUSY, _LOCKED = 5, 6  # primary result codes of SQLite


def _is_transient(error: Error) -> bool:
    code = error.sqlite_errorcode
    return code is not None and code & 0xFF in {_BUSY, _LOCKED}


async def transaction_retry(
    conn: Connection[Any] | ConnectionPool,
    work: Callable[[], Awaitable[T]],
    max_retries: int = 5,
    initial_delay: float = 0.01,
    max_delay: float = 1.0,
) -> T:
    """Run work in a transaction, and again if another connection's lock was in its way.

    That is `Connection.transaction` with ``"IMMEDIATE"``: a lock is met before the work as a rule,
    not in the middle of it. What counts is SQLite's result code,
    BUSY or LOCKED with all their extended codes. Each try waits for the connection's own
    ``timeout`` too, so a short one suits this function. Between two tries it sleeps for a random
    part, at least half, of a delay that doubles.

    Args:
        conn: The connection, or a pool.
        work: Called without arguments for each try; what it returns is awaited.
        max_retries: How often to try, the first time included (as rapsqlite).
        initial_delay: Seconds, for the first delay.
        max_delay: Seconds, above which a delay does not grow.

    Returns:
        What the work returned, after the COMMIT.

    Raises:
        ValueError: If ``max_retries`` is less than 1, or a delay negative.
        TypeError: If ``work`` is no callable: an awaitable can't be awaited again.
        TimeoutError: That of the last try.
        ProgrammingError: If a transaction is open that is not a block around this.
        Exception: Any other that the work or the transaction raises, at once.

    Cancellation:
        As for `Connection.transaction`; the sleep ends at once.

    Example:
        ```python
        async def count() -> None:
            await conn.execute("UPDATE planet SET visits = visits + 1")

        await aiolibsql.transaction_retry(conn, count)
        ```
    """
    if not callable(work):
        raise TypeError("work must be a callable that returns an awaitable")
    if max_retries < 1:
        raise ValueError("max_retries must be at least 1")
    if initial_delay < 0 or max_delay < 0:
        raise ValueError("a delay can't be negative")
    import random  # noqa: PLC0415 - slow to import, and most programs never retry

    delay = initial_delay
    for left in reversed(range(max_retries)):
        try:
            async with conn.transaction():
                return await work()
        except Error as error:
            # Within a block of the caller's, only a new block around all of it would help.
            if left == 0 or not _is_transient(error):
                raise
        delay = min(delay, max_delay)
        await _runtime.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        delay *= 2
    raise AssertionError  # the last try returns or raises


async def transaction_with_timeout(
    conn: Connection[Any] | ConnectionPool,
    work: Callable[[], Awaitable[T]] | Awaitable[T],
    timeout_secs: float = 30.0,
) -> T:
    """Run work in a transaction that is rolled back if it does not end in time.

    The transaction is `Connection.transaction` with ``"IMMEDIATE"``. The time is for its beginning
    and for the work. The COMMIT comes after it, and waits for locks as long as the connection's own
    ``timeout`` lets it: a `TimeoutError` of this function means that nothing was committed.

    Args:
        conn: The connection, or a pool.
        work: An awaitable, or a callable that returns one.
        timeout_secs: Seconds.

    Returns:
        What the work returned, after the COMMIT.

    Raises:
        TimeoutError: If the work, which is cancelled, did not end in time; or as
            `Connection.transaction`.
        ProgrammingError: If a transaction is open that is not a block around this.
        Exception: Any other that the work or the transaction raises.

    Cancellation:
        As for `Connection.transaction`.
    """
    block = conn.transaction()
    is_entered = False

    async def enter_and_work() -> T:
        nonlocal is_entered
        await block.__aenter__()
        is_entered = True
        return await (work() if callable(work) else work)

    try:
        value = await _runtime.within(timeout_secs, enter_and_work)
    except BaseException as error:
        if is_entered:
            await block.__aexit__(type(error), error, error.__traceback__)
        if isinstance(error, _runtime.Expired):
            message = f"the transaction did not end within {timeout_secs} s"
            raise TimeoutError(message) from None
        raise
    await block.__aexit__(None, None, None)
    return value
