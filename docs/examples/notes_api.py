"""A web service with FastAPI and SQLModel on an async SQLite database.

    uvicorn notes_api:app                         (asyncio)
    hypercorn --worker-class trio notes_api:app   (trio)

The database is ``NOTES_DATABASE``, by default the file ``notes.db`` in the current folder.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import sqlmodel.ext.asyncio.session
from fastapi import Depends, FastAPI, HTTPException, Request
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlmodel import Field, Relationship, SQLModel, select

from aiolibsql.sqlalchemy import AsyncSession, async_sessionmaker, create_async_engine


class Tag(SQLModel, table=True):
    """A word on a note."""

    id: int | None = Field(default=None, primary_key=True)
    name: str
    note_id: int | None = Field(default=None, foreign_key="note.id", ondelete="CASCADE")


class NoteBase(SQLModel):
    """What a note has in the database and outside."""

    title: str = Field(index=True, unique=True)
    text: str = ""


class Note(NoteBase, table=True):
    """A note as it is stored."""

    id: int | None = Field(default=None, primary_key=True)
    tags: list[Tag] = Relationship(
        cascade_delete=True, sa_relationship_kwargs={"lazy": "selectin", "order_by": "Tag.id"}
    )


class NewNote(NoteBase):
    """A note as a client sends it."""

    tags: list[str] = []


class ShownNote(NoteBase):
    """A note as a client gets it."""

    id: int
    tags: list[str]


# SQLModel's session has exec(), ours closes under every event loop.
class Session(AsyncSession, sqlmodel.ext.asyncio.session.AsyncSession):
    """A session for asyncio and trio."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database for as long as the service runs."""
    database = os.environ.get("NOTES_DATABASE", "notes.db")
    # IMMEDIATE: transactions that read and then write wait for each other, and never fail for it.
    url = f"sqlite+aiolibsql:///{database}?foreign_keys=true&isolation_level=IMMEDIATE"
    engine = create_async_engine(url)
    use_write_ahead_log(engine.sync_engine)
    async with engine.begin() as conn:
        await conn.run_sync(SQLModel.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, class_=Session, expire_on_commit=False)
    yield
    await engine.dispose()


def use_write_ahead_log(engine: Engine) -> None:
    """Let readers go on while somebody writes."""

    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: DBAPIConnection, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()


async def session(request: Request) -> AsyncIterator[Session]:
    """Give a request its session; what it did not commit is rolled back."""
    async with request.app.state.sessions() as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]
app = FastAPI(lifespan=lifespan)


def shown(note: Note) -> ShownNote:
    """Return what a client gets of a note."""
    return ShownNote(
        id=note.id or 0, title=note.title, text=note.text, tags=[tag.name for tag in note.tags]
    )


async def found(note_id: int, session: Opened) -> Note:
    """Return the note that a path names."""
    note = await session.get(Note, note_id)
    if note is None:
        raise HTTPException(404, "no such note")
    return note


Found = Annotated[Note, Depends(found)]


@app.post("/notes", status_code=201)
async def create(new: NewNote, session: Opened) -> ShownNote:
    """Store a note."""
    if (await session.exec(select(Note).where(Note.title == new.title))).first():
        raise HTTPException(409, "there is a note of that title")
    note = Note(title=new.title, text=new.text, tags=[Tag(name=name) for name in new.tags])
    session.add(note)
    await session.commit()
    return shown(note)


@app.get("/notes")
async def list_all(session: Opened) -> list[ShownNote]:
    """Return all notes by title."""
    return [shown(note) for note in await session.exec(select(Note).order_by(Note.title))]


@app.get("/notes/{note_id}")
async def read(note: Found) -> ShownNote:
    """Return one note."""
    return shown(note)


@app.delete("/notes/{note_id}", status_code=204)
async def delete(note: Found, session: Opened) -> None:
    """Take a note away, with its tags."""
    await session.delete(note)
    await session.commit()
