"""SQLAlchemy's ORM on the drivers: the objects, the sessions, and the work of row 18.

A blocking driver has a blocking engine; it shows what SQLAlchemy takes by itself.
Imported only when a case of row 18 runs, for SQLAlchemy may not be installed.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from data import BigRow, big_row, big_rows
from drivers import OURS, REFERENCE
from measure import Sample, Stopwatch
from replayed import Replayed, ReplayedConnection
from sqlalchemy import event
from sqlalchemy.ext import asyncio as sqla
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cases import Bench
    from typing_extensions import Self

LOADED = 10_000
LOADS = 5
INSERTED = 1_000
COMMITTED = 200

DIALECTS = {OURS: "sqlite+aiolibsql", "aiosqlite": "sqlite+aiosqlite"}
BLOCKING: dict[str, dict[str, Any]] = {
    REFERENCE: {},
    Replayed.name: {"factory": ReplayedConnection},
}
"""Drivers that SQLAlchemy has a blocking engine for, and what they connect with."""


class Base(DeclarativeBase):
    """What the mapped classes have in common."""


class Columns:
    """The columns of the tables `big` and `sink`."""

    i: Mapped[int] = mapped_column(primary_key=True)
    f: Mapped[float]
    t: Mapped[str]
    b: Mapped[bytes]


class Big(Columns, Base):
    """A row of `big`."""

    __tablename__ = "big"


class Sink(Columns, Base):
    """A row of `sink`."""

    __tablename__ = "sink"


class Blocking:
    """A blocking session with the face of an asynchronous one."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.add = session.add

    async def scalars(self, statement: Any) -> Any:
        """Execute a statement."""
        return self._session.scalars(statement)

    async def flush(self) -> None:
        """Write what was added."""
        self._session.flush()

    async def commit(self) -> None:
        """Write what was added, and commit."""
        self._session.commit()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._session.close()


@asynccontextmanager
async def _sessions(bench: Bench) -> AsyncIterator[Callable[[], Any]]:
    """Give what makes sessions, of an engine that has used its connection and both classes."""
    name = bench.driver.name
    url = f"{DIALECTS.get(name, 'sqlite')}:///{bench.path}"
    engine: Any
    make: Callable[[], Any]
    if name in BLOCKING:
        engine = sa.create_engine(url, connect_args=BLOCKING[name])
        blocking = sessionmaker(engine)

        def make() -> Any:
            return Blocking(blocking())

    elif name == OURS:
        from aiolibsql import sqlalchemy as ours  # noqa: PLC0415 - not for the others

        engine = ours.create_async_engine(url)
        make = ours.async_sessionmaker(engine)
    else:
        engine = sqla.create_async_engine(url)
        make = sqla.async_sessionmaker(engine)

    @event.listens_for(getattr(engine, "sync_engine", engine), "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in ("synchronous = NORMAL", "wal_autocheckpoint = 0"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    try:
        async with make() as session:
            (await session.scalars(sa.select(Big).limit(10))).all()
            session.add(_new(big_row(1)))
            await session.flush()
        yield make
    finally:
        done = engine.dispose()
        if done is not None:
            await done


def _new(row: BigRow) -> Sink:
    i, f, t, b = row
    return Sink(i=i, f=f, t=t, b=b)


async def load(bench: Bench) -> tuple[Sample, int, BigRow]:
    """Load objects by one query, several times; return how many, and the last one's row, too.

    Half of a load may be a full pass of the collector: it comes in most loads, but not in each.
    """
    count = min(LOADED, bench.size)
    query = sa.select(Big).limit(count)
    async with _sessions(bench) as make:
        # Once before, all alike: what the collector does depends on what was made before.
        async with make() as session:
            (await session.scalars(query)).all()
        with Stopwatch() as watch:
            for _ in range(LOADS):
                async with make() as session:
                    found = (await session.scalars(query)).all()
    last = found[-1]
    return watch.sample(LOADS * count), len(found), (last.i, last.f, last.t, last.b)


async def insert(bench: Bench) -> tuple[Sample, int]:
    """Insert objects one by one, in one transaction; return how many, too."""
    rows = big_rows(min(INSERTED, bench.size))
    async with _sessions(bench) as make:
        with Stopwatch() as watch:
            async with make() as session:
                for row in rows:
                    session.add(_new(row))
                    await session.flush()
                await session.commit()
    return watch.sample(len(rows)), len(rows)


async def commit(bench: Bench) -> tuple[Sample, int]:
    """Insert objects, each in a session and a transaction of its own; return how many, too."""
    rows = big_rows(min(COMMITTED, bench.size))
    async with _sessions(bench) as make:
        with Stopwatch() as watch:
            for row in rows:
                async with make() as session:
                    session.add(_new(row))
                    await session.commit()
    return watch.sample(len(rows)), len(rows)
