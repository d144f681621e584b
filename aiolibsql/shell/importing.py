"""`.import`: rows of a file into a table, all of them or none."""

from __future__ import annotations

import asyncio
import codecs
import re
from typing import TYPE_CHECKING, Any

import aiolibsql
from aiolibsql.shell.errors import UsageError, message_of
from aiolibsql.shell.parquet import ParquetSource
from aiolibsql.shell.progress import Bar, counted, size_text
from aiolibsql.shell.schema import quoted
from aiolibsql.shell.sources import BadLineError, Objects, Separated

if TYPE_CHECKING:
    from pathlib import Path

    from aiolibsql.shell.session import Session
    from aiolibsql.shell.sources import Chunk, Source
    from aiolibsql.shell.words import Words

HELP = """\
rows of a CSV, TSV, JSON, JSONL or Parquet file into a table
All rows are imported or none: an error or Control-C undoes everything. A table that does not exist
is made; its columns are INTEGER or REAL where that loses nothing of any value, else TEXT.
The columns of a table that exists are found by the names in the header.
  --format csv|tsv|json|jsonl|parquet   else the file's suffix says it
  --types auto|text|a=INTEGER,b=TEXT    types of a new table's columns
  --delimiter CHARACTER                 between values, instead of the comma
  --no-header                           the first line is data
  --keep-empty                          empty values of CSV are empty text, not NULL
  --encoding NAME                       of the file, instead of UTF-8
  --skip-bad                            leave out lines that are wrong, and tell how many"""

_FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".json": "json",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_TYPE = re.compile(r"[A-Za-z][\w ]*(\([\d, ]+\))?")
# What one row may be the reason of. Anything else, such as a full disk, is about all of them.
_OF_A_ROW = (
    aiolibsql.IntegrityError,
    aiolibsql.DataError,
    aiolibsql.ProgrammingError,
    OverflowError,
    UnicodeError,
)
# Bad lines that are told one by one.
_TOLD = 10


async def run(session: Session, words: Words) -> None:
    """Import a file."""
    options = words.options("no-header keep-empty skip-bad", "format types delimiter encoding")
    path = words.path()
    table = words.required("TABLE")
    words.end()
    source = _open(path, words, options)
    work = _Import(session, path, table, source, "skip-bad" in options)
    try:
        await work.run(options.get("types"))
    except BadLineError as error:
        raise UsageError(f"{path}:{error.line}: {error}; nothing was imported") from error


def _open(path: Path, words: Words, options: dict[str, str]) -> Source:
    form = options.get("format") or _FORMATS.get(path.suffix.lower(), "csv")
    if form not in _FORMATS.values():
        raise words.error(f"there is no format {form}")
    if form == "parquet":
        return ParquetSource(path)
    if form in {"json", "jsonl"}:
        return Objects(path, is_array=form == "json")
    delimiter = options.get("delimiter", "\t" if form == "tsv" else ",")
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise words.error("--delimiter wants one character")
    encoding = options.get("encoding", "utf-8-sig")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise words.error(str(error)) from error
    if not path.is_file() and path.exists():
        raise UsageError(f"{path}: not a file")
    return Separated(path, delimiter, encoding, "no-header" not in options, "keep-empty" in options)


class _Import:
    """One import."""

    def __init__(
        self, session: Session, path: Path, table: str, source: Source, skips_bad: bool
    ) -> None:
        self._session = session
        self._conn = session.conn
        self._path = path
        self._table = table
        self._source = source
        self._skips_bad = skips_bad
        self._bad: list[BadLineError] = []
        self._count_of_bad = 0
        self._sql = ""

    async def run(self, types: str | None) -> None:
        columns = self._source.columns()
        self._check_names(columns)
        known = await self._conn.get_table_xinfo(self._table)
        made = ""
        if not known:
            made = await self._statement_for_new(columns, types)
        elif types is not None:
            raise UsageError(f"the table {self._table} exists: --types is for new ones")
        targets = await self._targets(columns, known)
        places = ", ".join("?" * len(columns))
        names = ", ".join(map(quoted, targets))
        self._sql = f"INSERT INTO {quoted(self._table)} ({names}) VALUES ({places})"  # noqa: S608
        # Within a transaction of the user's own it is a part of that.
        conn = self._conn
        async with conn.savepoint() if conn.in_transaction else conn.transaction():
            if made:
                await conn.execute(made)
            bar = await self._load()
        self._tell(bar)

    def _check_names(self, columns: list[str]) -> None:
        seen = set[str]()
        for name in columns:
            if name.lower() in seen:
                raise BadLineError(1, f"the header has the column {name} twice")
            seen.add(name.lower())
        if len(columns) == 1 and isinstance(self._source, Separated):
            other = next((mark for mark in ";\t|" if mark in columns[0]), None)
            if other is not None:
                shown = "tab" if other == "\t" else f"'{other}'"
                self._session.say(f"(one column: maybe --delimiter {shown} is missing?)")

    async def _statement_for_new(self, columns: list[str], types: str | None) -> str:
        chosen = dict.fromkeys(columns, "TEXT")
        given = _parse_types(types, columns) if types not in {None, "auto", "text"} else {}
        if types != "text" and len(given) < len(columns):
            title = f"reading {self._path.name}"
            with Bar(self._session.err.stream, title, self._source.size, unit="") as bar:
                for chosen in self._source.types():  # noqa: B007 - the last ones count
                    bar.bytes = self._source.position
                    bar.update(self._source.position)
                    await asyncio.sleep(0)
        chosen.update(given)
        body = ", ".join(f"{quoted(name)} {chosen[name]}" for name in columns)
        return f"CREATE TABLE {quoted(self._table)} ({body})"

    async def _targets(self, columns: list[str], known: list[dict[str, Any]]) -> list[str]:
        """Return the columns of the table that the file's go into."""
        if not known:
            return columns
        # Generated columns can't be written.
        names = [column["name"] for column in known if column["hidden"] == 0]
        if isinstance(self._source, Separated) and not self._source.has_header:
            if len(names) != len(columns):
                counts = f"{len(columns)} columns, the table {self._table} has {len(names)}"
                raise UsageError(f"{self._path}: {counts}")
            return names
        found = {name.lower(): name for name in names}
        missing = [name for name in columns if name.lower() not in found]
        if missing:
            is_csv = isinstance(self._source, Separated)
            hint = "; with --no-header the first line is data" if is_csv else ""
            raise UsageError(
                f"{self._path}: the table {self._table} has no column {missing[0]}{hint}"
            )
        return [found[name.lower()] for name in columns]

    async def _load(self) -> Bar:
        title = f"importing {self._path.name}"
        with Bar(self._session.err.stream, title, self._source.size) as bar:
            for chunk in self._source.chunks(self._note_bad):
                bar.rows += await self._insert(chunk)
                if not isinstance(self._source, ParquetSource):
                    bar.bytes = self._source.position
                bar.update(self._source.position)
        return bar

    async def _insert(self, chunk: Chunk) -> int:
        try:
            await self._conn.executemany(self._sql, chunk.rows)
        except _OF_A_ROW:
            return await self._insert_one_by_one(chunk)
        except aiolibsql.Error as error:
            raise UsageError(f"{self._path}:{chunk.lines[0]}: {message_of(error)}") from error
        return len(chunk.rows)

    async def _insert_one_by_one(self, chunk: Chunk) -> int:
        """Insert rows of which one is refused; none of them was inserted."""
        count = 0
        for line, row in zip(chunk.lines, chunk.rows, strict=True):
            try:
                await self._conn.execute(self._sql, row)
                count += 1
            except _OF_A_ROW as error:  # noqa: PERF203 - it is about one row
                self._note_bad(BadLineError(line, message_of(error)))
        return count

    def _note_bad(self, error: BadLineError) -> None:
        if not self._skips_bad:
            raise error
        self._count_of_bad += 1
        if self._count_of_bad <= _TOLD:
            self._bad.append(error)

    def _tell(self, bar: Bar) -> None:
        size = f" ({size_text(bar.bytes)})" if bar.bytes else ""
        session = self._session
        session.say(f"{counted(bar.rows, 'row')}{size} imported in {bar.seconds:.1f} s")
        for error in self._bad:
            session.err.note(f"{self._path}:{error.line}: left out: {error}", "yellow")
        if self._count_of_bad:
            session.err.note(f"{counted(self._count_of_bad, 'line')} left out in all", "yellow")


def _parse_types(text: str | None, columns: list[str]) -> dict[str, str]:
    given = {}
    found = {name.lower(): name for name in columns}
    for part in (text or "").split(","):
        name, separator, kind = part.partition("=")
        if not separator or not _TYPE.fullmatch(kind.strip()):
            raise UsageError(f"--types wants auto, text or NAME=TYPE,…, not {text}")
        if name.strip().lower() not in found:
            raise UsageError(f"--types: the file has no column {name}")
        given[found[name.strip().lower()]] = kind.strip()
    return given
