"""The commands that begin with a dot: one table, which `.help` shows and completion reads."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiolibsql.shell import copies, exporting, importing, schema
from aiolibsql.shell.errors import Leave, UsageError
from aiolibsql.shell.modes import MODES
from aiolibsql.shell.words import Words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiolibsql.shell.session import Session


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        usage: How it is written.
        help: What it does: a line, and maybe more for ``.help NAME``.
        run: Does it.
    """

    usage: str
    help: str
    run: Callable[[Session, Words], Awaitable[None]]

    @property
    def name(self) -> str:
        """Its name, with the dot."""
        return self.usage.split()[0]


async def _help(session: Session, words: Words) -> None:
    name = words.optional()
    words.end()
    if name is not None:
        command = find(name if name.startswith(".") else f".{name}")
        session.out.write(f"{command.usage}\n{command.help}\n")
        return
    longest = max(len(command.usage) for command in COMMANDS if len(command.usage) < 30)  # noqa: PLR2004
    for command in COMMANDS:
        line = command.help.partition("\n")[0]
        gap = f"\n{' ' * longest}" if len(command.usage) > longest else ""
        session.out.write(f"{command.usage.ljust(longest)}{gap}  {line}\n")


async def _mode(session: Session, words: Words) -> None:
    options = words.options("no-header header", "null")
    mode = words.optional()
    words.end()
    if mode is not None and mode not in MODES:
        raise words.error(f"there is no mode {mode}: {', '.join(MODES)}")
    settings = session.settings
    if mode is None and not options:
        session.out.write(f"{settings.mode}\n")
    settings.mode = mode or settings.mode
    settings.null = options.get("null", settings.null if mode is None else None)
    settings.has_header = "no-header" not in options and (
        "header" in options or mode is not None or settings.has_header
    )


async def _timer(session: Session, words: Words) -> None:
    state = words.optional()
    words.end()
    if state not in {None, "on", "off"}:
        raise words.error("on or off")
    if state is None:
        session.out.write(f"{'on' if session.settings.has_timer else 'off'}\n")
    else:
        session.settings.has_timer = state == "on"


async def _read(session: Session, words: Words) -> None:
    path = words.path()
    words.end()
    await session.read(path)


async def _quit(_: Session, words: Words) -> None:
    words.end()
    raise Leave


COMMANDS = [
    Command(".tables [PATTERN]", "names of tables and views; PATTERN is LIKE's", schema.tables),
    Command(
        ".schema [PATTERN]", "the statements that made tables, indexes and so on", schema.schema
    ),
    Command(".indexes [TABLE]", "names of indexes", schema.indexes),
    Command(".explain STATEMENT", "how SQLite would run a statement", schema.explain),
    Command(".import FILE TABLE [OPTIONS]", importing.HELP, importing.run),
    Command(".export [--force] FILE TABLE|SELECT…", exporting.HELP, exporting.run),
    Command(".dump [--force] [FILE] [PATTERN]", copies.DUMP_HELP, copies.dump),
    Command(".backup [--force] [--ask-key] FILE", copies.BACKUP_HELP, copies.backup),
    Command(".sync", "bring a replica up to date with its server", copies.sync),
    Command(".timer [on|off]", "write the time of each statement", _timer),
    Command(
        ".mode [MODE] [--null TEXT] [--no-header]",
        f"how rows are written: {', '.join(MODES)}",
        _mode,
    ),
    Command(
        ".read FILE", "run the statements and commands of a file, up to the first error", _read
    ),
    Command(".help [COMMAND]", "this list, or all about one command", _help),
    Command(".quit", "leave; so does Control-D", _quit),
    Command(".exit", "leave", _quit),
]


def find(name: str) -> Command:
    """Return the command of a name, which may be shortened as long as it is clear.

    Raises:
        UsageError: If there is none, or more than one.
    """
    names = [command.name for command in COMMANDS]
    found = [command for command in COMMANDS if command.name.startswith(name)]
    exact = [command for command in found if command.name == name]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if found and name != ".":
        raise UsageError(f"{name} may be {', '.join(command.name for command in found)}")
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else ".help lists them"
    raise UsageError(f"there is no command {name}: {hint}")


async def run_command(session: Session, text: str) -> None:
    """Run a command.

    Raises:
        UsageError: If it is not written as it has to be.
        Leave: If it ends the session.
    """
    name, _, rest = text.partition(" ")
    # `.tables;` is what fingers write.
    command = find(name.strip().rstrip(";"))
    await command.run(session, Words(command.usage, rest))
