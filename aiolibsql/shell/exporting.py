"""`.export`: a table or the rows of a query as a file."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

from aiolibsql.shell.errors import UsageError
from aiolibsql.shell.modes import MODES
from aiolibsql.shell.output import Output
from aiolibsql.shell.parquet import ParquetWriter
from aiolibsql.shell.progress import Bar, counted, size_text
from aiolibsql.shell.schema import quoted
from aiolibsql.shell.targets import check_free, complete_file

if TYPE_CHECKING:
    from pathlib import Path

    from aiolibsql.shell.modes import Writer
    from aiolibsql.shell.session import Session
    from aiolibsql.shell.words import Words

HELP = """\
a table, or what a query gives, as a CSV, TSV, JSON, JSONL or Parquet file
The file's suffix says which. It gets its name when it is complete; one that exists is replaced only
with --force. BLOBs are written as x'…', but in Parquet, where they are what they are."""

_MODES = {
    ".csv": "csv", ".tsv": "tabs", ".tab": "tabs", ".json": "json", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".md": "markdown",
}  # fmt: skip
_PARQUET = {".parquet", ".pq"}
_BATCH = 2000
# A query begins with one of these; anything else is the name of a table.
_QUERY = re.compile(r"(?i)\s*(select|with|values|pragma|explain|insert|update|delete)\b")


async def run(session: Session, words: Words) -> None:
    """Export a table or a query."""
    is_forced = words.leading_flag("force")
    path = words.path()
    is_forced = words.leading_flag("force") or is_forced
    text = words.statement()
    if not text:
        raise words.error("a table or a query is missing")
    suffix = path.suffix.lower()
    if suffix not in _MODES and suffix not in _PARQUET:
        names = ", ".join([*_MODES, *sorted(_PARQUET)])
        raise words.error(f"{path.name} has none of the suffixes {names}")
    check_free(path, is_forced)
    total = None
    if _QUERY.match(text):
        sql = text
    else:
        name = quoted(text.strip('"'))
        sql = f"SELECT * FROM {name}"  # noqa: S608 - it is quoted
        if not session.database.is_remote:  # where reading is not free
            total = await session.conn.fetch_scalar(f"SELECT count(*) FROM {name}")  # noqa: S608
    with Bar(session.err.stream, f"exporting {path.name}", total) as bar:
        await _export(session, sql, path, is_forced, bar)
    session.say(
        f"{counted(bar.rows, 'row')} ({size_text(bar.bytes)}) exported in {bar.seconds:.1f} s"
    )


async def _export(session: Session, sql: str, path: Path, is_forced: bool, bar: Bar) -> None:
    async with session.conn.execute(sql) as cursor:
        if cursor.description is None:
            raise UsageError("the statement gives no rows")
        columns = [column[0] for column in cursor.description]
        with complete_file(path, is_forced) as draft, ExitStack() as stack:
            writer: Writer
            if path.suffix.lower() in _PARQUET:
                writer = ParquetWriter(draft, columns)
                stack.callback(writer.close)
            else:
                file = stack.enter_context(
                    draft.open("w", encoding="utf-8", errors="surrogateescape", newline="")
                )
                make = MODES[_MODES[path.suffix.lower()]]
                writer = make(Output(file, is_terminal=False), columns, None, True)
            while True:
                rows = await cursor.fetchmany(_BATCH)
                if not rows and bar.rows:
                    break
                writer.rows(rows)
                bar.rows += len(rows)
                bar.bytes = draft.stat().st_size
                bar.update(bar.rows)
                if len(rows) < _BATCH:
                    break
                await asyncio.sleep(0)  # for Control-C
            writer.end()
            stack.close()
            bar.bytes = draft.stat().st_size
