"""Functions, aggregates, window functions, collations and hooks written in Python."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sqlite3
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from situations import NUMBERS

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend

pytestmark = pytest.mark.anyio

Conn = aiolibsql.Connection[Any]

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")


class Sum:
    """A sum that also takes away."""

    def __init__(self) -> None:
        self.sum = 0

    def step(self, value: int) -> None:
        self.sum += value

    def inverse(self, value: int) -> None:
        self.sum -= value

    def value(self) -> int:
        return self.sum

    def finalize(self) -> int:
        return self.sum


@pytest.mark.parametrize(
    "value", [None, 0, -(2**63), 2**63 - 1, 1.5, "", "text", "ü\0", b"", b"\x00\xff", True]
)
async def test_function_gets_and_gives_every_type(conn: Conn, value: Any) -> None:
    given = []

    def same(*values: Any) -> Any:
        given.append(values)
        return values[-1]

    await conn.create_function("same", -1, same)
    assert await conn.fetch_scalar("SELECT same(1, ?)", (value,)) == value
    assert given == [(1, value)]
    assert type(given[0][1]) is (int if value is True else type(value))


async def test_function_may_return_any_buffer(conn: Conn) -> None:
    await conn.create_function("buffer", 0, lambda: memoryview(bytearray(b"xyz"))[1:])
    assert await conn.fetch_scalar("SELECT buffer()") == b"yz"


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_functions_are_told_apart_by_their_number_of_arguments(
    conn: Conn, number: int
) -> None:
    for arguments in (0, 1, 2):
        await conn.create_function("count", arguments, lambda *values: 10 + len(values))
    marks = ", ".join("?" * number)
    assert await conn.fetch_scalar(f"SELECT count({marks})", ("x",) * number) == 10 + number


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ZeroDivisionError("no"), aiolibsql.OperationalError),
        (OverflowError("big"), aiolibsql.DataError),
        (MemoryError("none"), MemoryError),
        (KeyboardInterrupt("stop"), aiolibsql.OperationalError),
    ],
)
async def test_exception_of_a_function_is_the_cause(
    conn: Conn, raised: BaseException, error: type[Exception]
) -> None:
    def bad() -> None:
        raise raised

    await conn.create_function("bad", 0, bad)
    with pytest.raises(error) as caught:
        await conn.execute("SELECT bad()")
    if error is not MemoryError:
        assert caught.value.__cause__ is raised
    assert await conn.fetch_scalar("SELECT 7") == 7


@pytest.mark.parametrize("answer", [2**63, object(), "\ud800", [1], {}])
async def test_answer_that_sqlite_has_no_type_for_is_an_error(conn: Conn, answer: Any) -> None:
    await conn.create_function("bad", 0, lambda: answer)
    with pytest.raises(aiolibsql.DatabaseError) as caught:
        await conn.execute("SELECT bad()")
    assert isinstance(caught.value.__cause__, (OverflowError, TypeError, UnicodeError))


async def test_error_in_a_later_row_comes_with_its_cause(conn: Conn) -> None:
    def check(value: int) -> int:
        if value == 500:
            raise LookupError(value)
        return value

    await conn.create_function("checked", 1, check)
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await conn.fetch_all(f"{NUMBERS} SELECT checked(i) FROM n LIMIT 1000")
    assert isinstance(caught.value.__cause__, LookupError)
    cursor = await conn.execute(f"{NUMBERS} SELECT checked(i) FROM n LIMIT 1000")
    rows = []
    with pytest.raises(aiolibsql.OperationalError) as caught:
        async for row in cursor:
            rows.append(row)  # noqa: PERF401
    assert isinstance(caught.value.__cause__, LookupError)
    assert rows == [(number,) for number in range(1, 500)]


async def test_callbacks_run_on_another_thread_in_the_callers_context(conn: Conn) -> None:
    seen = []

    def look() -> str:
        seen.append(threading.get_ident())
        VARIABLE.set("changed in the callback")
        return VARIABLE.get()

    def get() -> str:
        return VARIABLE.get()

    await conn.create_function("look", 0, look)
    await conn.create_function("get", 0, get)
    VARIABLE.set("mine")
    assert await conn.fetch_scalar("SELECT get()") == "mine"
    assert await conn.fetch_scalar("SELECT look()") == "changed in the callback"
    assert VARIABLE.get() == "mine"
    assert threading.get_ident() not in seen

    found = {}

    async def ask(name: str) -> None:
        VARIABLE.set(name)
        await anyio.lowlevel.checkpoint()
        found[name] = await conn.fetch_scalar("SELECT get()")

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(ask, str(number))
    assert found == {name: name for name in found}
    assert len(found) == 20


async def test_connection_can_not_be_awaited_in_its_own_callback(conn: Conn) -> None:
    async def use() -> Any:
        return await conn.fetch_scalar("SELECT 1")

    await conn.create_function("use", 0, lambda: asyncio.run(use()))
    with anyio.fail_after(10):
        with pytest.raises(aiolibsql.OperationalError) as caught:
            await conn.execute("SELECT use()")
        assert isinstance(caught.value.__cause__, aiolibsql.ProgrammingError)
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_deterministic_function_may_be_indexed(conn: Conn) -> None:
    await conn.execute("CREATE TABLE t (x)")
    await conn.create_function("plain", 1, abs)
    await conn.create_function("stable", 1, abs, deterministic=True)
    with pytest.raises(aiolibsql.OperationalError, match="non-deterministic"):
        await conn.execute("CREATE INDEX i ON t (plain(x))")
    await conn.execute("CREATE INDEX i ON t (stable(x))")


@pytest.mark.parametrize("name", ["create_function", "create_aggregate", "create_collation"])
async def test_what_is_removed_is_gone_for_good(conn: Conn, name: str) -> None:
    calls: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "create_function": ("SELECT own(1)", lambda own: conn.create_function("own", 1, own)),
        "create_aggregate": ("SELECT own(1)", lambda own: conn.create_aggregate("own", 1, own)),
        "create_collation": (
            "SELECT 'a' = 'b' COLLATE own",
            lambda own: conn.create_collation("own", own),
        ),
    }
    sql, create = calls[name]

    class Own(Sum):
        def __new__(cls, *_: Any) -> Any:
            return super().__new__(cls) if name == "create_aggregate" else 1

    watched = weakref.ref(Own)
    await create(Own)
    await conn.execute(sql)
    await create(None)
    with pytest.raises(aiolibsql.OperationalError, match="no such"):
        await conn.execute(sql)
    del Own
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("bad", ["function", 7, object()])
async def test_what_can_not_be_called_is_refused(conn: Conn, bad: Any) -> None:
    methods: list[Callable[[Any], Any]] = [
        lambda own: conn.create_function("own", 0, own),
        lambda own: conn.create_aggregate("own", 0, own),
        lambda own: conn.create_window_function("own", 0, own),
        lambda own: conn.create_collation("own", own),
        conn.set_authorizer,
        conn.set_trace_callback,
        conn.set_busy_handler,
        conn.set_update_hook,
        conn.set_commit_hook,
        conn.set_rollback_hook,
    ]
    for method in methods:
        with pytest.raises(TypeError):
            await method(bad)
    with pytest.raises(TypeError):
        await conn.set_progress_handler(bad, bad)


@pytest.mark.parametrize("arguments", [("n" * 300, 0), ("f", 200), ("f", -5)])
async def test_names_and_numbers_that_sqlite_does_not_take(
    conn: Conn, arguments: tuple[str, int]
) -> None:
    with pytest.raises(aiolibsql.DatabaseError, match="Error creating function"):
        await conn.create_function(*arguments, abs)
    with pytest.raises(ValueError, match="null character"):
        await conn.create_function("a\0b", 0, abs)


async def test_aggregate_and_window_function(conn: Conn) -> None:
    await conn.create_aggregate("plain", 1, Sum)
    await conn.create_window_function("moving", 1, Sum)
    table = "(SELECT column1 AS g, column2 AS x FROM (VALUES (1, 1), (1, 2), (2, 30)))"
    sql = f"SELECT g, plain(x), moving(x) FROM {table} GROUP BY g"
    assert await conn.fetch_all(sql) == [(1, 3, 3), (2, 30, 30)]
    assert await conn.fetch_scalar(f"SELECT plain(x) FROM {table} WHERE 0") == 0
    frame = "OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
    rows = await conn.fetch_all(f"SELECT moving(x) {frame} FROM {table}")
    assert rows == [(3,), (33,), (32,)]
    with pytest.raises(aiolibsql.OperationalError, match="window function"):
        await conn.execute(f"SELECT plain(x) {frame} FROM {table}")


@pytest.mark.parametrize("method", ["__init__", "step", "inverse", "value", "finalize"])
async def test_exception_of_an_aggregate_names_its_method(conn: Conn, method: str) -> None:
    raised = LookupError(method)

    def bad(*_: Any) -> None:
        raise raised

    await conn.create_window_function("bad", 1, type("Bad", (Sum,), {method: bad}))
    frame = "OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
    sql = f"SELECT bad(x) {frame} FROM (SELECT column1 AS x FROM (VALUES (1), (2), (3)))"
    if method == "finalize":
        sql = "SELECT bad(1)"
    with pytest.raises(aiolibsql.OperationalError, match=f"'{method}' method") as caught:
        await conn.fetch_all(sql)
    assert caught.value.__cause__ is raised
    assert await conn.fetch_scalar("SELECT 7") == 7


async def test_groups_leave_nothing_behind(conn: Conn) -> None:
    alive: weakref.WeakSet[Sum] = weakref.WeakSet()

    class Watched(Sum):
        def __init__(self) -> None:
            super().__init__()
            alive.add(self)

    await conn.create_aggregate("watched", 1, Watched)
    sql = f"{NUMBERS} SELECT i % 50 AS g, watched(i) FROM (SELECT i FROM n LIMIT 1000) GROUP BY g"
    assert len(await conn.fetch_all(sql)) == 50
    cursor = await conn.execute(sql)
    await cursor.fetchone()
    await cursor.close()
    await conn.fetch_scalar("SELECT 1")
    gc.collect()
    assert not alive


async def test_collation_orders(conn: Conn) -> None:
    await conn.create_collation("backwards", lambda left, right: (left < right) - (left > right))
    sql = "SELECT column1 FROM (VALUES ('a'), ('c'), ('b')) ORDER BY column1 COLLATE backwards"
    assert await conn.fetch_all(sql) == [("c",), ("b",), ("a",)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_exception_of_a_collation_makes_texts_equal(conn: Conn) -> None:
    await conn.create_collation("bad", lambda _left, _right: 1 // 0)
    assert await conn.fetch_scalar("SELECT 'a' = 'b' COLLATE bad") == 1


async def test_authorizer_denies_ignores_and_raises(conn: Conn) -> None:
    await conn.executescript("CREATE TABLE t (x, secret); INSERT INTO t VALUES (1, 2)")
    asked = []

    def authorize(action: int, *details: str | None) -> int:
        asked.append((action, *details))
        if details[1] == "secret":
            return sqlite3.SQLITE_IGNORE
        if action == sqlite3.SQLITE_DELETE:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_UPDATE:
            raise LookupError
        return sqlite3.SQLITE_OK

    await conn.set_authorizer(authorize)
    assert await conn.fetch_all("SELECT x, secret FROM t") == [(1, None)]
    assert (sqlite3.SQLITE_READ, "t", "x", "main", None) in asked
    with pytest.raises(aiolibsql.DatabaseError, match="not authorized"):
        await conn.execute("DELETE FROM t")
    with pytest.raises(aiolibsql.DatabaseError, match="not authorized") as caught:
        await conn.execute("UPDATE t SET x = 3")
    assert isinstance(caught.value.__cause__, LookupError)
    await conn.set_authorizer(None)
    assert await conn.fetch_all("SELECT x, secret FROM t") == [(1, 2)]


async def test_trace_callback_is_told_before_execute_returns(conn: Conn) -> None:
    told: list[str] = []
    await conn.set_trace_callback(told.append)
    await conn.execute("SELECT ?", ("it's",))
    assert told[-1] == "SELECT 'it''s'"
    await conn.set_trace_callback(None)
    await conn.execute("SELECT 2")
    assert "SELECT 2" not in told


@pytest.mark.parametrize("is_swapped", [False, True])
async def test_progress_handler_stops_a_statement(conn: Conn, is_swapped: bool) -> None:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == 5

    arguments: tuple[Any, Any] = (1000, stop) if is_swapped else (stop, 1000)
    await conn.set_progress_handler(*arguments)
    with anyio.fail_after(20), pytest.raises(aiolibsql.OperationalError, match="interrupted"):
        await conn.execute(f"{NUMBERS} SELECT count(*) FROM n")
    assert calls == 5
    await conn.set_progress_handler(None, 0)
    assert await conn.fetch_scalar(f"{NUMBERS} SELECT max(i) FROM (SELECT i FROM n LIMIT 9999)")
    assert calls == 5


async def test_exception_of_a_progress_handler_is_the_cause(conn: Conn) -> None:
    await conn.set_progress_handler(lambda: 1 // 0, 100)
    with anyio.fail_after(20), pytest.raises(aiolibsql.OperationalError) as caught:
        await conn.execute(f"{NUMBERS} SELECT count(*) FROM n")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_busy_handler_decides_about_waits(file_backend: Backend) -> None:
    async with file_backend.connect() as one, file_backend.second(timeout=60) as other:
        await one.execute("CREATE TABLE t (x)")
        await one.execute("INSERT INTO t VALUES (1)")
        calls: list[int] = []

        def wait(count: int) -> bool:
            calls.append(count)
            return count < 3

        await other.set_busy_handler(wait)
        with anyio.fail_after(20), pytest.raises(aiolibsql.OperationalError, match="locked"):
            await other.execute("INSERT INTO t VALUES (2)")
        assert calls == [0, 1, 2, 3]
        await one.rollback()


async def test_hooks_hear_of_changes_and_ends(conn: Conn) -> None:
    await conn.execute("CREATE TABLE t (x)")
    heard: list[Any] = []
    await conn.set_update_hook(lambda *update: heard.append(update))
    await conn.set_commit_hook(lambda: heard.append("commit"))
    await conn.set_rollback_hook(lambda: heard.append("rollback"))
    await conn.execute("INSERT INTO t VALUES (1)")
    await conn.execute("UPDATE t SET x = 2")
    await conn.commit()
    async with conn.transaction():
        await conn.execute("DELETE FROM t WHERE x = 2")
    await conn.execute("INSERT INTO t VALUES (3)")
    await conn.rollback()
    assert heard == [
        (18, "main", "t", 1),
        (23, "main", "t", 1),
        "commit",
        (9, "main", "t", 1),
        "commit",
        (18, "main", "t", 1),
        "rollback",
    ]
    for remove in (conn.set_update_hook, conn.set_commit_hook, conn.set_rollback_hook):
        await remove(None)
    await conn.execute("INSERT INTO t VALUES (4)")
    await conn.commit()
    assert len(heard) == 7


@pytest.mark.parametrize("is_block", [False, True])
async def test_commit_hook_may_refuse(conn: Conn, is_block: bool) -> None:
    await conn.execute("CREATE TABLE t (x)")

    def refuse() -> None:
        raise LookupError

    await conn.set_commit_hook(refuse)
    with pytest.raises(aiolibsql.IntegrityError) as caught:
        if is_block:
            async with conn.transaction():
                await conn.execute("INSERT INTO t VALUES (1)")
        else:
            await conn.execute("INSERT INTO t VALUES (1)")
            await conn.commit()
    assert isinstance(caught.value.__cause__, LookupError)
    await conn.rollback()
    await conn.set_commit_hook(None)
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 0


async def test_statement_with_a_callback_is_cancelled(conn: Conn) -> None:
    begun = threading.Event()

    def work(value: int) -> int:
        begun.set()
        return value

    await conn.create_function("work", 1, work)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conn.execute, f"{NUMBERS} SELECT sum(work(i)) FROM n")
            while not begun.is_set():  # noqa: ASYNC110 - set on another thread
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert await conn.fetch_scalar("SELECT work(7)") == 7


async def test_closed_connection_takes_no_callbacks(backend: Backend) -> None:
    conn = await backend.connect()
    await conn.create_function("own", 0, lambda: 1)
    await conn.close()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.create_function("own", 0, lambda: 1)
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.set_trace_callback(None)


async def test_connection_in_a_cycle_with_its_callbacks_is_collected(backend: Backend) -> None:
    async def leave() -> weakref.ref[Conn]:
        conn = await backend.connect()

        def show(*_: Any) -> str:
            return repr(conn)

        await conn.create_function("own", 0, show)
        await conn.create_aggregate("own_sum", 1, type("Own", (Sum,), {"conn": conn}))
        await conn.set_trace_callback(show)
        return weakref.ref(conn)

    watched = await leave()
    with pytest.warns(ResourceWarning, match="deleted before being closed"):
        gc.collect()
    assert watched() is None


async def test_tracebacks_are_reported_when_asked_for(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: reported.append(event.exc_value))

    def fail() -> None:
        raise LookupError("inside")

    await conn.create_function("fail", 0, fail)
    for enabled in (True, False):
        aiolibsql.enable_callback_tracebacks(enabled)
        with pytest.raises(aiolibsql.OperationalError) as caught:
            await conn.fetch_scalar("SELECT fail()")
        assert isinstance(caught.value.__cause__, LookupError)
    assert [str(error) for error in reported] == ["inside"]
