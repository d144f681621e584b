"""A server for replicas that are written offline, as no server that can be installed serves them.

It keeps a database as the one does that it stands in for: an export with which each generation
begins, and the frames that were pushed since. Each of its connections has a thread.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

PAGE = 4096
FRAME = 24 + PAGE


def commits(frame: bytes) -> bool:
    return frame[4:8] != bytes(4)


class SyncServer:
    """One database. Leaving the block ends the server.

    Attributes:
        port: Where it listens, also after a restart.
        generation: The last of its logs.
        frames: What was pushed to that.
        token: What has to be sent along; None: nothing.
        requests: The routes that were asked for, each with its method.
        forgets: A push that ends in the middle of a transaction is forgotten, unless the next one
            goes on with its baton.
        faults: What becomes of the next requests, one each: a method, and a name of ``_Handler``'s
            faults.
    """

    def __init__(self) -> None:
        self.port = 0
        self.generation = 1
        self.frames: list[bytes] = []
        self.exports = {1: b""}
        self.ends: dict[int, list[bytes]] = {}
        self.token: str | None = None
        self.requests: list[tuple[str, str]] = []
        self.forgets = False
        self.faults: list[tuple[str, str]] = []
        self.on_push: Callable[[], None] | None = None
        self.released = threading.Event()
        self._baton: str | None = None
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._sockets: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        database = self

        class Handler(_Handler):
            server_of = database

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: connections are cut on purpose."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for open_ in list(self._sockets):
            with contextlib.suppress(OSError):
                open_.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def database(self) -> bytes:
        """Return the database that export and frames come to."""
        pages = self.exports[self.generation]
        made = {n // PAGE: pages[n : n + PAGE] for n in range(0, len(pages), PAGE)}
        whole = max((n for n, frame in enumerate(self.frames, 1) if commits(frame)), default=0)
        size = len(made)
        for frame in self.frames[:whole]:
            made[int.from_bytes(frame[:4], "big") - 1] = frame[24:]
            size = int.from_bytes(frame[4:8], "big") or size
        return b"".join(made[n] for n in range(size))

    def begin_generation(self) -> None:
        """Write the log back, as the server does by itself now and then."""
        with self._lock:
            whole = self.database()
            self.ends[self.generation] = self.frames
            self.generation += 1
            self.exports[self.generation] = whole
            self.frames = []

    def query(self, folder: Path, sql: str) -> list[Any]:
        """Ask the database something, with another SQLite than that of the tests."""
        path = folder / f"server-{uuid.uuid4().hex}.db"
        image = bytearray(self.database())
        # Without its log it is not in WAL mode.
        image[18:20] = b"\1\1"
        path.write_bytes(image)
        with contextlib.closing(sqlite3.connect(path)) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return conn.execute(sql).fetchall()

    def push(self, start: int, frames: list[bytes], baton: str | None) -> dict[str, Any]:
        with self._lock:
            if self.forgets and self._baton is not None and baton != self._baton:
                while self.frames and not commits(self.frames[-1]):
                    self.frames.pop()
            there = len(self.frames)
            if start <= there:
                return {"status": "conflict", "generation": self.generation, "max_frame_no": there}
            if start == there + 1:
                self.frames += frames
            is_unfinished = bool(self.frames) and not commits(self.frames[-1])
            self._baton = uuid.uuid4().hex if is_unfinished else None
            answer = {
                "status": "ok",
                "generation": self.generation,
                "max_frame_no": len(self.frames),
            }
            return answer | ({"baton": self._baton} if is_unfinished else {})

    def pull(self, generation: int, start: int, end: int) -> bytes | None:
        with self._lock:
            log = self.frames if generation == self.generation else self.ends.get(generation, [])
            return b"".join(log[start - 1 : end - 1]) or None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: SyncServer

    def setup(self) -> None:
        super().setup()
        self.server_of._sockets.add(self.connection)

    def finish(self) -> None:
        self.server_of._sockets.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes | dict[str, Any]) -> None:
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        if self.fault == "cut answer":
            self.cut()
        self.send_response(status)
        length = len(body)
        self.send_header("content-length", str(length))
        self.end_headers()
        if self.fault == "cut body":
            self.wfile.write(body[: length // 2])
            self.cut()
        self.wfile.write(body)

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionError

    def begin(self) -> bool:
        server = self.server_of
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        server.requests.append((self.command, self.path))
        self.fault = ""
        if server.faults and server.faults[0][0] == self.command:
            self.fault = server.faults.pop(0)[1]
        if self.fault == "cut request":
            self.cut()
        if self.fault == "silence":
            server.released.wait()
        if self.fault.isdigit():
            self.answer(int(self.fault), {"error": "as the test wants it"})
            return False
        given = self.headers.get("authorization")
        if server.token is not None and given != f"Bearer {server.token}":
            self.answer(401, {"error": "Unauthorized"})
            return False
        return True

    def do_GET(self) -> None:
        server = self.server_of
        if not self.begin():
            return
        match self.path.split("/")[1:]:
            case ["info"]:
                self.answer(200, {"current_generation": server.generation})
            case ["export", generation]:
                self.answer(200, server.exports[int(generation)])
            case ["sync", generation, start, end]:
                frames = server.pull(int(generation), int(start), int(end))
                if frames is None:
                    self.answer(400, {"generation": server.generation})
                else:
                    self.answer(200, frames)
            case _:
                self.answer(404, b"")

    def do_POST(self) -> None:
        server = self.server_of
        if not self.begin():
            return
        match self.path.split("/")[1:]:
            case ["sync", generation, start, end, *baton]:
                assert len(self.body) == FRAME * (int(end) - int(start))
                if server.on_push is not None:
                    server.on_push()
                if int(generation) != server.generation:
                    self.answer(409, b"")
                    return
                frames = [self.body[n : n + FRAME] for n in range(0, len(self.body), FRAME)]
                answer = server.push(int(start), frames, baton[0] if baton else None)
                self.answer(200, answer)
            case _:
                self.answer(404, b"")
