"""Every public method on every runtime: what it gives, when it raises, what a cancellation leaves.

The table is in ``every_method.py``; a public name that is not in it fails here. Each test takes
each use under each runtime's own entry point and its own way to cancel.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import inspect
import itertools
import sys
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from backends import Backend
from blocks import Outsider
from every_method import ELSEWHERE, PROBES, SCHEMA, TABLE, Use, World
from healthy import assert_healthy
from situations import BEGUN, ENDLESS, Attempt, attempt, turns

import aiolibsql
from aiolibsql import Blob, Connection, Cursor, RowChunks, SQLiteCache, Transaction, _aiolibsql
from aiolibsql._dump import Dump

trio = pytest.importorskip("trio")
trio_testing = pytest.importorskip("trio.testing")
uvloop = pytest.importorskip("uvloop")

Main = Callable[[], Coroutine[Any, Any, Any]]
When = Callable[[], Awaitable[object]]


def nothing() -> None:
    """Do nothing."""


async def cancel_task(
    awaitable: Awaitable[Any], when: When | None, then: Callable[[], None]
) -> Attempt:
    """Cancel as asyncio does: once, and a task that has not begun never runs."""
    outcome = Attempt()
    task: asyncio.Future[Any]
    if when is None:
        # The very object is the task's coroutine.
        task = asyncio.ensure_future(awaitable)
    else:
        task = asyncio.ensure_future(attempt(awaitable, outcome))
        await when()
    began = time.perf_counter()
    task.cancel()
    then()
    await asyncio.wait([task])
    outcome.seconds = time.perf_counter() - began
    if when is None:
        outcome.is_cancelled = task.cancelled()
        if not task.cancelled():
            outcome.error, outcome.value = task.exception(), None  # type: ignore[assignment]
    return outcome


async def cancel_nursery(
    awaitable: Awaitable[Any], when: When | None, then: Callable[[], None]
) -> Attempt:
    """Cancel as trio does: a scope, for good."""
    outcome = Attempt()
    async with trio.open_nursery() as nursery:
        if when is None:
            nursery.cancel_scope.cancel()
        nursery.start_soon(attempt, awaitable, outcome)
        if when is not None:
            await when()
            nursery.cancel_scope.cancel()
        began = time.perf_counter()
        then()
    outcome.seconds = time.perf_counter() - began
    return outcome


async def cancel_scope(
    awaitable: Awaitable[Any], when: When | None, then: Callable[[], None]
) -> Attempt:
    """Cancel as anyio does: a scope, again and again."""
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        if when is None:
            tasks.cancel_scope.cancel()
        tasks.start_soon(attempt, awaitable, outcome)
        if when is not None:
            await when()
            tasks.cancel_scope.cancel()
        began = time.perf_counter()
        then()
    outcome.seconds = time.perf_counter() - began
    return outcome


def run_uvloop(main: Main) -> Any:
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@dataclass(frozen=True)
class Runtime:
    """An event loop's own entry point, and its own way to cancel."""

    name: str
    run: Callable[[Main], Any]
    cancel: Callable[[Awaitable[Any], When | None, Callable[[], None]], Awaitable[Attempt]]


def run_asyncio(main: Main) -> Any:
    return asyncio.run(main())


RUNTIMES = [
    Runtime("asyncio", run_asyncio, cancel_task),
    Runtime("uvloop", run_uvloop, cancel_task),
    Runtime("trio", trio.run, cancel_nursery),
    Runtime("anyio-asyncio", functools.partial(anyio.run, backend="asyncio"), cancel_scope),
    Runtime("anyio-trio", functools.partial(anyio.run, backend="trio"), cancel_scope),
]


@pytest.fixture(params=RUNTIMES, ids=lambda runtime: runtime.name)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Return each runtime in turn."""
    found: Runtime = request.param
    return found


Check = Callable[[Use, Path], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the databases of this module."""
    return tmp_path_factory.mktemp("every_method")


# Of databases, so that no two have a name.
NUMBERS = itertools.count()


def for_each(
    runtime: Runtime, folder: Path, check: Check, condition: Callable[[str, Use], bool]
) -> None:
    """Check each use that something is true of, in a task of its own; fail with all that failed.

    One test has them all: thousands of tests would take minutes, most of them pytest's.
    """
    failed: dict[str, str] = {}
    keys = [key for key, use in TABLE.items() if condition(key, use)]
    assert keys

    async def checked(key: str) -> None:
        path = folder / f"{next(NUMBERS)}.db"
        try:
            with anyio.fail_after(10):
                await check(TABLE[key], path)
        except Exception:
            failed[key] = traceback.format_exc()

    async def main() -> None:
        for key in keys:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(checked, key)

    runtime.run(main)
    if failed:
        pytest.fail(
            f"{list(failed)}\n" + "\n".join(f"{key}: {text}" for key, text in failed.items())
        )


def is_any(_key: str, _use: Use) -> bool:
    return True


def is_awaited(_key: str, use: Use) -> bool:
    return not use.is_sync


async def result(use: Use, made: Any) -> Any:
    """Return what a use gives or raises in the end; `made` is called to begin it."""
    try:
        value = made()
        return value if use.is_sync else await value
    except (Exception, StopAsyncIteration) as error:
        return error


def agrees(found: Any, expected: Any) -> bool:
    """Tell whether a result is what the table has: a class of exceptions, a test or a value."""
    if isinstance(expected, type) and issubclass(expected, BaseException):
        return isinstance(found, expected)
    if isinstance(found, BaseException):
        return False
    if inspect.isfunction(expected):
        return bool(expected(found))
    return bool(found == expected)


async def probe(w: World, use: Use) -> Any:
    """Return what can be seen of a use's effect."""
    seen = PROBES[use.changes](w) if use.changes else None
    return await seen if inspect.isawaitable(seen) else seen


async def ended(w: World) -> None:
    """Close what was made, leave the blocks, and end transactions."""
    if isinstance(w.made, (Blob, Cursor)):
        await w.made.close()
    elif isinstance(w.made, RowChunks):
        await w.made.aclose()
    error = LookupError()
    for block in (w.made, w.conn):
        if isinstance(block, Transaction):
            with contextlib.suppress(aiolibsql.Error):
                await block.__aexit__(LookupError, error, None)
    await w.base.rollback()


@contextlib.asynccontextmanager
async def world(
    use: Use, path: Path, *, in_block: bool = False, on_file: bool = False
) -> AsyncIterator[World]:
    """Open a connection with the data and what the use needs; in the end it has to be whole."""
    on_file = on_file or use.on_file
    database = path if on_file else ":memory:"
    base = await aiolibsql.connect(database, isolation_level=None, timeout=60)
    try:
        await base.executescript(SCHEMA)
        w = World(base, base, path if on_file else None)
        if in_block:
            w.conn = await base.transaction().__aenter__()
        if use.before is not None:
            await use.before(w)
        yield w
        if not base.closed:
            await ended(w)
            await assert_healthy(base)
            await base.close()
    finally:
        if not base.closed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                await outside(base.close)


def outside(make: Callable[[], Any]) -> Any:
    """Call something outside of every block."""
    return contextvars.Context().run(make)


# The table is whole.

CLASSES = [
    Connection, Transaction, Cursor, Blob, aiolibsql.PreparedQuery, RowChunks, Dump, SQLiteCache,
]  # fmt: skip
PROTOCOLS = {
    "__aenter__", "__aexit__", "__aiter__", "__anext__", "__await__", "__bool__", "__getitem__",
    "__iter__", "__len__",
}  # fmt: skip


def public_names() -> Iterator[str]:
    """Find every name that a user may call or take."""
    for class_ in CLASSES:
        for name in vars(class_):
            # The exceptions, which connections have too, are not called.
            if isinstance(getattr(class_, name), type):
                continue
            if not name.startswith("_") or name in PROTOCOLS:
                yield f"{class_.__name__}.{name}"
    for name in aiolibsql.__all__:
        value = getattr(aiolibsql, name)
        if name not in ELSEWHERE and inspect.isroutine(value):
            yield f"aiolibsql.{name}"


def test_every_public_name_has_a_use() -> None:
    used = {key.partition(":")[0] for key in TABLE}
    assert set(public_names()) - used == set(), "add a line to every_method.py"
    assert used - set(public_names()) == set(), "no such name"


def test_every_public_class_is_looked_at() -> None:
    classes = {
        name: value
        for module in (aiolibsql, _aiolibsql)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__.startswith("aiolibsql")
        and not issubclass(value, Exception)
    }
    known = {class_.__name__ for class_ in CLASSES} | set(ELSEWHERE)
    assert {name for name in classes if not name.startswith("_")} <= known


def test_names_that_are_tested_elsewhere_occur_there() -> None:
    for name, (file, words) in ELSEWHERE.items():
        assert words in Path(__file__).with_name(file).read_text(encoding="utf-8"), name
        assert hasattr(aiolibsql, name) or hasattr(_aiolibsql, name)


# It works.


def test_use_gives_its_value_and_has_its_effect(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            before = await probe(w, use)
            found = await result(use, lambda: use.make(w))
            assert agrees(found, use.value), repr(found)
            if use.changes:
                assert await probe(w, use) != before
            if isinstance(found, Blob):
                await found.close()

    for_each(runtime, folder, check, is_any)


def test_use_in_a_block(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        expected = use.value if use.in_block is ... else use.in_block
        is_refused = expected is aiolibsql.ProgrammingError
        # Those would have to end the block.
        ends_it = use.changes in {"heard", "busy", "transaction"}
        changes = "" if is_refused or ends_it else use.changes
        before = None if use.changes == "transaction" else use.before
        plain = dataclasses.replace(use, changes=changes, before=before)
        async with world(plain, path, in_block=True) as w:
            seen = await probe(w, plain)
            found = await result(plain, lambda: use.make(w))
            assert agrees(found, expected), repr(found)
            if changes:
                assert await probe(w, plain) != seen
            assert w.base.in_transaction
            if isinstance(found, Blob):
                await found.close()

    outside_of_it = ("Transaction.", "Connection.__", "aiolibsql.connect")
    for_each(runtime, folder, check, lambda key, _: not key.startswith(outside_of_it))


def test_block_refuses_before_it_is_entered_and_after_it_was_left(
    runtime: Runtime, folder: Path
) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            block = w.base.transaction()
            beside = dataclasses.replace(w, conn=block)
            found = await result(use, lambda: use.make(beside))
            assert isinstance(found, aiolibsql.ProgrammingError), repr(found)
            async with block:
                pass
            before = await probe(w, use)
            found = await result(use, lambda: use.make(beside))
            assert isinstance(found, aiolibsql.ProgrammingError), repr(found)
            assert await probe(w, use) == before

    by_connection = ("Connection.__", "Connection.interrupt")
    for_each(
        runtime,
        folder,
        check,
        lambda key, use: (
            key.startswith("Connection.")
            and not key.startswith(by_connection)
            and not use.is_sync
            and use.before is None
        ),
    )


def test_use_is_a_checkpoint_of_trio(folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            operation = use.make(w)
            with trio_testing.assert_checkpoints():
                found = await result(use, lambda: operation)
            if isinstance(found, Blob):
                await found.close()

    for_each(RUNTIMES[2], folder, check, is_awaited)


# A connection that is closed, or not open yet.


def test_use_of_a_closed_connection(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                await outside(w.base.close)
            found = await result(use, lambda: use.make(w))
            assert agrees(found, use.closed), repr(found)

    for_each(runtime, folder, check, is_any)


def made_unopened(class_: str, conn: Any) -> Any:
    """Make what a use is called on with a connection that was not opened yet."""
    makers: dict[str, Callable[[], Any]] = {
        "Cursor": conn.cursor,
        "PreparedQuery": lambda: conn.prepare("SELECT 1"),
        "RowChunks": lambda: conn.execute_iter("SELECT 1"),
        "SQLiteCache": lambda: SQLiteCache(conn),
        "Transaction": conn.transaction,
    }
    maker = makers.get(class_)
    return maker and maker()


def test_use_of_a_connection_that_was_not_opened(runtime: Runtime, folder: Path) -> None:
    classes = {id(use): key.partition(".")[0] for key, use in TABLE.items()}

    async def check(use: Use, _path: Path) -> None:
        conn = aiolibsql.connect(":memory:", isolation_level=None)
        w = World(conn, conn, None, made_unopened(classes[id(use)], conn))
        found = await result(use, lambda: use.make(w))
        assert agrees(found, use.closed if use.unopened is ... else use.unopened), repr(found)
        await conn.close()

    for_each(runtime, folder, check, lambda key, _: not key.startswith("Blob."))


def test_use_of_a_closed_cursor_blob_or_iterator(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            await (w.made.aclose() if isinstance(w.made, RowChunks) else w.made.close())
            found = await result(use, lambda: use.make(w))
            assert agrees(found, use.ended), repr(found)
            assert not isinstance(found, aiolibsql.ConnectionClosedError)

    for_each(runtime, folder, check, lambda _, use: use.ended is not ...)


def test_bad_argument_is_refused_and_nothing_is_done(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            for place, (make, expected) in enumerate(use.bad):
                before = await PROBES["rows"](w), w.base.in_transaction, await probe(w, use)
                try:
                    value = make(w)
                    if inspect.isawaitable(value):
                        value = await value
                except Exception as error:
                    value = error
                assert isinstance(value, expected), (place, repr(value))
                after = await PROBES["rows"](w), w.base.in_transaction, await probe(w, use)
                assert after == before

    for_each(runtime, folder, check, lambda _, use: bool(use.bad))


# Cancelled.

# What is done although its caller was cancelled, and makes the caller wait.
SHIELDED = {"always", "once begun"}


def test_use_cancelled_before_it_began(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            before = await probe(w, use)
            outcome = await runtime.cancel(use.make(w), None, nothing)
            assert outcome.is_cancelled or use.cancelled in SHIELDED, outcome
            if use.changes and use.cancelled != "once begun":
                assert (await probe(w, use) != before) is (use.cancelled == "always")

    # There anyio cancels what has begun to wait, and what is quick has ended by then.
    if runtime.name != "anyio-asyncio":
        for_each(runtime, folder, check, is_awaited)


def test_use_cancelled_while_it_is_queued(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            before = await probe(w, use)
            endless = Attempt()

            async def run_endless(scope: anyio.CancelScope) -> None:
                with scope:
                    await attempt(w.conn.execute(ENDLESS), endless)

            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()
                tasks.start_soon(run_endless, scope)
                await turns()
                if use.cancelled == "at once":
                    found = await result(use, lambda: use.make(w))
                    assert agrees(found, use.value), repr(found)
                else:
                    # Whoever waits for the end of what was cancelled waits for the query before.
                    then = scope.cancel if use.cancelled in SHIELDED else nothing
                    outcome = await runtime.cancel(use.make(w), turns, then)
                    assert outcome.is_cancelled or use.cancelled in SHIELDED, outcome
                    assert outcome.seconds < 1
                    if use.changes == "closed":
                        assert w.base.closed, "it did not wait"
                is_still_running = endless == Attempt()
                assert is_still_running is (use.cancelled not in SHIELDED)
                scope.cancel()
            if use.changes:
                assert (await probe(w, use) != before) is (use.cancelled != "never")

    # It would end the query.
    interrupt = "Connection.interrupt"
    for_each(runtime, folder, check, lambda key, use: not use.is_sync and key != interrupt)


def test_use_cancelled_while_it_runs(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        assert use.long is not None
        async with world(use, path) as w:
            before = await PROBES["rows"](w)
            outcome = await runtime.cancel(use.long(w), lambda: anyio.sleep(BEGUN), nothing)
            assert outcome.is_cancelled, outcome
            assert outcome.seconds < 1
            assert await PROBES["rows"](w) == before
            assert not w.base.in_transaction

    for_each(runtime, folder, check, lambda _, use: use.long is not None)


@pytest.fixture(scope="module")
def outsider() -> Iterator[Outsider]:
    with Outsider() as process:
        yield process


def test_use_cancelled_while_it_waits_for_a_lock(
    runtime: Runtime, folder: Path, outsider: Outsider
) -> None:
    async def check(use: Use, path: Path) -> None:
        backend = Backend("file", path)
        async with world(use, path, on_file=True) as w:
            before = await probe(w, use)
            outsider.lock(backend)
            try:
                if use.waits:
                    # Long enough for the wait to have begun; it does not end by itself.
                    outcome = await runtime.cancel(use.make(w), lambda: anyio.sleep(0.01), nothing)
                    assert outcome.is_cancelled, outcome
                    assert outcome.seconds < 1
                    # Behind it, and without a lock: when this is done it has given up.
                    assert await w.base.fetch_scalar("SELECT 1") == 1
                else:
                    found = await result(use, lambda: use.make(w))
                    assert agrees(found, use.value), repr(found)
            finally:
                outsider.release()
            if use.waits:
                assert await probe(w, use) == before

    takes_none = {"Connection.rekey", "Connection.wal_checkpoint", "Connection.deserialize"}
    for_each(
        runtime,
        folder,
        check,
        lambda key, use: (
            not use.is_sync
            # These are made of a statement that has its locks already.
            and (use.waits or use.before is None)
            and not (key in takes_none and not use.waits)
            and not key.startswith("Connection.__")
        ),
    )


# Not awaited.

# The names of what does the work, where they are others.
WORKERS = {
    "execute_many": "executemany",
    "raw_fetch_scalar": "fetch_scalar",
    "__aexit__": "",
    "__aiter__": "__anext__",
}


def test_use_that_is_not_awaited_does_nothing_and_warns(runtime: Runtime, folder: Path) -> None:
    keys = {id(use): key for key, use in TABLE.items()}

    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            before = await probe(w, use)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                use.make(w)
            name = keys[id(use)].partition(":")[0].rpartition(".")[2]
            texts = [str(warning.message) for warning in caught]
            if use.is_coroutine:
                assert len(texts) == 1, texts
                assert texts[0].startswith("coroutine '")
                subject = texts[0].partition("' was never awaited")[0]
                assert subject.endswith(WORKERS.get(name, name))
            else:
                assert texts == []
            assert await probe(w, use) == before

    # They act when they are called, or have nothing to do.
    silent = {"Connection.stop", "Connection.interrupt", "Cursor.__aenter__"}
    for_each(runtime, folder, check, lambda key, use: not use.is_sync and key not in silent)


@pytest.mark.parametrize("key", ["Connection.stop", "Connection.interrupt"])
def test_use_that_acts_when_it_is_called_need_not_be_awaited(
    runtime: Runtime, folder: Path, key: str
) -> None:
    use = TABLE[key]

    async def main() -> None:
        async with world(use, folder) as w:
            endless = Attempt()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(attempt, w.conn.execute(ENDLESS), endless)
                await anyio.sleep(BEGUN)
                use.make(w)
                if key == "Connection.stop":
                    tasks.cancel_scope.cancel()
            if key == "Connection.stop":
                with pytest.raises(aiolibsql.ConnectionClosedError):
                    await w.conn.execute("SELECT 1")
            else:
                assert isinstance(endless.error, aiolibsql.OperationalError)

    runtime.run(main)


# Whatever takes a coroutine takes it.


async def in_group(make: Callable[[], Any]) -> Any:
    group: Any = asyncio.TaskGroup()  # type: ignore[attr-defined,unused-ignore]
    async with group as tasks:
        task = tasks.create_task(make())
        with contextlib.suppress(Exception):
            await task
    return task.result()


async def in_wait(make: Callable[[], Any]) -> Any:
    done, _ = await asyncio.wait([asyncio.ensure_future(make())])
    return done.pop().result()


async def in_gather(make: Callable[[], Any]) -> Any:
    return (await asyncio.gather(make()))[0]


async def in_task(make: Callable[[], Any]) -> Any:
    return await asyncio.create_task(make())


TAKERS: dict[str, Callable[[Callable[[], Any]], Awaitable[Any]]] = {
    "create_task": in_task,
    "gather": in_gather,
    "wait": in_wait,
    "wait_for": lambda make: asyncio.wait_for(make(), 20),
    "shield": lambda make: asyncio.shield(make()),
}
if sys.version_info >= (3, 11):
    TAKERS["TaskGroup"] = in_group


def is_for_a_task(key: str, use: Use) -> bool:
    """Leave out entering a block: it would belong to the task that did."""
    return not use.is_sync and key != "Transaction.__aenter__"


def raises(use: Use) -> bool:
    return isinstance(use.value, type) and issubclass(use.value, Exception)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("runtime", RUNTIMES[:2], ids=lambda runtime: runtime.name, indirect=True)
def test_use_is_taken_by_asyncio(runtime: Runtime, folder: Path, taker: str) -> None:
    async def check(use: Use, path: Path) -> None:
        # As documented: connections, cursors and dumps can only be awaited.
        is_refused = not use.is_coroutine and taker == "create_task"
        async with world(use, path) as w:
            before = await probe(w, use)
            found: Any
            try:
                found = await TAKERS[taker](lambda: use.make(w))
            except Exception as error:
                found = error
            assert agrees(found, TypeError if is_refused else use.value), repr(found)
            if use.changes and not is_refused:
                assert await probe(w, use) != before
            if isinstance(found, Blob):
                await found.close()

    # What raises would be the group's error.
    is_group = taker == "TaskGroup"
    for_each(
        runtime,
        folder,
        check,
        lambda key, use: (
            is_for_a_task(key, use) and not (is_group and (raises(use) or not use.is_coroutine))
        ),
    )


@pytest.mark.parametrize("runtime", RUNTIMES[2:], ids=lambda runtime: runtime.name, indirect=True)
def test_use_is_started_in_a_nursery_or_a_task_group(runtime: Runtime, folder: Path) -> None:
    async def check(use: Use, path: Path) -> None:
        start = trio.open_nursery if runtime.name == "trio" else anyio.create_task_group
        async with world(use, path) as w:
            before = await probe(w, use)
            errors: list[BaseException] = []
            try:
                async with start() as tasks:
                    tasks.start_soon(use.make, w)
            except BaseException as error:
                errors += getattr(error, "exceptions", [error])
            assert [type(error) for error in errors] == ([use.value] if raises(use) else [])
            if use.changes:
                assert await probe(w, use) != before

    # The group keeps no value, and a blob that was dropped is closed in its own time.
    for_each(
        runtime, folder, check,
        lambda key, use: (
            is_for_a_task(key, use) and use.is_coroutine and key != "Connection.blobopen"
        ),
    )  # fmt: skip


# A second loop in another thread.


@pytest.mark.parametrize("other", [RUNTIMES[0], RUNTIMES[2]], ids=lambda runtime: runtime.name)
def test_use_in_a_second_loop_in_another_thread(
    runtime: Runtime, folder: Path, other: Runtime
) -> None:
    async def check(use: Use, path: Path) -> None:
        async with world(use, path) as w:
            before = await probe(w, use)
            found = []

            async def there() -> None:
                found.append(await result(use, lambda: use.make(w)))

            # In the same context, so that it is inside of the same block.
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(other.run, there))
            thread.start()
            await anyio.to_thread.run_sync(thread.join)
            assert agrees(found[0], use.value), repr(found)
            if use.changes:
                assert await probe(w, use) != before
            if isinstance(found[0], Blob):
                await found[0].close()

    for_each(runtime, folder, check, is_for_a_task)
