"""ConnectionPool: whatever runs at the same time, the outcome is that of some order.

The database numbers the writes as it saw them. That order explains every value and every read, has
what was acknowledged and nothing that failed, and agrees with who waited for whom.
"""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

# A trigger writes the journal, so that statements of every kind are in it.
CELL = "CREATE TABLE cell (k INTEGER PRIMARY KEY, v, last)"
JOURNAL = "CREATE TABLE journal (seq INTEGER PRIMARY KEY, number UNIQUE, k)"
TRIGGER = (
    "CREATE TRIGGER written AFTER UPDATE ON cell BEGIN"
    " INSERT INTO journal (number, k) VALUES (new.last, new.k); END"
)
PRIME = 1_000_003
# Not commutative, so that the order shows.
UPDATE = f"UPDATE cell SET v = (v * 3 + ?1) % {PRIME}, last = ?1 WHERE k = ?2"
RETURNING = f"{UPDATE} RETURNING last, v"
# Changes a row, and then fails.
FAILING = f"UPDATE OR ABORT cell SET v = {PRIME}, last = ?1, k = 0 WHERE k >= ?2 OR k < 3"
ROLLING_BACK = "INSERT OR ROLLBACK INTO cell VALUES (?2, ?1, 0)"
READ = "SELECT (SELECT coalesce(max(seq), 0) FROM journal), v FROM cell WHERE k = ?"
# Seconds that a task gives an operation, most of the time as long as it takes.
PATIENCE = (0, 0.0003, 0.001, 0.003, 0.01, *[None] * 15)
CELLS = 20
TASKS = 30
STEPS = 25
ROUNDS = 40 if os.environ.get("AIOLIBSQL_SOAK") else 3


@dataclass
class Write:
    """Writes that are one transaction, and what their task heard of it."""

    begun: int
    numbers: list[int] = field(default_factory=list)
    acknowledged: int | None = None
    has_failed: bool = False


@dataclass
class Read:
    """What a task saw: how many writes, and a value."""

    begun: int
    seq: int
    key: int
    value: int


class Model:
    """Does random things with a pool, and checks afterwards that there was an order of them."""

    def __init__(self, pool: aiolibsql.ConnectionPool, seed: int) -> None:
        self.pool = pool
        self.dice = random.Random(seed)
        self.moments = itertools.count()
        self.numbers = itertools.count(1)
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.kinds: list[tuple[int, Callable[[Write], Awaitable[None]]]] = [
            (10, self.execute),
            (10, self.execute_returning),
            (2, self.executemany),
            (2, self.executebatch),
            (2, self.transaction),
            (2, self.write_block),
            (2, self.fail),
            (1, self.fail_and_roll_back),
            (1, self.fail_in_batch),
            (1, self.leave_transaction),
            (1, self.roll_back),
        ]

    def parameters(self, write: Write) -> tuple[int, int]:
        """Return a new number for a write, and a key."""
        write.numbers.append(next(self.numbers))
        return write.numbers[-1], self.dice.randrange(1, CELLS)

    async def execute(self, write: Write) -> None:
        cursor = await self.pool.execute(UPDATE, self.parameters(write))
        assert cursor.rowcount == 1

    async def execute_returning(self, write: Write) -> None:
        cursor = await self.pool.execute(RETURNING, self.parameters(write))
        assert [number for number, _ in await cursor.fetchall()] == write.numbers

    async def executemany(self, write: Write) -> None:
        await self.pool.executemany(UPDATE, [self.parameters(write) for _ in range(3)])

    async def executebatch(self, write: Write) -> None:
        await self.pool.executebatch([(UPDATE, self.parameters(write)) for _ in range(3)])

    async def transaction(self, write: Write) -> None:
        first, second = self.parameters(write), self.parameters(write)
        async with self.pool.transaction() as transaction:
            await transaction.execute(UPDATE, first)
            await self.pool.execute(RETURNING, second)
            # Its own writes are seen in it.
            seen = await self.pool.fetch_scalar("SELECT number FROM journal ORDER BY seq DESC")
            assert seen == write.numbers[-1]
            with pytest.raises(aiolibsql.IntegrityError):
                await self.pool.execute(FAILING, (-1, 1))

    async def write_block(self, write: Write) -> None:
        first, second = self.parameters(write), self.parameters(write)
        async with self.pool.write() as connection:
            await connection.execute(UPDATE, first)
            await self.pool.execute(UPDATE, second)

    async def fail(self, write: Write) -> None:
        await self.pool.execute(FAILING, self.parameters(write))

    async def fail_and_roll_back(self, write: Write) -> None:
        await self.pool.execute(ROLLING_BACK, self.parameters(write))

    async def fail_in_batch(self, write: Write) -> None:
        statements = (UPDATE, UPDATE, FAILING)
        await self.pool.executebatch([(sql, self.parameters(write)) for sql in statements])

    async def leave_transaction(self, write: Write) -> None:
        parameters = self.parameters(write)
        async with self.pool.transaction() as transaction:
            await transaction.execute(UPDATE, parameters)
            raise aiolibsql.IntegrityError("on purpose")

    async def roll_back(self, write: Write) -> None:
        parameters = self.parameters(write)
        async with self.pool.write() as connection:
            await connection.execute(UPDATE, parameters)
            await connection.rollback()
        raise aiolibsql.IntegrityError("on purpose")

    async def read(self) -> None:
        """See a value, and how many writes there were."""
        begun, key = next(self.moments), self.dice.randrange(1, CELLS)
        ((seq, value),) = await self.pool.fetch_all(READ, (key,))
        self.reads.append(Read(begun, seq, key, value))

    async def work(self) -> None:
        """Read and write, now and then without waiting for the end."""
        weights = [weight for weight, _ in self.kinds]
        for _ in range(STEPS):
            if self.dice.random() < 0.3:
                await self.read()
                continue
            ((_, attempt),) = self.dice.choices(self.kinds, weights)
            write = Write(next(self.moments))
            self.writes.append(write)
            with anyio.move_on_after(self.dice.choice(PATIENCE)):
                try:
                    await attempt(write)
                    write.acknowledged = next(self.moments)
                except aiolibsql.IntegrityError:
                    write.has_failed = True

    def check(self, journal: list[Any], cells: list[Any]) -> None:
        """Fail unless the order of the journal explains everything."""
        assert [seq for seq, _, _ in journal] == list(range(1, len(journal) + 1))
        places = {number: seq for seq, number, _ in journal}
        known = {number for write in self.writes for number in write.numbers}
        assert places.keys() <= known
        for write in self.writes:
            found = [places[number] for number in write.numbers if number in places]
            if write.acknowledged is not None:
                assert len(found) == len(write.numbers)
            elif write.has_failed:
                assert not found
            # All or nothing, and nobody's writes between them.
            whole = list(range(found[0], found[0] + len(write.numbers))) if found else []
            assert found == whole
        self.check_order(places)
        self.check_values(journal, cells)

    def check_order(self, places: dict[int, int]) -> None:
        """Fail unless everything comes after what was acknowledged before it began."""
        ends = sorted(
            (write.acknowledged, places[write.numbers[-1]])
            for write in self.writes
            if write.acknowledged is not None
        )
        highest = list(itertools.accumulate((seq for _, seq in ends), max, initial=0))

        def acknowledged_before(moment: int) -> int:
            return highest[sum(end < moment for end, _ in ends)]

        for write in self.writes:
            if write.numbers[0] in places:
                assert places[write.numbers[0]] > acknowledged_before(write.begun)
        for read in self.reads:
            assert read.seq >= acknowledged_before(read.begun)

    def check_values(self, journal: list[Any], cells: list[Any]) -> None:
        """Fail unless what was read, and what is there now, is what the order makes of it."""
        values = dict.fromkeys(range(1, CELLS), 1)
        history = [dict(values)]
        for _, number, key in journal:
            values[key] = (values[key] * 3 + number) % PRIME
            history.append(dict(values))
        for read in self.reads:
            assert history[read.seq][read.key] == read.value
        assert dict(cells) == values


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_concurrent_operations_are_serial(file_backend: Backend, round_: int) -> None:
    database = file_backend.path if round_ else ":memory:"
    async with aiolibsql.create_pool(database, 4) as pool:
        for sql in (CELL, JOURNAL, TRIGGER):
            await pool.execute(sql)
        await pool.executemany("INSERT INTO cell VALUES (?, 1, 0)", [(k,) for k in range(1, CELLS)])
        model = Model(pool, round_)
        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(model.work)
        journal = await pool.fetch_all("SELECT seq, number, k FROM journal ORDER BY seq")
        cells = await pool.fetch_all("SELECT k, v FROM cell")
        assert pool.stats().in_use == pool.stats().waiting == 0
    model.check(journal, cells)
    # It was about something.
    assert sum(write.acknowledged is not None for write in model.writes) > 100
    assert sum(write.has_failed for write in model.writes) > 10
    assert sum(not w.has_failed and w.acknowledged is None for w in model.writes) > 10
