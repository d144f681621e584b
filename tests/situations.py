"""The situations that cancellation, fairness and exit tests put an operation in.

Needs no event loop in particular at import; ``attempt`` and ``attempt_cancelled`` use anyio.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from typing_extensions import Self

    import aiolibsql

T = TypeVar("T")

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
# Runs until it is stopped, in constant memory.
ENDLESS = f"{NUMBERS} SELECT count(*) FROM n"
# More rows than are read ahead, then nothing for ever.
ENDLESS_AFTER_100 = f"{NUMBERS} SELECT i FROM n WHERE i <= 100"
# Writes until it is stopped.
ENDLESS_INSERT = f"INSERT INTO t {NUMBERS} SELECT i FROM n"
# Takes tens of milliseconds, and ends.
SLOW = f"{NUMBERS[:-1]} LIMIT 300000) SELECT max(i) FROM n"

# Long enough for a worker to have begun what was submitted; used where no effect can be seen.
BEGUN = 0.03
# What a cancelled caller and the next operation may take each.
PROMPT = 0.05


@dataclass
class Attempt:
    """How awaiting something went, seen from the task that awaited it."""

    value: Any = None
    error: Exception | None = None
    is_cancelled: bool = False
    # From the cancellation to the moment when the awaiting task had ended.
    seconds: float = 0.0


async def attempt(awaitable: Awaitable[Any], outcome: Attempt) -> None:
    """Await something and note how it ended; a cancellation goes on."""
    try:
        outcome.value = await awaitable
    except anyio.get_cancelled_exc_class():
        outcome.is_cancelled = True
        raise
    except Exception as error:
        outcome.error = error


async def attempt_cancelled(
    awaitable: Awaitable[Any], when: Callable[[], Awaitable[object]] | None = None
) -> Attempt:
    """Await something in a task of its own, and cancel that task once ``when`` has come."""
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, awaitable, outcome)
        await (anyio.sleep(BEGUN) if when is None else when())
        began = time.perf_counter()
        tasks.cancel_scope.cancel()
    outcome.seconds = time.perf_counter() - began
    return outcome


async def turns() -> None:
    """Give every task that is ready a few turns, so that what they await has been submitted."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


def block_until(condition: Callable[[], bool]) -> None:
    """Hold the event loop until a worker has done something, so that nothing can be delivered."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the worker did not get there"
        time.sleep(0.0005)
    # What a connection shows is published just before the result is.
    time.sleep(0.005)


async def best_of_three(measure: Callable[[], Awaitable[float]], limit: float) -> None:
    """Fail unless one of three measurements stays within a limit: the machine may be busy."""
    taken = []
    for _ in range(3):
        taken.append(await measure())
        if taken[-1] <= limit:
            return
    raise AssertionError(f"over {limit} s in every try: {taken}")


async def count(conn: aiolibsql.Connection[Any], table: str = "t") -> Any:
    """Return how many rows a table has."""
    return await conn.fetch_scalar(f"SELECT count(*) FROM {table}")


class OtherProcess:
    """Another process with a connection of the stdlib's ``sqlite3`` to the same file.

    It runs each statement when it is told to, and has run it when ``run`` returns.
    """

    SCRIPT = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
for line in sys.stdin:
    try:
        print(repr(conn.execute(line).fetchall()), flush=True)
    except sqlite3.Error as error:
        print(repr(error), flush=True)
"""

    def __init__(self, path: Path | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *statements: str) -> str:
        """Run statements and return the repr of the last one's rows."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        for sql in statements:
            self._process.stdin.write(sql + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
            assert answer.startswith("["), answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(20) == 0
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
