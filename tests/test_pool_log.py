"""ConnectionPool: the write-ahead log stays short, whatever is read and written for how long."""

from __future__ import annotations

import contextvars
import logging
import os
import time
from typing import TYPE_CHECKING

import anyio
import pytest

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

IS_SOAK = os.environ.get("AIOLIBSQL_SOAK") == "1"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(900 if IS_SOAK else 60),
]

LOG = logging.getLogger(__name__)
PAGE = 4096
# What a log of so many pages is made shorter for, if need be by waiting for readers.
LARGE = 4000
ROWS = 1000
# About a page for each row.
UPDATE = "UPDATE t SET a = randomblob(3500) WHERE id = ?"
# Some tens of milliseconds.
SCAN = "SELECT count(*) FROM t, (SELECT 1 FROM t LIMIT 20) WHERE length(t.a) < 0"

Pool = aiolibsql.ConnectionPool


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run under one loop: the workers do the work, whatever waits for it."""
    return "asyncio"


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return an open pool of one writer and nine readers with a table of some pages."""
    async with aiolibsql.create_pool(file_backend.path) as pool:
        await pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        await pool.executemany(
            "INSERT INTO t VALUES (?, zeroblob(3500))", [(i,) for i in range(ROWS)]
        )
        yield pool


def log_size(backend: Backend) -> int:
    assert backend.path is not None
    return backend.path.with_name(backend.path.name + "-wal").stat().st_size


async def write_pages(pool: Pool, pages: int) -> None:
    """Write at least so many pages, by several tasks."""

    async def write(task: int) -> None:
        for i in range(task, pages, 4):
            await pool.execute(UPDATE, (i % ROWS,))

    async with anyio.create_task_group() as group:
        for task in range(4):
            # Whatever block the caller is in, it is not these tasks'.
            contextvars.Context().run(group.start_soon, write, task)


async def test_log_stays_short_under_readers_and_writers(pool: Pool, file_backend: Backend) -> None:
    end = time.monotonic() + (600 if IS_SOAK else 0)
    longest = written = reads = 0

    async def read() -> None:
        nonlocal reads
        while True:
            assert await pool.fetch_scalar(SCAN) == 0
            reads += 1

    async with anyio.create_task_group() as group:
        # More than there are readers, so that each has always something to read.
        for _ in range(2 * pool.reader_count):
            group.start_soon(read)
        # Several times as much as the log may have.
        while written < 12 * LARGE or time.monotonic() < end:
            await write_pages(pool, 200)
            written += 200
            longest = max(longest, log_size(file_backend))
        group.cancel_scope.cancel()
    LOG.info("%d pages at most, %d written, %d reads", longest // PAGE, written, reads)
    # As often as it doubles readers are waited for; on a busy machine the first waits may fail.
    assert LARGE * PAGE // 4 < longest < 9 * LARGE * PAGE
    await write_pages(pool, LARGE // 2)
    assert log_size(file_backend) < 3 * LARGE * PAGE


async def test_reader_that_stays_is_named_and_the_log_is_short_without_it(
    pool: Pool, file_backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "aiolibsql.file"]

    for round_ in range(20 if IS_SOAK else 2):
        caplog.clear()
        async with pool.transaction("READ") as snapshot:
            before = await snapshot.fetch_scalar("SELECT count(*), 'the culprit' FROM t")
            await write_pages(pool, 2 * LARGE)
            assert await snapshot.fetch_scalar("SELECT count(*) FROM t") == before
        (warning,) = warnings()
        assert "can't be emptied" in warning
        assert str(file_backend.path) in warning
        assert log_size(file_backend) > LARGE * PAGE, round_
        await write_pages(pool, LARGE // 2)
        assert log_size(file_backend) < LARGE * PAGE
        assert len(warnings()) == 1
