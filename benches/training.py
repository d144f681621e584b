"""What a wheel is trained with: the operations that are to be quick, a few seconds of them.

Owns the choice. It is wider than the rows of the goals, lest SQLite be laid out for these alone.
Must not know: other drivers, what is measured.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import data

import aiolibsql
from aiolibsql import dbapi

SIZE = 20_000
POINT = "SELECT value FROM kv WHERE k = ?"
BIG = "SELECT i, f, t, b FROM big"
INSERT = "INSERT INTO sink VALUES (?, ?, ?, ?)"
MIXED = [
    "SELECT t, count(*), sum(f) FROM big GROUP BY i % 100 ORDER BY 2 DESC, 1",
    "SELECT DISTINCT substr(t, -3) FROM big ORDER BY 1",
    "SELECT t, value FROM big JOIN kv ON k = i WHERE f > 9000 ORDER BY f DESC",
    "SELECT count(*) FROM big WHERE t LIKE '%77%' OR lower(t) = 'x' OR b IS NULL",
    "SELECT json_group_array(json_object('i', i, 't', t)) FROM big WHERE i < 5000",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n",
    "SELECT i, row_number() OVER (ORDER BY f DESC) FROM big LIMIT 1000",
]


def blocking(path: Path) -> None:
    """Use a blocking connection."""
    with dbapi.connect(path, isolation_level=None) as conn:
        conn.execute("PRAGMA synchronous = NORMAL")
        for key in range(1, SIZE):
            conn.execute(POINT, (key,)).fetchone()
        for _ in range(5):
            rows = conn.execute(BIG).fetchall()
            for _ in conn.execute(BIG):
                pass
            conn.execute("BEGIN")
            conn.executemany(INSERT, rows)
            conn.execute("COMMIT")
        for key in range(2000):
            conn.execute(INSERT, (key, key / 2, f"text {key}", b"blob"))
            conn.execute("UPDATE kv SET value = ? WHERE k = ?", (f"value {key}", key + 1))
            # Texts that were not seen before: parsing and planning count too.
            sql = f"SELECT i, t FROM big WHERE rowid = {key} OR rowid = {key * 2}"  # noqa: S608
            conn.execute(sql).fetchall()
        conn.execute("CREATE INDEX by_i ON big (i)")
        for key in range(2000):
            conn.execute("SELECT t FROM big WHERE i BETWEEN ? AND ?", (key, key + 10)).fetchall()
        for sql in MIXED:
            conn.execute(sql).fetchall()
        conn.execute("DELETE FROM sink WHERE i % 2")
        conn.execute("DELETE FROM sink")
    conn.close()


async def points(conn: aiolibsql.Connection, first: int, count: int) -> None:
    """Select rows by their key."""
    for key in range(first, first + count):
        cursor = await conn.execute(POINT, (key,))
        await cursor.fetchone()


async def single(path: Path) -> None:
    """Use one connection by one task, and by a hundred."""
    async with aiolibsql.connect(path) as conn:
        await points(conn, 1, 10_000)
        await asyncio.gather(*(points(conn, 1 + task * 100, 100) for task in range(100)))
        for _ in range(5):
            rows = await conn.execute_fetchall(BIG)
            async for _ in await conn.execute(BIG):
                pass
            await conn.executemany(INSERT, rows)
            await conn.commit()
        for key in range(1000):
            async with conn.transaction():
                await conn.execute(INSERT, (key, key / 2, f"text {key}", b"blob"))


async def pooled(path: Path) -> None:
    """Read and write through a pool."""

    async def task(number: int) -> None:
        for key in range(40):
            await pool.execute(INSERT, (key, key / 2, f"text {key}", b"blob"))
            await pool.fetch_one(POINT, (number * 40 + key + 1,))
            await pool.fetch_all("SELECT i, t FROM big WHERE i BETWEEN ? AND ?", (key, key + 5))

    async with aiolibsql.create_pool(path) as pool:
        await asyncio.gather(*map(task, range(100)))


def main() -> None:
    """Run everything once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "training.db")
        data.make(path, SIZE)
        blocking(path)
        asyncio.run(single(path))
        asyncio.run(pooled(path))


if __name__ == "__main__":
    main()
