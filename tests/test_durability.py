"""A process that is killed: what it knows to be committed is there, and the file is whole."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from backends import KEY

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"
ROUNDS = 50 if IS_SOAK else 10

soak = pytest.mark.soak
pytestmark = pytest.mark.anyio

# The journal mode, and what `PRAGMA wal_autocheckpoint` is set to: with "" checkpoints are ours.
KINDS = [("wal", ""), ("wal", "7"), ("delete", "")]

COMMITS = """
import asyncio, sys
import aiolibsql
async def main():
    path, mode, autocheckpoint, key = sys.argv[1:]
    conn = await aiolibsql.connect(path, encryption_key=key or None)
    await conn.execute(f"PRAGMA journal_mode={mode}")
    if autocheckpoint:
        await conn.execute(f"PRAGMA wal_autocheckpoint={autocheckpoint}")
    await conn.execute("CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, filler)")
    number = await conn.fetch_scalar("SELECT coalesce(max(i), 0) FROM t")
    while True:
        number += 1
        await conn.execute("INSERT INTO t VALUES (?, zeroblob(?))", (number, number * 37 % 5000))
        await conn.commit()
        print(number, flush=True)
asyncio.run(main())
"""

# Tasks that write and read; two in a hundred write both of a pair in one transaction.
POOL_COMMITS = """
import asyncio, sys
import aiolibsql
INSERT = "INSERT INTO t VALUES (?, ?, zeroblob(?))"
async def main():
    pool = await aiolibsql.create_pool(sys.argv[1], 4)
    await pool.execute("CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, is_pair, filler)")
    number = await pool.fetch_scalar("SELECT coalesce(max(i), 0) FROM t")
    number += number % 2
    async def work(task):
        nonlocal number
        while True:
            mine = number = number + 2
            size = mine * 37 % 500
            if task % 100 == 0:
                async with pool.transaction() as transaction:
                    await transaction.execute(INSERT, (mine, True, 0))
                    await transaction.execute(INSERT, (mine + 1, True, 10 * size))
            elif task % 100 == 1:
                await pool.executemany(INSERT, [(mine, True, 0), (mine + 1, True, size)])
            else:
                await pool.execute(INSERT, (mine, False, size))
            print(mine, flush=True)
            await pool.fetch_one("SELECT filler FROM t WHERE i = ?", (mine,))
    await asyncio.gather(*[work(task) for task in range(int(sys.argv[2]))])
asyncio.run(main())
"""

REKEYS = """
import asyncio, sys
import aiolibsql
async def main():
    conn = await aiolibsql.connect(sys.argv[1], encryption_key=sys.argv[2])
    print("now", flush=True)
    await conn.rekey(sys.argv[3])
    print("done", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def commits_until_killed(path: Path, kind: tuple[str, str], key: str, seconds: float) -> int:
    """Return the number of the last commit that a process knew of when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITS, str(path), *kind, key], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline()]
        # Not to wait for something: any moment will do.
        time.sleep(seconds)
        process.kill()
        lines += process.stdout.readlines()
    # The kill may have cut the last line short.
    return [int(line) for line in lines if line.endswith(b"\n")][-1]


def writes_until_killed(path: Path, tasks: int, seconds: float) -> set[int]:
    """Return the numbers of the writes that a process with a pool knew of when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", POOL_COMMITS, str(path), str(tasks)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline()]
        time.sleep(seconds)
        process.kill()
        lines += process.stdout.readlines()
    return {int(line) for line in lines if line.endswith(b"\n")}


def is_done_when_killed(path: Path, old: str, new: str, seconds: float) -> bool:
    """Return whether a process that changes a file's key had told so when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", REKEYS, str(path), old, new],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"now\n"
        time.sleep(seconds)
        process.kill()
        return process.stdout.readline() == b"done\n"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run once: what matters happens in the other process."""
    return "asyncio"


@soak
@pytest.mark.slow
@pytest.mark.timeout(60 * (10 if IS_SOAK else 1))
@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
async def test_process_killed_while_it_commits_keeps_every_acknowledged_one(
    tmp_path: Path, key: str
) -> None:
    chance = random.Random(KEY)
    acknowledged = dict.fromkeys(KINDS, 0)
    for round_ in range(ROUNDS):
        kind = KINDS[round_ % len(KINDS)]
        path = tmp_path / f"{kind[0]}{kind[1]}.db"
        last_told = commits_until_killed(path, kind, key, chance.uniform(0, 0.1))
        assert last_told > acknowledged[kind]
        acknowledged[kind] = last_told
        async with aiolibsql.connect(path, encryption_key=key or None) as conn:
            assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]
            rows, last = await conn.fetch_one("SELECT count(*), max(i) FROM t")
            # One more may have been committed that could not be told of any more.
            assert rows == last
            assert last_told <= last <= last_told + 1


@soak
@pytest.mark.slow
@pytest.mark.timeout(60 * (10 if IS_SOAK else 1))
@pytest.mark.parametrize(
    ("tasks", "rounds", "longest"), [(50, ROUNDS, 0.1), (2000, 30 if IS_SOAK else 3, 1.0)]
)
async def test_process_killed_under_group_commits_keeps_every_acknowledged_write(
    tmp_path: Path, tasks: int, rounds: int, longest: float
) -> None:
    chance = random.Random(KEY)
    path = tmp_path / "test.db"
    acknowledged: set[int] = set()
    for round_ in range(rounds):
        told = writes_until_killed(path, tasks, chance.uniform(0, longest))
        assert told
        acknowledged |= told
        async with aiolibsql.connect(path) as conn:
            assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]
            rows = await conn.fetch_all("SELECT i, is_pair FROM t")
        there = {i for i, _ in rows if i % 2 == 0}
        assert acknowledged <= there
        # Each task may have had one more done that it could not tell of.
        assert len(there) - len(acknowledged) <= tasks * (round_ + 1)
        assert {i + 1 for i, is_pair in rows if is_pair and i % 2 == 0} == {
            i for i, _ in rows if i % 2
        }


@soak
@pytest.mark.slow
@pytest.mark.timeout(60 * (10 if IS_SOAK else 1))
@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_process_killed_while_it_changes_the_key_leaves_a_file_with_one_of_them(
    tmp_path: Path, mode: str
) -> None:
    chance = random.Random(KEY)
    path, old, new = tmp_path / "test.db", KEY, "another"
    async with aiolibsql.connect(path, encryption_key=old) as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.executemany("INSERT INTO t VALUES (zeroblob(?))", [(3000,)] * 3000)
    for _ in range(ROUNDS // 2):
        async with aiolibsql.connect(path, encryption_key=old) as conn:
            await conn.execute(f"PRAGMA journal_mode={mode}")
        was_told = is_done_when_killed(path, old, new, chance.uniform(0, 0.15))
        valid = []
        for key in (new, old):
            with contextlib.suppress(aiolibsql.DatabaseError):
                async with aiolibsql.connect(path, encryption_key=key) as conn:
                    valid.append(key)
                    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3000
                    assert await conn.fetch_all("PRAGMA integrity_check") == [("ok",)]
        assert len(valid) == 1
        assert valid == [new] or not was_told
        if valid == [new]:
            old, new = new, old
