"""A bare request: what a server takes for a point SELECT when the client costs next to nothing.

Owns a blocking socket and the bytes that go over it, which are protobuf as this driver sends it,
made before they are needed. Answers are looked at only as far as the next request and the row need.
Must not know: event loops, any driver.
"""

from __future__ import annotations

import base64
import os
import socket
from abc import ABC, abstractmethod
from functools import cache
from urllib.parse import urlsplit

SEVEN_BITS = 0x7F
LENGTH_16, LENGTH_64 = 126, 127
BINARY, LAST, MASKED = 0x2, 0x80, 0x80
NO_MASK = bytes(4)  # a mask there has to be; this one changes nothing


def varint(number: int) -> bytes:
    """Return a number as protobuf has it."""
    groups = bytearray()
    while number > SEVEN_BITS:
        groups.append(number & SEVEN_BITS | 0x80)
        number >>= 7
    return bytes((*groups, number))


def field(number: int, content: bytes) -> bytes:
    """Return a field that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number: int, value: int) -> bytes:
    """Return a field that is a number."""
    return varint(number << 3) + varint(value)


@cache
def statement(sql: str, key: int) -> bytes:
    """Return a statement with an integer for its only parameter."""
    return field(1, sql.encode()) + field(3, integer(2, key << 1))


class Refused(Exception):  # noqa: N818 - it is the server's answer
    """The server did not give a row."""


class Bare(ABC):
    """A connection that asks for one row after the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname  # noqa: S101 - our own URLs
        assert parts.port  # noqa: S101
        self._host = parts.netloc.encode()
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise Refused("the server closed the connection")
        return data

    @abstractmethod
    def _begin(self) -> None:
        """Do what comes before the first statement."""

    @abstractmethod
    def ask(self, sql: str, key: int) -> bytes:
        """Have a statement executed; the answer's bytes."""


class BareRequest(Bare):
    """HTTP: a pipeline of one request on a kept stream, over a connection that is kept alive."""

    def _begin(self) -> None:
        self._baton = b""
        self._head = (
            b"POST /v3-protobuf/pipeline HTTP/1.1\r\nhost: %s\r\n"
            b"content-type: application/x-protobuf\r\ncontent-length: %%d\r\n\r\n"
        ) % self._host

    def ask(self, sql: str, key: int) -> bytes:
        """Have a statement executed; the answer's bytes."""
        body = self._baton + _pipeline(sql, key)
        self._socket.sendall(self._head % len(body) + body)
        head, _, answer = self._receive().partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Refused(f"{head!r:.60}: {answer!r:.200}")
        _, _, length = head.partition(b"content-length: ")
        size = int(length.partition(b"\r\n")[0])
        while len(answer) < size:
            answer += self._receive()
        # The baton comes first; it is not long.
        self._baton = answer[: 2 + answer[1]]
        return answer


class BareMessage(Bare):
    """A WebSocket: one message, and the one that answers it."""

    def _begin(self) -> None:
        key = base64.b64encode(os.urandom(16))
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nhost: %s\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-protocol: hrana3-protobuf\r\n"
            b"sec-websocket-key: %s\r\n\r\n" % (self._host, key)
        )
        data = self._receive()
        while b"\r\n\r\n" not in data:
            data += self._receive()
        if not data.startswith(b"HTTP/1.1 101 "):
            raise Refused(f"{data!r:.200}")
        self._rest = data.partition(b"\r\n\r\n")[2]
        for opening in (field(1, b""), field(2, field(2, b""))):  # the hello; a stream, number 0
            self._socket.sendall(_frame(opening))
            self._message()

    def ask(self, sql: str, key: int) -> bytes:
        """Have a statement executed; the answer's bytes."""
        self._socket.sendall(_message(sql, key))
        return self._message()

    def _message(self) -> bytes:
        data = self._rest
        while len(data) < (end := _end_of_frame(data)):
            data += self._receive()
        self._rest = data[end:]
        return data[:end]


@cache
def _pipeline(sql: str, key: int) -> bytes:
    return field(2, field(2, field(1, statement(sql, key))))


@cache
def _message(sql: str, key: int) -> bytes:
    # The request's number and the stream's are 0, which is left out.
    return _frame(field(2, field(4, field(2, statement(sql, key)))))


def _frame(payload: bytes) -> bytes:
    length = len(payload)
    if length < LENGTH_16:
        head = bytes((BINARY | LAST, MASKED | length))
    else:
        head = bytes((BINARY | LAST, MASKED | LENGTH_16)) + length.to_bytes(2, "big")
    return head + NO_MASK + payload


def _end_of_frame(data: bytes) -> int:
    """Return where a server's frame ends, or at least one more than there is."""
    if len(data) < 10:  # noqa: PLR2004 - the longest head
        return 2 + data[1] if len(data) > 1 and data[1] < LENGTH_16 else 10
    length = data[1]
    if length == LENGTH_16:
        return 4 + int.from_bytes(data[2:4], "big")
    if length == LENGTH_64:
        return 10 + int.from_bytes(data[2:10], "big")
    return 2 + length
