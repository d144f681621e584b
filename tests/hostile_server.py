"""A server whose answers are wrong: a real one's, with some of their bytes changed.

First it stands between a client and a real server and writes down what that answers (`Hostile` with
an upstream); then it answers alone, from what was written down. Each of its connections has a
thread. ``spoil`` says what becomes of the answer that is due.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def mutated(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return the bytes with something wrong about them."""
    made = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        place = chance.randrange(len(made) + 1)
        end = min(len(made), place + chance.choice([1, 1, 2, 4, 16, 256]))
        kind = chance.randrange(8)
        if kind == 0 and made:
            made[place % len(made)] ^= 1 << chance.randrange(8)
        elif kind == 1 and made:
            made[place % len(made)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, ord('"'), ord("{")])
        elif kind == 2:
            del made[place:end]
        elif kind == 3:
            made[place:place] = made[place:end] * chance.choice([1, 2, 50])
        elif kind == 4:
            made[place:place] = chance.randbytes(chance.choice([1, 4, 64]))
        elif kind == 5:
            del made[place:]
        elif kind == 6:
            made[place:end] = chance.choice(
                [b"\xff" * 9 + b"\x01", b"9" * 30, b"-1", b"null", b"[]"]
            )
        else:
            other = chance.choice(others)
            made[place:] = other[chance.randrange(len(other) + 1) :]
    return bytes(made)


# What of protobuf is needed to find the number of a request in its message.


def varint(number: int) -> bytes:
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give each field's number and value; there are no fixed ones where this is used."""

    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            length = number()
            yield key >> 3, data[place : place + length]
            place += length


def written(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def asked(message: bytes) -> tuple[int | None, str]:
    """Return which request a client's message is, and its kind; a hello has no number."""
    if message.startswith(b"{"):
        said = json.loads(message)
        if said["type"] == "hello":
            return None, "hello"
        return said["request_id"], said["request"]["type"]
    ((outer, inner),) = fields(message)
    if outer == 1:
        return None, "hello"
    assert isinstance(inner, bytes)
    parts = dict(fields(inner))
    request = parts.pop(1, 0)
    assert isinstance(request, int)
    return request, str(*parts)


def request_of(answer: bytes) -> int | None:
    """Return which request a server's message answers."""
    if answer.startswith(b"{"):
        number: int | None = json.loads(answer).get("request_id")
        return number
    ((outer, inner),) = fields(answer)
    if outer < 3:
        return None
    assert isinstance(inner, bytes)
    found = dict(fields(inner)).get(1, 0)
    assert isinstance(found, int)
    return found


def answering(answer: bytes, request: int | None) -> bytes:
    """Return the answer as one to this request."""
    if request is None:
        return answer
    if answer.startswith(b"{"):
        return json.dumps({**json.loads(answer), "request_id": request}).encode()
    ((outer, inner),) = fields(answer)
    assert isinstance(inner, bytes)
    rest = b"".join(written(number, value) for number, value in fields(inner) if number != 1)
    return written(outer, written(1, request) + rest)


class Reader:
    """What arrives at a socket, in portions that are asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""

    def until(self, end: bytes) -> bytes:
        while end not in self._data:
            self._receive()
        found, self._data = self._data.split(end, 1)
        return found + end

    def exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._receive()
        found, self._data = self._data[:size], self._data[size:]
        return found

    def _receive(self) -> None:
        received = self._connection.recv(1 << 16)
        if not received:
            raise EOFError
        self._data += received

    def frame(self) -> tuple[int, bytes]:
        """Read a frame of a WebSocket; the code and what it holds."""
        first, second = self.exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        mask = self.exactly(4) if second & 0x80 else b""
        data = self.exactly(size)
        if mask:
            whole = mask * (size // 4 + 1)
            number = int.from_bytes(data, "big") ^ int.from_bytes(whole[:size], "big")
            data = number.to_bytes(size, "big")
        return first & 0x0F, data


def framed(code: int, data: bytes) -> bytes:
    if len(data) < 126:
        return struct.pack("!BB", 0x80 | code, len(data)) + data
    if len(data) < 1 << 16:
        return struct.pack("!BBH", 0x80 | code, 126, len(data)) + data
    return struct.pack("!BBQ", 0x80 | code, 127, len(data)) + data


def response(status: str, body: bytes, kind: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Hostile:
    """Serves HTTP and WebSockets at ``port``. Leaving the block ends it.

    Attributes:
        upstream: The port of the real server, while its answers are written down.
        encoding: What is spoken, ``"protobuf"`` or ``"json"``.
        topic: The operation that is on, under which answers are written down and found.
        spoil: Called with each honest answer on its way; returns what is sent for it, and whether
            the connection ends after that. None: honest answers.
    """

    def __init__(self, encoding: str) -> None:
        self.upstream: int | None = None
        self.encoding = encoding
        self.topic = ""
        self.spoil: Callable[[Answer], tuple[bytes, bool]] | None = None
        # Of HTTP: what was answered to the requests of a topic, in their order.
        self.bodies: dict[str, list[bytes]] = {}
        # Of WebSockets: what was answered to requests of a kind.
        self.messages: dict[tuple[str, str], list[bytes]] = {}
        self._place = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="hostile server", daemon=True).start()

    def begin(self, topic: str) -> None:
        """Say which operation comes next."""
        self.topic, self._place = topic, 0

    @property
    def all(self) -> list[bytes]:
        """Everything that was written down."""
        return [
            data for found in (*self.bodies.values(), *self.messages.values()) for data in found
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Else `accept` would not notice.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = Reader(connection)
        try:
            with connection, contextlib.suppress(OSError, EOFError):
                while True:
                    head = reader.until(b"\r\n\r\n").decode()
                    if "upgrade: websocket" in head.lower():
                        self._serve_socket(connection, reader, head)
                        return
                    if not self._serve_request(connection, reader, head):
                        return
        finally:
            self._open.discard(connection)

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        """Send an answer or what is made of it; whether the connection goes on."""
        data, is_over = (answer.whole(), False) if self.spoil is None else self.spoil(answer)
        connection.sendall(data)
        return not is_over

    # HTTP.

    def _serve_request(self, connection: socket.socket, reader: Reader, head: str) -> bool:
        method, path, _ = head.split(" ", 2)
        sizes = [line[15:] for line in head.lower().split("\r\n") if line[:15] == "content-length:"]
        body = reader.exactly(int(sizes[0]) if sizes else 0)
        if method == "GET":
            status = "200 OK" if ("protobuf" in path) == (self.encoding == "protobuf") else "404 No"
            if status == "200 OK":
                return self._send(connection, Answer(b"", status=status))
            connection.sendall(response(status, b""))
            return True
        found = self.bodies.setdefault(self.topic, [])
        if self.upstream is not None:
            found.append(self._ask(path, head, body))
        answer = found[min(self._place, len(found) - 1)]
        self._place += 1
        return self._send(connection, Answer(answer, status="200 OK"))

    def _ask(self, path: str, head: str, body: bytes) -> bytes:
        assert self.upstream is not None
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=20)
        try:
            lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
            upstream.request("POST", path, body, dict(lines))
            answer = upstream.getresponse()
            assert answer.status == http.client.OK
            return answer.read()
        finally:
            upstream.close()

    # WebSockets.

    def _serve_socket(self, connection: socket.socket, reader: Reader, head: str) -> None:
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        names = {name.lower(): value for name, value in lines.items()}
        key = names["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        protocol = b"hrana3-protobuf" if self.encoding == "protobuf" else b"hrana3"
        told = b"sec-websocket-accept: " + accept + b"\r\nsec-websocket-protocol: " + protocol
        if not self._send(connection, Answer(SWITCHING + told + b"\r\n\r\n")):
            return
        upstream = None if self.upstream is None else Upstream(self.upstream, protocol)
        with upstream or contextlib.nullcontext():
            while True:
                code, message = reader.frame()
                if code not in {TEXT, BINARY}:
                    continue
                request, kind = asked(message)
                if upstream is not None:
                    # One at a time: what comes is what this one is answered with.
                    answer = upstream.ask(code, message)
                    assert request_of(answer) == request
                    self.messages.setdefault((self.topic, kind), []).append(answer)
                found = self.messages.get((self.topic, kind))
                found = found or next(v for (_, k), v in self.messages.items() if k == kind)
                answer = answering(found[-1 if upstream else 0], request)
                if not self._send(connection, Answer(answer, code=code)):
                    return


class Answer:
    """One answer: what it holds, and how it is wrapped.

    Attributes:
        data: The body of an HTTP response, the message of a WebSocket, or the head of its begin.
    """

    def __init__(self, data: bytes, *, status: str | None = None, code: int | None = None) -> None:
        self.data = data
        self._status = status
        self._code = code

    @property
    def is_http(self) -> bool:
        return self._status is not None

    def whole(self, data: bytes | None = None) -> bytes:
        """Return what is sent for it, or for other data in its place."""
        data = self.data if data is None else data
        if self._status is not None:
            return response(self._status, data)
        return data if self._code is None else framed(self._code, data)


class Upstream:
    """A WebSocket to the real server, as far as it is needed to be asked."""

    def __init__(self, port: int, protocol: bytes) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._reader = Reader(self._connection)
        key = base64.b64encode(b"0123456789abcdef")
        self._connection.sendall(
            b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n"
            b"sec-websocket-protocol: " + protocol + b"\r\n\r\n"
        )
        assert b" 101 " in self._reader.until(b"\r\n\r\n")

    def ask(self, code: int, message: bytes) -> bytes:
        # A client masks; with zeros nothing changes.
        whole = bytearray(framed(code, message))
        whole[1] |= 0x80
        head = len(whole) - len(message)
        whole[head:head] = bytes(4)
        self._connection.sendall(whole)
        while True:
            code, answer = self._reader.frame()
            if code in {TEXT, BINARY}:
                return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
