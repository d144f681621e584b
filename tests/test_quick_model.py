"""Quick queries of both kinds of connections beside ``sqlite3``, with what changes around them.

A small SELECT is executed again and again, so that it is known as quick; in between come other
statements, another connection's too, settings, callbacks and limits. As in ``test_model`` cursors
are read to their end before a table is changed, for ``sqlite3`` reads one row at a time.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import tempfile
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiolibsql
from aiolibsql import dbapi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Connect = Callable[..., Any]
    Step = tuple[str, Any, Any]

EXAMPLES = 60

POINT = "SELECT k, v FROM t WHERE k = ?"
# Each is one object, as a literal in a program is.
QUERIES = (
    POINT,
    "SELECT * FROM t WHERE k <= ? ORDER BY k",
    "SELECT ?, typeof(?1)",
    "SELECT :a, :b",
    "SELECT ?2",
    "SELECT count(*), max(k), total(k) FROM t",
    "SELECT * FROM u ORDER BY 1",
    "SELECT v AS 'v [text]', k AS \"k [int]\" FROM t WHERE k < 3 ORDER BY k",
    "SELECT last_insert_rowid(), changes(), total_changes()",
    "SELECT abs(?)",
    "SELECT upper(?) WHERE ? IS NOT NULL",
    "SELECT CAST(x'ff' AS TEXT)",
    "SELECT zeroblob(?)",
    "SELECT value FROM json_each('[1, 2]')",
    "SELECT k FROM t WHERE 0",
    "VALUES (1, 'x'), (2, NULL)",
    "SELECT name FROM pragma_table_info('t')",
    "SELECT * FROM other.w",
)
VALUES = st.one_of(
    st.integers(0, 20),
    st.just(2000),
    st.sampled_from([None, True, 2**63 - 1, -(2**63), 2**63, 2**70, -(2**70)]),
    st.sampled_from(["", "é\0x", "\0", "\ud800", "text", b"", b"\xff", bytearray(b"x")]),
    st.sampled_from([1.5, float("inf"), float("nan"), -0.0, object(), 1j]),
)
PARAMETERS = st.one_of(
    st.tuples(st.integers(0, 12)),
    st.tuples(VALUES),
    st.lists(VALUES, max_size=3).map(tuple),
    st.lists(VALUES, max_size=2),
    st.fixed_dictionaries({"a": VALUES}, optional={"b": VALUES}),
    st.sampled_from([(), None, 7, "x"]),
)
CHANGES = (
    "INSERT INTO t (v) VALUES ('new')",
    "UPDATE t SET v = v || '.' WHERE k = 1",
    "DELETE FROM t WHERE k > 6",
    "REPLACE INTO t (k, v) VALUES (1, x'ff')",
    "INSERT INTO missing VALUES (1)",
    "INSERT OR ROLLBACK INTO t (k) VALUES (1)",
    "ALTER TABLE t ADD COLUMN more DEFAULT 'm'",
    "ALTER TABLE t RENAME COLUMN v TO w",
    "ALTER TABLE t RENAME COLUMN w TO v",
    "DROP TABLE IF EXISTS t",
    "CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v TEXT)",
    "CREATE TABLE IF NOT EXISTS u (x)",
    "CREATE VIEW IF NOT EXISTS u AS SELECT k AS x, v AS y FROM t",
    "DROP VIEW IF EXISTS u",
    "CREATE TEMP TABLE u (of_temp)",
    "INSERT INTO u DEFAULT VALUES",
    "CREATE INDEX IF NOT EXISTS i ON t (v)",
    "PRAGMA user_version = 7",
)
ENDS = (
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "ATTACH ':memory:' AS other",
    "CREATE TABLE other.w (x, y DEFAULT 5)",
    "INSERT INTO other.w (x) VALUES (1)",
    "DETACH other",
)
FETCHES: tuple[Callable[[Any], Any], ...] = (
    lambda cursor: cursor.fetchone(),
    lambda cursor: cursor.fetchmany(),
    lambda cursor: cursor.fetchmany(2),
    lambda cursor: cursor.fetchall(),
    lambda cursor: setattr(cursor, "arraysize", 3),
    lambda cursor: cursor.arraysize,
)


def shout(text: bytes) -> str:
    return text.decode(errors="replace").upper() + "!"


def as_list(cursor: Any, row: tuple[Any, ...]) -> list[Any]:
    return [*row, len(cursor.description)]


LENGTH = dbapi.SQLITE_LIMIT_LENGTH
SETTINGS: tuple[Callable[[Any], Any], ...] = (
    lambda conn: setattr(conn, "text_factory", bytes),
    lambda conn: setattr(conn, "text_factory", shout),
    lambda conn: setattr(conn, "text_factory", str),
    lambda conn: setattr(conn, "row_factory", as_list),
    lambda conn: setattr(conn, "row_factory", None),
    lambda conn: conn.commit(),
    lambda conn: conn.rollback(),
    lambda conn: conn.interrupt(),
    lambda conn: conn.setlimit(LENGTH, 1000),
    lambda conn: conn.setlimit(LENGTH, 10**6),
)
CALLBACKS: tuple[Callable[[Any, list[Any]], Any], ...] = (
    lambda conn, _: conn.create_function("abs", 1, lambda value: f"own {value}"),
    lambda conn, _: conn.set_authorizer(lambda *_: 1),
    lambda conn, _: conn.set_authorizer(lambda action, *_: 2 if action == 20 else 0),
    lambda conn, _: conn.set_authorizer(None),
    lambda conn, _: conn.set_progress_handler(lambda: 0, 1),
    lambda conn, _: conn.set_progress_handler(None, 1),
    lambda conn, heard: conn.set_trace_callback(heard.append),
    lambda conn, _: conn.set_trace_callback(None),
)


# What is refused before SQLite hears of it; a text of another length, too.
REFUSED = re.compile(
    "parameters are of unsupported type|Python int too large|cannot bind|bindings supplied"
    "|You did not supply|Error binding|codec can't encode|Binding [0-9]|too long|is too large"
)


def pairs(kind: str, things: Sequence[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), st.sampled_from(things), st.none())


EXECUTIONS = st.one_of(
    st.tuples(st.just("query"), st.sampled_from(QUERIES), PARAMETERS),
    st.tuples(st.just("query"), st.sampled_from(QUERIES[:3]), st.tuples(st.integers(0, 4))),
    st.tuples(st.just("again"), st.sampled_from(QUERIES), PARAMETERS),
    st.tuples(st.just("again"), st.sampled_from(QUERIES[:3]), st.tuples(st.integers(0, 4))),
)
BETWEEN = st.one_of(
    pairs("change", CHANGES),
    pairs("change", ENDS),
    pairs("other", CHANGES),
    pairs("set", SETTINGS),
    pairs("fetch", FETCHES),
)
STEPS = st.lists(st.one_of(EXECUTIONS, EXECUTIONS, BETWEEN, BETWEEN), max_size=25)
# After a callback nothing is quick any more.
LATE = st.lists(
    st.one_of(EXECUTIONS, pairs("callback", CALLBACKS), pairs("close", ["cursor"])), max_size=8
)


async def value_of(result: Any) -> Any:
    return await result if isawaitable(result) else result


def name_of(error: BaseException) -> str:
    """Return the class of an error that both modules know."""
    names = (
        base.__name__ for base in type(error).__mro__ if base.__module__ in {"sqlite3", "builtins"}
    )
    return next(names)


class World:
    """A connection, its cursors, and another connection to the same file."""

    def __init__(self, conn: Any, other: Any) -> None:
        self.conn, self.elsewhere = conn, other
        self.heard: list[Any] = []
        self.renew()

    def renew(self) -> None:
        self.cursor, self.kept = self.conn.cursor(), self.conn.cursor()

    async def finish_reading(self) -> None:
        for cursor in (self.cursor, self.kept):
            with contextlib.suppress(sqlite3.Error):
                await value_of(cursor.fetchall())

    async def query(self, sql: str, *parameters: Any) -> Any:
        self.cursor = await value_of(self.conn.execute(sql, *parameters))
        return await value_of(self.cursor.fetchone())

    async def again(self, sql: str, *parameters: Any) -> Any:
        self.cursor = self.kept
        await value_of(self.cursor.execute(sql, *parameters))
        return await value_of(self.cursor.fetchone())

    async def fetch(self, how: Callable[[Any], Any]) -> Any:
        return await value_of(how(self.cursor))

    async def close(self, cursor: str) -> None:
        await value_of(getattr(self, cursor).close())

    async def change(self, sql: str) -> None:
        await value_of(self.conn.execute(sql))

    async def other(self, sql: str) -> None:
        await value_of(self.elsewhere.execute(sql))

    async def set(self, how: Callable[[Any], Any]) -> None:
        await value_of(how(self.conn))

    async def callback(self, how: Callable[[Any, list[Any]], Any]) -> None:
        await value_of(how(self.conn, self.heard))


async def play(world: World, steps: list[Step]) -> list[Any]:
    """Return what can be seen of a connection and its cursor after each step."""
    seen: list[Any] = []
    for kind, what, parameters in steps:
        if kind not in {"query", "again", "fetch"}:
            await world.finish_reading()
        value, error = None, ""
        try:
            given_ = () if parameters is None else (parameters,)
            value = await getattr(world, kind)(what, *given_)
        except Exception as raised:
            value, error = name_of(raised), str(raised)
        changed = (world.conn.in_transaction, world.conn.total_changes, list(world.heard))
        cursor = world.cursor
        state = (cursor.description, cursor.rowcount, cursor.lastrowid)
        seen.append(((kind, what, parameters), changed, repr(value), state, error))
        if error:
            world.renew()
    return seen


def is_same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    """Tell whether both saw the same.

    Of two things that are wrong each may see another one first, and what is refused before it is
    executed leaves the last execution's rows and columns in place.
    """
    if ours[-1] and theirs[-1] and (REFUSED.search(ours[-1]) or REFUSED.search(theirs[-1])):
        return ours[:2] == theirs[:2]
    return ours == theirs


async def run(connect: Connect, detect_types: int, steps: list[Step]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.db"
        async with contextlib.AsyncExitStack() as stack:

            async def opened(**options: Any) -> Any:
                conn = await value_of(connect(path, timeout=0, **options))
                stack.push_async_callback(close, conn)
                await value_of(conn.execute("PRAGMA journal_mode = WAL"))
                await value_of(conn.execute("PRAGMA synchronous = OFF"))
                return conn

            conn = await opened(detect_types=detect_types, isolation_level="")
            other = await opened(isolation_level=None)
            await value_of(conn.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)"))
            rows = [(k, f"value {k}") for k in range(1, 9)]
            await value_of(conn.executemany("INSERT INTO t VALUES (?, ?)", rows))
            await value_of(conn.commit())
            try:
                return await play(World(conn, other), steps)
            finally:
                await value_of(conn.set_authorizer(None))
                await value_of(conn.rollback())


async def close(conn: Any) -> None:
    await value_of(conn.close())


def inline(*args: Any, **options: Any) -> Any:
    return aiolibsql.connect(*args, inline_budget=4000, **options)


KINDS = [(dbapi.connect, "asyncio"), (inline, "asyncio"), (inline, "trio")]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="sqlite3 differs between versions")
@pytest.mark.parametrize(("connect", "runtime"), KINDS, ids=["blocking", "asyncio", "trio"])
@settings(max_examples=EXAMPLES)
@given(steps=STEPS, late=LATE, detect_types=st.sampled_from([0, 0, 0, 3]))
def test_quick_queries_are_those_of_sqlite3(
    connect: Connect, runtime: str, steps: list[Step], late: list[Step], detect_types: int
) -> None:
    # Twice, so that what is executed once is executed again.
    steps = [step for step in [*steps, *late] for _ in range(2)]
    theirs = anyio.run(run, sqlite3.connect, detect_types, steps)
    ours = anyio.run(run, connect, detect_types, steps, backend=runtime)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert is_same(one, other), (one, other)


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_adapter_of_the_connection_is_asked_from_then_on(runtime: str) -> None:
    async def main() -> None:
        async with inline(":memory:") as conn:
            for adapter, expected in ((None, 1), (str, "1"), (lambda value: value + 1, 2)):
                conn.register_adapter(int, adapter)
                for _ in range(4):
                    assert await conn.fetch_scalar("SELECT ?", (1,)) == expected
                cursor = await conn.execute("SELECT ?", (1,))
                assert await cursor.fetchall() == [(expected,)]

    anyio.run(main, backend=runtime)
