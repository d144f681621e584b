"""Limits, switches, checkpoints and extensions: what a connection does besides statements."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import (
    ENDLESS,
    NUMBERS,
    Attempt,
    OtherProcess,
    attempt,
    attempt_cancelled,
    count,
    turns,
)

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

CALLS: dict[str, Callable[[Conn], Any]] = {
    "getlimit": lambda conn: conn.getlimit(0),
    "setlimit": lambda conn: conn.setlimit(0, 100),
    "getconfig": lambda conn: conn.getconfig(1002),
    "setconfig": lambda conn: conn.setconfig(1002),
    "wal_checkpoint": lambda conn: conn.wal_checkpoint(),
    "enable_load_extension": lambda conn: conn.enable_load_extension(True),
    "load_extension": lambda conn: conn.load_extension("nothing"),
    "serialize": lambda conn: conn.serialize(),
    "deserialize": lambda conn: conn.deserialize(b""),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
LIMITS = [name for name in dir(aiolibsql) if name.startswith("SQLITE_LIMIT_")]
SWITCHES = [name for name in dir(aiolibsql) if name.startswith("SQLITE_DBCONFIG_")]


# What all of them have in common.


@every_call
async def test_service_of_a_closed_connection_raises(
    backend: Backend, call: Callable[[Conn], Any]
) -> None:
    conn = backend.connect()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await call(conn)
    async with conn:
        pass
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await call(conn)


@every_call
async def test_service_cancelled_while_queued_never_runs(
    conn: Conn, call: Callable[[Conn], Any]
) -> None:
    await conn.execute("CREATE TABLE t (a)")
    before = await conn.getlimit(0), await conn.getconfig(1002), await conn.getconfig(1005)
    endless = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), endless)
        await turns()
        outcome = await attempt_cancelled(call(conn), turns)
        assert outcome.is_cancelled
        tasks.cancel_scope.cancel()
    after = await conn.getlimit(0), await conn.getconfig(1002), await conn.getconfig(1005)
    assert after == before
    assert await count(conn) == 0
    await assert_healthy(conn)


@every_call
async def test_service_never_awaited_warns_and_does_nothing(
    conn: Conn, call: Callable[[Conn], Any]
) -> None:
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        call(conn)
    await assert_healthy(conn)


async def test_service_of_another_task_waits_for_the_end_of_a_block(conn: Conn) -> None:
    seen: list[int] = []
    is_entered = anyio.Event()

    async def look() -> None:
        await is_entered.wait()
        seen.append(await conn.getlimit(aiolibsql.SQLITE_LIMIT_COLUMN))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        async with conn.transaction():
            is_entered.set()
            await turns()
            await conn.execute("CREATE TABLE t (a)")
            await conn.setlimit(aiolibsql.SQLITE_LIMIT_COLUMN, 7)
    assert seen == [7]


# Limits.


def test_names_of_limits_and_switches_are_those_of_sqlite3() -> None:
    for name in dir(sqlite3):
        if name.startswith(("SQLITE_LIMIT_", "SQLITE_DBCONFIG_")):
            assert getattr(aiolibsql, name) == getattr(sqlite3, name), name
    assert len(LIMITS) == 12
    assert len(SWITCHES) == 18
    assert set(LIMITS + SWITCHES) <= set(aiolibsql.__all__)


@pytest.mark.parametrize("name", LIMITS)
async def test_setlimit_returns_the_old_limit_and_sets_a_new_one(conn: Conn, name: str) -> None:
    category = getattr(aiolibsql, name)
    before = await conn.getlimit(category)
    assert await conn.setlimit(category, 3) == before
    reached = await conn.getlimit(category)
    assert reached in {3, 0}  # it has no worker threads compiled in
    assert await conn.setlimit(category, -5) == reached
    assert await conn.getlimit(category) == reached


async def test_limit_once_lowered_holds(conn: Conn) -> None:
    await conn.setlimit(aiolibsql.SQLITE_LIMIT_SQL_LENGTH, 20)
    with pytest.raises(aiolibsql.DataError, match="too long"):
        await conn.execute("SELECT 'longer than twenty'")
    assert await conn.fetch_scalar("SELECT 'short'") == "short"


async def test_setlimit_is_cut_to_what_was_compiled(conn: Conn) -> None:
    before = await conn.getlimit(aiolibsql.SQLITE_LIMIT_COLUMN)
    await conn.setlimit(aiolibsql.SQLITE_LIMIT_COLUMN, 2**31 - 1)
    assert await conn.getlimit(aiolibsql.SQLITE_LIMIT_COLUMN) == before


@pytest.mark.parametrize("category", [-1, 12, 1111])
async def test_limit_of_unknown_category_raises_as_sqlite3(conn: Conn, category: int) -> None:
    for call in (conn.getlimit(category), conn.setlimit(category, 0)):
        with pytest.raises(aiolibsql.ProgrammingError, match="'category' is out of bounds"):
            await call


async def test_arguments_of_wrong_types_raise_at_the_call(conn: Conn) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: conn.getlimit("0"),  # type: ignore[arg-type]
        lambda: conn.setlimit(0, 1.5),  # type: ignore[arg-type]
        lambda: conn.getconfig(None),  # type: ignore[arg-type]
        lambda: conn.wal_checkpoint(1),  # type: ignore[arg-type]
        lambda: conn.load_extension(None),  # type: ignore[arg-type]
        lambda: conn.serialize(name=None),  # type: ignore[arg-type]
        lambda: conn.deserialize(1),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(OverflowError):
        conn.getlimit(2**40)


# Switches.


@pytest.mark.parametrize("name", SWITCHES)
async def test_setconfig_sets_what_getconfig_gives(conn: Conn, name: str) -> None:
    op = getattr(aiolibsql, name)
    before = await conn.getconfig(op)
    assert isinstance(before, bool)
    for enable in (True, False, before):
        if name == "SQLITE_DBCONFIG_STMT_SCANSTATUS":
            break  # only with statistics compiled in
        await conn.setconfig(op, enable)
        assert await conn.getconfig(op) is enable


async def test_setconfig_takes_effect(conn: Conn) -> None:
    await conn.execute("CREATE TABLE p (a PRIMARY KEY)")
    await conn.execute("CREATE TABLE c (a REFERENCES p)")
    await conn.execute("INSERT INTO c VALUES (1)")
    await conn.commit()
    await conn.setconfig(aiolibsql.SQLITE_DBCONFIG_ENABLE_FKEY)
    with pytest.raises(aiolibsql.IntegrityError):
        await conn.execute("INSERT INTO c VALUES (1)")


async def test_setconfig_takes_anything_for_true_or_false(conn: Conn) -> None:
    op = aiolibsql.SQLITE_DBCONFIG_ENABLE_FKEY
    for enable in (1, "yes", [0]):
        await conn.setconfig(op, enable)
        assert await conn.getconfig(op) is True
        await conn.setconfig(op, None)
        assert await conn.getconfig(op) is False


async def test_setconfig_outlives_an_attach(conn: Conn) -> None:
    op = aiolibsql.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
    await conn.setconfig(op)
    await conn.execute("ATTACH ':memory:' AS other")
    assert await conn.getconfig(op) is True
    await conn.execute("DETACH other")


@pytest.mark.parametrize("op", [-1, 0, 1000, 1001, 1020])
async def test_config_of_unknown_op_raises_as_sqlite3(conn: Conn, op: int) -> None:
    for call in (conn.getconfig(op), conn.setconfig(op, False)):
        with pytest.raises(ValueError, match=f"unknown config 'op': {op}"):
            await call


# Checkpoints.


async def wal_of(backend: Backend, **options: Any) -> Conn:
    conn = await backend.connect(isolation_level=None, **options)
    assert await conn.fetch_scalar("PRAGMA journal_mode=wal") == "wal"
    await conn.execute("CREATE TABLE t (a)")
    return conn


@pytest.mark.parametrize("mode", ["PASSIVE", "full", "Restart", "TRUNCATE"])
async def test_wal_checkpoint_answers_as_the_pragma(file_backend: Backend, mode: str) -> None:
    conn = await wal_of(file_backend)
    await conn.executemany("INSERT INTO t VALUES (?)", [(b"x" * 5000,)] * 10)
    # Of a copy of the two files, which nobody else has open.
    assert file_backend.path is not None
    copy = file_backend.path.with_name("copy.db")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(
            file_backend.path.with_name(file_backend.path.name + suffix).read_bytes()
        )
    with OtherProcess(copy) as other:
        theirs = other.run(f"PRAGMA wal_checkpoint({mode})")
    ours = await conn.wal_checkpoint(mode)  # type: ignore[arg-type]
    assert repr([ours]) == theirs
    assert ours[0] == 0
    if mode == "TRUNCATE":
        assert file_backend.path.with_name("test.db-wal").stat().st_size == 0
    await assert_healthy(conn)
    await conn.close()


async def test_wal_checkpoint_without_a_wal_answers_as_the_pragma(conn: Conn) -> None:
    assert await conn.wal_checkpoint() == (0, -1, -1)
    await assert_healthy(conn)


async def test_wal_checkpoint_of_an_attached_database(conn: Conn, tmp_path: Path) -> None:
    await conn.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
    await conn.execute("PRAGMA other.journal_mode=wal")
    await conn.execute("CREATE TABLE other.t (a)")
    assert await conn.wal_checkpoint(name="main") == (0, -1, -1)
    busy, log, checkpointed = await conn.wal_checkpoint("FULL", name="other")
    assert (busy, log) == (0, checkpointed)
    assert log > 0
    with pytest.raises(aiolibsql.OperationalError, match="unknown database: nowhere"):
        await conn.wal_checkpoint(name="nowhere")
    await conn.execute("DETACH other")


async def test_wal_checkpoint_of_unknown_mode_raises(conn: Conn) -> None:
    with pytest.raises(ValueError, match=r"checkpoint mode must be 'PASSIVE'.*not 'LAZY'"):
        await conn.wal_checkpoint("LAZY")  # type: ignore[arg-type]


async def test_wal_checkpoint_that_a_reader_blocks_says_so(file_backend: Backend) -> None:
    conn = await wal_of(file_backend, timeout=0.05)
    await conn.execute("INSERT INTO t VALUES (1)")
    async with file_backend.second() as reader:
        cursor = await reader.execute(f"{NUMBERS} SELECT i FROM n, t")
        await conn.execute("INSERT INTO t VALUES (2)")
        busy, log, checkpointed = await conn.wal_checkpoint("TRUNCATE")
        assert busy == 1
        assert 0 <= checkpointed < log
        assert (await conn.wal_checkpoint())[0] == 0
        await cursor.close()
    assert (await conn.wal_checkpoint("TRUNCATE"))[0] == 0
    await conn.close()


async def test_wal_checkpoint_inside_its_own_transaction_raises(file_backend: Backend) -> None:
    conn = await wal_of(file_backend)
    await conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(aiolibsql.OperationalError, match="locked"):
        await conn.wal_checkpoint()
    await conn.rollback()
    await assert_healthy(conn)
    await conn.close()


@pytest.mark.parametrize("how", ["cancelled", "interrupted"])
async def test_wal_checkpoint_that_waits_gives_up_when_told_to(
    file_backend: Backend, how: str
) -> None:
    conn = await wal_of(file_backend, timeout=30)
    await conn.execute("INSERT INTO t VALUES (1)")
    with OtherProcess(file_backend.path) as other:
        other.run("BEGIN", "SELECT * FROM t")
        await conn.execute("INSERT INTO t VALUES (2)")
        if how == "cancelled":
            outcome = await attempt_cancelled(conn.wal_checkpoint("TRUNCATE"))
            assert outcome.is_cancelled
            assert outcome.seconds < 1
        else:
            outcome = Attempt()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(attempt, conn.wal_checkpoint("TRUNCATE"), outcome)
                await anyio.sleep(0.1)
                conn.interrupt()
            assert isinstance(outcome.error, aiolibsql.OperationalError)
            assert outcome.error.sqlite_errorname == "SQLITE_INTERRUPT"
        with anyio.fail_after(5):
            await assert_healthy(conn)
        other.run("COMMIT")
    await conn.close()


async def test_wal_checkpoint_that_copies_stops_when_interrupted(file_backend: Backend) -> None:
    conn = await wal_of(
        file_backend, pragmas={"wal_autocheckpoint": 0, "page_size": 512, "synchronous": 0}
    )
    await conn.execute(f"INSERT INTO t {NUMBERS[:-1]} LIMIT 200000) SELECT zeroblob(400) FROM n")
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.wal_checkpoint("FULL"), outcome)
        await anyio.sleep(0.005)
        conn.interrupt()
    if outcome.error is None:
        assert outcome.value[0] == 0  # it was over before: the disk is quick
    else:
        assert isinstance(outcome.error, aiolibsql.OperationalError)
        assert outcome.error.sqlite_errorname == "SQLITE_INTERRUPT"
    busy, log, checkpointed = await conn.wal_checkpoint("FULL")
    assert (busy, log) == (0, checkpointed)
    assert await count(conn) == 200000
    await assert_healthy(conn)
    await conn.close()


# Extensions.

# The first places of SQLite's table of functions, which never change: sqlite3_exec has number 55.
EXTENSION = """
typedef int (*exec_t)(void *, const char *, void *, void *, void *);
static int run(void *db, const char *sql, void **api) {
    return ((exec_t)api[55])(db, sql, 0, 0, 0);
}
int sqlite3_extension_init(void *db, char **message, void **api) {
    return run(db, "CREATE TEMP TABLE by_default(a)", api);
}
int another_init(void *db, char **message, void **api) {
    return run(db, "CREATE TEMP TABLE by_name(a)", api);
}
int failing_init(void *db, char **message, void **api) { return 1; }
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a compiled extension."""
    folder = tmp_path_factory.mktemp("extension")
    (folder / "one.c").write_text(EXTENSION, encoding="utf-8")
    library = folder / "one.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "one.c")], check=True
    )
    return str(library)


async def temporary_tables(conn: Conn) -> list[Any]:
    return [name for (name,) in await conn.fetch_all("SELECT name FROM sqlite_temp_schema")]


async def test_load_extension_is_refused_until_enabled(conn: Conn, extension: str) -> None:
    with pytest.raises(aiolibsql.OperationalError, match="not authorized"):
        await conn.load_extension(extension)
    await conn.enable_load_extension(True)
    await conn.load_extension(extension)
    assert await temporary_tables(conn) == ["by_default"]
    await conn.enable_load_extension(False)
    with pytest.raises(aiolibsql.OperationalError, match="not authorized"):
        await conn.load_extension(extension, entrypoint="another_init")
    assert await temporary_tables(conn) == ["by_default"]
    await assert_healthy(conn)


async def test_load_extension_calls_the_entry_point_it_is_given(conn: Conn, extension: str) -> None:
    await conn.enable_load_extension(1)
    await conn.load_extension(extension, entrypoint="another_init")
    assert await temporary_tables(conn) == ["by_name"]


async def test_load_extension_that_fails_says_why(conn: Conn, extension: str) -> None:
    await conn.enable_load_extension(True)
    with pytest.raises(aiolibsql.OperationalError, match="error during initialization"):
        await conn.load_extension(extension, entrypoint="failing_init")
    with pytest.raises(aiolibsql.OperationalError, match="no_such_init"):
        await conn.load_extension(extension, entrypoint="no_such_init")
    with pytest.raises(aiolibsql.OperationalError, match="nowhere"):
        await conn.load_extension("/nowhere/at_all.so")
    with pytest.raises(ValueError, match="null character"):
        await conn.load_extension("a\0b")
    await assert_healthy(conn)


async def test_extension_can_not_be_loaded_by_sql(conn: Conn, extension: str) -> None:
    for enabled in (False, True):
        await conn.enable_load_extension(enabled)
        assert await conn.getconfig(aiolibsql.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION) is enabled
        with pytest.raises(aiolibsql.OperationalError, match="not authorized"):
            await conn.execute("SELECT load_extension(?)", (extension,))
    assert await temporary_tables(conn) == []


@pytest.mark.skipif(sys.platform != "linux", reason="counts file descriptors")
async def test_services_leave_nothing_open(file_backend: Backend) -> None:
    async with await wal_of(file_backend) as conn:
        for _ in range(20):
            await conn.execute("INSERT INTO t VALUES (1)")
            assert (await conn.wal_checkpoint("TRUNCATE"))[0] == 0
        await assert_healthy(conn)
