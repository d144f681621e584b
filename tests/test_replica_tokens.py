"""Callables that give a replica's tokens: who asks them, when, and in which context."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from credentials import Signer
from healthy import assert_healthy
from replicas import CREATE, Home, until
from situations import attempt_cancelled, count
from sqld import Sqld

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

# What a busy machine may take for what is done at once.
AT_ONCE = 10.0
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Guarded:
    """A server that wants a token, whose key can be changed; it has one database."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "public.pem"
        self.renew()
        self.server = Sqld("--auth-jwt-key-file", str(self.key))
        self.home = Home(folder / "replica.db", 0)
        # Who asked for a token, in their order.
        self.asked: list[str] = []
        self.is_wrong = False

    def renew(self) -> None:
        """Have the server believe other tokens than before, once it is started anew."""
        self.signer = Signer()
        self.signer.write_public_key(self.key)

    def renew_now(self) -> None:
        """Have the server believe other tokens than before."""
        self.server.kill()
        self.renew()
        self.server.start()

    def plain(self) -> str:
        """Return a token that the server believes."""
        self.asked.append(who.get())
        return self.signer.token(seconds=-3600 if self.is_wrong else 3600)

    async def asynchronous(self) -> str:
        """Return the same later."""
        await anyio.sleep(0.001)
        return self.plain()

    def primary(self) -> aiolibsql.Connection[Any]:
        return self.home.primary(auth_token=self.signer.token())


@pytest.fixture
def guarded(program: str, tmp_path: Path) -> Iterator[Guarded]:
    """Return a server that wants tokens, with one row in its table."""
    assert program
    guarded = Guarded(tmp_path)
    with guarded.server:
        guarded.home = Home(tmp_path / "replica.db", guarded.server.port)
        yield guarded


@pytest.fixture(params=["plain", "asynchronous"])
def way(request: pytest.FixtureRequest) -> str:
    """Name each kind of callable in turn."""
    return str(request.param)


async def fill(guarded: Guarded) -> None:
    async with guarded.primary() as primary:
        await primary.execute(CREATE)
        await primary.execute("INSERT INTO t (a) VALUES ('one')")


async def insert(guarded: Guarded, value: str) -> None:
    async with guarded.primary() as primary:
        await primary.execute("INSERT INTO t (a) VALUES (?)", (value,))


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_asked_by_who_awaits_and_again_after_a_refusal(
    guarded: Guarded, way: str, scheme: str
) -> None:
    await fill(guarded)
    url = f"{scheme}://127.0.0.1:{guarded.server.port}"
    who.set("connect")
    async with guarded.home.connect(
        sync_url=url, auth_token=getattr(guarded, way), autocommit=True
    ) as conn:
        assert await count(conn) == 1
        assert guarded.asked == ["connect"], "one token is enough for syncs and writes"
        who.set("never")
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        assert await count(conn) == 2
        await conn.sync()
        assert guarded.asked == ["connect"]

        guarded.renew_now()
        who.set("sync")
        await insert(guarded, "three")
        began = time.monotonic()
        assert (await conn.sync()).frames > 0
        assert time.monotonic() - began < AT_ONCE
        assert guarded.asked == ["connect", "sync"]

        guarded.renew_now()
        who.set("write")
        await conn.execute("INSERT INTO t (a) VALUES ('four')")
        assert guarded.asked[2:] == ["write"]
        who.set("never")
        assert await count(conn) == 4

        await conn.execute("INSERT INTO t (a) VALUES ('five')")
        guarded.renew_now()
        who.set("read")
        assert await count(conn) == 5, "it syncs first"
        assert guarded.asked[3:] == ["read"]

        await conn.execute("INSERT INTO t (a) VALUES ('six')")
        guarded.renew_now()
        who.set("block")
        async with conn.transaction("READ") as block:
            assert await count(block) == 6
        assert guarded.asked[4:] == ["block"]
        await assert_healthy(conn)


async def test_refused_token_is_an_error_and_nothing_else_is_asked(
    guarded: Guarded, way: str
) -> None:
    await fill(guarded)
    guarded.is_wrong = True
    with pytest.raises(aiolibsql.AuthError):
        await guarded.home.connect(auth_token=getattr(guarded, way))
    assert len(guarded.asked) == 2
    guarded.is_wrong = False
    async with guarded.home.connect(auth_token=getattr(guarded, way)) as conn:
        guarded.renew_now()
        guarded.is_wrong = True
        for _ in range(2):
            with pytest.raises(aiolibsql.AuthError):
                await conn.sync()
        assert await count(conn) == 1
        guarded.is_wrong = False
        await conn.sync()
        await assert_healthy(conn)


async def test_error_of_the_callable_is_the_cause(guarded: Guarded, way: str) -> None:
    await fill(guarded)
    is_broken = False

    def plain() -> str:
        if is_broken:
            raise KeyError("no token today")
        return guarded.plain()

    async def asynchronous() -> str:
        await anyio.sleep(0.001)
        return plain()

    token = plain if way == "plain" else asynchronous
    async with guarded.home.connect(auth_token=token, autocommit=True) as conn:
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        guarded.renew_now()
        is_broken = True
        with pytest.raises(aiolibsql.AuthError) as caught:
            await conn.sync()
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(aiolibsql.SyncError, match="was done") as unseen:
            await count(conn)
        assert isinstance(unseen.value.__cause__, KeyError)
        is_broken = False
        assert await count(conn) == 2


async def test_file_that_is_there_is_opened_without_asking(guarded: Guarded, way: str) -> None:
    await fill(guarded)
    async with guarded.home.connect(auth_token=getattr(guarded, way)):
        pass
    guarded.asked.clear()
    async with guarded.home.connect(auth_token=getattr(guarded, way)) as conn:
        assert await count(conn) == 1
        assert guarded.asked == []
        await conn.sync()
        assert len(guarded.asked) == 1


async def test_background_asks_a_plain_callable_itself(guarded: Guarded) -> None:
    await fill(guarded)
    who.set("connect")
    async with guarded.home.connect(auth_token=guarded.plain, sync_interval=0.02) as conn:

        async def has(number: int) -> bool:
            return bool(await count(conn) == number)

        await insert(guarded, "two")
        await until(lambda: has(2))
        guarded.renew_now()
        await insert(guarded, "three")
        await until(lambda: has(3))
        assert guarded.asked[0] == "connect"
        assert set(guarded.asked[1:]) == {"nobody"}


async def test_background_goes_on_with_the_last_token_of_an_async_callable(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(guarded)
    async with guarded.home.connect(auth_token=guarded.asynchronous):
        pass
    guarded.asked.clear()
    who.set("connect")
    async with guarded.home.connect(auth_token=guarded.asynchronous, sync_interval=0.02) as conn:
        assert guarded.asked == ["connect"], "nobody could be asked later"

        async def has(number: int) -> bool:
            return bool(await count(conn) == number)

        async def has_failed() -> bool:
            return "Unauthorized" in str((await conn.sync_stats()).last_error)

        await insert(guarded, "two")
        await until(lambda: has(2))
        guarded.renew_now()
        await insert(guarded, "three")
        await until(has_failed)
        assert guarded.asked == ["connect"]
        who.set("sync")
        await conn.sync()
        assert await count(conn) == 3
        assert guarded.asked == ["connect", "sync"]
        await insert(guarded, "four")
        await until(lambda: has(4))
        assert guarded.asked == ["connect", "sync"]
        await conn.commit()
    assert any("not kept up to date" in record.getMessage() for record in caplog.records)


async def test_background_without_a_token_says_so(guarded: Guarded) -> None:
    await fill(guarded)
    is_broken = False

    async def token() -> str:
        if is_broken:
            raise KeyError("no token today")
        return guarded.plain()

    async with guarded.home.connect(auth_token=token):
        pass
    is_broken = True
    async with guarded.home.connect(auth_token=token, sync_interval=0.02) as conn:
        assert await count(conn) == 1, "the file is as good as ever"

        async def has_failed() -> bool:
            return "no auth token yet" in str((await conn.sync_stats()).last_error)

        await until(has_failed)
        is_broken = False
        await insert(guarded, "two")
        await conn.sync()
        assert await count(conn) == 2


async def test_each_connection_syncs_with_its_own_token(guarded: Guarded) -> None:
    await fill(guarded)
    async with guarded.home.connect(auth_token=guarded.asynchronous) as one:
        async with guarded.home.connect(auth_token=guarded.signer.token(seconds=-3600)) as other:
            with pytest.raises(aiolibsql.AuthError):
                await other.sync()
            assert await count(other) == 1
            await one.sync()
        async with guarded.home.connect(auth_token=guarded.plain) as other:
            await one.close()
            guarded.renew_now()
            await insert(guarded, "two")
            await other.sync()
            assert await count(other) == 2


async def test_callable_that_hangs_is_bounded_and_cancellable(guarded: Guarded) -> None:
    await fill(guarded)
    is_asked = anyio.Event()
    hangs = True

    async def token() -> str:
        if hangs:
            is_asked.set()
            await anyio.sleep_forever()
        return guarded.plain()

    outcome = await attempt_cancelled(guarded.home.connect(auth_token=token), is_asked.wait)
    assert outcome.is_cancelled
    began = time.monotonic()
    with pytest.raises(aiolibsql.TimeoutError):
        await guarded.home.connect(auth_token=token, connect_timeout=0.5)
    assert time.monotonic() - began < AT_ONCE
    hangs = False
    async with guarded.home.connect(auth_token=token, autocommit=True) as conn:
        await conn.execute("INSERT INTO t (a) VALUES ('two')")
        guarded.renew_now()
        for use in (conn.sync, lambda: count(conn)):
            hangs, is_asked = True, anyio.Event()
            outcome = await attempt_cancelled(use(), is_asked.wait)
            assert outcome.is_cancelled
            hangs = False
        assert await count(conn) == 2
        await assert_healthy(conn)


async def test_pool_asks_who_awaits(guarded: Guarded, way: str) -> None:
    await fill(guarded)
    who.set("pool")
    async with aiolibsql.create_pool(
        guarded.home.path,
        size=3,
        sync_url=guarded.home.url,
        auth_token=getattr(guarded, way),
    ) as pool:
        await pool.execute("INSERT INTO t (a) VALUES ('two')")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 2
        guarded.renew_now()
        who.set("write")
        await pool.execute("INSERT INTO t (a) VALUES ('three')")
        assert await pool.fetch_scalar("SELECT count(*) FROM t") == 3
        assert "write" in guarded.asked
        assert set(guarded.asked) <= {"pool", "write"}
