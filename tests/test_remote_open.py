"""Opening a database at a server: addresses, tokens, passwords, namespaces, TLS."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from backends import Backend
from credentials import Signer
from healthy import assert_healthy
from servers import PASSWORD
from situations import attempt_cancelled
from sqld import Sqld, free_port

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from credentials import Authority
    from proxy import Proxy

    Connection = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

SHORT = 0.4
# What a busy machine may add to a limit.
SLACK = 10.0
_tables = itertools.count()


def table() -> str:
    """Name a table of a test, in a database that several share."""
    return f"t{next(_tables)}"


async def test_opened_written_closed_and_read_again(hosted: Backend) -> None:
    async with hosted.connect() as conn:
        await conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        await conn.execute("INSERT INTO t (a) VALUES (?)", ("one",))
        await conn.commit()
        await assert_healthy(conn)
    assert conn.closed
    async with hosted.second() as conn:
        assert await conn.fetch_all("SELECT * FROM t") == [(1, "one")]


async def test_every_way_to_open(hosted: Backend) -> None:
    conn = hosted.connect()
    with pytest.raises(aiolibsql.ConnectionClosedError):
        await conn.execute("SELECT 1")
    assert await conn is conn
    assert await conn is conn
    await conn.close()
    await conn.close()
    async with await hosted.connect() as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_closing_rolls_back_and_says_so(hosted: Backend) -> None:
    async with hosted.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.commit()
    conn = await hosted.connect()
    await conn.execute("INSERT INTO t VALUES (1)")
    with pytest.warns(ResourceWarning, match="uncommitted"):
        await conn.close()
    async with hosted.connect() as conn:
        assert await conn.fetch_all("SELECT * FROM t") == []


async def test_leaving_the_block_commits_or_rolls_back(hosted: Backend) -> None:
    async with hosted.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
        await conn.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyError):
        async with hosted.connect() as conn:
            await conn.execute("INSERT INTO t VALUES (2)")
            raise KeyError
    async with hosted.connect() as conn:
        assert await conn.fetch_all("SELECT a FROM t") == [(1,)]


async def test_libsql_url_may_be_without_tls(hosted: Backend) -> None:
    url = f"libsql://127.0.0.1:{hosted.port}?tls=0"
    async with aiolibsql.connect(url, namespace=hosted.namespace) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1
    url = f"libsql://127.0.0.1:{hosted.port}"
    async with aiolibsql.connect(url, namespace=hosted.namespace, tls=False) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://127.0.0.1:1?tls=1", {}),
        ("ws://127.0.0.1:1", {"tls": True}),
        ("https://127.0.0.1:1", {"tls": False}),
        ("http://127.0.0.1:99999", {}),
        ("http://127.0.0.1:1?unknown=1", {}),
        ("http://127.0.0.1:1?authToken=one", {"auth_token": "two"}),
        ("http://user:pass@127.0.0.1:1", {"auth_token": "two"}),
        ("http://127.0.0.1:1", {"encryption_key": "key"}),
        (":memory:", {"auth_token": "token"}),
        (":memory:", {"namespace": "n"}),
    ],
)
async def test_contradictions_are_refused(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(aiolibsql.ProgrammingError):
        await aiolibsql.connect(url, **options)


async def test_dead_port_is_an_error_at_once(transport: str) -> None:
    began = time.monotonic()
    with pytest.raises(aiolibsql.ConnectError):
        await Backend(transport, port=free_port()).connect()
    assert time.monotonic() - began < SLACK


async def test_server_that_comes_later_is_found(own_server: Sqld, transport: str) -> None:
    backend = Backend(transport, port=own_server.port, namespace=own_server.create_namespace())
    own_server.kill()
    conn = backend.connect()
    with pytest.raises(aiolibsql.ConnectError):
        await conn
    own_server.start()
    async with conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_silent_server_is_a_timeout_while_connecting(hosted: Backend, proxy: Proxy) -> None:
    proxy.is_stalled = True
    began = time.monotonic()
    options = {"connect_timeout": SHORT, "request_timeout": SHORT}
    with pytest.raises(aiolibsql.TimeoutError):
        await hosted.through(proxy).connect(**options)
    with pytest.raises(TimeoutError):
        await hosted.through(proxy).connect(**options)
    assert time.monotonic() - began < SLACK
    proxy.is_stalled = False
    async with hosted.through(proxy).connect() as conn:
        await assert_healthy(conn)


async def test_opening_is_cancelled_while_the_server_is_silent(
    hosted: Backend, proxy: Proxy
) -> None:
    proxy.is_stalled = True
    conn = hosted.through(proxy).connect()
    outcome = await attempt_cancelled(conn)
    assert outcome.is_cancelled
    assert outcome.seconds < 1
    proxy.is_stalled = False
    async with conn:
        await assert_healthy(conn)


async def test_unknown_namespace_is_refused(server: Sqld, transport: str) -> None:
    with pytest.raises(aiolibsql.OperationalError) as caught:
        await Backend(transport, port=server.port, namespace="nobody").connect()
    assert not isinstance(caught.value, aiolibsql.TimeoutError)


async def test_namespaces_are_apart(server: Sqld, transport: str) -> None:
    names = [server.create_namespace() for _ in range(2)]
    for name in names:
        async with Backend(transport, port=server.port, namespace=name).connect() as conn:
            await conn.execute("CREATE TABLE t (a)")
            await conn.execute("INSERT INTO t VALUES (?)", (name,))
            assert await conn.fetch_all("SELECT a FROM t") == [(name,)]


async def test_host_names_the_namespace(hosted: Backend) -> None:
    """Whatever ends in ``localhost`` is this machine, which no name server is asked for."""
    async with hosted.connect() as conn:
        await conn.execute("CREATE TABLE t (a)")
    port = hosted.port
    url = f"{hosted.name}://{hosted.namespace}.localhost:{port}"
    async with aiolibsql.connect(url) as conn:
        assert await conn.fetch_all("SELECT * FROM t") == []
    async with aiolibsql.connect(url.replace(f"{hosted.name}://", "libsql://"), tls=False) as conn:
        assert await conn.fetch_all("SELECT * FROM t") == []
    async with aiolibsql.connect(
        f"{hosted.name}://localhost:{port}", namespace=hosted.namespace
    ) as conn:
        assert await conn.fetch_all("SELECT * FROM t") == []


@pytest.mark.parametrize("namespace", ["", "a.b", "a b", "a/b"])
async def test_namespace_must_be_a_label(transport: str, namespace: str) -> None:
    with pytest.raises((aiolibsql.ProgrammingError, ValueError)):
        await Backend(transport, port=free_port(), namespace=namespace).connect()


# Who is let in.


def bad_tokens(signer: Signer) -> list[str | None]:
    return [None, "nonsense", type(signer)().token(), signer.token(seconds=-3600)]


async def test_wrong_and_expired_tokens_are_refused_and_never_shown(
    token_server: Sqld, signer: Signer, transport: str
) -> None:
    backend = Backend(transport, port=token_server.port)
    for token in bad_tokens(signer):
        conn = backend.connect(auth_token=token)
        with pytest.raises(aiolibsql.AuthError) as caught:
            await conn
        if token is not None:
            shown = f"{caught.value} {caught.value!r} {conn!r} {vars(caught.value)}"
            assert token not in shown
    async with backend.connect(auth_token=signer.token()) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_token_in_the_url(token_server: Sqld, signer: Signer, transport: str) -> None:
    token = signer.token()
    url = f"{Backend(transport, port=token_server.port).url}?authToken={token}"
    async with aiolibsql.connect(url) as conn:
        assert token not in repr(conn)
        assert await conn.fetch_scalar("SELECT 1") == 1
    async with aiolibsql.connect(url, auth_token=token) as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_read_only_token_reads_and_never_writes(
    token_server: Sqld, signer: Signer, transport: str
) -> None:
    backend, name = Backend(transport, port=token_server.port), table()
    async with backend.connect(auth_token=signer.token()) as conn:
        await conn.execute(f"CREATE TABLE {name} (a)")
    async with backend.connect(auth_token=signer.token("ro"), autocommit=True) as conn:
        assert await conn.fetch_all(f"SELECT * FROM {name}") == []
        with pytest.raises(aiolibsql.AuthError):
            await conn.execute(f"INSERT INTO {name} VALUES (1)")
        assert not conn.in_transaction
        assert await conn.fetch_all(f"SELECT * FROM {name}") == []
    async with backend.connect(auth_token=signer.token("ro")) as conn:
        with pytest.raises(aiolibsql.AuthError):
            await conn.execute(f"INSERT INTO {name} VALUES (1)")
        await conn.rollback()
        assert await conn.fetch_all(f"SELECT * FROM {name}") == []


class Tokens:
    """What a program asks for tokens: they are given out one after the other."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)
        self.asked = 0

    def plain(self) -> str:
        self.asked += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    async def asynchronous(self) -> str:
        await anyio.sleep(0.001)
        return self.plain()


@pytest.mark.parametrize("way", ["plain", "asynchronous"])
async def test_token_callable_is_asked_and_again_after_a_refusal(
    token_server: Sqld, signer: Signer, transport: str, way: str
) -> None:
    backend = Backend(transport, port=token_server.port)
    tokens = Tokens(signer.token(seconds=-3600), signer.token())
    async with backend.connect(auth_token=getattr(tokens, way)) as conn:
        assert tokens.asked == 2
        for _ in range(3):
            assert await conn.fetch_scalar("SELECT 1") == 1
    tokens = Tokens(signer.token(seconds=-3600))
    with pytest.raises(aiolibsql.AuthError):
        await backend.connect(auth_token=getattr(tokens, way))
    assert tokens.asked == 2


@pytest.mark.parametrize("way", ["plain", "asynchronous"])
async def test_token_that_is_refused_while_the_connection_is_open_is_replaced_unseen(
    program: str, tmp_path: Path, transport: str, way: str
) -> None:
    assert program
    key, signers = tmp_path / "public.pem", (Signer(), Signer())
    signers[0].write_public_key(key)
    tokens = Tokens(*(signer.token() for signer in signers))
    with Sqld("--auth-jwt-key-file", str(key)) as sqld:
        backend = Backend(transport, port=sqld.port)
        async with backend.connect(auth_token=getattr(tokens, way), autocommit=True) as conn:
            await conn.execute("CREATE TABLE t (a)")
            assert tokens.asked == 1
            signers[1].write_public_key(key)
            sqld.restart()
            await conn.execute("INSERT INTO t VALUES (1)")
            assert tokens.asked == 2
            assert await conn.fetch_all("SELECT a FROM t") == [(1,)]
            await assert_healthy(conn)


@pytest.mark.parametrize("is_async", [False, True])
async def test_error_of_a_token_callable_is_the_cause(
    token_server: Sqld, transport: str, is_async: bool
) -> None:
    def fails() -> str:
        raise KeyError("no token today")

    async def fails_later() -> str:
        await anyio.sleep(0.001)
        return fails()

    backend = Backend(transport, port=token_server.port)
    with pytest.raises(aiolibsql.Error) as caught:
        await backend.connect(auth_token=fails_later if is_async else fails)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("value", [None, 7, b"bytes"])
async def test_token_callable_must_give_text(
    token_server: Sqld, transport: str, value: Any
) -> None:
    def gives() -> Any:
        return value

    backend = Backend(transport, port=token_server.port)
    with pytest.raises((aiolibsql.Error, TypeError)):
        await backend.connect(auth_token=gives)


async def test_token_callable_that_hangs_is_bounded_and_cancellable(
    token_server: Sqld, signer: Signer, transport: str
) -> None:
    is_asked = anyio.Event()

    async def hangs() -> str:
        is_asked.set()
        await anyio.sleep_forever()
        return signer.token()

    backend = Backend(transport, port=token_server.port)
    outcome = await attempt_cancelled(backend.connect(auth_token=hangs), is_asked.wait)
    assert outcome.is_cancelled
    began = time.monotonic()
    with pytest.raises(aiolibsql.TimeoutError):
        await backend.connect(auth_token=hangs, connect_timeout=SHORT)
    assert time.monotonic() - began < SLACK


@pytest.mark.parametrize("token", [7, b"bytes", ["token"]])
async def test_token_must_be_text_or_callable(token: Any) -> None:
    with pytest.raises(TypeError):
        aiolibsql.connect("http://127.0.0.1:1", auth_token=token)


async def test_password_in_the_url(password_server: Sqld, transport: str) -> None:
    def url(who: str) -> str:
        return f"{transport}://{who}127.0.0.1:{password_server.port}"

    async with aiolibsql.connect(url(f"{PASSWORD}@")) as conn:
        assert PASSWORD.partition(":")[2] not in repr(conn)
        assert await conn.fetch_scalar("SELECT 1") == 1
    for who in ["", "user:wrong@", "other:pass@"]:
        with pytest.raises(aiolibsql.AuthError) as caught:
            await aiolibsql.connect(url(who))
        assert "wrong" not in str(caught.value)


# TLS.


@pytest.fixture
def secure(hosted: Backend, tls_proxy: Proxy) -> Callable[..., Connection]:
    """Return what connects to a fresh database by TLS."""

    def connect(host: str = "127.0.0.1", **options: Any) -> Connection:
        url = f"{hosted.name}s://{host}:{tls_proxy.port}"
        return aiolibsql.connect(url, namespace=hosted.namespace, **options)

    return connect


async def test_tls_with_a_trusted_certificate(
    secure: Callable[..., Connection], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with secure() as conn:
        assert await conn.fetch_scalar("SELECT 1") == 1


async def test_tls_with_a_stranger_is_refused(
    secure: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(aiolibsql.ConnectError, match=r"(?i)certificate"):
        await secure()


async def test_plain_server_asked_for_tls_is_an_error(hosted: Backend) -> None:
    url = f"{hosted.name}s://127.0.0.1:{hosted.port}"
    with pytest.raises(aiolibsql.ConnectError):
        await aiolibsql.connect(url, connect_timeout=SLACK)


# A server that passes writes on to another one.


async def test_replica_server_passes_writes_on_and_reads_them_soon(
    primary_and_replica: tuple[Sqld, Sqld], transport: str
) -> None:
    primary, replica = primary_and_replica
    name = table()
    async with Backend(transport, port=replica.port).connect() as conn:
        await conn.execute(f"CREATE TABLE {name} (a UNIQUE)")
        async with conn.transaction():
            await conn.execute(f"INSERT INTO {name} VALUES (1)")
        with pytest.raises(aiolibsql.DatabaseError, match="UNIQUE constraint failed"):
            await conn.execute(f"INSERT INTO {name} VALUES (1)")
        await conn.rollback()
        # It answers reads out of what the first server has sent it so far.
        with anyio.fail_after(10):
            while not (rows := await conn.fetch_all(f"SELECT * FROM {name}")):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert rows == [(1,)]
    async with Backend(transport, port=primary.port).connect() as conn:
        assert await conn.fetch_all(f"SELECT * FROM {name}") == [(1,)]
