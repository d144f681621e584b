"""The data that every driver works on: one file, made once, of which each driver has a copy.

Owns the tables and their rows, so that a case can tell whether a driver returned what it should.
Must not know: drivers, cases.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

SIZE = 100_000
"""Rows of each table, unless a run is told another number."""

BigRow = tuple[int, float, str, bytes]

TABLES = """
    CREATE TABLE kv (k INTEGER PRIMARY KEY, value TEXT);
    CREATE TABLE big (i INTEGER, f REAL, t TEXT, b BLOB);
    CREATE TABLE sink (i INTEGER, f REAL, t TEXT, b BLOB);
"""


def tables() -> list[str]:
    """Return the statement that makes each table."""
    return [sql.strip() for sql in TABLES.split(";") if sql.strip()]


def value_of(key: int) -> str:
    """Return the text that belongs to a key of ``kv``."""
    return f"value {key}"


def big_row(number: int) -> BigRow:
    """Return one row of ``big``: an int, a float, 20 characters, 32 bytes."""
    text = f"row {number:016d}"
    return number, number * 0.5, text, hashlib.sha256(text.encode()).digest()


def big_rows(size: int) -> list[BigRow]:
    """Return all rows of ``big``, in order."""
    return [big_row(number) for number in range(1, size + 1)]


def make(path: Path, size: int) -> None:
    """Make the database: in WAL mode, with nothing left in the WAL."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(TABLES)
    pairs = ((key, value_of(key)) for key in range(1, size + 1))
    connection.executemany("INSERT INTO kv VALUES (?, ?)", pairs)
    connection.executemany("INSERT INTO big VALUES (?, ?, ?, ?)", big_rows(size))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def copy(path: Path, folder: Path, name: str) -> Path:
    """Give one driver a copy of its own."""
    target = folder / f"{name}.db"
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(path, target)
    return target
