"""A dictionary over TCP: pure trio, a task for each client, one pool for all of them.

    python word_server.py [DATABASE [PORT]]

Talk to it with ``nc 127.0.0.1 7000``, one request a line:

    SET blue the colour of the sky
    GET blue
    FIND bl
    QUIT

Control-C or SIGTERM ends it; a request in hand is still done and answered.
"""

from __future__ import annotations

import functools
import signal
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LONGEST_LINE = 4096
# For how long a client may be silent, and how long a request may take.
IDLE_SECONDS = 60
REQUEST_SECONDS = 5


async def answer(pool: aiolibsql.ConnectionPool, line: str) -> str:
    """Do what a line asks for."""
    match line.split(maxsplit=2):
        case ["SET", word, meaning]:
            await pool.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (word, meaning))
            return "OK"
        case ["GET", word]:
            query = "SELECT meaning FROM entry WHERE word = ?"
            return str(await pool.fetch_scalar(query, (word,)) or "?")
        case ["FIND", start]:
            query = "SELECT word FROM entry WHERE word GLOB ? || '*' ORDER BY word LIMIT 20"
            return " ".join(word for (word,) in await pool.fetch_all(query, (start,))) or "?"
        case _:
            return "ERROR try SET word meaning, GET word, FIND start, QUIT"


async def lines(stream: trio.SocketStream) -> AsyncGenerator[str, None]:
    """Cut what a client sends into lines, until it leaves, is silent, or sends too long a one."""
    unfinished = b""
    while len(unfinished) < LONGEST_LINE:
        received = b""
        with trio.move_on_after(IDLE_SECONDS):
            received = await stream.receive_some()
        if not received:
            return
        *complete, unfinished = (unfinished + received).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace").strip()


async def serve(pool: aiolibsql.ConnectionPool, stream: trio.SocketStream) -> None:
    """Answer one client's requests, one after the other."""
    try:
        async with aclosing(lines(stream)) as requests:
            async for line in requests:
                if line == "QUIT":
                    return
                reply = "ERROR this takes too long"
                # Shielded: it is done although the server is about to end. Not for ever, though.
                with trio.move_on_after(REQUEST_SECONDS, shield=True):
                    try:
                        reply = await answer(pool, line)
                    except aiolibsql.Error as error:
                        reply = f"ERROR {error}"
                with trio.move_on_after(REQUEST_SECONDS, shield=True):
                    await stream.send_all(f"{reply}\n".encode())
    except trio.BrokenResourceError:
        pass  # the client has gone


async def main(database: str, port: int) -> None:
    """Serve until a signal comes."""
    async with aiolibsql.create_pool(database) as pool, trio.open_nursery() as nursery:
        await pool.execute("CREATE TABLE IF NOT EXISTS entry (word TEXT PRIMARY KEY, meaning TEXT)")
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            listen = functools.partial(trio.serve_tcp, host="127.0.0.1")
            (listener,) = await nursery.start(listen, functools.partial(serve, pool), port)
            print("listening on", listener.socket.getsockname()[1], flush=True)
            await anext(aiter(signals))
        print("ending", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    given = sys.argv[1:] + ["words.db", "7000"][len(sys.argv) - 1 :]
    trio.run(main, given[0], int(given[1]))
