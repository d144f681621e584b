"""Blobs that are read and written in place, with the stdlib's ``sqlite3`` as oracle."""

from __future__ import annotations

import gc
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, Attempt, OtherProcess, attempt, attempt_cancelled, turns

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

DATA = bytes(range(50))
SCRIPT = f"""
CREATE TABLE t (b, x);
INSERT INTO t VALUES (x'{DATA.hex()}', 'text'), (1, NULL);
"""


@pytest.fixture
async def blob(conn: Conn) -> AsyncIterator[aiolibsql.Blob]:
    """Return an open blob of 50 bytes, 0 to 49."""
    await conn.executescript(SCRIPT)
    blob = await conn.blobopen("t", "b", 1)
    yield blob
    await blob.close()


@pytest.fixture
def oracle() -> Iterator[Any]:
    """Return the same blob of the stdlib, which is Python 3.11's."""
    if not hasattr(sqlite3, "Blob"):
        pytest.skip("the oracle's Blob came with Python 3.11")
    conn: Any = sqlite3.connect(":memory:")
    conn.executescript(SCRIPT)
    blob = conn.blobopen("t", "b", 1)
    yield blob
    conn.close()


async def value(conn: Conn) -> Any:
    return await conn.fetch_scalar("SELECT b FROM t WHERE rowid = 1")


# As a file.


async def test_blob_reads_and_writes_like_a_file(conn: Conn, blob: aiolibsql.Blob) -> None:
    assert len(blob) == 50
    assert await blob.read(3) == DATA[:3]
    assert await blob.tell() == 3
    await blob.write(b"abc")
    assert await blob.tell() == 6
    await blob.seek(-1, os.SEEK_END)
    await blob.write(bytearray(b"z"))
    await blob.seek(0)
    expected = DATA[:3] + b"abc" + DATA[6:-1] + b"z"
    assert await blob.read() == expected
    assert await blob.read() == b""
    await blob.close()
    assert await value(conn) == expected
    await assert_healthy(conn)


STEPS: list[tuple[str, tuple[Any, ...]]] = [
    ("read", ()),
    ("read", (0,)),
    ("read", (-1,)),
    ("read", (-7,)),
    ("seek", (10,)),
    ("read", (5,)),
    ("tell", ()),
    ("read", (1000,)),
    ("seek", (0,)),
    ("write", (b"x" * 50,)),
    ("tell", ()),
    ("write", (b"y",)),
    ("write", (b"",)),
    ("seek", (50,)),
    ("seek", (51,)),
    ("seek", (-1,)),
    ("seek", (-51, 2)),
    ("seek", (-50, os.SEEK_END)),
    ("seek", (25, os.SEEK_CUR)),
    ("seek", (25, os.SEEK_CUR)),
    ("seek", (1, os.SEEK_CUR)),
    ("seek", (0, 3)),
    ("seek", (2**70,)),
    ("tell", ()),
    ("seek", (49,)),
    ("write", (memoryview(b"ab"),)),
    ("write", (memoryview(b"abcd")[::4],)),
    ("write", ("text",)),
    ("write", (1,)),
    ("read", (None,)),
    ("read", ()),
]


async def test_blob_does_as_sqlite3_step_by_step(blob: aiolibsql.Blob, oracle: Any) -> None:
    for method, arguments in STEPS:
        ours, theirs = Attempt(), Attempt()
        try:
            theirs.value = getattr(oracle, method)(*arguments)
        except Exception as error:
            theirs.error = error
        try:
            ours.value = await getattr(blob, method)(*arguments)
        except Exception as error:
            ours.error = error
        assert ours.value == theirs.value, (method, arguments)
        assert type(ours.error) is type(theirs.error), (method, arguments, ours, theirs)
        if isinstance(theirs.error, ValueError):
            assert str(ours.error) == str(theirs.error)
        assert await blob.tell() == oracle.tell()


# By index and slice.

KEYS: list[Any] = [
    0,
    49,
    -1,
    -50,
    50,
    -51,
    2**70,
    -(2**70),
    True,
    "x",
    None,
    1.0,
    *[slice(*bounds) for bounds in [(None,), (5,), (5, 10), (10, 5), (-5, None), (0, 1000)]],
    *[slice(*bounds) for bounds in [(0, 50, 7), (3, 4, 9), (60, 70, 2), (0, 50, 0)]],
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
async def test_blob_key_gives_what_sqlite3_gives(
    blob: aiolibsql.Blob, oracle: Any, key: Any
) -> None:
    try:
        expected = oracle[key]
    except (IndexError, TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            await blob[key]
    else:
        assert await blob[key] == expected
    assert await blob.tell() == 0


@pytest.mark.parametrize("bounds", [(None, None, -1), (40, 3, -7), (3, 40, -1), (0, None, -5)])
async def test_blob_slice_backwards(
    conn: Conn, blob: aiolibsql.Blob, bounds: tuple[Any, ...]
) -> None:
    """The stdlib has no answer to these; bytes have."""
    expected = bytearray(DATA)
    assert await blob[slice(*bounds)] == expected[slice(*bounds)]
    new = bytes(range(200, 200 + len(expected[slice(*bounds)])))
    expected[slice(*bounds)] = new
    await blob.set(slice(*bounds), new)
    await blob.close()
    assert await value(conn) == expected


VALUES: list[Any] = [0, 255, 256, -1, 2**70, True, b"", b"a", b"abc", bytearray(b"ab"), "ab", None]


@pytest.mark.parametrize("value_given", VALUES, ids=repr)
async def test_blob_set_does_as_an_assignment_of_sqlite3(
    conn: Conn, blob: aiolibsql.Blob, oracle: Any, value_given: Any
) -> None:
    for key in KEYS:
        if isinstance(key, slice) and key.step != 0 and not oracle[key]:
            continue  # the stdlib takes anything for nothing
        try:
            oracle[key] = value_given
        except Exception as error:
            # Of two errors it may find the other one first.
            with pytest.raises((type(error), IndexError)):
                await blob.set(key, value_given)
        else:
            await blob.set(key, value_given)
        assert await blob[:] == oracle[:], key
    await blob.close()
    assert await value(conn) == oracle[:]


async def test_blob_set_of_an_empty_slice_takes_nothing_else(blob: aiolibsql.Blob) -> None:
    await blob.set(slice(5, 5), b"")
    with pytest.raises(IndexError, match="wrong size"):
        await blob.set(slice(5, 5), b"a")
    with pytest.raises(TypeError):
        await blob.set(slice(5, 5), 1)


async def test_blob_can_not_be_assigned_to_or_iterated(blob: Any) -> None:
    with pytest.raises(TypeError, match="item assignment"):
        blob[0] = 1
    with pytest.raises(TypeError, match="item deletion"):
        del blob[0]
    with pytest.raises(TypeError, match="not iterable"):
        list(blob)
    with pytest.raises(TypeError, match="not iterable"):
        assert 5 in blob


# What can be opened.


async def test_blobopen_takes_a_text_and_an_attached_database(conn: Conn) -> None:
    await conn.execute("ATTACH ':memory:' AS other")
    await conn.execute("CREATE TABLE other.t (a)")
    await conn.execute("INSERT INTO other.t VALUES ('text')")
    await conn.commit()
    async with conn.blobopen("t", "a", 1, name="other") as blob:
        assert await blob.read() == b"text"
        await blob.set(slice(0, 2), b"TE")
    assert await conn.fetch_scalar("SELECT a FROM other.t") == "TExt"
    await conn.execute("DETACH other")


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("t", "b", 9), {}),
        (("t", "nothing", 1), {}),
        (("nothing", "b", 1), {}),
        (("t", "b", 2), {}),
        (("t", "x", 2), {}),
        (("t", "b", 1), {"name": "nowhere"}),
        (("t\0", "b", 1), {}),
        (("t", "b", "1"), {}),
        ((1, "b", 1), {}),
        (("t", "b", 2**70), {}),
    ],
)
async def test_blobopen_of_nothing_raises_as_sqlite3(
    conn: Conn, arguments: Any, options: Any
) -> None:
    await conn.executescript(SCRIPT)
    theirs: Any = sqlite3.connect(":memory:")
    theirs.executescript(SCRIPT)
    with pytest.raises(Exception, match=r"\w") as expected:
        theirs.blobopen(*arguments, **options)
    with pytest.raises(expected.type) as caught:
        await conn.blobopen(*arguments, **options)
    if isinstance(expected.value, sqlite3.Error):
        assert str(caught.value) == str(expected.value)
    theirs.close()
    await assert_healthy(conn)


async def test_readonly_blob_is_read_only(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    async with conn.blobopen("t", "b", 1, readonly=True) as blob:
        with pytest.raises(aiolibsql.OperationalError, match="readonly") as caught:
            await blob.write(b"x")
        assert caught.value.sqlite_errorname == "SQLITE_READONLY"
        assert await blob.tell() == 0
        assert await blob.read() == DATA
    assert await value(conn) == DATA


async def test_blobopen_for_writing_waits_for_a_lock(file_backend: Backend) -> None:
    async with file_backend.connect(timeout=0.1) as conn:
        await conn.executescript(SCRIPT)
        with OtherProcess(file_backend.path) as other:
            other.run("BEGIN IMMEDIATE")
            with pytest.raises(aiolibsql.TimeoutError):
                await conn.blobopen("t", "b", 1)
            async with conn.blobopen("t", "b", 1, readonly=True) as blob:
                assert await blob[5] == 5
            other.run("ROLLBACK")
        await assert_healthy(conn)


# Its end.


async def closed_in_every_way(blob: Any, error: type[Exception]) -> None:
    calls: list[Callable[[], Any]] = [
        blob.read,
        blob.tell,
        lambda: blob.seek(0),
        lambda: blob.write(b""),
        lambda: blob[0],
        lambda: blob[:],
        lambda: blob.set(0, 1),
        blob.__aenter__,
    ]
    for call in calls:
        with pytest.raises(error):
            await call()
    with pytest.raises(error):
        len(blob)
    await blob.close()
    await blob.__aexit__(None, None, None)


async def test_closed_blob_raises(conn: Conn, blob: aiolibsql.Blob) -> None:
    await blob.close()
    await closed_in_every_way(blob, aiolibsql.ProgrammingError)
    await assert_healthy(conn)


async def test_blob_of_a_closed_connection_raises(backend: Backend) -> None:
    conn = await backend.connect()
    await conn.executescript(SCRIPT)
    blob = await conn.blobopen("t", "b", 1)
    await conn.close()
    await closed_in_every_way(blob, aiolibsql.ConnectionClosedError)
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.blobopen("t", "b", 1)


async def test_connection_closed_with_open_blobs_keeps_what_they_wrote(
    file_backend: Backend,
) -> None:
    conn = await file_backend.connect()
    await conn.executescript(SCRIPT)
    blobs = [await conn.blobopen("t", "b", 1) for _ in range(3)]
    for i, blob in enumerate(blobs):
        await blob.set(i, 100 + i)
    await conn.close()
    async with file_backend.connect() as conn:
        assert await value(conn) == b"def" + DATA[3:]
        await assert_healthy(conn)


async def test_connection_that_can_not_commit_what_a_blob_wrote_says_so(
    file_backend: Backend,
) -> None:
    conn = await file_backend.connect(timeout=0.1)
    await conn.executescript(SCRIPT)
    blob = await conn.blobopen("t", "b", 1)
    await blob.write(b"x")
    with OtherProcess(file_backend.path) as other:
        other.run("BEGIN", "SELECT * FROM t")
        with pytest.raises(aiolibsql.TimeoutError):
            await conn.close()
        other.run("COMMIT")
    assert conn.closed
    async with file_backend.connect() as conn:
        assert await value(conn) == DATA


@pytest.mark.parametrize("change", ["UPDATE t SET b = zeroblob(50)", "DELETE FROM t"])
async def test_blob_whose_row_is_changed_expires(
    conn: Conn, blob: aiolibsql.Blob, change: str
) -> None:
    assert await blob.read(5) == DATA[:5]
    await conn.execute(change)
    calls: list[Callable[[], Any]] = [
        lambda: blob.read(1),
        lambda: blob.write(b"x"),
        lambda: blob[0],
        lambda: blob[::2],
        lambda: blob.set(0, 1),
        lambda: blob.set(slice(0, 4, 2), b"xy"),
    ]
    for call in calls:
        with pytest.raises(aiolibsql.OperationalError, match="query aborted") as caught:
            await call()
        assert caught.value.sqlite_errorname == "SQLITE_ABORT"
        assert await blob.tell() == 5
    await blob.close()
    await conn.commit()
    await assert_healthy(conn)


async def test_blob_that_is_dropped_is_closed(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    blob = await conn.blobopen("t", "b", 1)
    await blob.write(b"x")
    del blob
    gc.collect()
    await assert_healthy(conn)
    assert await value(conn) == b"x" + DATA[1:]


async def test_blob_closes_at_the_end_of_its_block(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    async with conn.blobopen("t", "b", 1) as blob:
        await blob.write(b"x")
    with pytest.raises(RuntimeError, match="mine"):
        async with await conn.blobopen("t", "b", 1) as second:
            await second.write(b"y")
            raise RuntimeError("mine")
    for closed in (blob, second):
        with pytest.raises(aiolibsql.ProgrammingError, match="closed blob"):
            await closed.read()
    assert await value(conn) == b"y" + DATA[1:]
    await assert_healthy(conn)


# In transactions.


async def test_blob_in_a_transaction_is_rolled_back_with_it(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    with pytest.raises(RuntimeError):
        async with conn.transaction() as transaction:
            blob = await transaction.blobopen("t", "b", 1)
            await blob.write(b"x")
            assert await value(conn) == b"x" + DATA[1:]
            raise RuntimeError
    assert await value(conn) == DATA
    with pytest.raises(aiolibsql.Error):
        await blob.read()
    await blob.close()
    await assert_healthy(conn)


async def test_blob_in_a_transaction_is_committed_with_it(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    async with conn.transaction(), conn.blobopen("t", "b", 1) as blob:
        await blob.write(b"x")
    assert await value(conn) == b"x" + DATA[1:]


async def test_open_blob_for_writing_keeps_commit_away(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    async with conn.blobopen("t", "b", 1) as blob:
        await conn.begin()
        with pytest.raises(aiolibsql.OperationalError, match="SQL statements in progress"):
            await conn.commit()
        await blob.close()
        await conn.commit()
    await assert_healthy(conn)


async def test_block_that_only_reads_refuses_a_blob_for_writing(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    async with conn.transaction("READ"):
        with pytest.raises(aiolibsql.ProgrammingError, match="without readonly=True"):
            await conn.blobopen("t", "b", 1)
        async with conn.blobopen("t", "b", 1, readonly=True) as blob:
            assert await blob.read() == DATA
    await assert_healthy(conn)


async def test_open_blob_keeps_its_database_from_being_replaced(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    image = await conn.serialize()
    async with conn.blobopen("t", "b", 1, readonly=True) as blob:
        with pytest.raises(aiolibsql.ProgrammingError, match="a blob is open"):
            await conn.deserialize(image)
        assert await blob.read() == DATA
    await conn.deserialize(image)
    assert await value(conn) == DATA


# Cancellation.


@pytest.mark.parametrize("method", ["read", "write", "set", "getitem"])
async def test_blob_operation_cancelled_while_queued_never_runs(
    conn: Conn, blob: aiolibsql.Blob, method: str
) -> None:
    operations: dict[str, Callable[[], Any]] = {
        "read": lambda: blob.read(5),
        "write": lambda: blob.write(b"xxx"),
        "set": lambda: blob.set(0, 9),
        "getitem": lambda: blob[3],
    }
    endless = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS), endless)
        await turns()
        outcome = await attempt_cancelled(operations[method](), turns)
        assert outcome.is_cancelled
        tasks.cancel_scope.cancel()
    assert await blob.tell() == 0
    assert await blob.read() == DATA


async def test_blobopen_cancelled_leaves_nothing_open(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    for when in (turns, anyio.lowlevel.checkpoint):
        endless = Attempt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, conn.execute(ENDLESS), endless)
            await turns()
            outcome = await attempt_cancelled(conn.blobopen("t", "b", 1), when)
            assert outcome.is_cancelled
            tasks.cancel_scope.cancel()
        await assert_healthy(conn)
    for _ in range(50):
        await attempt_cancelled(conn.blobopen("t", "b", 1), anyio.lowlevel.checkpoint)
        await assert_healthy(conn)


async def test_blob_is_closed_in_a_cancelled_scope(conn: Conn) -> None:
    await conn.executescript(SCRIPT)
    with anyio.CancelScope() as scope:
        async with conn.blobopen("t", "b", 1) as blob:
            await blob.write(b"x")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert await value(conn) == b"x" + DATA[1:]
    await assert_healthy(conn)
