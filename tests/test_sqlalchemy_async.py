"""SQLAlchemy's async engine, Core and ORM, on every event loop."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from healthy import HOSTED, assert_healthy
from situations import ENDLESS

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

import aiolibsql
from aiolibsql.sqlalchemy import (
    AsyncEngine,
    AsyncNullPool,
    AsyncQueuePool,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Star(Base):
    __tablename__ = "star"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    planets: Mapped[list[Planet]] = relationship(
        back_populates="star", cascade="all, delete-orphan", order_by="Planet.id"
    )


class Planet(Base):
    __tablename__ = "planet"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    star_id: Mapped[int] = mapped_column(sa.ForeignKey("star.id"))
    star: Mapped[Star] = relationship(back_populates="planets")


async def made(url: str, **options: Any) -> AsyncEngine:
    """Return an engine whose database has the tables."""
    engine = create_async_engine(url, **options)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    return engine


@pytest.fixture
async def engine(backend: Backend) -> AsyncIterator[AsyncEngine]:
    """Return an engine for each kind of database."""
    engine = await made(backend.engine_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def file_engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Return an engine for tests that need several connections."""
    engine = await made(f"sqlite+aiolibsql:///{tmp_path / 'test.db'}?timeout=20")
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


async def assert_engine_healthy(engine: AsyncEngine) -> None:
    """Fail unless the engine's connections are all back, and one of them works."""
    checkedout = getattr(engine.pool, "checkedout", None)
    if checkedout is not None:
        assert checkedout() == 0
    async with engine.connect() as conn:
        raw = await conn.get_raw_connection()
        assert raw.driver_connection is not None
        if engine.url.host:
            HOSTED.add(raw.driver_connection)
        await assert_healthy(raw.driver_connection)


async def test_orm_creates_reads_updates_deletes(
    sessions: async_sessionmaker[AsyncSession], engine: AsyncEngine
) -> None:
    async with sessions() as session:
        session.add(Star(name="Sun", planets=[Planet(name="Mars"), Planet(name="Venus")]))
        await session.commit()
    async with sessions.begin() as session:
        star = (await session.scalars(sa.select(Star))).one()
        star.name = "Sol"
        await session.delete((await star.awaitable_attrs.planets)[0])
    async with sessions() as session:
        assert (await session.scalars(sa.select(Star.name))).all() == ["Sol"]
        assert (await session.scalars(sa.select(Planet.name))).all() == ["Venus"]
        star = await session.get_one(Star, 1)
        await session.delete(star)
        await session.commit()
        assert await session.scalar(sa.select(sa.func.count()).select_from(Planet)) == 0
    await assert_engine_healthy(engine)


@pytest.mark.parametrize("load", [selectinload, joinedload])
async def test_relationship_is_loaded_eagerly(
    sessions: async_sessionmaker[AsyncSession], load: Any
) -> None:
    async with sessions.begin() as session:
        session.add_all(
            Star(name=f"star {i}", planets=[Planet(name=f"{i}{k}") for k in range(3)])
            for i in range(4)
        )
    async with sessions() as session:
        query = sa.select(Star).options(load(Star.planets)).order_by(Star.id)
        stars = (await session.scalars(query)).unique().all()
    assert [[planet.name for planet in star.planets] for star in stars] == [
        [f"{i}{k}" for k in range(3)] for i in range(4)
    ]


async def test_relationship_is_loaded_lazily_when_awaited(
    sessions: async_sessionmaker[AsyncSession],
) -> None:
    async with sessions.begin() as session:
        session.add(Star(name="Sun", planets=[Planet(name="Mars")]))
    async with sessions() as session:
        planet = (await session.scalars(sa.select(Planet))).one()
        assert (await planet.awaitable_attrs.star).name == "Sun"
        assert (await session.run_sync(lambda _: planet.star.planets[0].name)) == "Mars"


async def test_session_that_ends_in_an_error_rolls_back(
    sessions: async_sessionmaker[AsyncSession], engine: AsyncEngine
) -> None:
    with pytest.raises(LookupError):
        async with sessions.begin() as session:
            session.add(Star(name="Sun"))
            await session.flush()
            raise LookupError
    async with sessions() as session:
        with pytest.raises(sa.exc.IntegrityError) as caught:
            await session.execute(sa.insert(Star), [{"name": "Sun"}, {"name": "Sun"}])
        assert isinstance(caught.value.orig, aiolibsql.IntegrityError)
        await session.rollback()
        assert (await session.scalars(sa.select(Star))).all() == []
    await assert_engine_healthy(engine)


async def test_savepoint_is_rolled_back_alone(
    sessions: async_sessionmaker[AsyncSession],
) -> None:
    async with sessions.begin() as session:
        session.add(Star(name="first"))
        await session.flush()
        with pytest.raises(LookupError):
            async with session.begin_nested():
                session.add(Star(name="second"))
                await session.flush()
                raise LookupError
        async with session.begin_nested():
            session.add(Star(name="third"))
    async with sessions() as session:
        names = (await session.scalars(sa.select(Star.name).order_by(Star.id))).all()
    assert names == ["first", "third"]


NUMBERS = sa.text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
)


async def test_stream_gives_every_row(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        async with conn.stream(NUMBERS) as result:
            assert [i async for (i,) in result] == list(range(1, 5001))
        result = await conn.stream(NUMBERS)
        parts = [len(part) async for part in result.partitions(1000)]
        assert parts == [1000] * 5
        async with conn.stream_scalars(NUMBERS, execution_options={"yield_per": 7}) as scalars:
            assert [i async for i in scalars] == list(range(1, 5001))
    await assert_engine_healthy(engine)


async def test_stream_left_early_closes_its_cursor(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        async with conn.stream(NUMBERS) as result:
            assert (await result.fetchone()) == (1,)
        # A statement that is open would not let the table go.
        await conn.execute(sa.text("DROP TABLE planet"))
        await conn.rollback()
    await assert_engine_healthy(engine)


async def test_orm_stream_with_yield_per(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add_all(Star(name=f"star {i:03}") for i in range(200))
    async with sessions() as session:
        result = await session.stream_scalars(
            sa.select(Star).order_by(Star.name), execution_options={"yield_per": 10}
        )
        names = [star.name async for star in result]
    assert names == [f"star {i:03}" for i in range(200)]


async def test_concurrent_sessions_write_one_after_the_other(tmp_path: Path) -> None:
    engine = await made(
        f"sqlite+aiolibsql:///{tmp_path / 'test.db'}?timeout=20&isolation_level=IMMEDIATE"
    )
    sessions = async_sessionmaker(engine)
    async with sessions.begin() as session:
        session.add(Star(name="0"))

    async def count_up() -> None:
        async with sessions.begin() as session:
            star = (await session.scalars(sa.select(Star))).one()
            star.name = str(int(star.name) + 1)

    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(count_up)
    async with sessions() as session:
        assert await session.scalar(sa.select(Star.name)) == "30"
    await assert_engine_healthy(engine)
    await engine.dispose()


async def test_session_does_not_see_what_another_has_not_committed(
    file_engine: AsyncEngine,
) -> None:
    sessions = async_sessionmaker(file_engine)
    async with sessions() as writer, sessions() as reader:
        writer.add(Star(name="Sun"))
        await writer.flush()
        assert (await reader.scalars(sa.select(Star.name))).all() == []
        await reader.rollback()
        await writer.commit()
        assert (await reader.scalars(sa.select(Star.name))).all() == ["Sun"]


async def test_memory_database_with_one_connection_keeps_sessions_apart() -> None:
    engine = await made(
        "sqlite+aiolibsql://", poolclass=AsyncQueuePool, pool_size=1, max_overflow=0
    )
    sessions = async_sessionmaker(engine)

    async def add(i: int) -> None:
        async with sessions() as session:
            session.add(Star(name=str(i)))
            await session.flush()
            if i % 2:
                await session.rollback()
            else:
                await session.commit()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for i in range(20):
                tasks.start_soon(add, i)
    async with sessions() as session:
        names = (await session.scalars(sa.select(Star.name))).all()
    assert sorted(map(int, names)) == list(range(0, 20, 2))
    await engine.dispose()


async def test_first_connections_are_made_at_once(tmp_path: Path) -> None:
    url = f"sqlite+aiolibsql:///{tmp_path / 'test.db'}"
    for options in ({}, {"poolclass": AsyncNullPool}):
        engine = create_async_engine(url, **options)
        everybody = anyio.Event()
        inside = 0

        async def connect(engine: AsyncEngine, everybody: anyio.Event) -> None:
            nonlocal inside
            async with engine.connect() as conn:
                assert await conn.scalar(sa.text("SELECT 'abc' REGEXP '^a.c$'")) == 1
                inside += 1
                if inside == 10:
                    everybody.set()
                await everybody.wait()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(connect, engine, everybody)
        await engine.dispose()


async def test_memory_database_is_one_for_those_who_connect_first_at_once() -> None:
    engine = create_async_engine("sqlite+aiolibsql://")
    found = set()

    async def connect() -> None:
        async with engine.connect() as conn:
            found.add((await conn.get_raw_connection()).driver_connection)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(connect)
    assert len(found) == 1
    await engine.dispose()


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Return an engine that has one connection, and waits for it not long."""
    engine = await made(
        f"sqlite+aiolibsql:///{tmp_path / 'test.db'}", pool_size=1, max_overflow=0, pool_timeout=0.1
    )
    yield engine
    await engine.dispose()


async def test_wait_for_the_pool_ends_in_time(narrow: AsyncEngine) -> None:
    async with narrow.connect():
        with anyio.fail_after(20), pytest.raises(sa.exc.TimeoutError):
            await narrow.connect()
    await assert_engine_healthy(narrow)


async def test_wait_for_the_pool_is_cancelled(tmp_path: Path) -> None:
    engine = await made(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}", pool_size=1, max_overflow=0)
    async with engine.connect():
        with anyio.move_on_after(0.05) as scope:
            await engine.connect()
        assert scope.cancelled_caught
    await assert_engine_healthy(engine)
    await engine.dispose()


FUNCTIONS = pytest.mark.local("functions are not for servers: test_sqlalchemy_server.py")


class Started:
    """Tells a task that SQL of its engine has begun to run."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.event = threading.Event()
        event.listen(engine.sync_engine.pool, "checkout", self._install)

    def _install(self, dbapi_connection: Any, *_: Any) -> None:
        dbapi_connection.create_function("started", 0, self._set)

    def _set(self) -> int:
        self.event.set()
        return 1

    async def wait(self) -> None:
        assert await anyio.to_thread.run_sync(partial(self.event.wait, 20))


ENDLESS_QUERY = sa.text(f"SELECT started(), ({ENDLESS})")


@FUNCTIONS
async def test_cancelled_query_keeps_its_connection(engine: AsyncEngine) -> None:
    started = Started(engine)
    async with engine.connect() as conn:
        before = (await conn.get_raw_connection()).driver_connection

    async def run() -> None:
        async with engine.connect() as conn:
            await conn.execute(ENDLESS_QUERY)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await started.wait()
            tasks.cancel_scope.cancel()
    async with engine.connect() as conn:
        assert (await conn.get_raw_connection()).driver_connection is before
        # In memory the tables would be gone with the connection.
        assert (await conn.execute(sa.select(Star))).all() == []
    await assert_engine_healthy(engine)


@FUNCTIONS
async def test_cancelled_session_is_undone(
    engine: AsyncEngine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    started = Started(engine)

    async def run(how: str) -> None:
        async with sessions() as session:
            session.add(Star(name=how))
            await session.flush()
            if how == "stream":
                result = await session.stream(
                    sa.text(
                        "SELECT started() UNION ALL SELECT x FROM (WITH RECURSIVE r(x) AS "
                        "(SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r) WHERE x < 0"
                    )
                )
                async for _ in result:
                    pass
            elif how == "write":
                await session.execute(
                    sa.text(f"INSERT INTO star (name) SELECT started() || ({ENDLESS})")
                )
            else:
                await session.execute(ENDLESS_QUERY)

    for how in ("query", "stream", "write"):
        started.event.clear()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, how)
                await started.wait()
                tasks.cancel_scope.cancel()
        async with sessions() as session:
            assert (await session.scalars(sa.select(Star.name))).all() == [], how
        await assert_engine_healthy(engine)


@FUNCTIONS
async def test_cancelled_in_begin_blocks_and_savepoints(
    engine: AsyncEngine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    started = Started(engine)

    async def run() -> None:
        async with sessions.begin() as session:
            session.add(Star(name="a"))
            async with session.begin_nested():
                session.add(Star(name="b"))
                await session.flush()
                await session.execute(ENDLESS_QUERY)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await started.wait()
            tasks.cancel_scope.cancel()
    async with sessions() as session:
        assert (await session.scalars(sa.select(Star.name))).all() == []
    await assert_engine_healthy(engine)


@FUNCTIONS
@pytest.mark.parametrize("how", ["engine", "connection", "session", "nested"])
async def test_cancelled_block_keeps_its_connection(engine: AsyncEngine, how: str) -> None:
    started = Started(engine)
    async with engine.connect() as conn:
        before = (await conn.get_raw_connection()).driver_connection

    async def run() -> None:
        if how == "engine":
            async with engine.begin() as conn:
                await conn.execute(sa.insert(Star).values(name="Sun"))
                await conn.execute(ENDLESS_QUERY)
        elif how == "connection":
            conn = await engine.connect()
            try:
                async with conn.begin():
                    await conn.execute(sa.insert(Star).values(name="Sun"))
                    await conn.execute(ENDLESS_QUERY)
            finally:
                # Not shielded by anybody.
                await conn.close()
        else:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Star(name="Sun"))
                await session.flush()
                if how == "session":
                    await session.execute(ENDLESS_QUERY)
                async with session.begin_nested():
                    await session.execute(ENDLESS_QUERY)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await started.wait()
            tasks.cancel_scope.cancel()
    async with engine.connect() as conn:
        assert (await conn.get_raw_connection()).driver_connection is before
        assert (await conn.execute(sa.select(Star))).all() == []
    await assert_engine_healthy(engine)


async def test_connection_given_to_a_cancelled_wait_is_given_on(tmp_path: Path) -> None:
    engine = await made(f"sqlite+aiolibsql:///{tmp_path / 'a.db'}", pool_size=1, max_overflow=0)
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            async with engine.connect():
                pass

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            conn = await engine.connect()
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await conn.close()
            scope.cancel()
        await assert_engine_healthy(engine)
    await engine.dispose()


async def test_sessions_cancelled_at_any_time_leave_the_engine_healthy(
    file_engine: AsyncEngine,
) -> None:
    sessions = async_sessionmaker(file_engine)

    async def work(i: int) -> None:
        async with sessions.begin() as session:
            session.add(Star(name=f"{i}", planets=[Planet(name="x")]))
            await session.flush()
            await (await session.stream(NUMBERS)).fetchmany(10)

    for i in range(60):
        with anyio.move_on_after(i * 0.0002):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, 2 * i)
                tasks.start_soon(work, 2 * i + 1)
    await assert_engine_healthy(file_engine)
    async with sessions() as session:
        stars = await session.scalar(sa.select(sa.func.count()).select_from(Star))
        assert stars == await session.scalar(sa.select(sa.func.count()).select_from(Planet))


async def test_cancelled_scope_still_closes_the_session(
    engine: AsyncEngine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    with anyio.CancelScope() as scope:
        async with sessions() as session:
            session.add(Star(name="Sun"))
            await session.flush()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    await assert_engine_healthy(engine)


async def test_lock_that_is_not_free_keeps_the_connection(file_engine: AsyncEngine) -> None:
    async with file_engine.connect() as holder, file_engine.connect() as waiter:
        await holder.exec_driver_sql("INSERT INTO star (name) VALUES ('a')")
        await waiter.exec_driver_sql("PRAGMA busy_timeout = 1")
        raw = (await waiter.get_raw_connection()).driver_connection
        with pytest.raises(sa.exc.OperationalError) as caught:
            await waiter.exec_driver_sql("INSERT INTO star (name) VALUES ('b')")
        assert isinstance(caught.value.orig, aiolibsql.TimeoutError)
        assert not caught.value.connection_invalidated
        await waiter.rollback()
        assert (await waiter.get_raw_connection()).driver_connection is raw
        await holder.rollback()
    await assert_engine_healthy(file_engine)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_commit_that_fails_leaves_no_transaction_in_the_pool(
    file_engine: AsyncEngine, is_cancelled: bool
) -> None:
    sessions = async_sessionmaker(file_engine)
    async with sessions() as reader:
        (await reader.execute(sa.select(Star))).all()
        with anyio.CancelScope() as scope:
            async with sessions() as session:
                if not is_cancelled:
                    await session.execute(sa.text("PRAGMA busy_timeout = 1"))
                session.add(Star(name="Sun"))
                await session.flush()
                if is_cancelled:
                    scope.deadline = anyio.current_time() + 0.1
                    await session.commit()
                with pytest.raises(sa.exc.OperationalError):
                    await session.commit()
        assert scope.cancelled_caught is is_cancelled
        async with sessions() as session:
            assert await session.scalar(sa.select(sa.func.count()).select_from(Star)) == 0
    await assert_engine_healthy(file_engine)


async def test_closed_connection_is_replaced(file_engine: AsyncEngine) -> None:
    async with file_engine.connect() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.close()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await conn.execute(sa.select(Star))
        assert caught.value.connection_invalidated
    await assert_engine_healthy(file_engine)


async def test_one_engine_serves_loops_on_several_threads(tmp_path: Path) -> None:
    engine = await made(
        f"sqlite+aiolibsql:///{tmp_path / 'test.db'}?timeout=20", pool_size=1, max_overflow=1
    )

    async def count() -> int | None:
        total = 0
        for _ in range(20):
            async with engine.connect() as conn:
                total += await conn.scalar(sa.text("SELECT 1"))
        return total

    def on_a_loop(name: str) -> int | None:
        return anyio.run(count, backend=name)

    results: list[int | None] = []

    async def run(name: str) -> None:
        results.append(await anyio.to_thread.run_sync(on_a_loop, name))

    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            for name in ("asyncio", "trio", "asyncio", "trio"):
                tasks.start_soon(run, name)
    assert results == [20] * 4
    await engine.dispose()


async def test_events_get_a_connection_that_waits(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiolibsql:///{tmp_path / 'test.db'}")

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.execute("PRAGMA foreign_keys = ON")
        dbapi_connection.create_function("double", 1, lambda x: 2 * x)
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        assert cursor.fetchall() == [("wal",)]
        cursor.close()
        tables = dbapi_connection.run_async(lambda raw: raw.fetch_all("PRAGMA foreign_keys"))
        assert tables == [(1,)]

    async with engine.connect() as conn:
        assert await conn.scalar(sa.text("SELECT double(21)")) == 42
        assert await conn.scalar(sa.text("PRAGMA foreign_keys")) == 1
    await engine.dispose()


async def test_async_creator_makes_the_connections() -> None:
    engine = create_async_engine(
        "sqlite+aiolibsql://", async_creator=partial(aiolibsql.connect, ":memory:")
    )
    async with engine.connect() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        assert isinstance(raw, aiolibsql.Connection)
    await engine.dispose()
