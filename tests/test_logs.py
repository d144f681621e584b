"""The loggers: what each of them is told, and what none of them ever is."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from backends import Backend

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from credentials import Signer
    from proxy import Proxy
    from sqld import Sqld

    Logged = Callable[[str], list[tuple[str, str]]]

pytestmark = pytest.mark.anyio


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """Return what an area's logger was told: levels and messages."""
    caplog.set_level(logging.DEBUG, logger="aiolibsql")
    return lambda area: [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == f"aiolibsql.{area}"
    ]


async def test_log_query_writes_each_statement_without_parameters(
    file_backend: Backend, logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    async with file_backend.connect() as conn:
        conn.on_query(aiolibsql.log_query)
        conn.set_slow_query_threshold(1e-9)
        await conn.execute("CREATE TABLE t (x UNIQUE)")
        await conn.executemany("INSERT INTO t VALUES (?)", [("secret",), ("secret too",)])
        with pytest.raises(aiolibsql.IntegrityError):
            await conn.execute("INSERT INTO t VALUES (:x)", {"x": "secret"})
        await conn.fetch_all("SELECT '100 %s' WHERE ? = 'secret'", ("secret",))
        conn.off_query(aiolibsql.log_query)
        await conn.commit()
    debug = [message for level, message in logged("query") if level == "DEBUG"]
    assert [message.partition(" s, ")[2] for message in debug] == [
        "0 rows: CREATE TABLE t (x UNIQUE)",
        "2 rows: INSERT INTO t VALUES (?)",
        "IntegrityError: INSERT INTO t VALUES (:x)",
        "1 rows: SELECT '100 %s' WHERE ? = 'secret'",
    ]
    assert all(float(message.split()[0]) >= 0 for message in debug)
    assert len([level for level, _ in logged("query") if level == "WARNING"]) == 4
    assert "secret too" not in caplog.text
    assert caplog.text.count("secret") == 2 * debug[-1].count("secret")


async def test_record_names_the_code_that_awaits(
    file_backend: Backend, logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    async with file_backend.connect() as conn:
        conn.set_slow_query_threshold(1e-9)
        await conn.fetch_all("SELECT 1")
    assert logged("query")
    (record,) = caplog.records
    assert record.filename == "test_logs.py"


async def test_pool_tells_of_its_connections(file_backend: Backend, logged: Logged) -> None:
    async with file_backend.create_pool(2, acquire_timeout=1, max_lifetime=0.1) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.fetch_all("SELECT x FROM t")
        opened = ("DEBUG", "connection 1 was opened")
        assert opened in logged("pool")
        async with pool.write(), anyio.create_task_group() as group:
            group.start_soon(attempt_from_outside, pool)
        ((level, message),) = [each for each in logged("pool") if each[0] == "WARNING"]
        assert (level, message) == ("WARNING", "no connection of the pool came free within 1 s")
        with anyio.fail_after(20):
            while ("DEBUG", "connection 1 was closed") not in logged("pool"):
                await pool.fetch_all("SELECT x FROM t")
                await anyio.sleep(0.01)


async def attempt_from_outside(pool: aiolibsql.ConnectionPool) -> None:
    """Ask for the writer, which another task has."""
    with pytest.raises(aiolibsql.PoolTimeout):
        await pool.acquire()


async def test_pool_tells_of_a_connection_that_can_not_be_opened(
    tmp_path: Path, logged: Logged
) -> None:
    with pytest.raises(aiolibsql.OperationalError):
        await aiolibsql.create_pool(tmp_path / "missing" / "x.db", 2)
    assert any(
        level == "WARNING" and message.startswith("a connection of the pool could not be opened")
        for level, message in logged("pool")
    )


async def test_pool_tells_of_leaks(file_backend: Backend, logged: Logged) -> None:
    async with file_backend.create_pool(2) as pool:
        await pool.execute("CREATE TABLE t (x)")
        with pytest.warns(ResourceWarning, match="not released"):
            await pool.acquire()
            gc.collect()
        cursor = await pool.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        )
        with pytest.warns(ResourceWarning, match="not read"):
            del cursor
            gc.collect()
    warnings = [message for level, message in logged("pool") if level == "WARNING"]
    assert len(warnings) == 2
    assert "not released" in warnings[0]
    assert "not read" in warnings[1]


async def test_token_that_is_asked_for_again_is_told_without_it(
    token_server: Sqld, signer: Signer, transport: str, logged: Logged,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    tokens = [signer.token(seconds=-3600), signer.token()]
    left = iter(tokens)
    backend = Backend(transport, port=token_server.port)
    async with backend.connect(auth_token=lambda: next(left)) as conn:
        await conn.fetch_all("SELECT 1")
    ((level, message),) = [each for each in logged("remote") if "token" in each[1]]
    assert level == "INFO"
    assert f"127.0.0.1 port {token_server.port}" in message
    assert not any(token in caplog.text for token in tokens)


async def test_websocket_that_is_made_again_is_told(
    hosted: Backend, proxy: Proxy, logged: Logged
) -> None:
    async with hosted.through(proxy).connect(autocommit=True) as conn:
        await conn.fetch_all("SELECT 1")
        proxy.close_connections()
        await anyio.sleep(0.05)  # until the client's side has seen it
        await conn.fetch_all("SELECT 2")
        await conn.fetch_all("SELECT 3")
    # Over HTTP a server closes connections whenever it likes.
    again = f"127.0.0.1 port {proxy.port}: the WebSocket is gone: connecting again"
    assert logged("remote") == ([] if hosted.name == "http" else [("INFO", again)])


def test_nothing_is_printed_where_nobody_has_set_up_logging() -> None:
    program = """
import asyncio, sys
import aiolibsql
async def main():
    async with aiolibsql.connect(":memory:") as conn:
        assert "logging" not in sys.modules or "asyncio" in sys.modules
        conn.set_slow_query_threshold(1e-9)
        await conn.fetch_all("SELECT 1")
        assert "aiolibsql._logs" in sys.modules
asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_import_leaves_logging_alone() -> None:
    program = "import sys, aiolibsql; assert 'logging' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
