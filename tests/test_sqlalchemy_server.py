"""SQLAlchemy's engines for databases at a server: what goes wrong there, and who notices.

What is alike for all databases is in ``test_sqlalchemy_async.py``, which runs at servers too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from backends import Backend
from situations import NUMBERS, attempt_cancelled

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import aiolibsql
from aiolibsql.sqlalchemy import (
    AsyncEngine,
    AsyncQueuePool,
    async_sessionmaker,
    create_async_engine,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from credentials import Signer
    from proxy import Proxy
    from sqld import Sqld

pytestmark = [pytest.mark.anyio, pytest.mark.paired]

LOST = (aiolibsql.ConnectError, aiolibsql.StreamExpiredError)
MANY = sa.text(f"{NUMBERS} SELECT i FROM n LIMIT 5000")
# What a cancelled caller waits for at most: the machine may be busy.
PROMPT = 1.0


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


async def made(backend: Backend, query: str = "", **options: Any) -> AsyncEngine:
    """Return an engine whose database has the table."""
    engine = create_async_engine(backend.engine_url + query, **options)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    return engine


async def texts(engine: AsyncEngine) -> list[str]:
    """Return what was committed; all connections have to be back."""
    assert isinstance(engine.pool, AsyncQueuePool)
    assert engine.pool.checkedout() == 0
    async with async_sessionmaker(engine)() as session:
        return list(await session.scalars(sa.select(Note.text).order_by(Note.id)))


@pytest.fixture
async def engine(hosted: Backend, proxy: Proxy) -> AsyncIterator[AsyncEngine]:
    """Return an engine that reaches its server through the proxy."""
    engine = await made(hosted.through(proxy), "&request_timeout=20")
    yield engine
    proxy.is_stalled = False
    await engine.dispose()


@pytest.fixture
def own(own_server: Sqld, transport: str) -> Backend:
    """Return a database at a server that the test may restart."""
    return Backend(transport, port=own_server.port, namespace=own_server.create_namespace())


async def raw_of(conn: sa.ext.asyncio.AsyncConnection) -> Any:
    return (await conn.get_raw_connection()).driver_connection


async def test_statement_takes_one_round_trip(engine: AsyncEngine, proxy: Proxy) -> None:
    assert await texts(engine) == []
    before = proxy.round_trips
    async with engine.begin() as conn:
        await conn.execute(sa.insert(Note).values(text="a"))
        await conn.execute(sa.insert(Note).values(text="b"))
    # BEGIN goes with the first; COMMIT is the third; giving the connection back asks nothing.
    assert proxy.round_trips - before == 3
    before = proxy.round_trips
    async with engine.connect() as conn:
        await conn.execute(sa.select(Note))
    assert proxy.round_trips - before == 2
    before = proxy.round_trips
    async with engine.begin(), async_sessionmaker(engine)():
        pass
    assert proxy.round_trips == before
    before = proxy.round_trips
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(sa.select(Note))
    assert proxy.round_trips - before == 1


async def test_verb_of_begin_is_sent_by_itself(hosted: Backend, proxy: Proxy) -> None:
    engine = await made(hosted.through(proxy), "&isolation_level=IMMEDIATE")
    before = proxy.round_trips
    async with engine.begin() as conn:
        assert (await raw_of(conn)).in_transaction
        await conn.execute(sa.insert(Note).values(text="a"))
    assert proxy.round_trips - before == 3
    async with engine.connect() as conn:
        await conn.execute(sa.insert(Note).values(text="b"))
    assert await texts(engine) == ["a"]
    await engine.dispose()


async def test_transaction_of_the_driver_is_left_to_its_user(hosted: Backend) -> None:
    engine = await made(hosted, connect_args={"autocommit": True})
    async with engine.connect() as conn:
        await conn.execute(sa.insert(Note).values(text="a"))
        await conn.rollback()
        assert (await raw_of(conn)).autocommit is True
    assert await texts(engine) == ["a"]
    await engine.dispose()


async def test_isolation_levels_are_those_of_the_server(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        assert await conn.get_isolation_level() == "SERIALIZABLE"
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(sa.insert(Note).values(text="a"))
        assert not (await raw_of(conn)).in_transaction
    assert await texts(engine) == ["a"]
    async with engine.connect() as conn:
        with pytest.raises(sa.exc.ArgumentError, match="Valid isolation levels"):
            await conn.execution_options(isolation_level="READ UNCOMMITTED")
        await conn.execute(sa.insert(Note).values(text="b"))
    assert await texts(engine) == ["a"]


async def test_url_says_that_it_is_a_server_whoever_connects(hosted: Backend) -> None:
    engine = create_async_engine("sqlite+aiolibsql://a.server", async_creator=hosted.connect)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(sa.insert(Note).values(text="a"))
    async with engine.connect() as conn:
        await conn.execute(sa.insert(Note).values(text="b"))
    assert await texts(engine) == ["a"]
    await engine.dispose()


async def test_restart_outside_of_a_transaction_is_unseen(own: Backend, own_server: Sqld) -> None:
    engine = await made(own)
    own_server.restart()
    async with engine.begin() as conn:
        await conn.execute(sa.insert(Note).values(text="a"))
    assert await texts(engine) == ["a"]
    await engine.dispose()


@pytest.mark.parametrize("how", ["connection", "session"])
async def test_restart_inside_of_a_transaction_is_a_lost_connection(
    own: Backend, own_server: Sqld, how: str
) -> None:
    engine = await made(own)
    with pytest.raises(sa.exc.DBAPIError) as caught:
        if how == "session":
            async with async_sessionmaker(engine).begin() as session:
                session.add(Note(text="a"))
                await session.flush()
                own_server.restart()
                await session.execute(sa.select(Note))
        else:
            async with engine.connect() as conn:
                lost = await raw_of(conn)
                await conn.execute(sa.insert(Note).values(text="a"))
                own_server.restart()
                try:
                    await conn.execute(sa.select(Note))
                finally:
                    assert conn.invalidated
                    await conn.rollback()
                    assert await raw_of(conn) is not lost
                    assert lost.closed
    assert isinstance(caught.value.orig, LOST)
    assert caught.value.connection_invalidated
    assert await texts(engine) == []
    await engine.dispose()


@pytest.mark.parametrize("pre_ping", [False, True])
async def test_server_that_comes_back_is_used_again(
    own: Backend, own_server: Sqld, pre_ping: bool
) -> None:
    engine = await made(own, pool_pre_ping=pre_ping)
    own_server.kill()
    for _ in range(3):
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await texts(engine)
        assert isinstance(caught.value.orig, aiolibsql.ConnectError)
    own_server.start()
    assert await texts(engine) == []
    await engine.dispose()


async def test_pre_ping_replaces_a_closed_connection(hosted: Backend) -> None:
    for pre_ping in (False, True):
        own = await made(hosted, pool_pre_ping=pre_ping)
        async with own.connect() as conn:
            raw = await raw_of(conn)
        await raw.close()
        if pre_ping:
            assert await texts(own) == []
        else:
            with pytest.raises(sa.exc.DBAPIError) as caught:
                await texts(own)
            assert caught.value.connection_invalidated
        await own.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http"], indirect=True)
async def test_stream_that_the_server_forgot_is_a_lost_connection(hosted: Backend) -> None:
    # A WebSocket's server forgets nothing while the socket is there.
    engine = await made(hosted)
    async with engine.connect() as conn:
        await conn.execute(sa.insert(Note).values(text="a"))
        await anyio.sleep(11.5)
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await conn.execute(sa.select(Note))
        assert isinstance(caught.value.orig, aiolibsql.StreamExpiredError)
        assert caught.value.connection_invalidated
    # Those in the pool were idle as long.
    assert await texts(engine) == []
    await engine.dispose()


async def test_cut_inside_of_a_transaction_is_a_lost_connection(
    engine: AsyncEngine, proxy: Proxy
) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        async with engine.begin() as conn:
            await conn.execute(sa.select(Note))
            proxy.cut(after=5)
            await conn.execute(sa.select(Note))
    assert isinstance(caught.value.orig, aiolibsql.ConnectError)
    assert caught.value.connection_invalidated
    assert await texts(engine) == []


async def test_stream_that_is_cut_is_an_error_and_no_shorter_result(
    engine: AsyncEngine, proxy: Proxy
) -> None:
    async with engine.connect() as conn:
        await conn.execute(sa.select(Note))
        proxy.cut(after=5000)
        with pytest.raises(sa.exc.DBAPIError) as caught:
            async with conn.stream(MANY) as result:
                async for _ in result:
                    pass
        assert isinstance(caught.value.orig, aiolibsql.ConnectError)
        await conn.rollback()
        assert len((await conn.execute(MANY)).all()) == 5000
    assert await texts(engine) == []


async def test_silence_ends_in_time_and_keeps_the_connection(hosted: Backend, proxy: Proxy) -> None:
    engine = await made(hosted.through(proxy), "&request_timeout=0.4")
    async with engine.connect() as conn:
        raw = await raw_of(conn)
        await conn.execute(sa.select(Note))
        proxy.is_stalled = True
        with pytest.raises(sa.exc.OperationalError) as caught:
            await conn.execute(sa.select(Note))
        assert isinstance(caught.value.orig, aiolibsql.TimeoutError)
        assert not caught.value.connection_invalidated
        proxy.is_stalled = False
        await conn.rollback()
        assert (await conn.execute(sa.select(Note))).all() == []
        assert await raw_of(conn) is raw
    assert await texts(engine) == []
    await engine.dispose()


async def _connect(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        await conn.execute(sa.select(Note))


async def _flush(engine: AsyncEngine) -> None:
    async with async_sessionmaker(engine).begin() as session:
        session.add(Note(text="a"))
        await session.flush()


async def _stream(engine: AsyncEngine) -> None:
    async with async_sessionmaker(engine)() as session:
        async for _ in await session.stream(MANY):
            pass


async def _nested(engine: AsyncEngine) -> None:
    async with async_sessionmaker(engine).begin() as session, session.begin_nested():
        session.add(Note(text="a"))


WORK: dict[str, Callable[[AsyncEngine], Awaitable[None]]] = {
    "connect": _connect,
    "flush": _flush,
    "stream": _stream,
    "nested": _nested,
}


@pytest.mark.parametrize("work", WORK)
async def test_cancelled_while_the_server_is_silent(
    engine: AsyncEngine, proxy: Proxy, work: str
) -> None:
    async with engine.connect() as conn:
        raw = await raw_of(conn)
    proxy.is_stalled = True
    outcome = await attempt_cancelled(WORK[work](engine))
    assert outcome.is_cancelled
    assert outcome.seconds < PROMPT
    proxy.is_stalled = False
    assert await texts(engine) == []
    async with engine.connect() as conn:
        assert await raw_of(conn) is raw


@pytest.mark.parametrize("work", WORK)
async def test_cancelled_at_any_moment(engine: AsyncEngine, proxy: Proxy, work: str) -> None:
    proxy.delay = 0.002
    for step in range(8):
        await attempt_cancelled(WORK[work](engine), partial(anyio.sleep, step * 0.002))
    proxy.delay = 0
    # Each was committed or undone, and nobody holds a lock.
    before = await texts(engine)
    assert len(before) <= 8
    with anyio.fail_after(4):
        await _flush(engine)
    assert await texts(engine) == [*before, "a"]


async def test_cancelled_first_connection_lets_the_next_one_connect(
    hosted: Backend, proxy: Proxy
) -> None:
    engine = create_async_engine(hosted.through(proxy).engine_url)
    proxy.is_stalled = True
    outcome = await attempt_cancelled(engine.connect())
    assert outcome.is_cancelled
    proxy.is_stalled = False
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    assert await texts(engine) == []
    await engine.dispose()


async def test_token_of_the_url_is_sent(token_server: Sqld, signer: Signer, transport: str) -> None:
    place = f"127.0.0.1:{token_server.port}"
    query = f"?scheme={transport}&secure=false"
    for url in (
        f"//:{signer.token()}@{place}/{query}",
        f"//{place}/{query}&authToken={signer.token()}",
    ):
        engine = create_async_engine(f"sqlite+aiolibsql:{url}")
        async with engine.connect() as conn:
            assert await conn.scalar(sa.text("SELECT 1")) == 1
        await engine.dispose()
    engine = create_async_engine(f"sqlite+aiolibsql://{place}/{query}")
    with pytest.raises(sa.exc.OperationalError) as caught:
        await engine.connect()
    assert isinstance(caught.value.orig, aiolibsql.AuthError)
    await engine.dispose()


def test_blocking_engine(own: Backend, own_server: Sqld) -> None:
    engine = sa.create_engine(own.engine_url)
    Base.metadata.create_all(engine)
    assert sa.inspect(engine).get_table_names() == ["note"]
    with Session(engine) as session:
        session.add(Note(text="a"))
        with session.begin_nested() as savepoint:
            session.add(Note(text="b"))
            session.flush()
            savepoint.rollback()
        session.commit()
        session.add(Note(text="c"))
        session.flush()
        own_server.restart()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            session.scalars(sa.select(Note)).all()
        assert isinstance(caught.value.orig, LOST)
        assert caught.value.connection_invalidated
        session.rollback()
        assert session.scalars(sa.select(Note.text)).all() == ["a"]
        assert len(session.scalars(MANY, execution_options={"yield_per": 7}).all()) == 5000
    engine.dispose()
