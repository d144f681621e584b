"""A shop's stock: a web service with Starlette, transactions, and an export that streams.

    uvicorn shop_service:app                         (asyncio)
    hypercorn --worker-class trio shop_service:app   (trio)

The database is ``SHOP_DATABASE``, by default the file ``shop.db`` in the current folder.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import aiolibsql

SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    name TEXT PRIMARY KEY,
    stock INTEGER NOT NULL CHECK (stock >= 0)
);
CREATE TABLE IF NOT EXISTS sale (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item,
    amount INTEGER NOT NULL CHECK (amount > 0)
);
"""


class State(TypedDict):
    """What the requests share."""

    pool: aiolibsql.ConnectionPool


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    """Keep a pool open for as long as the service runs."""
    database = os.environ.get("SHOP_DATABASE", "shop.db")
    async with aiolibsql.create_pool(database, foreign_keys=True) as pool:
        async with pool.write() as conn:
            await conn.executescript(SCHEMA)
        yield {"pool": pool}


async def stock_up(request: Request) -> Response:
    """Add to the stock of an item: ``PUT /items/pen`` with ``{"amount": 3}``."""
    amount = (await request.json())["amount"]
    total = await request.state.pool.fetch_scalar(
        """
        INSERT INTO item VALUES (?, ?)
        ON CONFLICT DO UPDATE SET stock = stock + excluded.stock
        RETURNING stock
        """,
        (request.path_params["name"], amount),
    )
    return JSONResponse({"stock": total})


async def sell(request: Request) -> Response:
    """Sell several items, all of them or none: ``POST /sales`` with ``{"pen": 1, "ink": 2}``."""
    wanted = await request.json()
    pool: aiolibsql.ConnectionPool = request.state.pool
    try:
        # An exception rolls back, and so does a client that goes away meanwhile.
        async with pool.transaction():
            for name, amount in wanted.items():
                await take(pool, name, amount)
    except aiolibsql.IntegrityError as error:
        raise HTTPException(409, f"not sold: {error}") from None
    return JSONResponse({"sold": wanted}, 201)


async def take(pool: aiolibsql.ConnectionPool, name: str, amount: int) -> None:
    """Take something out of the stock; within a block the pool's calls take part in it."""
    await pool.execute("INSERT INTO sale (item, amount) VALUES (?, ?)", (name, amount))
    await pool.execute("UPDATE item SET stock = stock - ? WHERE name = ?", (amount, name))


async def export(request: Request) -> Response:
    """Send all sales, a line of JSON each, without ever having all of them in memory."""
    return StreamingResponse(lines(request.state.pool), media_type="application/x-ndjson")


async def lines(pool: aiolibsql.ConnectionPool) -> AsyncIterator[str]:
    """Read the sales of one moment, whatever is sold meanwhile."""
    query = "SELECT id, item, amount FROM sale ORDER BY id"
    async with pool.execute(query) as cursor:
        async for id_, item, amount in cursor:
            yield json.dumps({"id": id_, "item": item, "amount": amount}) + "\n"


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/items/{name}", stock_up, methods=["PUT"]),
        Route("/sales", sell, methods=["POST"]),
        Route("/sales", export),
    ],
)
