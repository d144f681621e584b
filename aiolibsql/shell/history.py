"""What was typed, in a file that only its owner can read and that has no keys in it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

if TYPE_CHECKING:
    from typing_extensions import Self

# What tells a key, a password or a token; rather too much than too little.
_SECRET = re.compile(
    r"""(?ix) pragma\s+ (\S+\.)? ["'`\[]? (hex|text)?(re)?key\b
      | \bkey\s* (=\s*)? ["'x]
      | auth_?token | password | ://[^/\s]*@ """
)
# Beyond this the older half goes.
_LONGEST = 1_000_000


def is_secret(text: str) -> bool:
    """Tell whether a text may have a key, a password or a token in it."""
    return _SECRET.search(text) is not None


def state_folder() -> Path:
    """Return where programs keep such things, for this user."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (
        Path(state) if Path(state).is_absolute() else Path.home() / ".local/state"
    ) / "aiolibsql"


class PrivateHistory(FileHistory):
    """A file of what was typed, but for secrets, which are remembered until the shell ends."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the file if need be, and see to it that nobody else can read it.

        Raises:
            OSError: If that can't be done.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        path.chmod(0o600)
        if path.stat().st_size > _LONGEST:
            text = path.read_bytes()[-_LONGEST // 2 :]
            path.write_bytes(text[text.find(b"\n\n") + 1 :])  # an empty line is before each entry
        return cls(path)

    def store_string(self, string: str) -> None:
        """Write an entry into the file."""
        if not is_secret(string):
            # A full disk is no reason to end the session.
            with contextlib.suppress(OSError):
                super().store_string(string)


def open_history() -> History:
    """Return the user's history, or an empty one where there can be no file."""
    try:
        return PrivateHistory.open(state_folder() / "history")
    except (OSError, RuntimeError):
        return InMemoryHistory()
