"""The shell as its users have it: a process, with pipes or with a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend
    from typing_extensions import Self

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;"
SHELL = [sys.executable, "-W", "error", "-m", "aiolibsql"]
# What a terminal obeys, as far as the prompt sends it.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")
_PATIENCE = 30.0


def where(backend: Backend) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment that lead to a database."""
    if backend.is_hosted:
        return [backend.url, "--namespace", str(backend.namespace)], {}
    env = {"AIOLIBSQL_KEY": backend.key} if backend.key else {}
    return [str(backend.path)] if backend.path else [], env


def environment(folder: Path, **env: str) -> dict[str, str]:
    """Return an environment in which the shell keeps its files in a folder."""
    return {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm", **env}


def run(
    folder: Path, *arguments: str, stdin: str | bytes = b"", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the shell in a folder to its end."""
    done = subprocess.run(
        [*SHELL, *arguments],
        cwd=folder,
        env=environment(folder, **env),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=50,
        check=False,
    )
    texts = (done.stdout.decode(errors="surrogateescape"), done.stderr.decode())
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


def output(folder: Path, *arguments: str, stdin: str = "", **env: str) -> str:
    """Run the shell, which has to end well and to have nothing to complain about."""
    done = run(folder, *arguments, stdin=stdin, **env)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


class Terminal:
    """The shell at a terminal of its own. Leaving the block ends it.

    Attributes:
        text: All that was shown so far, without colours and cursor movements.
        raw: The same as it came.
    """

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self._terminal, other = pty.openpty()
        size = {"LINES": "24", "COLUMNS": "80"}
        # The terminal becomes the controlling one, so that Control-C is a signal.
        start = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, *SHELL, *arguments],
            cwd=folder,
            env=environment(folder, PROMPT_TOOLKIT_NO_CPR="1", **size, **env),
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self.raw = ""
        self._seen = 0

    @property
    def text(self) -> str:
        return _SEQUENCE.sub("", self.raw)

    def expect(self, text: str) -> str:
        """Wait until something is shown that was not expected before; return what came before."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.text.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, self.text[self._seen :]
            assert self._read(), f"it ended: {self.text[self._seen :]}"
        before = self.text[self._seen : found]
        self._seen = found + len(text)
        return before

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], 1)
        if ready:
            try:
                piece = os.read(self._terminal, 65536)
            except OSError:  # the other side is closed
                return False
            self.raw += piece.decode(errors="replace")
            return bool(piece)
        return True

    def send(self, text: str) -> None:
        """Type something."""
        os.write(self._terminal, text.encode())

    def enter(self, text: str) -> None:
        """Type a line."""
        self.send(text + "\r")

    def leave(self) -> int:
        """Wait for a prompt, press Control-D, and return the exit code."""
        deadline = time.monotonic() + _PATIENCE
        while not self.text[self._seen :].rstrip().endswith(">"):
            assert time.monotonic() < deadline, self.text[self._seen :]
            self._read()
        self.send("\x04")
        return self.end()

    def interrupt(self) -> None:
        """Press Control-C."""
        self.send("\x03")

    def end(self) -> int:
        """Wait for the end of the process and return its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text[self._seen :]
            self._read()
        while select.select([self._terminal], [], [], 0)[0] and self._read():
            pass
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._terminal)
