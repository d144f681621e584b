"""ConnectionPool: each statement runs where it belongs, and says what a connection would say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from situations import OtherProcess

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends import Backend

pytestmark = pytest.mark.anyio

Pool = aiolibsql.ConnectionPool

SCHEMA = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, x)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    "CREATE TABLE log (x)",
    "CREATE VIEW v AS SELECT x FROM t",
    "CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.x); END",
    "CREATE TRIGGER through INSTEAD OF INSERT ON v BEGIN INSERT INTO t (x) VALUES (new.x); END",
    "CREATE VIRTUAL TABLE words USING fts5 (word)",
    "CREATE VIRTUAL TABLE boxes USING rtree (id, low, high)",
    "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
]


@pytest.fixture
async def pool(file_backend: Backend) -> AsyncIterator[Pool]:
    """Return a pool of one writer and two readers, on a file with a few tables."""
    async with aiolibsql.create_pool(file_backend.path, 3, acquire_timeout=5) as pool:
        for statement in SCHEMA:
            await pool.execute(statement)
        yield pool
        assert pool.stats().in_use == pool.stats().waiting == 0


@pytest.fixture
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Return a connection to another file with the same tables, for what it says."""
    path = tmp_path_factory.mktemp("alone") / "test.db"
    pragmas = {"journal_mode": "wal"}
    async with aiolibsql.connect(path, pragmas=pragmas, isolation_level=None) as connection:
        for statement in SCHEMA:
            await connection.execute(statement)
        yield connection


async def say(where: Any, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
    """Execute a statement, and return everything that it says."""
    try:
        async with where.execute(sql, parameters) as cursor:
            return await cursor.fetchall(), cursor.rowcount, cursor.description
    except aiolibsql.Error as error:
        return type(error), str(error), error.sqlite_errorname, error.sql


# They may be run again and again.
READS = [
    "",
    ";",
    "-- nothing",
    "/* nothing */ ;  -- at all",
    "SELECT * FROM t",
    "/* SELECT? */ -- INSERT?\n SELECT x FROM v",
    "VALUES (1), (2)",
    "WITH a(i) AS (SELECT 1) SELECT * FROM a",
    "EXPLAIN QUERY PLAN SELECT * FROM t WHERE id = 1",
    "EXPLAIN QUERY PLAN INSERT INTO t VALUES (1, 1)",
    "SELECT * FROM sqlite_schema",
    "SELECT * FROM pragma_table_info('t')",
    "SELECT * FROM words WHERE words MATCH 'a'",
    "SELECT * FROM boxes",
    "SELECT * FROM json_each('[1, 2]')",
    "PRAGMA user_version",
    "PRAGMA main.user_version",
    "PRAGMA journal_mode",
    "PRAGMA Encoding",
    "PRAGMA freelist_count",
    "PRAGMA table_info(t)",
    "PRAGMA main.index_list('t')",
    "PRAGMA integrity_check",
    "PRAGMA foreign_key_check",
    "CREATE TABLE IF NOT EXISTS t (x)",
    "CREATE VIEW IF NOT EXISTS v AS SELECT 1",
    "DROP TABLE IF EXISTS missing",
    "DROP INDEX IF EXISTS missing",
    "DROP VIEW IF EXISTS missing",
    "DROP TRIGGER IF EXISTS missing",
    "UPDATE t SET x = x WHERE id > 100",
    "DELETE FROM t WHERE id > 100 RETURNING x",
    "PRAGMA user_version = 7",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "REINDEX t",
    "PRAGMA optimize",
]

ERRORS = [
    "SELEC 1",
    "SELECT * FROM t WHERE",
    "SELECT * FROM missing",
    "SELECT nothing FROM t",
    "SELECT missing(1)",
    "SELECT x COLLATE missing FROM t",
    "INSERT INTO missing VALUES (1)",
    "INSERT INTO t VALUES (1, 1)",
    "INSERT INTO t (nothing) VALUES (1)",
    "CREATE TABLE t (x)",
    "DROP TABLE missing",
    "SELECT 1; SELECT 2",
    "INSERT INTO t (x) VALUES (1); SELECT 1",
    "SELECT ?",
    "SELECT load_extension('nothing')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "DELETE FROM sqlite_schema",
    "UPDATE sqlite_schema SET sql = 'x'",
    "CREATE TABLE sqlite_mine (x)",
    "VACUUM INTO '/nowhere/at/all'",
    "SELECT abs(-9223372036854775808)",
    "SELECT raise(ABORT, 'x')",
]


@pytest.mark.parametrize("sql", READS + ERRORS)
async def test_statement_says_what_it_says_to_a_connection(
    pool: Pool, alone: Any, sql: str
) -> None:
    expected = await say(alone, sql)
    # Nobody knows its route at first.
    assert [await say(pool, sql) for _ in range(3)] == [expected] * 3
    async with pool.read():
        assert await say(pool, sql) == expected
    async with pool.write():
        if sql != "VACUUM":
            assert await say(pool, sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (x) VALUES ('c')",
        "/* SELECT */ INSERT INTO t (x) VALUES ('c')",
        "-- SELECT\nINSERT INTO t (x) VALUES ('c')",
        "WITH a(x) AS (SELECT 'c') INSERT INTO t (x) SELECT x FROM a",
        "INSERT INTO t (x) VALUES ('c') RETURNING id, x",
        "INSERT INTO t (x) VALUES ('c'), ('d') RETURNING id, x",
        "REPLACE INTO t VALUES (2, 'c') RETURNING *",
        "INSERT INTO t VALUES (2, 'c') ON CONFLICT DO UPDATE SET x = 'd' RETURNING x",
        "INSERT OR IGNORE INTO t VALUES (2, 'c')",
        "UPDATE t SET x = 'c' RETURNING id",
        "WITH a(i) AS (SELECT 2) UPDATE t SET x = 'c' WHERE id IN a",
        "DELETE FROM t WHERE id = 1 RETURNING x",
        "DELETE FROM t",
        "INSERT INTO v VALUES ('through a view')",
        "INSERT INTO parent DEFAULT VALUES",
        "INSERT INTO words VALUES ('hello')",
        "INSERT INTO words (words) VALUES ('optimize')",
        "INSERT INTO boxes VALUES (1, 2, 3)",
        "CREATE TABLE new AS SELECT * FROM t",
        "CREATE INDEX by_x ON t (x)",
        "ALTER TABLE t ADD COLUMN y DEFAULT 7",
        "ALTER TABLE t RENAME TO u",
        "DROP TABLE log",
        "CREATE VIRTUAL TABLE more USING fts5 (a)",
        "DROP TABLE words",
    ],
)
async def test_write_does_what_it_does_on_a_connection(pool: Pool, alone: Any, sql: str) -> None:
    assert await say(pool, sql) == await say(alone, sql)
    for table in await alone.get_tables():
        if not table.startswith(("words_", "more_", "boxes_")):
            everything = f"SELECT * FROM {table}"
            assert await say(pool, everything) == await say(alone, everything)
    assert await pool.get_tables() == await alone.get_tables()


async def test_explain_does_not_execute(pool: Pool) -> None:
    assert await pool.fetch_all("EXPLAIN INSERT INTO t (x) VALUES (1)")
    assert await pool.fetch_all("EXPLAIN DROP TABLE t")
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2


OF_ONE_CONNECTION = [
    ("BEGIN", "pool.transaction()"),
    ("BEGIN IMMEDIATE", "pool.transaction()"),
    ("/* c */ COMMIT", "pool.transaction()"),
    ("END", "pool.transaction()"),
    ("ROLLBACK", "pool.transaction()"),
    ("SAVEPOINT s", "pool.transaction()"),
    ("RELEASE s", "pool.transaction()"),
    ("ROLLBACK TO s", "pool.transaction()"),
    ("ATTACH ':memory:' AS other", "init="),
    ("DETACH other", "init="),
    ("PRAGMA foreign_keys", "init="),
    ("PRAGMA foreign_keys = ON", "init="),
    ("PRAGMA cache_size", "init="),
    ("PRAGMA journal_mode = DELETE", "init="),
    ("PRAGMA main.journal_mode(delete)", "init="),
    ("PRAGMA encoding = 'UTF-16'", "init="),
    ("PRAGMA busy_timeout = 1", "init="),
    ("PRAGMA no_such_pragma", "init="),
    ("CREATE TEMP TABLE u (x)", "pool.write()"),
    ("CREATE TABLE temp.u (x)", "pool.write()"),
    ("CREATE TEMP TABLE IF NOT EXISTS u (x)", "pool.write()"),
    ("CREATE TEMP VIEW w AS SELECT 1", "pool.write()"),
    ("CREATE VIEW temp.w AS SELECT 1", "pool.write()"),
    ("CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END", "pool.write()"),
    ("CREATE VIRTUAL TABLE temp.u USING fts5 (x)", "pool.write()"),
    ("SELECT last_insert_rowid()", "pool.write()"),
    ("SELECT x FROM t WHERE id = LAST_INSERT_ROWID()", "pool.write()"),
    ("SELECT changes()", "pool.write()"),
    ("SELECT total_changes()", "pool.write()"),
    ("INSERT INTO t (x) SELECT total_changes()", "pool.write()"),
]


@pytest.mark.parametrize(("sql", "way_out"), OF_ONE_CONNECTION)
async def test_what_belongs_to_one_connection_is_refused(
    pool: Pool, sql: str, way_out: str
) -> None:
    for _ in range(3):
        with pytest.raises(aiolibsql.ProgrammingError) as refused:
            await pool.execute(sql)
        assert way_out in str(refused.value)
    assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2
    assert await pool.fetch_all("SELECT * FROM sqlite_temp_schema") == []
    # Also where the caller has a connection, whose own `execute` is for that.
    async with pool.write() as connection:
        with pytest.raises(aiolibsql.ProgrammingError, match="a pool can't execute"):
            await pool.execute(sql)
        assert await connection.fetch_all("SELECT * FROM sqlite_temp_schema") == []


async def test_temporary_tables_of_one_connection_are_not_written_to(pool: Pool) -> None:
    async with pool.write() as connection:
        await connection.execute("CREATE TEMP TABLE mine (x)")
        for sql in ("INSERT INTO mine VALUES (1)", "DELETE FROM temp.mine", "DROP TABLE mine"):
            with pytest.raises(aiolibsql.ProgrammingError, match="one connection"):
                await pool.execute(sql)
        await connection.execute("INSERT INTO mine VALUES (1)")
        assert await connection.fetch_all("SELECT x FROM mine") == [(1,)]
        await connection.execute("DROP TABLE mine")
    # The same text means something else now.
    await pool.execute("CREATE TABLE mine (x)")
    await pool.execute("INSERT INTO mine VALUES (1)")
    assert await pool.fetch_all("SELECT x FROM mine") == [(1,)]


async def test_temporary_triggers_of_every_connection_are_no_hindrance(
    file_backend: Backend,
) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        tables = await connection.get_tables()
        await connection.execute("CREATE TEMP TABLE seen (x)")
        if "t" in tables:
            await connection.execute(
                "CREATE TEMP TRIGGER see AFTER INSERT ON t"
                " BEGIN INSERT INTO seen VALUES (new.x); END"
            )

    async with file_backend.connect() as connection:
        await connection.execute("CREATE TABLE t (x)")
    async with aiolibsql.create_pool(file_backend.path, 3, init=init) as pool:
        await pool.execute("INSERT INTO t VALUES (1)")
        await pool.execute("INSERT INTO t VALUES (2)")
        async with pool.write() as connection:
            assert await connection.fetch_all("SELECT x FROM seen") == [(1,), (2,)]


async def test_table_that_another_process_makes_and_drops(
    pool: Pool, file_backend: Backend
) -> None:
    """A route that was learnt holds no longer than what it was learnt from."""
    read, write = "SELECT * FROM coming", "INSERT INTO coming VALUES (1)"
    make, drop = "CREATE TABLE IF NOT EXISTS coming (x)", "DROP TABLE IF EXISTS coming"
    with OtherProcess(file_backend.path) as other:
        for _ in range(3):
            for sql in (read, write):
                with pytest.raises(aiolibsql.OperationalError, match="no such table: coming"):
                    await pool.execute(sql)
            await pool.execute(drop)
            other.run("CREATE TABLE coming (x, y)")
            assert await pool.fetch_all(read) == []
            with pytest.raises(aiolibsql.OperationalError, match="2 columns"):
                await pool.execute(write)
            await pool.execute(make)
            other.run("DROP TABLE coming")
            await pool.execute(make)
            await pool.execute(write)
            assert await pool.fetch_all(read) == [(1,)]
            other.run("ALTER TABLE coming ADD COLUMN y DEFAULT 2")
            assert await pool.fetch_all(read) == [(1, 2)]
            await pool.execute(drop)


async def test_name_that_becomes_something_else(pool: Pool, file_backend: Backend) -> None:
    read, write = "SELECT * FROM it", "INSERT INTO it VALUES (1)"
    with OtherProcess(file_backend.path) as other:
        other.run("CREATE TABLE it (x)")
        await pool.execute(write)
        assert await pool.fetch_all(read) == [(1,)]
        other.run("DROP TABLE it", "CREATE VIEW it AS SELECT x FROM t")
        assert await pool.fetch_all(read) == [("a",), ("b",)]
        with pytest.raises(aiolibsql.OperationalError, match="because it is a view"):
            await pool.execute(write)
        other.run("CREATE TRIGGER it_too INSTEAD OF INSERT ON it BEGIN DELETE FROM t; END")
        # SQLite notices that when it runs a statement, not when it compiles one.
        await pool.execute("DELETE FROM log")
        await pool.execute(write)
        assert await pool.fetch_all(read) == []


async def test_statement_that_only_the_writer_knows_runs_there(pool: Pool) -> None:
    """Whatever a reader said of it before."""
    sql = "SELECT twice(21)"
    with pytest.raises(aiolibsql.OperationalError, match="no such function: twice"):
        await pool.fetch_scalar(sql)
    async with pool.write() as connection:
        await connection.create_function("twice", 1, lambda x: 2 * x)
        for _ in range(3):
            assert await pool.fetch_scalar(sql) == 42
    async with pool.write() as connection:
        await connection.create_function("twice", 1, lambda x: 2 * x)
        async with pool.read() as reader:
            assert reader is connection
    async with pool.read() as reader:
        with pytest.raises(aiolibsql.OperationalError, match="no such function: twice"):
            await reader.fetch_scalar(sql)


async def test_statement_that_some_readers_know_no_more_runs_on_the_writer(
    file_backend: Backend,
) -> None:
    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("twice", 1, lambda x: 2 * x)

    # Nothing is kept compiled, so that each execution has to find out.
    async with aiolibsql.create_pool(file_backend.path, 3, init=init, cached_statements=0) as pool:
        sql = "SELECT twice(21)"
        assert await pool.fetch_scalar(sql) == 42
        lent = [await pool.acquire(readonly=True) for _ in range(2)]
        for connection in lent:
            await connection.create_function("twice", 1, None)
            await pool.release(connection)
        for _ in range(4):
            assert await pool.fetch_scalar(sql) == 42


async def test_function_that_writes_runs_beside_the_pool(pool: Pool) -> None:
    """What a SELECT calls may do what it likes, but not with the connection that calls it."""
    written: list[int] = []

    def note(value: int) -> int:
        written.append(value)
        return value

    async def init(connection: aiolibsql.Connection[Any]) -> None:
        await connection.create_function("note", 1, note)

    async with pool.read() as connection:
        await init(connection)
        assert await pool.fetch_all("SELECT note(id) FROM t") == [(1,), (2,)]
    assert written == [1, 2]


async def test_file_that_is_written_by_vacuum_into(pool: Pool, file_backend: Backend) -> None:
    assert file_backend.path is not None
    copy = file_backend.path.with_name("copy.db")
    await pool.execute("VACUUM INTO ?", (str(copy),))
    async with aiolibsql.connect(copy) as connection:
        assert await connection.fetch_all("SELECT x FROM t") == [("a",), ("b",)]
    with pytest.raises(aiolibsql.OperationalError, match="already exists"):
        await pool.execute("VACUUM INTO ?", (str(copy),))
