"""on_query: who is told of a statement, when, and of what."""

from __future__ import annotations

import contextvars
import gc
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from healthy import assert_healthy
from situations import ENDLESS, NUMBERS

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

MANY = f"{NUMBERS} SELECT i FROM n LIMIT 1000"


@dataclass
class Heard:
    """A hook that keeps what it is told."""

    told: list[tuple[str, float, int, BaseException | None]] = field(default_factory=list)

    def __call__(self, sql: str, seconds: float, rows: int, error: BaseException | None) -> None:
        assert 0 <= seconds < 60
        self.told.append((sql, seconds, rows, error))

    def take(self) -> list[tuple[str, int, str | None]]:
        """Return and forget: the texts, the rows, and the classes of the errors."""
        told, self.told = self.told, []
        return [
            (sql, rows, None if error is None else type(error).__name__)
            for sql, _, rows, error in told
        ]


async def test_statements_are_told_with_their_rows(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    await conn.execute("CREATE TABLE t (x)")
    await conn.execute("INSERT INTO t VALUES (?), (?)", ("a", "b"))
    await conn.execute("INSERT INTO t VALUES ('c') RETURNING x")
    assert await conn.fetch_all("SELECT x FROM t") == [("a",), ("b",), ("c",)]
    assert await conn.fetch_scalar("SELECT count(*) FROM t") == 3
    await conn.fetch_all("SELECT x FROM t WHERE x = 'd'")
    async with conn.savepoint() as block:
        await block.execute("DELETE FROM t WHERE x < 'c'")
    await conn.prepare("SELECT 1").fetch_all()
    await conn.get_tables()  # the driver's own questions are told to none
    await conn.commit()
    assert heard.take() == [
        ("CREATE TABLE t (x)", 0, None),
        ("INSERT INTO t VALUES (?), (?)", 2, None),
        ("INSERT INTO t VALUES ('c') RETURNING x", 1, None),
        ("SELECT x FROM t", 3, None),
        ("SELECT count(*) FROM t", 1, None),
        ("SELECT x FROM t WHERE x = 'd'", 0, None),
        ("DELETE FROM t WHERE x < 'c'", 2, None),
        ("SELECT 1", 1, None),
    ]
    await assert_healthy(conn)


async def test_many_scripts_and_batches_are_told(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    script = "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (0)"
    await conn.executescript(script)
    await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])
    await conn.batch(["SELECT x FROM t", ("DELETE FROM t WHERE x = ?", (1,))])
    assert heard.take() == [
        (script, 0, None),
        ("INSERT INTO t VALUES (?)", 3, None),
        ("SELECT x FROM t", 4, None),
        ("DELETE FROM t WHERE x = ?", 1, None),
    ]
    await conn.commit()
    await assert_healthy(conn)


async def test_errors_are_told_as_they_are_raised(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (x UNIQUE)")
    heard = conn.on_query(Heard())
    insert = "INSERT INTO t VALUES (?)"
    raised: list[BaseException] = []
    for operation in (
        conn.execute("SELECT nope"),
        conn.executemany(insert, [(1,), (1,)]),
        conn.executescript("SELECT 1; DROP TABLE missing"),
        conn.batch(["SELECT 1", "INSERT INTO missing VALUES (1)", "SELECT 2"]),
    ):
        with pytest.raises(aiolibsql.DatabaseError) as caught:
            await operation
        raised.append(caught.value)
    assert [(sql, error) for sql, _, _, error in heard.told] == list(
        zip(
            [
                "SELECT nope",
                insert,
                "SELECT 1; DROP TABLE missing",
                "INSERT INTO missing VALUES (1)",
            ],
            raised,
            strict=True,
        )
    )
    await conn.rollback()
    await assert_healthy(conn)


async def test_error_of_what_is_iterated_is_told(conn: Connection) -> None:
    heard = conn.on_query(Heard())

    async def rows() -> Any:
        yield (1,)
        await anyio.sleep(0.01)  # by now the statement was handed over
        raise LookupError

    await conn.execute("CREATE TABLE t (x)")
    with pytest.raises(LookupError):
        await conn.executemany("INSERT INTO t VALUES (?)", rows())
    assert heard.take()[1:] == [("INSERT INTO t VALUES (?)", 0, "LookupError")]
    await conn.rollback()
    await assert_healthy(conn)


async def test_cancelled_statement_is_told_with_the_cancellation(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    with anyio.move_on_after(0.1) as scope:
        await conn.execute(ENDLESS)
    assert scope.cancelled_caught
    ((sql, seconds, _, error),) = heard.told
    assert sql == ENDLESS
    assert seconds > 0.05
    assert isinstance(error, anyio.get_cancelled_exc_class())
    await assert_healthy(conn)


async def test_dropped_operation_is_told(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    operation = conn.execute(ENDLESS)
    operation.send(None)
    operation.close()
    assert heard.take() == [(ENDLESS, 0, "GeneratorExit")]
    await assert_healthy(conn)


@pytest.mark.parametrize("end", ["read", "close", "drop", "again"])
async def test_cursor_is_told_when_it_ends(conn: Connection, end: str) -> None:
    heard = conn.on_query(Heard())
    cursor = await conn.execute(MANY)
    assert len(await cursor.fetchmany(3)) == 3
    is_whole = heard.take() != []  # a server sends all of it at once
    if end == "read":
        assert len(await cursor.fetchall()) == 997
    elif end == "close":
        await cursor.close()
    elif end == "again":
        await cursor.execute("SELECT 1")
    else:
        del cursor
        gc.collect()
    told = [(sql, rows) for sql, rows, error in heard.take() if sql == MANY and error is None]
    if is_whole:
        assert told == []
    elif end == "read":
        assert told == [(MANY, 1000)]
    else:
        ((_, rows),) = told
        assert 3 <= rows < 1000
    await conn.fetch_all("SELECT 2")
    assert MANY not in [sql for sql, _, _ in heard.take()]
    await assert_healthy(conn)


async def test_iteration_is_told_once_at_its_end(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    async with conn.execute(MANY) as cursor:
        assert len([row async for row in cursor]) == 1000
        assert heard.take() == [(MANY, 1000, None)]
    assert heard.take() == []


@pytest.mark.local("it is stopped where it runs")
async def test_error_behind_rows_is_told(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    sql = f"{NUMBERS} SELECT iif(i < 500, i, abs(-9223372036854775808)) FROM n LIMIT 600"
    cursor = await conn.execute(sql)
    with pytest.raises(aiolibsql.DatabaseError, match="overflow") as first:
        await cursor.fetchall()
    await cursor.close()
    with pytest.raises(aiolibsql.DatabaseError, match="overflow") as second:
        await conn.fetch_all(sql)
    assert [(told, error) for told, _, _, error in heard.told] == [
        (sql, first.value),
        (sql, second.value),
    ]
    await assert_healthy(conn)


async def test_seconds_are_those_of_the_database(conn: Connection) -> None:
    heard = conn.on_query(Heard())
    slow = f"{NUMBERS} SELECT count(*) FROM (SELECT i FROM n LIMIT 300000)"
    await conn.fetch_all("SELECT 1")
    await conn.fetch_all(slow)
    (_, quick, _, _), (_, seconds, _, _) = heard.told
    assert 0 < quick < seconds
    assert seconds > 0.005


async def test_several_hooks_are_called_in_order_and_taken_out(conn: Connection) -> None:
    order: list[str] = []

    def first(*_: object) -> None:
        order.append("first")

    @conn.on_query
    def second(*_: object) -> None:
        order.append("second")

    conn.on_query(first)
    conn.on_query(second)
    await conn.fetch_all("SELECT 1")
    assert order == ["second", "first", "second"]
    order.clear()
    conn.off_query(second)
    await conn.fetch_all("SELECT 1")
    assert order == ["second", "first"]
    conn.off_query(first)
    conn.off_query(second)
    order.clear()
    await conn.fetch_all("SELECT 1")
    assert order == []
    with pytest.raises(ValueError, match="on_query"):
        conn.off_query(second)


async def test_method_is_taken_out_by_an_equal_one(conn: Connection) -> None:
    told: list[object] = []
    conn.on_query(lambda *arguments: told.append(arguments))
    heard = Heard()
    conn.on_query(heard.__call__)
    conn.off_query(heard.__call__)
    await conn.fetch_all("SELECT 1")
    assert (len(told), heard.told) == (1, [])


async def test_hook_that_fails_leaves_the_result_alone(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: unraisable.append(args.exc_value))
    conn.on_query(lambda *_: 1 / 0)
    heard = conn.on_query(Heard())
    assert await conn.fetch_scalar("SELECT 1") == 1
    assert [type(error) for error in unraisable] == [ZeroDivisionError]
    assert heard.take() == [("SELECT 1", 1, None)]
    await assert_healthy(conn)


async def test_hook_that_can_not_be_called_is_refused(conn: Connection) -> None:
    async def callback(*_: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="async"):
        conn.on_query(callback)
    with pytest.raises(TypeError, match="callable"):
        conn.on_query(5)  # type: ignore[type-var]
    assert await conn.fetch_scalar("SELECT 1") == 1


async def test_hook_runs_in_the_context_of_whoever_awaits(conn: Connection) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    names: list[str] = []
    conn.on_query(lambda *_: names.append(name.get()))

    async def ask(who: str) -> None:
        name.set(who)
        await conn.fetch_all("SELECT 1")

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "a")
        group.start_soon(ask, "b")
    assert sorted(names) == ["a", "b"]


async def test_hook_keeps_no_connection(backend: Backend) -> None:
    def forgotten() -> tuple[weakref.ref[Connection], weakref.ref[Heard]]:
        conn, heard = backend.connect(), Heard()
        conn.on_query(heard)
        conn.on_query(lambda *_: conn)
        return weakref.ref(conn), weakref.ref(heard)

    conn, heard = forgotten()
    gc.collect()
    assert (conn(), heard()) == (None, None)


async def test_pool_tells_of_all_its_connections(backend: Backend) -> None:
    async with backend.create_pool(3) as pool:
        heard = pool.on_query(Heard())
        await pool.execute("CREATE TABLE t (x)")
        await pool.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        await pool.execute("INSERT INTO t VALUES (3)")
        assert await pool.fetch_all("SELECT x FROM t") == [(1,), (2,), (3,)]
        async with pool.read() as reader:
            await reader.fetch_all("SELECT 1")
        async with pool.transaction() as block:
            await block.execute("DELETE FROM t WHERE x = 1")
        with pytest.raises(aiolibsql.DatabaseError):
            await pool.execute("SELECT nope FROM t")
        assert heard.take() == [
            ("CREATE TABLE t (x)", 0, None),
            ("INSERT INTO t VALUES (?)", 2, None),
            ("INSERT INTO t VALUES (3)", 1, None),
            ("SELECT x FROM t", 3, None),
            ("SELECT 1", 1, None),
            ("DELETE FROM t WHERE x = 1", 1, None),
            ("SELECT nope FROM t", 0, "OperationalError"),
        ]
        with anyio.move_on_after(0.1):
            await pool.fetch_all(ENDLESS)
        ((sql, _, error),) = heard.take()
        assert (sql, error) == (ENDLESS, anyio.get_cancelled_exc_class().__name__)
        pool.off_query(heard)
        await pool.fetch_all("SELECT x FROM t")
        assert heard.take() == []


async def test_cursor_of_a_pool_is_told_when_it_ends(file_backend: Backend) -> None:
    async with file_backend.create_pool(2) as pool:
        heard = pool.on_query(Heard())
        cursor = await pool.execute(MANY)
        assert heard.take() == []
        await cursor.fetchall()
        assert heard.take() == [(MANY, 1000, None)]


async def test_writes_that_are_committed_together_are_told_each(file_backend: Backend) -> None:
    async with file_backend.create_pool(2) as pool:
        await pool.execute("CREATE TABLE t (x UNIQUE)")
        heard = pool.on_query(Heard())

        async def insert(x: int) -> None:
            try:
                await pool.execute("INSERT INTO t VALUES (?)", (x,))
            except aiolibsql.IntegrityError:
                assert x == 0

        async with anyio.create_task_group() as group:
            for x in [*range(20), 0]:
                group.start_soon(insert, x)
        told = heard.take()
        assert len(told) == 21
        assert [(rows, error) for _, rows, error in told if error] == [(0, "IntegrityError")]
        assert sum(rows for _, rows, _ in told) == 20


def test_dbapi_connections_tell(tmp_path: Path) -> None:
    conn = dbapi.connect(tmp_path / "x.db")
    heard = conn.on_query(Heard())
    conn.execute("CREATE TABLE t (x)")
    conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    conn.executescript("INSERT INTO t VALUES (3); INSERT INTO t VALUES (4)")
    assert conn.execute("SELECT x FROM t LIMIT 1").fetchall() == [(1,)]
    with pytest.raises(dbapi.OperationalError):
        conn.execute("SELECT nope")
    assert heard.take() == [
        ("CREATE TABLE t (x)", 0, None),
        ("INSERT INTO t VALUES (?)", 2, None),
        ("INSERT INTO t VALUES (3); INSERT INTO t VALUES (4)", 0, None),
        ("SELECT x FROM t LIMIT 1", 1, None),
        ("SELECT nope", 0, "OperationalError"),
    ]
    cursor = conn.execute(MANY)
    assert cursor.fetchone() == (1,)
    assert heard.take() == []
    assert len(cursor.fetchall()) == 999
    assert heard.take() == [(MANY, 1000, None)]
    cursor = conn.execute(MANY)
    cursor.close()
    ((sql, rows, error),) = heard.take()
    assert (sql, error) == (MANY, None)
    assert 0 < rows < 1000
    conn.off_query(heard)
    conn.execute("SELECT 1").fetchall()
    assert heard.take() == []
    with pytest.raises(ValueError, match="on_query"):
        conn.off_query(heard)
    conn.close()


def test_hook_may_use_its_own_connection(tmp_path: Path) -> None:
    conn = dbapi.connect(tmp_path / "x.db", isolation_level=None)
    conn.execute("CREATE TABLE log (sql)")

    @conn.on_query
    def keep(sql: str, *_: object) -> None:
        conn.execute("INSERT INTO log VALUES (?)", (sql,))

    conn.execute("SELECT 1").fetchall()
    conn.off_query(keep)
    assert conn.execute("SELECT sql FROM log").fetchall() == [("SELECT 1",)]
    conn.close()


def test_dbapi_connection_with_a_hook_makes_no_leak(tmp_path: Path) -> None:
    def forgotten() -> weakref.ref[dbapi.Connection]:
        conn = dbapi.connect(tmp_path / "x.db")
        conn.on_query(lambda *_: conn)
        conn.close()
        return weakref.ref(conn)

    gone = forgotten()
    gc.collect()
    assert gone() is None
