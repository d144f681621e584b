"""Short links: a web service with FastAPI on a pool of connections.

    uvicorn links_api:app                         (asyncio)
    hypercorn --worker-class trio links_api:app   (trio)

The database is ``LINKS_DATABASE``, by default the file ``links.db`` in the current folder.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field, HttpUrl

import aiolibsql

SCHEMA = """
CREATE TABLE IF NOT EXISTS link (
    code TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    visits INTEGER NOT NULL DEFAULT 0
)
"""


class NewLink(BaseModel):
    """A link as a client sends it; without a code it gets one."""

    url: HttpUrl
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{3,40}$")


class Link(BaseModel):
    """A link as a client gets it."""

    code: str
    url: str
    visits: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a pool open for as long as the service runs."""
    database = os.environ.get("LINKS_DATABASE", "links.db")
    # Here and not when the module is imported: a server may fork in between.
    # A client does not wait for longer than two seconds, for other clients or processes.
    pool = aiolibsql.create_pool(database, timeout=2, acquire_timeout=2, row_factory=aiolibsql.Row)
    async with pool:
        await pool.execute(SCHEMA)
        app.state.pool = pool
        yield


def opened(request: Request) -> aiolibsql.ConnectionPool:
    """Give a request the pool. It borrows no connection: each statement takes one when it runs."""
    pool: aiolibsql.ConnectionPool = request.app.state.pool
    return pool


Pool = Annotated[aiolibsql.ConnectionPool, Depends(opened)]
app = FastAPI(lifespan=lifespan)


@app.exception_handler(aiolibsql.TimeoutError)
@app.exception_handler(aiolibsql.PoolTimeout)
async def busy(_request: Request, _error: Exception) -> JSONResponse:
    """Tell the client to come back, if the database is locked or too many wait for it."""
    return JSONResponse({"detail": "busy"}, 503, headers={"Retry-After": "1"})


@app.post("/links", status_code=201)
async def create(new: NewLink, pool: Pool) -> Link:
    """Store a link."""
    code = new.code or secrets.token_urlsafe(6)
    insert = "INSERT INTO link (code, url) VALUES (?, ?) RETURNING *"
    try:
        # Those of requests that come at the same time are committed together.
        return Link(**await pool.fetch_one(insert, (code, str(new.url))))
    except aiolibsql.IntegrityError:
        raise HTTPException(409, "this code is taken") from None


@app.get("/links")
async def list_most_visited(pool: Pool, limit: int = 10) -> list[Link]:
    """Return the links that are used most."""
    query = "SELECT * FROM link ORDER BY visits DESC, code LIMIT ?"
    return [Link(**row) for row in await pool.fetch_all(query, (limit,))]


@app.get("/{code}")
async def follow(code: str, pool: Pool) -> RedirectResponse:
    """Lead to where a link goes, and count the visit."""
    count = "UPDATE link SET visits = visits + 1 WHERE code = ? RETURNING url"
    url = await pool.fetch_scalar(count, (code,))
    if url is None:
        raise HTTPException(404, "no such link")
    return RedirectResponse(url)


@app.delete("/links/{code}", status_code=204)
async def delete(code: str, pool: Pool) -> None:
    """Take a link away."""
    cursor = await pool.execute("DELETE FROM link WHERE code = ?", (code,))
    if cursor.rowcount == 0:
        raise HTTPException(404, "no such link")
