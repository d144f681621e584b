"""The session of somebody who types: a prompt with history, completion and highlighting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style
from pygments.lexers.sql import SqlLexer

import aiolibsql
from aiolibsql.shell.completion import Names, ShellCompleter
from aiolibsql.shell.errors import Failure, Leave
from aiolibsql.shell.escapes import visible_line
from aiolibsql.shell.history import open_history
from aiolibsql.shell.interrupts import Interrupted
from aiolibsql.shell.statements import Splitter, is_whole

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import AnyFormattedText

    from aiolibsql.shell.interrupts import Interrupts
    from aiolibsql.shell.session import Session

_STYLE = Style.from_dict({
    "title": "ansicyan",
    "state": "ansiyellow bold",
    "pygments.keyword": "ansiblue bold",
    "pygments.literal.string": "ansigreen",
    "pygments.literal.number": "ansimagenta",
    "pygments.comment": "ansibrightblack",
})  # fmt: skip


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state = buffer.complete_state
        if state is not None and state.current_completion is not None:
            buffer.complete_state = None  # it takes what is chosen
        elif is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def _message(session: Session) -> AnyFormattedText:
    title = visible_line(session.database.short_title)
    state = "*" if not session.conn.closed and session.conn.in_transaction else ""
    return [("class:title", title), ("class:state", state), ("", "> ")]


def _continuation(width: int, _: int, __: int) -> str:
    return "...> ".rjust(width)


async def converse(session: Session, interrupts: Interrupts) -> None:
    """Ask for statements and run them, until the user leaves."""
    names = Names(session.conn, session.database.is_remote)
    prompt: PromptSession[str] = PromptSession(
        multiline=True,
        key_bindings=_keys(),
        lexer=PygmentsLexer(SqlLexer),
        style=_STYLE,
        completer=ShellCompleter(names),
        complete_while_typing=False,
        complete_style=CompleteStyle.MULTI_COLUMN,
        history=open_history(),
        enable_history_search=True,
        prompt_continuation=_continuation,
    )

    async def ask_secret(question: str) -> str:
        secret: PromptSession[str] = PromptSession()
        return await secret.prompt_async(question, is_password=True, handle_sigint=False)

    session.is_interactive = True
    session.ask_secret = ask_secret
    session.say(
        f"aiolibsql {aiolibsql.__version__}, SQLite {aiolibsql.sqlite_version}. "
        ".help lists the commands, Control-D leaves."
    )
    while True:
        await names.refresh()
        try:
            text = await prompt.prompt_async(lambda: _message(session), handle_sigint=False)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            await interrupts.run(session.run_all(Splitter(""), text, is_end=True))
        except Leave:
            return
        except Failure as failure:
            session.report(failure)
        except Interrupted:
            session.out.write("\n")  # after the ^C that the terminal shows
            session.out.flush()
            session.err.note("Interrupted.", "yellow")
