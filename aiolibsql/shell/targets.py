"""Files that are there when they are complete, and not before."""

from __future__ import annotations

import contextlib
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiolibsql.shell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_free(path: Path, is_forced: bool) -> None:
    """Refuse to write over a file, unless that is asked for.

    Raises:
        UsageError: If there is something of that name.
    """
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: not a file")
    if path.exists() and not is_forced:
        raise UsageError(f"{path} exists; --force replaces it")


@contextmanager
def complete_file(path: Path, is_forced: bool) -> Iterator[Path]:
    """Give the name of an empty file that takes the place of another one at the end.

    Whatever goes wrong, the file of that name is what it was before.

    Args:
        path: Where it is to be.
        is_forced: Whether it may replace one.
    """
    check_free(path, is_forced)
    draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.partial")
    # As the user's umask has it; a file that is replaced keeps its mode.
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield draft
        check_free(path, is_forced)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
