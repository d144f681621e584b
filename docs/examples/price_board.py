"""A board of prices that goes on while the database's server is down: an embedded replica.

    DATABASE_URL=http://127.0.0.1:8080 python price_board.py [FILE [SECONDS [asyncio|trio]]]

The file follows the database at the server. Every read is local; one task keeps the file up to
date, and knows since when it could not. A new program starts without the server too, as long as
the file has been synced once.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import anyio

import aiolibsql


class Follower:
    """Keeps a replica up to date, and tells how old it is.

    Attributes:
        lost: What keeps it from the server, or None.
    """

    def __init__(self, conn: aiolibsql.Connection, every: float) -> None:
        self.lost: aiolibsql.Error | None = None
        self._conn = conn
        self._every = every
        self._synced: float | None = None

    async def follow(self) -> None:
        """Sync again and again; a server that is away is asked until it is back."""
        while True:
            try:
                await self._conn.sync()
            except (
                aiolibsql.ConnectError,  # it is away
                aiolibsql.TimeoutError,  # it is silent
                aiolibsql.SyncError,  # it has trouble
            ) as error:
                self.lost = error
            else:
                self.lost = None
                self._synced = time.monotonic()
            await anyio.sleep(self._every)

    def state(self) -> str:
        """Tell how fresh the file is."""
        if self._synced is None:
            return "as it was left" if self.lost is None else "as it was left, no server"
        if self.lost is None:
            return "up to date"
        return f"as of {time.monotonic() - self._synced:.1f} s ago, no server"


async def show(conn: aiolibsql.Connection, follower: Follower, every: float) -> None:
    """Print the board again and again."""
    while True:
        prices = await conn.fetch_all("SELECT name, cents FROM price ORDER BY name")
        line = ", ".join(f"{name} {cents}" for name, cents in prices)
        print(f"{line} ({follower.state()})", flush=True)
        await anyio.sleep(every)


async def main(file: str, every: float) -> None:
    """Run the board until a signal comes."""
    url, token = os.environ["DATABASE_URL"], os.environ.get("DATABASE_TOKEN")
    async with (
        aiolibsql.connect(file, sync_url=url, auth_token=token, request_timeout=5) as conn,
        anyio.create_task_group() as tasks,
    ):
        follower = Follower(conn, every)
        tasks.start_soon(follower.follow)
        tasks.start_soon(show, conn, follower, every)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await anext(aiter(signals))
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    given = sys.argv[1:] + ["prices.db", "1", "asyncio"][len(sys.argv) - 1 :]
    anyio.run(main, given[0], float(given[1]), backend=given[2])
