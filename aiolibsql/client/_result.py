"""`ResultSet` and `Row`: what a statement gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Value = str | int | float | bytes | None
"""What a row has in a column."""


class ResultSet:
    """The rows of a statement, and what it did.

    It iterates over the rows, has their number as ``len()``, and one or a list of them by index or
    slice. ``pandas.DataFrame(result_set)`` has the columns' names.

    Args:
        columns: The names of the columns.
        rows: The rows.
        rows_affected: See the attribute.
        last_insert_rowid: See the attribute.
    """

    __slots__ = ("_columns", "_last_insert_rowid", "_rows", "_rows_affected")

    def __init__(
        self,
        columns: tuple[str, ...],
        rows: list[Row],
        rows_affected: int,
        last_insert_rowid: int | None,
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._rows_affected = rows_affected
        self._last_insert_rowid = last_insert_rowid

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._rows)} rows of {self._columns!r}>"

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | list[Row]:
        return self._rows[key]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order; empty for a statement that has none."""
        return self._columns

    @property
    def rows(self) -> list[Row]:
        """The rows; the list itself, not a copy."""
        return self._rows

    @property
    def rows_affected(self) -> int:
        """How many rows INSERT, UPDATE or DELETE has changed; of other statements -1, or 0."""
        return self._rows_affected

    @property
    def last_insert_rowid(self) -> int | None:
        """The rowid of the row that was inserted last; 0 if the statement has changed no row.

        After UPDATE and DELETE it is that of an INSERT before them on the same connection.
        """
        return self._last_insert_rowid


class Row(Sequence[Value]):
    """A row: its values by index, by slice, and by the name of the column.

    Args:
        column_idxs: For each name, in its exact case, the index. Of columns that share a name the
            last one has it.
        values: The values.
    """

    __slots__ = ("_column_idxs", "_values")

    def __init__(self, column_idxs: dict[str, int], values: tuple[Value, ...]) -> None:
        self._column_idxs = column_idxs
        self._values = values

    @overload
    def __getitem__(self, key: int | str, /) -> Value: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Value, ...]: ...
    def __getitem__(self, key: int | str | slice, /) -> Value | tuple[Value, ...]:
        """Return a value, or a tuple of them for a slice.

        Raises:
            IndexError: For an index that the row does not have.
            KeyError: For a name that it does not have.
        """
        if isinstance(key, str):
            return self._values[self._column_idxs[key]]
        return self._values[key]

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def astuple(self) -> tuple[Value, ...]:
        """Return the values."""
        return self._values

    def asdict(self) -> dict[str, Value]:
        """Return the values by name. Of columns that share a name the last one is there."""
        return {name: self._values[index] for name, index in self._column_idxs.items()}

    # A namedtuple's names, by which pandas and others find the columns.
    _asdict = asdict

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self._column_idxs)


def result_set(
    description: Iterable[Sequence[object]] | None,
    values: list[tuple[Value, ...]],
    rows_affected: int,
    last_insert_rowid: int | None,
) -> ResultSet:
    """Return what a cursor has, as a result set."""
    columns = tuple(str(column[0]) for column in description or ())
    column_idxs = {name: index for index, name in enumerate(columns)}
    if rows_affected <= 0:
        # The cursor has that of a statement before, whoever ran it.
        last_insert_rowid = 0
    rows = [Row(column_idxs, row) for row in values]
    return ResultSet(columns, rows, rows_affected, last_insert_rowid)
