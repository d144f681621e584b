"""What stands between a client and a server: counts what passes, and makes it fail.

An event loop in a thread of its own serves it, so that it goes on while a test's loop is held up.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine

    from typing_extensions import Self

SIZE = 1 << 16


class Proxy:
    """Passes on what a client and the server at ``port`` say. Leaving the block ends it.

    A round trip is what a client says after it heard something, however many messages that are;
    ``delay`` keeps answers back for so long that all of them are on their way before. That counts
    requests over HTTP and exchanges over a WebSocket alike.

    Attributes:
        port: Where clients connect to.
        connections: How many did.
        round_trips: How often a client asked, in all connections.
        heard: How many bytes of answers were passed on.
        delay: Seconds by which answers are late.
        is_stalled: Nothing passes in either direction, and nothing is closed.
        status: What requests of new connections are answered with, by the proxy itself.
        hides_protobuf: The server seems to be one that has JSON alone.
        greetings: What each connection was answered first.
    """

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections = self.round_trips = self.heard = 0
        self.delay = 0.0
        self.is_stalled = self.hides_protobuf = False
        self.greetings: list[bytes] = []
        self.status: int | None = None
        self._left: int | None = None
        self._is_truncated = False
        self._server = port
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._listener = self._call(self._listen())
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def cut(self, *, after: int, truncate: bool = False) -> None:
        """Cut the connection once so many more bytes of an answer have passed.

        It is reset, or with ``truncate`` closed as if the answer had ended. Later ones are not.
        """
        self._is_truncated = truncate
        self._left = after

    def close_connections(self) -> None:
        """Close every connection that is open now."""
        self._call(self._end_tasks())

    def close(self) -> None:
        """End it, and every connection through it."""
        if self._loop.is_closed():
            return
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        self._listener.close()
        # Who was accepted a moment ago has its task in the loop's next turns, and what was closed
        # ends in them.
        for _ in range(10):
            await self._end_tasks()
            await asyncio.sleep(0.001)
        await self._listener.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self.status is None:
                await self._pass_on(reader, writer)
            else:
                await self._refuse(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            if self._tls is not None:
                writer.transport.abort()  # a client need not say goodbye
            await _close(writer)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            self.round_trips += 1
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 2\r\n\r\n{}" % (self.status or 200))
            await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A stalled proxy is a server whose system accepts and which says nothing.
        await self._while_stalled()
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server)
        conversation = _Conversation()
        pumps = {
            asyncio.ensure_future(self._ask(reader, server_writer, conversation)),
            asyncio.ensure_future(self._answer(server_reader, writer, conversation)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First: a second cancellation may end the waits here.
            server_writer.close()
            for pump in pumps:
                pump.cancel()
            try:
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                await _close(server_writer)

    async def _while_stalled(self) -> None:
        while self.is_stalled:  # noqa: ASYNC110 - it is set in other threads
            await asyncio.sleep(0.005)

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        conversation: _Conversation,
    ) -> None:
        while data := await reader.read(SIZE):
            if conversation.has_heard:
                conversation.has_heard = False
                self.round_trips += 1
            await self._while_stalled()
            if reader.at_eof():
                return  # whoever gave up in the meantime was never heard
            if self.hides_protobuf:
                # It is asked for by a path over HTTP, and by a subprotocol over a WebSocket.
                data = data.replace(b"3-protobuf", b"3-not-there")
            writer.write(data)
            await writer.drain()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        conversation: _Conversation,
    ) -> None:
        is_first = True
        while data := await reader.read(SIZE):
            if is_first:
                self.greetings.append(data)
                is_first = False
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._while_stalled()
            is_cut = self._left is not None and len(data) >= self._left
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            self.heard += len(data)
            conversation.has_heard = True
            writer.write(data)
            await writer.drain()
            if is_cut:
                self._left = None
                if not self._is_truncated:
                    writer.transport.abort()
                return


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close it; whoever does not read what was written keeps nobody waiting at the end."""
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


class _Conversation:
    """Whether a client has heard something since it spoke last."""

    has_heard = True
