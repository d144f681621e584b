"""`.dump`, `.backup` and `.sync`: whole databases."""

from __future__ import annotations

import asyncio
import contextlib
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from aiolibsql.shell.database import Database
from aiolibsql.shell.errors import UsageError
from aiolibsql.shell.progress import Bar, size_text
from aiolibsql.shell.targets import check_free, complete_file

if TYPE_CHECKING:
    from pathlib import Path

    import aiolibsql
    from aiolibsql.shell.session import Session
    from aiolibsql.shell.words import Words

DUMP_HELP = """\
the database as SQL text, into a file or as output
PATTERN is LIKE's, for the names of tables, indexes, triggers and views. The file gets its name when
it is complete; one that exists is replaced only with --force."""
BACKUP_HELP = """\
a copy of the database in another file, while others use it
An encrypted file's copy has the same key, unless --ask-key asks for another one. A file that exists
is written over only with --force. Of a database at a server it is what .dump has, as a file."""

# Pages between two looks at whether to go on.
_PAGES = 1000
# Statements between two turns of the event loop.
_STATEMENTS = 500


async def _snapshot(session: Session, stack: AsyncExitStack) -> None:
    """Have all that follows see one state of the database, if it is in no transaction already."""
    if not session.conn.in_transaction:
        await stack.enter_async_context(session.conn.transaction("READ"))


async def dump(session: Session, words: Words) -> None:
    """Write the database as SQL text."""
    is_forced = "force" in words.options("force")
    path = words.optional_path()
    pattern = words.optional()
    words.end()
    if path is None or path.name == "-":  # as elsewhere, it stands for the output
        await _dump_into(session, pattern, None, session.out.write)
        return
    check_free(path, is_forced)
    with (
        Bar(session.err.stream, f"dumping to {path.name}", unit="statement") as bar,
        complete_file(path, is_forced) as draft,
    ):
        with draft.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            await _dump_into(session, pattern, bar, file.write)
        bar.bytes = draft.stat().st_size
    session.say(f"{bar.counts} dumped in {bar.seconds:.1f} s")


async def _dump_into(session: Session, pattern: str | None, bar: Bar | None, write: Any) -> None:
    async with AsyncExitStack() as stack:
        await _snapshot(session, stack)
        count = 0
        async for statement in session.conn.iterdump(filter=pattern):
            write(f"{statement}\n")
            count += 1
            if bar is not None:
                bar.rows = count
                bar.bytes += len(statement) + 1
            if count % _STATEMENTS == 0:
                if bar is not None:
                    bar.update(count)
                await asyncio.sleep(0)


async def backup(session: Session, words: Words) -> None:
    """Copy the database into another file."""
    options = words.options("force ask-key")
    path = words.path()
    words.end()
    is_forced = "force" in options
    check_free(path, is_forced)
    key = session.database.key
    if "ask-key" in options:
        if session.ask_secret is None:
            raise UsageError("there is nobody to ask for a key")
        key = await session.ask_secret(f"Key of {path}: ")
        if key != await session.ask_secret("The same key again: "):
            raise UsageError("the two keys are not the same")
    with Bar(session.err.stream, f"copying to {path.name}", 1, unit="") as bar:
        if path.exists():
            # Into the file: whoever has it open, and what it has in its log, is respected.
            await _backup_into(session, path, key, bar)
        else:
            _check_leftovers(path)
            with complete_file(path, is_forced=False) as draft:
                try:
                    await _backup_into(session, draft, key, bar)
                finally:
                    for suffix in ("-journal", "-wal", "-shm"):
                        with contextlib.suppress(OSError):
                            draft.with_name(draft.name + suffix).unlink()
        bar.bytes = path.stat().st_size
    session.say(f"{size_text(bar.bytes)} copied to {path} in {bar.seconds:.1f} s")


def _check_leftovers(path: Path) -> None:
    """Refuse a name that has a log of a file that is gone: SQLite would read it into the copy."""
    for suffix in ("-journal", "-wal"):
        left = path.with_name(path.name + suffix)
        if left.exists():
            raise UsageError(f"{left} exists: it would be taken for a part of the copy")


async def _backup_into(session: Session, path: Path, key: str | None, bar: Bar) -> None:
    target = await Database(os.fspath(path), key).open()
    async with target:
        if session.database.is_remote:
            await _copy_statements(session, target, bar)
            return
        page = await session.conn.fetch_scalar("PRAGMA page_size")

        def progress(_: int, remaining: int, total: int) -> None:
            bar.bytes = (total - remaining) * page
            bar.update(bar.bytes, total * page)

        await session.conn.backup(target, pages=_PAGES, progress=progress)


async def _copy_statements(session: Session, target: aiolibsql.Connection[Any], bar: Bar) -> None:
    if await target.fetch_scalar("SELECT count(*) FROM sqlite_schema"):
        raise UsageError("the copy of a server's database needs a file of its own")
    async with AsyncExitStack() as stack:
        await _snapshot(session, stack)
        async for statement in session.conn.iterdump():
            await target.execute(statement)
            bar.bytes += len(statement)
            bar.update(0)


async def sync(session: Session, words: Words) -> None:
    """Bring a replica up to date."""
    words.end()
    if not session.database.is_replica:
        raise UsageError(
            "this is no replica: .sync is for a file that was opened with --sync-url URL"
        )
    with Bar(session.err.stream, "syncing", unit="") as bar:
        found = await session.conn.sync()
    session.say(
        f"synced in {bar.seconds:.1f} s: {found.frames} frames came, {found.pushed} went; "
        f"the last change is number {found.replication_index}"
    )
