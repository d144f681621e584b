"""ConnectionPool: whatever runs at the same time, the outcome is that of some order."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import aiolibsql

if TYPE_CHECKING:
    from conftest import Backend

pytestmark = pytest.mark.anyio

SCHEMA = "CREATE TABLE cell (k INTEGER PRIMARY KEY, v, seq)"
# Not commutative, so that the order shows. `seq` numbers the writes as the database saw them.
WRITE = (
    "UPDATE cell SET v = (v * 3 + ?) % 1000003, seq = (SELECT max(seq) FROM cell) + 1"
    " WHERE k = ? RETURNING seq"
)
CELLS = 20
ROUNDS = 40 if os.environ.get("AIOLIBSQL_SOAK") else 3


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_concurrent_writes_are_serial(file_backend: Backend, round_: int) -> None:
    dice = random.Random(round_)
    written: list[tuple[int, int, int]] = []
    async with aiolibsql.create_pool(file_backend.path, 4) as pool:
        await pool.execute(SCHEMA)
        await pool.executemany("INSERT INTO cell VALUES (?, 1, 0)", [(k,) for k in range(CELLS)])

        async def write(execute: Any, number: int, key: int) -> None:
            async with execute(WRITE, (number, key)) as cursor:
                ((seq,),) = await cursor.fetchall()
            written.append((seq, number, key))

        async def work(task: int) -> None:
            last = 0
            for step in range(25):
                number, key = task * 1000 + step, dice.randrange(CELLS)
                chance = dice.random()
                if chance < 0.6:
                    await write(pool.execute, number, key)
                elif chance < 0.7:
                    async with pool.transaction() as transaction:
                        await write(transaction.execute, number, key)
                        await write(pool.execute, number + 1, (key + 1) % CELLS)
                elif chance < 0.75:
                    with pytest.raises(KeyError):
                        async with pool.write() as connection:
                            await connection.execute(WRITE, (number, key))
                            raise KeyError
                elif chance < 0.8:
                    with pytest.raises(aiolibsql.IntegrityError):
                        await pool.execute("INSERT INTO cell VALUES (?, 0, 0)", (key,))
                else:
                    # What was acknowledged before stays seen.
                    seen = await pool.fetch_scalar("SELECT max(seq) FROM cell")
                    assert seen >= last
                    last = seen

        async with anyio.create_task_group() as group:
            for task in range(30):
                group.start_soon(work, task)
        cells = await pool.fetch_all("SELECT k, v, seq FROM cell ORDER BY k")
    written.sort()
    assert [seq for seq, _, _ in written] == list(range(1, len(written) + 1))
    oracle = sqlite3.connect(":memory:", isolation_level=None)
    oracle.execute(SCHEMA)
    oracle.executemany("INSERT INTO cell VALUES (?, 1, 0)", [(k,) for k in range(CELLS)])
    for _, number, key in written:
        oracle.execute(WRITE, (number, key)).fetchall()
    assert oracle.execute("SELECT k, v, seq FROM cell ORDER BY k").fetchall() == cells
    oracle.close()
