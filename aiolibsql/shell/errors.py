"""What may go wrong in the shell, and how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiolibsql
from aiolibsql.shell.database import without_secrets

if TYPE_CHECKING:
    from aiolibsql.shell.statements import Place


class Failure(Exception):  # noqa: N818 - it tells of an error and is none of its own
    """Something went wrong at a place.

    Attributes:
        place: Where, or None for what was typed.
    """

    def __init__(self, place: Place | None, message: str) -> None:
        """Take the place and the message."""
        super().__init__(message)
        self.place = place

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.place}: {message}" if self.place else f"Error: {message}"


class UsageError(Exception):
    """A command was given what it does not take."""


class Leave(Exception):  # noqa: N818 - nothing is wrong
    """The session ends."""


def message_of(error: BaseException) -> str:
    """Return what an error says, with the file that it is about and nothing secret."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and not isinstance(error, aiolibsql.Error):
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return without_secrets(message)
