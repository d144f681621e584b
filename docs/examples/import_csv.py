"""Import a CSV file into a table, with progress; Control-C leaves the database as it was.

    python import_csv.py FILE.csv DATABASE TABLE

The first line has the names of the columns, and the table is made of them. The shell's ``.import``
does the same and more; this is how to do it in a program of your own.
"""

from __future__ import annotations

import asyncio
import csv
import os
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

# Large enough that what happens once for each does not count, small enough to show progress.
ROWS_AT_ONCE = 5000


def quoted(name: str) -> str:
    """Return a name as SQL has it, whatever characters are in it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Progress:
    """How far an import is.

    Attributes:
        size: Bytes of the file.
        done: How many of them were read.
        rows: Rows that were imported.
        began: When, by `time.monotonic`.
    """

    size: int
    done: int = 0
    rows: int = 0
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        """Return a line for people."""
        elapsed = max(time.monotonic() - self.began, 1e-6)
        left = elapsed * max(self.size - self.done, 0) / max(self.done, 1)
        share = self.done / max(self.size, 1)
        rate = self.rows / elapsed
        return f"{share:4.0%}  {self.rows:,} rows  {rate:,.0f} rows/s  {left:.0f} s left"


class Rows:
    """The rows of a CSV file, some at a time.

    Attributes:
        columns: The names in the first line.
        position: How many bytes of the file were read.
    """

    def __init__(self, file: TextIO) -> None:
        self.position = 0
        self._reader = csv.reader(self._lines(file))
        self.columns = next(self._reader)

    def _lines(self, file: TextIO) -> Iterator[str]:
        for line in file:
            self.position += len(line.encode())
            yield line

    def take(self) -> list[list[str]]:
        """Return the next rows, none at the end; it waits for the disk, so not on the loop."""
        rows = list(islice(self._reader, ROWS_AT_ONCE))
        for row in rows:
            if len(row) != len(self.columns):
                raise ValueError(f"line {self._reader.line_num}: {len(row)} values")
        return rows


async def import_csv(
    conn: aiolibsql.Connection,
    path: Path,
    table: str,
    report: Callable[[Progress], None],
) -> Progress:
    """Import a file, all of it or nothing, and report after each step."""
    with path.open(encoding="utf-8", newline="") as file:
        progress = Progress(os.fstat(file.fileno()).st_size)
        rows = Rows(file)
        columns = ", ".join(map(quoted, rows.columns))
        places = ", ".join("?" * len(rows.columns))
        insert = f"INSERT INTO {quoted(table)} ({columns}) VALUES ({places})"  # noqa: S608 - quoted
        # One transaction: an error or a cancellation undoes the new table too.
        async with conn.transaction():
            await conn.execute(f"CREATE TABLE {quoted(table)} ({columns})")
            while some := await asyncio.to_thread(rows.take):
                await conn.executemany(insert, some)
                progress.rows += len(some)
                progress.done = rows.position
                report(progress)
    return progress


async def main(path: Path, database: str, table: str) -> None:
    """Import a file and show how it goes on standard error."""

    def report(progress: Progress) -> None:
        print(f"\r{progress} ", end="", file=sys.stderr, flush=True)

    async with aiolibsql.connect(database) as conn:
        progress = await import_csv(conn, path, table, report)
    print(file=sys.stderr)
    print(f"{progress.rows} rows are in {table}")


if __name__ == "__main__":
    if len(sys.argv) != 4:  # noqa: PLR2004 - itself and its arguments
        sys.exit(__doc__)
    try:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit("\nstopped; nothing was imported")
    except (aiolibsql.Error, OSError, ValueError) as error:
        sys.exit(f"\n{error}; nothing was imported")
