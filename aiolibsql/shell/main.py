"""The program: its arguments, what it reads, and how it ends.

Exit codes: 0, 1 after an error, 2 for arguments that make no sense or packages that are missing,
130 after Control-C, 141 when nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiolibsql
from aiolibsql.shell.database import Database, KeyWantedError, ask_for_key, tries
from aiolibsql.shell.errors import Failure, Leave, message_of
from aiolibsql.shell.escapes import visible
from aiolibsql.shell.interrupts import Interrupted, Interrupts
from aiolibsql.shell.modes import MODES
from aiolibsql.shell.session import Session, Settings
from aiolibsql.shell.statements import Splitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FAILED, MISUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141
_PIECE = 1 << 16
_INSTALL = """\
The prompt needs some more packages: pip install 'aiolibsql[shell]'
Without them there are -c SQL, and statements from standard input.
"""
_EPILOG = """\
environment:
  AIOLIBSQL_KEY         the key of an encrypted file
  AIOLIBSQL_AUTH_TOKEN  what a server knows us by

exit codes: 0, 1 after an error, 2 for wrong arguments, 130 after Control-C
"""


class _StopError(Exception):
    """The program ends before it began."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiolibsql",
        description="A shell for SQLite and libSQL: files, encrypted files, servers and replicas.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "database",
        nargs="?",
        default=":memory:",
        help="a file, or libsql:, http(s): or ws(s): and a server; in memory if there is none",
    )
    add(
        "-c",
        "--command",
        action="append",
        metavar="SQL",
        help="run this and end; may be given several times, and may be a command such as .tables",
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--mode", choices=MODES, default="table", help="how rows are written")
    modes.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="mode",
        help="rows as JSON: an array of objects for each query",
    )
    modes.add_argument("--csv", action="store_const", const="csv", dest="mode", help="rows as CSV")
    add("--no-header", action="store_true", help="leave the names of columns out")
    add("--keep-going", action="store_true", help="go on after an error; the exit code is 1 still")
    add("--read-only", action="store_true", help="refuse to write to the file")
    add("--key", action="store_true", help="ask for the key of an encrypted file, without echo")
    add("--key-file", type=Path, metavar="FILE", help="the first line of FILE is the key")
    add("--sync-url", metavar="URL", help="the file is a replica of the database there")
    add("--namespace", metavar="NAME", help="one of a server's databases")
    add(
        "--version",
        action="version",
        version=f"aiolibsql {aiolibsql.__version__}, SQLite {aiolibsql.sqlite_version}",
    )
    return parser  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the shell.

    Args:
        arguments: Those of the command line, unless they are given.

    Returns:
        The exit code.
    """
    try:
        return _main(_parser().parse_args(arguments))
    except _StopError as error:
        _complain(str(error))
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on, as after `head`; the interpreter would try once more at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def _complain(message: str) -> None:
    sys.stderr.write(visible(f"aiolibsql: {message.rstrip()}\n"))


def _main(arguments: argparse.Namespace) -> int:
    is_interactive = arguments.command is None and sys.stdin.isatty() and sys.stdout.isatty()
    if is_interactive:
        _check_extra()
    database = _database(arguments)
    path = database.path
    is_new = path is not None and not path.exists()
    conn = _open(database, arguments, is_new)
    for stream in (sys.stdout, sys.stderr):
        # Bytes that are no UTF-8 go out as they came; other encodings have escapes for the rest.
        is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")  # type: ignore[union-attr]
    settings = Settings(
        mode=arguments.mode,
        has_header=not arguments.no_header,
        keeps_going=arguments.keep_going,
    )
    session = Session(conn, database, settings)
    if is_interactive:
        if is_new:
            session.say(f"({database.title} is new)")
        return asyncio.run(_converse(session))
    return asyncio.run(_run(session, arguments.command))


def _check_extra() -> None:
    try:
        import prompt_toolkit  # noqa: F401, PLC0415 - it may be missing
        import pygments  # noqa: F401, PLC0415
        import rich  # noqa: F401, PLC0415
    except ImportError as error:
        raise _StopError(MISUSED, f"{error}. {_INSTALL}") from error


def _database(arguments: argparse.Namespace) -> Database:
    options: dict[str, Any] = {}
    database = Database(arguments.database, None, arguments.read_only, options)
    if arguments.read_only and database.path is None:
        raise _StopError(MISUSED, "--read-only: only the path of a file can be opened so")
    if arguments.sync_url is not None:
        options["sync_url"] = arguments.sync_url
    if arguments.namespace is not None:
        options["namespace"] = arguments.namespace
    token = os.environ.get("AIOLIBSQL_AUTH_TOKEN")
    if token and (database.is_remote or database.is_replica):
        options["auth_token"] = token
    return database


def _open(
    database: Database, arguments: argparse.Namespace, is_new: bool
) -> aiolibsql.Connection[Any]:
    """Return an open connection, asking for a key where one is wanted."""
    path = database.path
    has_somebody = sys.stdin.isatty()
    try:
        if arguments.key_file is not None:
            text = arguments.key_file.read_text(encoding="utf-8")
            database.key = text.partition("\n")[0].removesuffix("\r")
        elif arguments.key:
            database.key = ask_for_key(database.title, is_new)
        elif path is not None:
            database.key = os.environ.get("AIOLIBSQL_KEY") or None
        for _ in tries():
            try:
                return asyncio.run(database.open())
            except KeyWantedError as error:  # noqa: PERF203 - asked again
                if not has_somebody or arguments.key_file is not None:
                    raise
                if database.key is not None:
                    _complain(str(error))
                database.key = ask_for_key(database.title, is_new=False)
        return asyncio.run(database.open())
    except (TypeError, aiolibsql.ProgrammingError) as error:
        raise _StopError(MISUSED, message_of(error)) from error
    except (aiolibsql.Error, KeyWantedError, OSError, ValueError, EOFError) as error:
        raise _StopError(FAILED, f"{database.title}: {message_of(error)}") from error


async def _converse(session: Session) -> int:
    from aiolibsql.shell.prompt import converse  # noqa: PLC0415 - it needs the extra

    try:
        await converse(session, Interrupts())
    finally:
        await session.close()
    return 0


async def _run(session: Session, commands: list[str] | None) -> int:
    """Run what was given with -c, or what comes from standard input."""
    code = 0
    try:
        await Interrupts().run(_run_all(session, commands))
    except Leave:
        pass
    except Failure as failure:
        session.report(failure)
    except Interrupted:
        code = INTERRUPTED
    finally:
        is_lost = not await session.close()
    sys.stdout.flush()
    return code or (FAILED if session.has_failed or is_lost else 0)


async def _run_all(session: Session, commands: list[str] | None) -> None:
    if commands is None:
        splitter = Splitter("<stdin>")
        async for text in _stdin():
            await session.run_all(splitter, text, is_end=False)
        await session.run_all(splitter, "", is_end=True)
        return
    for number, text in enumerate(commands, 1):
        name = "-c" if len(commands) == 1 else f"-c {number}"
        await session.run_all(Splitter(name), text, is_end=True)


async def _stdin() -> AsyncIterator[str]:
    """Give what comes, when it comes, so that Control-C works while nothing does."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    loop = asyncio.get_running_loop()
    fd = sys.stdin.fileno()
    while True:
        ready = loop.create_future()
        try:
            loop.add_reader(fd, _set, ready)
        except PermissionError:
            pass  # a file, which is ready always
        else:
            try:
                await ready
            finally:
                loop.remove_reader(fd)
        piece = os.read(fd, _PIECE)
        yield decoder.decode(piece, final=not piece)
        if not piece:
            return


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
