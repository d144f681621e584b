"""Apache Parquet files, read and written where pyarrow is installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aiolibsql.shell.errors import UsageError
from aiolibsql.shell.modes import distinct
from aiolibsql.shell.sources import CHUNK, Chunk, sql_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from aiolibsql.shell.sources import BadLineError

# Rows that are written at once, and whose values decide about the types of columns.
_GROUP = 100_000


def _pyarrow() -> Any:
    """Return the package, which is no part of any extra: it is larger than all the rest."""
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise UsageError("Parquet files need the package pyarrow") from error


class ParquetSource:
    """Apache Parquet, where pyarrow is installed."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        arrow = _pyarrow()
        self._types = arrow.types
        try:
            self._file = arrow.parquet.ParquetFile(path)
        except arrow.ArrowException as error:
            raise UsageError(f"{path}: {error}") from error
        self.size: int = self._file.metadata.num_rows
        self.position: int = 0

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._file.schema_arrow.names)

    def types(self) -> Iterator[dict[str, str]]:
        """Return what the types of the file are in SQLite."""
        types = self._types

        def type_of(kind: Any) -> str:
            if types.is_integer(kind) or types.is_boolean(kind):
                return "INTEGER"
            if types.is_floating(kind):
                return "REAL"
            return "BLOB" if types.is_binary(kind) or types.is_large_binary(kind) else "TEXT"

        yield {item.name: type_of(item.type) for item in self._file.schema_arrow}

    def chunks(self, bad: Callable[[BadLineError], None]) -> Iterator[Chunk]:
        """Give the rows; their numbers stand for lines."""
        del bad  # a file that can be opened has no bad lines
        self.position = 0
        for batch in self._file.iter_batches(batch_size=CHUNK):
            columns = [_plain(column.to_pylist()) for column in batch.columns]
            first = self.position + 1
            self.position += batch.num_rows
            yield Chunk(list(zip(*columns, strict=True)), list(range(first, self.position + 1)))


def _plain(values: list[Any]) -> list[Any]:
    """Return values as SQLite takes them; dates and decimals become their text."""
    plain = (int, float, str, bytes, type(None))
    return [
        int(value) if isinstance(value, bool)
        else value if isinstance(value, plain)
        else sql_value(value) if isinstance(value, (dict, list))
        else str(value)
        for value in values
    ]  # fmt: skip


class ParquetWriter:
    """A Parquet file; the first rows decide about the types of its columns."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Take where to write, and the names of the columns."""
        self._arrow = _pyarrow()
        self._path = path
        self._names = distinct(columns)
        self._waiting: list[Sequence[Any]] = []
        self._writer: Any = None
        self._types: list[Any] = []

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, many at once."""
        self._waiting += rows
        if len(self._waiting) >= _GROUP:
            self._write()

    def end(self) -> None:
        """Write the rest."""
        if self._waiting or self._writer is None:
            self._write()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        arrow = self._arrow
        columns = list(zip(*self._waiting, strict=True)) or [()] * len(self._names)
        if self._writer is None:
            self._types = [self._type_of(values) for values in columns]
            shape = arrow.schema(list(zip(self._names, self._types, strict=True)))
            self._writer = arrow.parquet.ParquetWriter(self._path, shape)
        arrays = []
        name = ""
        try:
            for index, values in enumerate(columns):
                name = self._names[index]
                arrays.append(arrow.array(values, self._types[index]))
        except (arrow.ArrowException, TypeError, ValueError) as error:
            raise UsageError(f"column {name} has values of several types: {error}") from error
        self._writer.write_table(arrow.Table.from_arrays(arrays, names=self._names))
        self._waiting = []

    def _type_of(self, values: Sequence[Any]) -> Any:
        arrow = self._arrow
        kinds = {type(value) for value in values} - {type(None)}
        if kinds == {int}:
            return arrow.int64()
        if kinds and kinds <= {int, float}:
            return arrow.float64()
        return arrow.binary() if kinds == {bytes} else arrow.string()
