"""Row factories: what else than a tuple or a `Row` a row can become."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Described(Protocol):
    """A cursor of any kind, as a row factory sees it."""

    @property
    def description(self) -> Any:
        """The columns, as PEP 249."""


def tuple_row(_cursor: Described, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave a row the tuple that it is: as None, but with a name (as psycopg).

    Args:
        row: The row.

    Returns:
        The same tuple.
    """
    return row


def dict_row(cursor: Described, row: tuple[Any, ...]) -> dict[str, Any]:
    """Make a row a dict of its columns (as psycopg).

    Args:
        cursor: What the row is of.
        row: The row.

    Returns:
        The values by the names of their columns. Of columns that have one name, the last one's.
    """
    return dict(zip(_names(cursor), row, strict=True))


def namedtuple_row(cursor: Described, row: tuple[Any, ...]) -> Any:
    """Make a row a named tuple (as psycopg).

    Args:
        cursor: What the row is of.
        row: The row.

    Returns:
        An instance of a class ``Row`` that all rows with the same names of columns have. A name
        that is no identifier, or comes again, is ``_1`` in the second column, and so on.
    """
    return _named(_names(cursor))._make(row)


def class_row(cls: Callable[..., _T]) -> Callable[[Described, tuple[Any, ...]], _T]:
    """Make rows instances of a class, such as a dataclass (as psycopg).

    Args:
        cls: Called for each row with its values as keyword arguments, by the names of the columns.

    Returns:
        The row factory. A call that fails, for a column that the class does not know, fails the
        method that wanted the row.

    Example:
        ```python
        conn = await aiolibsql.connect("planets.db", row_factory=aiolibsql.class_row(Planet))
        ```
    """

    def make(cursor: Described, row: tuple[Any, ...]) -> _T:
        return cls(**dict_row(cursor, row))

    return make


def scalar_row(_cursor: Described, row: tuple[Any, ...]) -> Any:
    """Make a row the value of its first column (as psycopg).

    Args:
        row: The row.

    Returns:
        The value.
    """
    return row[0]


def _names(cursor: Described) -> tuple[str, ...]:
    return tuple(column[0] for column in cursor.description)


def _class_of(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)  # noqa: PYI024 - of no known names


_named: Callable[[tuple[str, ...]], Any] = lru_cache(maxsize=256)(_class_of)
