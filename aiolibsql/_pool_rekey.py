"""`ConnectionPool.rekey`: another key for the file, and for all of a pool's connections."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from aiolibsql import _runtime
from aiolibsql._loan import held_of
from aiolibsql.exceptions import OperationalError, ProgrammingError

if TYPE_CHECKING:
    from aiolibsql._aiolibsql import Connection
    from aiolibsql._pool import ConnectionPool


# Two that each have some of the connections would wait for each other.
_running: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


async def rekey(pool: ConnectionPool, new_key: str | bytes | None) -> None:
    """Borrow all connections, close those that read, change the key, and open them again."""
    pool._check_key(new_key)  # noqa: SLF001
    for _ in held_of(pool):
        message = "rekey() can't be used inside of a block of its pool, for whose end it would wait"
        raise ProgrammingError(message)
    if pool in _running:
        raise ProgrammingError("another rekey() of this pool is running")
    lent: list[Connection[Any]] = []
    _running.add(pool)
    try:
        # Who has a reader may ask for the writer before he gives it back, so that comes last.
        for readonly in [*[True] * pool.reader_count, False]:
            lent.append(await pool._acquire(readonly, None, True))  # noqa: SLF001, PERF401
        *readers, writer = lent
        await _runtime.shielded(lambda: _change(pool, readers, writer, new_key))
    finally:
        _running.discard(pool)
        await _runtime.shielded(lambda: _release(pool, lent))


async def _release(pool: ConnectionPool, lent: list[Connection[Any]]) -> None:
    for connection in lent:
        await pool.release(connection)


async def _change(
    pool: ConnectionPool,
    readers: list[Connection[Any]],
    writer: Connection[Any],
    new_key: str | bytes | None,
) -> None:
    for reader in readers:
        await pool._suspend(reader)  # noqa: SLF001
    try:
        await writer.rekey(new_key)
    finally:
        outcomes = [await _open_again(pool, reader) for reader in readers]
    failed = [error for error in outcomes if error is not None]
    if failed:
        message = (
            f"the key was changed, but {len(failed)} of {len(readers)} readers could not be opened "
            f"again: {failed[0]}"
        )
        raise OperationalError(message) from failed[0]


async def _open_again(pool: ConnectionPool, reader: Connection[Any]) -> Exception | None:
    """Open a reader, and return what was in the way; it stays closed then."""
    try:
        await pool._reopen(reader)  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - told by the caller
        return error
    return None
