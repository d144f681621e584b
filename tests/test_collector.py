"""The cyclic collector while rows are made: it rests, and is left as it was."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = (
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n LIMIT 70000) "
    "SELECT i, 'text' FROM n"
)
UNDECODABLE = MANY.replace("'text'", "CAST(iif(i = 50000, x'ff', 'a') AS TEXT)")


@pytest.fixture(params=[True, False], ids=["enabled", "disabled"])
def enabled(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


@pytest.mark.anyio
async def test_fetches_leave_the_collector_as_it_was(
    conn: aiolibsql.Connection[Any], enabled: bool
) -> None:
    cursor = await conn.execute(MANY)
    assert len(await cursor.fetchmany(1000)) == 1000
    assert gc.isenabled() is enabled
    assert len(await cursor.fetchall()) == 69_000
    assert gc.isenabled() is enabled
    cursor = await conn.execute(UNDECODABLE)
    with pytest.raises(aiolibsql.OperationalError, match="decode"):
        await cursor.fetchall()
    assert gc.isenabled() is enabled


@pytest.mark.anyio
async def test_factories_find_the_collector_as_it_was(
    conn: aiolibsql.Connection[Any], enabled: bool
) -> None:
    def text(_data: bytes) -> bool:
        return gc.isenabled()

    def row(_cursor: object, _values: tuple[Any, ...]) -> bool:
        return gc.isenabled()

    conn.text_factory = text
    cursor = await conn.execute(MANY)
    assert {value for _, value in await cursor.fetchmany(100)} == {enabled}
    conn.text_factory = str
    conn.row_factory = row
    cursor = await conn.execute(MANY)
    assert set(await cursor.fetchmany(100)) == {enabled}


def test_blocking_fetches_leave_the_collector_as_it_was(enabled: bool) -> None:
    conn = dbapi.connect(":memory:")
    assert len(conn.execute(MANY).fetchall()) == 70_000
    assert gc.isenabled() is enabled
    with pytest.raises(dbapi.OperationalError, match="decode"):
        conn.execute(UNDECODABLE).fetchall()
    assert gc.isenabled() is enabled
    conn.text_factory = lambda _: gc.isenabled()
    assert {value for _, value in conn.execute(MANY).fetchmany(100)} == {enabled}
    conn.close()


def test_rows_do_not_have_the_collector_look_at_everything() -> None:
    conn = dbapi.connect(":memory:")
    begun = 0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal begun
        begun += phase == "start"

    gc.callbacks.append(note)
    try:
        rows = conn.execute(MANY).fetchall()
    finally:
        gc.callbacks.remove(note)
        conn.close()
    # Each row counts as an object: without the rest there would be one for each 700 of them.
    assert len(rows) == 70_000
    assert begun < 80


@pytest.mark.anyio
async def test_rows_on_their_way_are_not_walked(conn: aiolibsql.Connection[Any]) -> None:
    cursor = await conn.execute(MANY)
    fetching = cursor.fetchall()
    seen = []

    async def watch() -> None:
        for _ in range(1000):
            seen.append(len(gc.get_referents(fetching)))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        assert len(await fetching) == 70_000
        group.cancel_scope.cancel()
    assert len(seen) > 5, "it takes a slice at a time"
    assert max(seen) < 100
