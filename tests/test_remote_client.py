"""`aiolibsql.client` at a server: calls, batches and transactions over both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiolibsql.client import LibsqlError, create_client, create_client_sync

if TYPE_CHECKING:
    from backends import Backend
    from proxy import Proxy

pytestmark = pytest.mark.anyio


def url_of(backend: Backend) -> str:
    """Return a URL that names the database: the client has no parameter for that."""
    return f"{backend.name}://{backend.namespace}.localhost:{backend.port}"


async def test_client_at_a_server(hosted: Backend, proxy: Proxy) -> None:
    async with create_client(url_of(hosted.through(proxy))) as client:
        await client.execute("CREATE TABLE t (a UNIQUE)")
        result = await client.execute("INSERT INTO t VALUES (?)", [1])
        assert (result.rows_affected, result.last_insert_rowid) == (1, 1)
        before = proxy.round_trips
        proxy.delay = 0.01
        results = await client.batch([("INSERT INTO t VALUES (?)", [2]), "SELECT a FROM t"])
        proxy.delay = 0
        assert proxy.round_trips - before == 1
        assert [row.astuple() for row in results[1]] == [(1,), (2,)]
        with pytest.raises(LibsqlError) as caught:
            await client.batch(["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (1)"])
        assert caught.value.code.startswith("SQLITE_CONSTRAINT")
        with client.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (4)")
            await transaction.rollback()
        with client.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (5)")
            await transaction.commit()
        result = await client.execute("SELECT a FROM t")
        assert [row["a"] for row in result] == [1, 2, 5]


async def test_blocking_client_at_a_server(hosted: Backend, proxy: Proxy) -> None:
    with create_client_sync(url_of(hosted.through(proxy))) as client:
        client.execute("CREATE TABLE t (a UNIQUE)")
        before = proxy.round_trips
        proxy.delay = 0.01
        results = client.batch(
            [("INSERT INTO t VALUES (?)", [1]), "INSERT INTO t VALUES (2)", "SELECT a FROM t"]
        )
        proxy.delay = 0
        assert proxy.round_trips - before == 1
        assert [row.astuple() for row in results[2]] == [(1,), (2,)]
        with pytest.raises(LibsqlError) as caught:
            client.batch(["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (1)"])
        assert caught.value.code.startswith("SQLITE_CONSTRAINT")
        with client.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (4)")
        result = client.execute("SELECT a FROM t")
        assert [row[0] for row in result] == [1, 2]
