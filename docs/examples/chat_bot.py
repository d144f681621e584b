"""A chat bot that remembers everything: asyncio, many rooms, and many small writes.

    python chat_bot.py [DATABASE]

No network is needed: the people are made up, talk in all rooms at the same time, and leave after
a while. Each message is written as soon as it comes, and the bot answers what begins with "!".
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass

import aiolibsql

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    room TEXT NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS message_author ON message (author);
CREATE TABLE IF NOT EXISTS thanks (
    name TEXT PRIMARY KEY,
    times INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Message:
    """What somebody says in a room."""

    room: str
    author: str
    text: str


class Bot:
    """Listens in every room, and keeps what it hears in a database.

    Attributes:
        replies: What it has said.
    """

    def __init__(self, pool: aiolibsql.ConnectionPool) -> None:
        self.replies: list[str] = []
        self._pool = pool

    async def hear(self, message: Message) -> None:
        """Remember a message, and answer it if it is for the bot."""
        # Nothing has to be collected or put off: what waits at the same time shares a commit.
        await self._pool.execute(
            "INSERT INTO message (room, author, text) VALUES (?, ?, ?)",
            (message.room, message.author, message.text),
        )
        command, *names = message.text.split()
        if command == "!thanks" and names:
            await self.thank(names[0])
        elif command == "!count":
            self.replies.append(f"{message.author}: {await self.count(message.author)}")

    async def thank(self, name: str) -> None:
        """Add one to somebody's thanks; concurrent ones are all counted."""
        await self._pool.execute(
            "INSERT INTO thanks VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1", (name,)
        )

    async def count(self, author: str) -> str:
        """Tell how much somebody has said; readers do not wait for those that write."""
        query = "SELECT count(*) FROM message WHERE author = ?"
        return f"{await self._pool.fetch_scalar(query, (author,))} messages so far"

    async def most_thanked(self) -> list[tuple[str, int]]:
        """Return who was thanked most."""
        return await self._pool.fetch_all(
            "SELECT name, times FROM thanks ORDER BY times DESC, name LIMIT 3"
        )


PEOPLE = ["ann", "bob", "cleo", "dave", "eve", "finn"]
ROOMS = ["books", "films", "music", "garden"]
MESSAGES_EACH = 50


async def talk(bot: Bot, room: str, author: str) -> None:
    """Be a person in a room."""
    chance = random.Random(f"{room} {author}")  # noqa: S311 - the same on every run
    for number in range(MESSAGES_EACH):
        others = [name for name in PEOPLE if name != author]
        said = chance.choice(["hello", "well, well", "!count", f"!thanks {chance.choice(others)}"])
        await bot.hear(Message(room, author, said))
        if number % 10 == 0:
            await asyncio.sleep(chance.random() / 100)  # thinks


async def main(database: str) -> None:
    """Let them talk, and tell what came of it."""
    async with aiolibsql.create_pool(database, size=4) as pool:
        async with pool.write() as connection:
            await connection.executescript(SCHEMA)
        bot = Bot(pool)
        await asyncio.gather(*[talk(bot, room, author) for room in ROOMS for author in PEOPLE])
        messages = await pool.fetch_scalar("SELECT count(*) FROM message")
        print(f"{messages} messages in {len(ROOMS)} rooms, {len(bot.replies)} replies")
        for name, times in await bot.most_thanked():
            print(f"{name} was thanked {times} times")
        stats = pool.stats()
        print(f"{stats.grouped_writes} writes shared {stats.group_commits} commits")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "chat.db"))
