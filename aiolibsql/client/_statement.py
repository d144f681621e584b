"""`Statement`: SQL and its arguments, in the forms that users write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Union

from aiolibsql.client._error import LibsqlError
from aiolibsql.client._result import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer
else:
    Buffer = bytes

InValue = Value | bool | datetime | Buffer
"""What an argument may be."""

InArgs = Sequence[InValue] | Mapping[str, InValue] | None
"""The arguments of a statement."""

InStatement = Union["Statement", str, tuple[str], tuple[str, InArgs]]
"""What stands for a statement: SQL, alone or with its arguments."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_LEAST, _MOST = -(2**63), 2**63 - 1

# Comments are matched to their end and no further, so that nothing is tried twice.
_BEGINNING = r"(?:[ \t\n\f\r;]|--[^\n]*(?:\n|\Z)|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)*"
_OPENS = re.compile(rf"{_BEGINNING}(BEGIN|SAVEPOINT)\b", re.IGNORECASE)
_ENDS = re.compile(rf"{_BEGINNING}(BEGIN|COMMIT|END|ROLLBACK(?!\s+TO\b))\b", re.IGNORECASE)


class Statement:
    """SQL with its arguments.

    Args:
        sql: One statement.
        args: A list or tuple for ``?``, or a dict for ``:name``, ``@name`` and ``$name``, whose
            keys may be written with that character or without. datetimes are stored as
            milliseconds since 1970 (those without a time zone are local), bool as 0 and 1, any
            buffer as BLOB.

    Attributes:
        sql: As given.
        args: As given.
    """

    sql: str
    args: InArgs

    def __init__(self, sql: str, args: InArgs = None) -> None:
        self.sql = sql
        self.args = args

    def __repr__(self) -> str:
        # Not the values, which may be secret.
        return f"{type(self).__name__}({self.sql!r}{'' if self.args is None else ', ...'})"

    @staticmethod
    def convert(stmt: InStatement, args: InArgs = None) -> Statement:
        """Make a statement of what stands for one.

        Args:
            stmt: A `Statement`, SQL, or a tuple of SQL and arguments, which may be left out.
            args: The arguments, if `stmt` has none.

        Returns:
            The statement; the very one if it was one.

        Raises:
            TypeError: If both have arguments, or for a tuple of another length.
        """
        if isinstance(stmt, Statement):
            if args:
                raise TypeError("a Statement has its own arguments: give none beside it")
            return stmt
        if not isinstance(stmt, tuple):
            return Statement(stmt, args)
        if len(stmt) == 1:
            return Statement(stmt[0], args)
        if len(stmt) != 2:  # noqa: PLR2004 - SQL, arguments
            raise TypeError(f"a statement is a tuple of 1 or 2, not of {len(stmt)}")
        if args:
            raise TypeError("a tuple of 2 has its own arguments: give none beside it")
        return Statement(stmt[0], stmt[1])


Parameters = tuple[Any, ...] | dict[str, Any]
# SQL and what is bound to it.
Bound = tuple[str, Parameters]


def bound(stmt: InStatement, args: InArgs = None) -> Bound:
    """Return SQL and the parameters that a connection takes.

    Raises:
        TypeError: For a value that can't be stored, and as `Statement.convert`.
        ValueError: For infinity and NaN.
        OverflowError: For an int that does not fit in 64 bits.
    """
    statement = Statement.convert(stmt, args)
    given = statement.args
    if given is None:
        return statement.sql, ()
    if isinstance(given, Mapping):
        return statement.sql, {
            key[1:] if key[:1] in {":", "@", "$"} else key: _value(value)
            for key, value in given.items()
        }
    return statement.sql, tuple([_value(value) for value in given])


def _value(value: InValue) -> Value:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise OverflowError("an int does not fit in the 64 bits of SQLite's")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a float has to be finite, not infinity or NaN")
        return value
    if isinstance(value, datetime):
        return _milliseconds(value)
    try:
        return bytes(memoryview(value))
    except TypeError:
        message = f"a value of type {type(value).__name__!r} can't be stored"
        raise TypeError(message) from None


def _milliseconds(moment: datetime) -> int:
    """Return the milliseconds since 1970, the rest cut off, without the errors of floats."""
    since = moment.astimezone(timezone.utc) - _EPOCH
    return -(-since // _MILLISECOND) if since < timedelta() else since // _MILLISECOND


def check_call(sql: str) -> None:
    """Refuse to begin a transaction by `execute`, for the next call may be another connection's.

    Raises:
        LibsqlError: If it would.
    """
    if found := _OPENS.match(sql):
        message = f"{found[1].upper()} has no effect on other calls: use transaction() or batch()"
        raise LibsqlError(message, "TRANSACTIONS_NOT_SUPPORTED")


def check_batch(statements: Iterable[Bound]) -> None:
    """Refuse to end the transaction that a batch is.

    Raises:
        LibsqlError: If one of the statements would.
    """
    for number, (sql, _) in enumerate(statements, 1):
        if found := _ENDS.match(sql):
            verb = found[1].upper()
            message = f"a batch is a transaction by itself, but statement {number} is {verb}"
            raise LibsqlError(message, "TRANSACTIONS_NOT_SUPPORTED")
