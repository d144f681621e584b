"""ConnectionPool.rekey: all connections get the new key, or all keep the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from backends import KEY
from pool_tasks import until
from situations import ENDLESS, NUMBERS, OtherProcess

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool
NEW = b"another key"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def pool(path: Path) -> AsyncIterator[Pool]:
    """Return a pool of an encrypted file with a table ``t`` of one row."""

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("twice", 1, lambda x: 2 * x)

    async with aiolibsql.create_pool(
        path, 4, encryption_key=KEY, init=init, acquire_timeout=5, timeout=0.2
    ) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


async def assert_serves(pool: Pool) -> None:
    """Fail unless every connection reads and writes, and has been set up."""
    lent = [await pool.acquire(readonly=True) for _ in range(pool.reader_count)]
    lent.append(await pool.acquire())
    for connection in lent:
        assert await connection.fetch_scalar("SELECT twice(x) FROM t") == 42
    for connection in lent:
        await pool.release(connection)
    await pool.execute("CREATE TABLE IF NOT EXISTS u (x)")
    await pool.execute("INSERT INTO u VALUES (1)")
    assert await pool.fetch_scalar("SELECT count(*) FROM u") > 0
    assert await pool.fetch_scalar("PRAGMA journal_mode") == "wal"


async def key_of(path: Path) -> Any:
    """Return which key opens a file that nobody has open."""
    for key in (KEY, NEW, None):
        try:
            async with aiolibsql.connect(path, encryption_key=key) as connection:
                assert await connection.fetch_scalar("SELECT x FROM t") == 21
        except aiolibsql.DatabaseError:
            continue
        return key
    raise AssertionError("no key opens it")


@pytest.mark.parametrize("new", [NEW, None, KEY])
async def test_every_connection_gets_the_new_key(pool: Pool, path: Path, new: Any) -> None:
    await assert_serves(pool)
    await pool.rekey(new)
    await assert_serves(pool)
    await pool.rekey(KEY)
    await pool.rekey(new)
    await assert_serves(pool)
    assert repr(NEW) not in repr(pool)
    await pool.close()
    assert await key_of(path) == new


async def test_plain_file_is_encrypted(path: Path) -> None:
    async with aiolibsql.create_pool(path, 3) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        await pool.rekey(NEW)
        assert await pool.fetch_scalar("SELECT x FROM t") == 21
    assert await key_of(path) == NEW


async def test_pep_249_pool(path: Path) -> None:
    """There a connection that is lent is always in a transaction."""
    async with aiolibsql.create_pool(path, 3, encryption_key=KEY, autocommit=False) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        await pool.rekey(NEW)
        async with pool.write() as connection:
            assert connection.in_transaction
            assert await connection.fetch_scalar("SELECT x FROM t") == 21
    assert await key_of(path) == NEW


async def test_what_runs_is_waited_for_and_what_comes_waits(pool: Pool) -> None:
    written = 0
    is_over = False

    async def use(number: int) -> None:
        nonlocal written
        while not is_over:
            async with pool.execute(f"{NUMBERS} SELECT i FROM n LIMIT 300") as cursor:
                assert len(await cursor.fetchall()) == 300
            await pool.execute("INSERT INTO u VALUES (?)", (number,))
            written += 1
            async with pool.transaction() as block:
                assert await block.fetch_scalar("SELECT x FROM t") == 21
                await anyio.lowlevel.checkpoint()
            async with pool.read() as connection:
                assert await connection.fetch_scalar("SELECT twice(x) FROM t") == 42

    await pool.execute("CREATE TABLE u (x)")
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(use, number)
        for key in (NEW, None, KEY, NEW):
            await anyio.sleep(0.02)
            await pool.rekey(key)
        is_over = True
    assert await pool.fetch_scalar("SELECT count(*) FROM u") == written
    await assert_serves(pool)


async def test_another_one_meanwhile_is_refused(pool: Pool, path: Path) -> None:
    refused: list[str] = []

    async def rekey(key: Any) -> None:
        try:
            await pool.rekey(key)
        except aiolibsql.ProgrammingError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(rekey, NEW)
    assert refused == ["another rekey() of this pool is running"] * 2
    await assert_serves(pool)
    await pool.close()
    assert await key_of(path) == NEW


async def test_key_that_is_none_is_refused_before_anything_is_closed(pool: Pool) -> None:
    async with pool.read():
        pass
    connection = await pool.acquire()
    for key, error in ((5, TypeError), ("", ValueError), ("x" * 33, ValueError)):
        with pytest.raises(error, match="new_key"):
            await pool.rekey(key)  # type: ignore[arg-type]
    await pool.release(connection)
    await assert_serves(pool)


async def test_inside_of_a_block_it_is_refused(pool: Pool) -> None:
    for block in (pool.read(), pool.write(), pool.transaction(), pool.transaction("READ")):
        async with block:
            with pytest.raises(aiolibsql.ProgrammingError, match="inside of a block"):
                await pool.rekey(NEW)
    await assert_serves(pool)


async def test_in_memory_it_is_refused() -> None:
    async with aiolibsql.create_pool(":memory:") as pool:
        await pool.execute("CREATE TABLE t (x)")
        with pytest.raises(aiolibsql.ProgrammingError, match="in memory"):
            await pool.rekey(NEW)
        assert await pool.get_tables() == ["t"]


async def test_loan_that_does_not_come_back(path: Path) -> None:
    async with aiolibsql.create_pool(path, 3, encryption_key=KEY, acquire_timeout=0.1) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        for readonly in (True, False):
            connection = await pool.acquire(readonly)
            with pytest.raises(aiolibsql.PoolTimeout):
                await pool.rekey(NEW)
            with anyio.move_on_after(0.02):
                await pool.rekey(NEW)
            # Nothing has happened.
            assert await connection.fetch_scalar("SELECT x FROM t") == 21
            await pool.release(connection)
            assert pool.stats().in_use == 0
            assert await pool.fetch_scalar("SELECT x FROM t") == 21
    assert await key_of(path) == KEY


async def test_file_that_others_have_open_keeps_its_key(pool: Pool, path: Path) -> None:
    async with aiolibsql.connect(path, encryption_key=KEY) as other:
        with pytest.raises(aiolibsql.TimeoutError, match="all other connections"):
            await pool.rekey(NEW)
        await assert_serves(pool)
        assert await other.fetch_scalar("SELECT x FROM t") == 21
    await pool.rekey(NEW)
    await assert_serves(pool)


async def test_file_that_another_process_has_open_keeps_its_key(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    async with aiolibsql.create_pool(path, 3, timeout=0.1) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        with OtherProcess(path) as other:
            assert other.run("SELECT x FROM t") == "[(21,)]"
            with pytest.raises(aiolibsql.TimeoutError):
                await pool.rekey(NEW)
            assert await pool.fetch_scalar("SELECT x FROM t") == 21
            await pool.execute("UPDATE t SET x = x")
    assert await key_of(path) is None


async def test_reader_that_can_not_be_opened_again_is_told(path: Path) -> None:
    opened = 0

    async def init(_: aiolibsql.Connection[Any]) -> None:
        nonlocal opened
        opened += 1
        if opened == 5:
            raise LookupError("the second of the readers")

    async with aiolibsql.create_pool(
        path, 3, encryption_key=KEY, init=init, acquire_timeout=5
    ) as pool:
        await pool.execute("CREATE TABLE t (x)")
        await pool.execute("INSERT INTO t VALUES (21)")
        with pytest.raises(
            aiolibsql.OperationalError, match="the key was changed, but 1 of 2 readers"
        ) as raised:
            await pool.rekey(NEW)
        assert isinstance(raised.value.__cause__, LookupError)
        # It works with the new key.
        for _ in range(5):
            assert await pool.fetch_scalar("SELECT x FROM t") == 21
        await pool.execute("UPDATE t SET x = x")
    assert await key_of(path) == NEW


async def test_cancelled_anywhere_it_is_done_or_not(pool: Pool, path: Path) -> None:
    for turns in range(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.rekey, NEW if turns % 2 else KEY)
            group.start_soon(pool.fetch_all, ENDLESS)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        # What nobody has heard of is given back by the connection itself.
        await until(lambda: not pool.stats().in_use)
    for delay in (0.001, 0.002, 0.004, 0.008, 0.016):
        with anyio.move_on_after(delay):
            await pool.rekey(NEW)
        await assert_serves(pool)
        with anyio.move_on_after(delay):
            await pool.rekey(KEY)
        await assert_serves(pool)
    await pool.close()
    assert await key_of(path) in (KEY, NEW)


async def test_close_waits_for_it(pool: Pool, path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pool.rekey, NEW)
        while pool.stats().in_use < pool.size:
            await anyio.lowlevel.checkpoint()
        await pool.close()
    assert await key_of(path) == NEW
    with pytest.raises(aiolibsql.PoolClosed):
        await pool.rekey(KEY)
