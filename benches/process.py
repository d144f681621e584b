"""The command's side of a measured process: starts it, asks for rounds, and notices its end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from channel import ROUND, Failure, Order, Ready

if TYPE_CHECKING:
    from measure import Sample

WORKER = Path(__file__).with_name("worker.py")
TAIL = 300  # characters of a crashed process's last words


class Process:
    """One measured process. After a `Failure` it answers nothing more."""

    def __init__(self, python: str, order: Order, timeout: float) -> None:
        self._timeout = timeout
        self._buffer = b""
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        environment = dict(os.environ)
        if order.driver == "upstream":
            # It may name this project's sources, whose package has the same name.
            environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(  # noqa: S603 - the user names the interpreter
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
        )
        self._send(asdict(order))

    def ready(self) -> Ready | Failure:
        """Wait until the process is warm."""
        answer = self._receive()
        return answer if isinstance(answer, Failure) else Ready(**answer)

    def round(self) -> Sample | Failure:
        """Let it run one round."""
        self._send(ROUND)
        answer = self._receive()
        return answer if isinstance(answer, Failure) else cast("Sample", answer)

    def close(self) -> None:
        """Let it end; a process that doesn't is ended."""
        assert self._process.stdin  # noqa: S101 - it was opened with a pipe
        assert self._process.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._words.close()

    def _send(self, message: object) -> None:
        assert self._process.stdin  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it has ended; reading tells why
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _receive(self) -> dict[str, Any] | Failure:
        """Wait for one line, for a limited time."""
        assert self._process.stdout  # noqa: S101
        end = time.monotonic() + self._timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    self._process.kill()
                    return Failure(f"no answer within {self._timeout:.0f} s")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    return self._end()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return Failure(**message) if "error" in message else message

    def _end(self) -> Failure:
        code = self._process.wait()
        self._words.seek(0)
        words = self._words.read().decode(errors="replace").strip()
        how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return Failure(f"{how}: {words[-TAIL:]}" if words else how)
