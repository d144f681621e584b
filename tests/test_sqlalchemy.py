"""SQLAlchemy's blocking engine, its URLs, transactions and levels; no event loop."""

from __future__ import annotations

import datetime as dt
import gc
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")

import sqlalchemy as sa
from sqlalchemy import event, exc, pool
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

import aiolibsql
import aiolibsql.dbapi
import aiolibsql_sqlalchemy
from aiolibsql.sqlalchemy import (
    AsyncQueuePool,
    AsyncStaticPool,
    SQLiteDialect_aiolibsql,
    SQLiteDialect_aiolibsql_async,
    create_async_engine,
)
from aiolibsql.sqlalchemy._adapted import _undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ITEM = sa.Table(
    "item",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, unique=True),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """Return an engine for a file that has a table."""
    engine = sa.create_engine(f"sqlite+aiolibsql:///{tmp_path / 'test.db'}")
    ITEM.metadata.create_all(engine)
    yield engine
    engine.dispose()


def count(engine: sa.Engine) -> int | None:
    with engine.connect() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(ITEM))


def test_one_name_gives_each_kind_of_engine_its_driver() -> None:
    sync = sa.create_engine("sqlite+aiolibsql://")
    assert vars(sync.dialect)["dbapi"] is aiolibsql.dbapi
    assert type(sync.dialect) is SQLiteDialect_aiolibsql
    engine = create_async_engine("sqlite+aiolibsql://")
    assert type(engine.dialect) is SQLiteDialect_aiolibsql_async
    assert engine.dialect.driver == sync.dialect.driver == "aiolibsql"
    assert aiolibsql_sqlalchemy.create_async_engine is create_async_engine


@pytest.mark.parametrize("module", ["aiolibsql_sqlalchemy", "aiolibsql.sqlalchemy"])
def test_importing_a_module_registers_the_dialect(module: str) -> None:
    code = (
        f"import {module}, sqlalchemy; from sqlalchemy.dialects import registry; "
        "registry.impls.keys() >= {'sqlite.aiolibsql', 'sqlite.aiolibsql_async'} or exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_driver_does_not_import_sqlalchemy() -> None:
    code = "import aiolibsql, aiolibsql.dbapi, sys; sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("url", "blocking", "awaited"),
    [
        ("sqlite+aiolibsql://", pool.SingletonThreadPool, AsyncStaticPool),
        ("sqlite+aiolibsql:///:memory:", pool.SingletonThreadPool, AsyncStaticPool),
        ("sqlite+aiolibsql:///a.db", pool.QueuePool, AsyncQueuePool),
        ("sqlite+aiolibsql:///file:a.db?mode=ro&uri=true", pool.QueuePool, AsyncQueuePool),
        (
            "sqlite+aiolibsql:///file:a?mode=memory&uri=true",
            pool.SingletonThreadPool,
            AsyncStaticPool,
        ),
        ("sqlite+aiolibsql://a.example/", pool.QueuePool, AsyncQueuePool),
        ("sqlite+aiolibsql:///a.db?sync_url=libsql://a.example", pool.QueuePool, AsyncQueuePool),
    ],
)
def test_pool_fits_the_database(url: str, blocking: type, awaited: type) -> None:
    assert SQLiteDialect_aiolibsql.get_pool_class(make_url(url)) is blocking
    assert SQLiteDialect_aiolibsql_async.get_pool_class(make_url(url)) is awaited


# What follows the name of the dialect, the database it stands for, and the keywords.
FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("://", ":memory:", {}),
    ("://?timeout=2.5", ":memory:", {"timeout": 2.5}),
    (":////a/b.db", "/a/b.db", {}),
    ("://:k%2Fey@//a.db", "/a.db", {"encryption_key": "k/ey"}),
    (":////a.db?encryption_key=key", "/a.db", {"encryption_key": "key"}),
    (
        ":////a.db?foreign_keys=true&isolation_level=IMMEDIATE&cached_statements=7",
        "/a.db",
        {"foreign_keys": True, "isolation_level": "IMMEDIATE", "cached_statements": 7},
    ),
    (
        ":///file:a.db?mode=ro&uri=true&timeout=1&cache=private",
        "file:a.db?cache=private&mode=ro",
        {"uri": True, "timeout": 1.0},
    ),
    ("://db.example", "libsql://db.example", {}),
    (
        "://db.example/?authToken=abc&secure=true",
        "libsql://db.example",
        {"auth_token": "abc", "tls": True},
    ),
    (
        "://:abc@localhost:8080/main?tls=0&namespace=n&request_timeout=3&connect_timeout=1",
        "libsql://localhost:8080/main",
        {
            "auth_token": "abc",
            "tls": False,
            "namespace": "n",
            "request_timeout": 3.0,
            "connect_timeout": 1.0,
        },
    ),
    ("://[::1]:8080?scheme=ws&auth_token=t", "ws://[::1]:8080", {"auth_token": "t"}),
    (
        (
            ":////r.db?sync_url=libsql://db.example&authToken=t&sync_interval=60&offline=false"
            "&read_your_writes=true&encryption_key=key"
        ),
        "/r.db",
        {
            "sync_url": "libsql://db.example",
            "auth_token": "t",
            "sync_interval": 60.0,
            "offline": False,
            "read_your_writes": True,
            "encryption_key": "key",
        },
    ),
    (
        "://:t@//r.db?sync_url=libsql://db.example",
        "/r.db",
        {"sync_url": "libsql://db.example", "auth_token": "t"},
    ),
]


@pytest.mark.parametrize(("form", "database", "options"), FORMS)
def test_url_becomes_arguments_of_connect(
    form: str, database: str, options: dict[str, Any]
) -> None:
    url = make_url(f"sqlite+aiolibsql{form}")
    found = SQLiteDialect_aiolibsql_async().create_connect_args(url)
    assert found == ([database], options)


@pytest.mark.parametrize(
    "form",
    [
        ":///a.db?foreign_key=true",
        ":///a.db?mode=ro",
        ":///a.db?timeout=soon",
        ":///a.db?authToken=abc",
        "://db.example?encryption_key=key",
        "://db.example?authToken=a&auth_token=b",
        "://db.example?scheme=ftp",
        "://name:abc@db.example",
        ":///a.db?timeout=1&timeout=2",
    ],
)
def test_url_that_can_not_be_meant_is_refused(form: str) -> None:
    with pytest.raises(exc.ArgumentError):
        SQLiteDialect_aiolibsql().create_connect_args(make_url(f"sqlite+aiolibsql{form}"))


@pytest.mark.parametrize(
    "form",
    [
        ":///a.db?encryption_key=hush",
        "://:hush@/a.db",
        "://db.example?authToken=hush",
        ":///r.db?sync_url=libsql://db.example&authToken=hush",
    ],
)
def test_engine_does_not_show_its_secret(form: str) -> None:
    for engine in (
        sa.create_engine(f"sqlite+aiolibsql{form}"),
        create_async_engine(f"sqlite+aiolibsql{form}"),
    ):
        assert "hush" not in f"{engine!r} {engine.url}"
        args, options = engine.dialect.create_connect_args(engine.url)
        assert "hush" in options.values()
        assert "hush" not in args


def test_value_that_is_refused_is_not_shown() -> None:
    with pytest.raises(exc.ArgumentError) as caught:
        sa.create_engine("sqlite+aiolibsql:///a.db?encryption_key=hush&timeout=x")
    assert "hush" not in str(caught.value)


def test_encrypted_file_opens_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.db"
    for url in (
        f"sqlite+aiolibsql://:hush@/{path}",
        f"sqlite+aiolibsql:///{path}?encryption_key=hush",
    ):
        engine = sa.create_engine(url)
        ITEM.metadata.create_all(engine)
        with engine.begin() as conn:
            conn.execute(sa.insert(ITEM), [{}])
        engine.dispose()
    assert not path.read_bytes().startswith(b"SQLite format 3")
    engine = sa.create_engine(f"sqlite+aiolibsql:///{path}?encryption_key=wrong")
    with pytest.raises(exc.DatabaseError):
        engine.connect()


def test_transaction_begins_with_the_first_statement(engine: sa.Engine) -> None:
    # Python's driver would begin with the first write, and read two states of the file.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("PRAGMA journal_mode = WAL")
    with engine.connect() as reader:
        assert reader.execute(sa.select(ITEM)).all() == []
        with engine.begin() as writer:
            writer.execute(sa.insert(ITEM).values(name="a"))
        assert reader.execute(sa.select(ITEM)).all() == []
        reader.rollback()
        assert reader.execute(sa.select(ITEM)).all() == [(1, "a")]


def test_schema_changes_are_rolled_back(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        conn.exec_driver_sql("CREATE TABLE other (x)")
        conn.exec_driver_sql("ALTER TABLE item ADD COLUMN extra")
        conn.rollback()
    found = sa.inspect(engine)
    assert found.get_table_names() == ["item"]
    assert [column["name"] for column in found.get_columns("item")] == ["id", "name"]


def test_savepoint_before_the_first_write_is_part_of_the_transaction(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        with conn.begin_nested():
            conn.execute(sa.insert(ITEM).values(name="a"))
        conn.rollback()
    assert count(engine) == 0
    with engine.begin() as conn:
        with pytest.raises(exc.IntegrityError), conn.begin_nested():
            conn.execute(sa.insert(ITEM), [{"name": "b"}, {"name": "b"}])
        conn.execute(sa.insert(ITEM).values(name="c"))
    assert count(engine) == 1


def test_begin_mode_takes_the_lock_at_once(tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite+aiolibsql:///{tmp_path / 'a.db'}?isolation_level=IMMEDIATE&timeout=0"
    )
    with engine.connect() as first, engine.connect() as second:
        first.exec_driver_sql("SELECT 1")
        with pytest.raises(exc.OperationalError) as caught:
            second.exec_driver_sql("SELECT 1")
        assert isinstance(caught.value.orig, aiolibsql.TimeoutError)
        assert not caught.value.connection_invalidated
        first.rollback()
        second.rollback()
        # The mode outlives a change of level.
        autocommit = first.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.exec_driver_sql("SELECT 1")
    with engine.connect() as first, engine.connect() as second:
        first.exec_driver_sql("SELECT 1")
        with pytest.raises(exc.OperationalError):
            second.exec_driver_sql("SELECT 1")
    engine.dispose()


def test_commit_that_fails_leaves_no_transaction_in_the_pool(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}?timeout=0")
    ITEM.metadata.create_all(engine)
    with engine.connect() as reader:
        reader.execute(sa.select(ITEM))
        with Session(engine) as session:
            session.execute(sa.insert(ITEM).values(name="a"))
            with pytest.raises(exc.OperationalError) as caught:
                session.commit()
        assert isinstance(caught.value.orig, aiolibsql.TimeoutError)
        with engine.connect() as conn:
            assert not conn.connection.in_transaction
        assert count(engine) == 0
    with engine.begin() as conn:
        conn.execute(sa.insert(ITEM).values(name="b"))
    assert count(engine) == 1
    engine.dispose()


def test_isolation_levels(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        assert conn.get_isolation_level() == conn.default_isolation_level == "SERIALIZABLE"
        raw = conn.connection.dbapi_connection
        assert raw is not None
        levels = engine.dialect.get_isolation_level_values(raw)
        assert set(levels) == {"SERIALIZABLE", "READ UNCOMMITTED", "AUTOCOMMIT"}
    with engine.connect().execution_options(isolation_level="READ UNCOMMITTED") as conn:
        assert conn.exec_driver_sql("PRAGMA read_uncommitted").scalar() == 1
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.insert(ITEM).values(name="a"))
        raw = conn.connection.driver_connection
        assert raw is not None
        assert not raw.in_transaction
        # What a transaction would refuse.
        conn.exec_driver_sql("VACUUM")
        conn.exec_driver_sql("ATTACH ':memory:' AS other")
        conn.exec_driver_sql("CREATE TABLE other.a (id)")
        tables = sa.inspect(conn).get_table_names(schema="other")
        conn.exec_driver_sql("DETACH other")
        assert tables == ["a"]
    assert count(engine) == 1
    with engine.connect() as conn:
        assert conn.get_isolation_level() == "SERIALIZABLE"
        conn.execute(sa.insert(ITEM).values(name="b"))
    assert count(engine) == 1


def test_recipe_for_the_stdlib_driver_still_works(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}")

    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE")

    ITEM.metadata.create_all(engine)
    with engine.connect() as conn:
        conn.execute(sa.insert(ITEM).values(name="a"))
        conn.rollback()
    assert count(engine) == 0
    engine.dispose()


def test_pep_249_autocommit_is_left_to_the_driver(tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite+aiolibsql:///{tmp_path / 'a.db'}", connect_args={"autocommit": False}
    )
    ITEM.metadata.create_all(engine)
    with engine.begin() as conn, conn.begin_nested():
        conn.execute(sa.insert(ITEM).values(name="a"))
    assert count(engine) == 1
    engine.dispose()


def test_regexp_and_floor(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        assert conn.scalar(sa.select(sa.literal("abc").regexp_match("^a.c$"))) == 1
        assert conn.scalar(sa.select(sa.literal("abd").regexp_match("^a.c$"))) == 0
        assert conn.scalar(sa.text("SELECT NULL REGEXP 'a'")) is None
        assert conn.scalar(sa.select(sa.func.floor(-1.5))) == -2


def test_native_datetimes_are_the_drivers(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)  # noqa: DTZ001 - as stored
    table = sa.Table("t", sa.MetaData(), sa.Column("d", sa.Date), sa.Column("m", sa.TIMESTAMP))
    for options in (
        {},
        {
            "native_datetime": True,
            "connect_args": {"detect_types": aiolibsql.PARSE_DECLTYPES},
        },
    ):
        engine = sa.create_engine(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}", **options)
        table.metadata.create_all(engine)
        with engine.begin() as conn:
            conn.execute(sa.delete(table))
            conn.execute(sa.insert(table).values(d=moment.date(), m=moment))
            assert conn.execute(sa.select(table)).all() == [(moment.date(), moment)]
        engine.dispose()


def test_closed_connection_is_replaced(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        raw = conn.connection.driver_connection
        assert isinstance(raw, aiolibsql.dbapi.Connection)
        raw.close()
        with pytest.raises(exc.DBAPIError) as caught:
            conn.execute(sa.select(ITEM))
        assert caught.value.connection_invalidated
    assert count(engine) == 0


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (aiolibsql.ConnectionClosedError("x"), True),
        (aiolibsql.ConnectError("x"), True),
        (aiolibsql.StreamExpiredError("x"), True),
        (aiolibsql.AuthError("x"), False),
        (aiolibsql.TimeoutError("connection closed"), False),
        (aiolibsql.OperationalError("connection closed"), False),
    ],
)
def test_lost_connection_is_told_by_class(error: Exception, is_lost: bool) -> None:
    for dialect in (SQLiteDialect_aiolibsql(), SQLiteDialect_aiolibsql_async()):
        assert dialect.is_disconnect(error, None, None) is is_lost


def test_threads_share_an_engine(engine: sa.Engine) -> None:
    def add(i: int) -> None:
        with engine.begin() as conn:
            conn.execute(sa.insert(ITEM).values(name=str(i)))

    threads = [threading.Thread(target=add, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert count(engine) == 8


def test_cancellation_while_closing_comes_with_the_next_await() -> None:
    import asyncio  # noqa: PLC0415 - the rest needs no loop

    async def close() -> None:
        # As an operation of the driver: it has ended when the cancellation comes out of it.
        await asyncio.sleep(60)

    async def main() -> list[str]:
        passed = []

        async def run() -> None:
            await _undisturbed(close)
            passed.append("closed")
            await asyncio.sleep(60)
            passed.append("never")

        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("why")
        # Python 3.10 forgets the message on the way through a task.
        words = "why" if sys.version_info >= (3, 11) else None
        with pytest.raises(asyncio.CancelledError, match=words):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run(), 0.01)
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await run()
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0
        return passed

    assert asyncio.run(main()) == ["closed"] * (3 if sys.version_info >= (3, 11) else 2)


def test_forgotten_async_connection_is_closed_without_a_loop(tmp_path: Path) -> None:
    import asyncio  # noqa: PLC0415 - the rest needs no loop

    engine = create_async_engine(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}")
    raws: list[Any] = []

    async def forget() -> None:
        conn = await engine.connect()
        raws.append((await conn.get_raw_connection()).driver_connection)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy says that the connection was forgotten
        asyncio.run(forget())
        gc.collect()

    async def use() -> None:
        await raws[0].execute("SELECT 1")

    with pytest.raises(aiolibsql.ConnectionClosedError):
        asyncio.run(use())
    asyncio.run(engine.dispose())
