"""Turns of `aiolibsql.client`: as many at a time as there are, in order, none lost."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from situations import ENDLESS, turns

from aiolibsql.client import _turns, create_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio


async def test_turns_are_taken_in_the_order_of_asking() -> None:
    line, order = _turns.Turns(1), list[int]()

    async def take(number: int) -> None:
        async with line:
            order.append(number)
            await anyio.lowlevel.checkpoint()

    async with line, anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(take, number)
            await turns()
        # The group waits for them, and they for this turn.
        line.give()
        await turns()
        await line.take()
    assert order == list(range(20))


@pytest.mark.parametrize("number", [1, 3])
async def test_no_more_than_there_are_at_once_and_none_is_lost(number: int) -> None:
    line, inside, most = _turns.Turns(number), 0, 0
    lock = threading.Lock()
    dice = random.Random(number)

    async def use() -> None:
        nonlocal inside, most
        with anyio.move_on_after(dice.choice([0.001, 0.003, 10])):
            async with line:
                with lock:
                    inside += 1
                    most = max(most, inside)
                try:
                    await anyio.sleep(dice.choice([0, 0.001]))
                finally:
                    with lock:
                        inside -= 1

    async def crowd() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(use)

    def elsewhere(backend: str) -> None:
        anyio.run(crowd, backend=backend)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for backend in ("asyncio", "trio"):
                tasks.start_soon(anyio.to_thread.run_sync, elsewhere, backend)
            tasks.start_soon(crowd)
    assert inside == 0
    assert most == number
    assert [line.try_take() for _ in range(number + 1)] == [True] * number + [False]


async def test_waiter_whose_loop_is_over_is_passed_over() -> None:
    line = _turns.Turns(0)
    left: list[object] = []

    def wait_and_leave(backend: str) -> None:
        async def leave() -> None:
            work = line.take()
            left.append(work)
            # It sleeps in this loop, which ends without it.
            work.send(None)

        anyio.run(leave, backend=backend)

    for backend in ("asyncio", "trio"):
        await anyio.to_thread.run_sync(wait_and_leave, backend)
    line.give()
    assert line.try_take()
    for work in left:
        work.close()  # type: ignore[attr-defined]
    assert not line.try_take()


async def test_call_that_is_closed_gives_its_turn_back(client_url: str) -> None:
    async with create_client(client_url) as client:
        await client.execute("CREATE TABLE t (x)")
        works: list[Callable[[], Awaitable[object]]] = [
            lambda: client.execute(ENDLESS),
            lambda: client.batch(["INSERT INTO t VALUES (1)", ENDLESS]),
        ]
        for make in works:
            work = make()
            assert hasattr(work, "send")
            work.send(None)
            work.close()  # type: ignore[attr-defined]
            with anyio.fail_after(10):
                await client.execute("INSERT INTO t VALUES (1)")
