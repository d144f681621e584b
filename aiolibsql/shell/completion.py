"""What Tab offers: commands, files, keywords, and the names of the database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

import aiolibsql
from aiolibsql.shell import schema
from aiolibsql.shell.commands import COMMANDS
from aiolibsql.shell.escapes import visible_line
from aiolibsql.shell.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Those that people type; all of them would hide the names.
_KEYWORDS = """
    ABORT ADD AFTER ALL ALTER ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN BETWEEN BY
    CASCADE CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT_DATE
    CURRENT_TIME CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRED DELETE DESC DETACH DISTINCT DO DROP
    ELSE END ESCAPE EXCEPT EXCLUSIVE EXISTS EXPLAIN FILTER FIRST FOREIGN FROM FULL GENERATED
    GLOB GROUP HAVING IF IGNORE IMMEDIATE IN INDEX INNER INSERT INSTEAD INTERSECT INTO IS ISNULL
    JOIN KEY LAST LEFT LIKE LIMIT MATERIALIZED NATURAL NOT NOTHING NOTNULL NULL NULLS OFFSET ON
    OR ORDER OUTER OVER PARTITION PLAN PRAGMA PRIMARY QUERY RAISE RECURSIVE REFERENCES REGEXP
    REINDEX RELEASE RENAME REPLACE RETURNING RIGHT ROLLBACK ROW ROWS SAVEPOINT SELECT SET STRICT
    TABLE TEMP THEN TO TRANSACTION TRIGGER UNION UNIQUE UPDATE USING VACUUM VALUES VIEW VIRTUAL
    WHEN WHERE WINDOW WITH WITHOUT
"""
KEYWORDS = _KEYWORDS.split()
_FUNCTIONS = """
    abs avg changes char coalesce count date datetime format group_concat hex ifnull iif instr
    json_array json_each json_extract json_group_array json_object julianday last_insert_rowid
    length lower ltrim max min nullif printf quote random rank replace round row_number rtrim
    sqlite_version strftime substr sum time total trim typeof unicode unixepoch upper
"""
FUNCTIONS = _FUNCTIONS.split()
_MOST = 20_000
_PATIENCE = 1.0
_WORD = re.compile(r"[\w.\"]*$")
_PLAIN = re.compile(r"[A-Za-z_]\w*")
# After one of these comes a table.
_TABLE_NEXT = re.compile(r"(?i)\b(from|join|into|update|table|references|on)\s+([\w.\"]*)$")
# A table that the statement names, with its alias.
_NAMED = re.compile(
    r"""(?ix)\b(?:from|join|into|update|,)\s*("[^"]+"|\w+)(?:\s+(?:as\s+)?("[^"]+"|\w+))?"""
)
_TAKES_FILE = {".read", ".import", ".export", ".dump", ".backup"}
_TAKES_TABLE = {".import", ".export", ".schema", ".indexes", ".tables"}


class Names:
    """The tables and columns of the database, read again when the schema has changed."""

    def __init__(self, conn: aiolibsql.Connection[Any], is_remote: bool) -> None:
        """Take the connection."""
        self.columns: dict[str, list[str]] = {}
        self._conn = conn
        self._is_remote = is_remote
        self._version: object = None

    async def refresh(self) -> None:
        """Read them if need be; whatever goes wrong, completion just knows less."""
        try:
            version: object = self._conn.total_changes if self._is_remote else None
            if not self._is_remote:
                sql = "PRAGMA schema_version"
                version = await self._conn.fetch_scalar(sql, timeout=_PATIENCE)
            if self._version is None or version != self._version:
                self._version = version
                self.columns = await schema.names(self._conn, _MOST, _PATIENCE)
        except aiolibsql.Error:
            pass


def candidates(
    text: str, after: str, columns: dict[str, list[str]]
) -> tuple[str, list[tuple[str, str]]]:
    """Return what may come between two texts.

    Args:
        text: The statement up to the cursor.
        after: The rest of it, which may name tables too.
        columns: The columns of each table.

    Returns:
        The word that has begun, and what may stand in its place, each with what it is.
    """
    found = _WORD.search(text)
    word = found[0] if found else ""
    known = {name.lower(): name for name in columns}
    if "." in word:
        owner, _, begun = word.rpartition(".")
        aliases = {
            (alias or table).strip('"').lower(): table.strip('"').lower()
            for table, alias in _NAMED.findall(text + after)
        }
        name = owner.strip('"').lower()
        table = known.get(name) or known.get(aliases.get(name, ""))
        return begun, [(column, "column") for column in columns.get(table or "", [])]
    offered = [(name, "table") for name in columns]
    if _TABLE_NEXT.search(text) is not None:
        return word, offered
    named = {table.strip('"').lower() for table, _ in _NAMED.findall(text + after)}
    tables = [known[name] for name in named if name in known] or list(columns)
    fields = {column for table in tables for column in columns[table]}
    offered = [(column, "column") for column in sorted(fields)] + offered
    offered += [(name, "function") for name in FUNCTIONS]
    offered += [(_cased(keyword, word), "keyword") for keyword in KEYWORDS]
    return word, offered


def _cased(keyword: str, word: str) -> str:
    return keyword.lower() if word.islower() else keyword


def written(name: str) -> str:
    """Return a name as it is written in a statement."""
    is_plain = _PLAIN.fullmatch(name) and name.upper() not in KEYWORDS
    return name if is_plain else schema.quoted(name)


class ShellCompleter(Completer):
    """Completion for the prompt."""

    def __init__(self, names: Names) -> None:
        """Take the names of the database."""
        self._names = names
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Give what may come at the cursor."""
        text = document.text_before_cursor
        line = text.rpartition("\n")[2].lstrip()
        if text.lstrip().startswith(".") and "\n" not in text:
            yield from self._command(line, complete_event)
            return
        word, offered = candidates(text, document.text_after_cursor, self._names.columns)
        begun = word.strip('"').lower()
        for name, kind in offered:
            if name.lower().startswith(begun) and (begun or kind != "keyword"):
                shown = written(name) if kind in {"table", "column"} else name
                yield Completion(shown, -len(word), display=visible_line(name), display_meta=kind)

    def _command(self, line: str, event: CompleteEvent) -> Iterator[Completion]:
        name, space, rest = line.partition(" ")
        if not space:
            for command in COMMANDS:
                if command.name.startswith(name):
                    meta = command.help.partition("\n")[0]
                    yield Completion(command.name, -len(name), display_meta=meta)
            return
        word = rest.rpartition(" ")[2]
        if name in _TAKES_FILE and word == rest:
            yield from self._paths.get_completions(Document(word), event)
        elif name in _TAKES_TABLE:
            yield from self._words(word, self._names.columns)
        elif name == ".mode":
            yield from self._words(word, MODES)
        elif name == ".help":
            yield from self._words(word, (command.name for command in COMMANDS))
        elif name == ".timer":
            yield from self._words(word, ("on", "off"))

    def _words(self, word: str, words: Iterable[str]) -> Iterator[Completion]:
        for other in words:
            if other.lower().startswith(word.lower()):
                yield Completion(other, -len(word), display=visible_line(other))
