"""The servers of a campaign: one for each driver, with the same tables.

Owns them until the campaign ends. The server's program is the one of the tests, which find it.
Thread: the command's. Must not know: what is asked of them.
"""

from __future__ import annotations

import http.client
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from data import BigRow, big_rows, tables, value_of

# Last, so that no test's name hides one of ours.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from sqld import MissingServerError, Sqld

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MissingServerError", "Servers"]

AT_ONCE = 1000  # rows of an INSERT


class RefusedError(Exception):
    """A server did not fill its tables."""


class Servers:
    """Servers that are started and filled when a driver first needs its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._stack = ExitStack()
        self._running: dict[str, Sqld] = {}

    def address(self, driver: str) -> str:
        """Return where a driver's server is: a host and a port.

        Raises:
            MissingServerError: There is no program to run.
        """
        if driver not in self._running:
            server = self._stack.enter_context(Sqld())
            fill(server.port, self._size)
            self._running[driver] = server
        return f"127.0.0.1:{self._running[driver].port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def fill(port: int, size: int) -> None:
    """Make the tables, and fill them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    pairs = [f"({key}, '{value_of(key)}')" for key in range(1, size + 1)]
    rows = [literal(row) for row in big_rows(size)]
    for sql in tables():
        run(connection, sql)
    for first in range(0, size, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        for table, values in (("kv", pairs[part]), ("big", rows[part])):
            run(connection, f"INSERT INTO {table} VALUES {', '.join(values)}")  # noqa: S608
    connection.close()


def literal(row: BigRow) -> str:
    """Return a row as SQL."""
    number, half, text, blob = row
    return f"({number}, {half!r}, '{text}', x'{blob.hex()}')"


def run(connection: http.client.HTTPConnection, sql: str) -> None:
    """Have a server run one statement."""
    requests = [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v2/pipeline", json.dumps({"requests": requests}), headers)
    answer = json.loads(connection.getresponse().read())
    if answer["results"][0]["type"] != "ok":
        raise RefusedError(f"{sql:.60}: {answer['results'][0]!r:.200}")
