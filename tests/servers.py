"""Fixtures with real servers, each started when the first test asks for it.

Where there is no server to run, tests that need one are skipped; under ``CI`` they fail.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest
from backends import TRANSPORTS, Backend
from credentials import Authority, Signer
from proxy import Proxy
from replicas import Home
from sqld import MissingServerError, Sqld, find_program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "user:pass"


@pytest.fixture(scope="session")
def program() -> str:
    """Return the server's program."""
    try:
        return str(find_program())
    except MissingServerError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no server for the remote tests: {error}")
        pytest.skip(f"no server: {error}")


@pytest.fixture(scope="session")
def server(program: str) -> Iterator[Sqld]:
    """Return the server that most tests share; each has a database of its own there."""
    assert program
    with Sqld("--enable-namespaces") as sqld:
        yield sqld


@pytest.fixture
def own_server(program: str) -> Iterator[Sqld]:
    """Return a server for one test, which may pause, restart or kill it."""
    assert program
    with Sqld("--enable-namespaces") as sqld:
        yield sqld


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Name each way of speaking to a server in turn: it is the URL's scheme."""
    return str(request.param)


@pytest.fixture
def hosted(server: Sqld, transport: str) -> Iterator[Backend]:
    """Return a fresh database at a server, reached in each way in turn."""
    name = server.create_namespace()
    yield Backend(transport, port=server.port, namespace=name)
    server.remove_namespace(name)


@pytest.fixture
def proxy(server: Sqld) -> Iterator[Proxy]:
    """Return what stands between the client and the server that tests share."""
    with Proxy(server.port) as between:
        yield between


@pytest.fixture
def home(server: Sqld, tmp_path: Path) -> Iterator[Home]:
    """Return a fresh database and the place of its replica."""
    name = server.create_namespace()
    yield Home(tmp_path / "replica.db", server.port, name)
    server.remove_namespace(name)


@pytest.fixture(params=["protobuf", "json"])
def encoded(request: pytest.FixtureRequest, hosted: Backend, proxy: Proxy) -> Backend:
    """Return a fresh database at a server that has protobuf, and at one that has JSON alone."""
    if request.param == "protobuf":
        return hosted
    proxy.hides_protobuf = True
    return dataclasses.replace(hosted.through(proxy), is_without_protobuf=True)


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Return the only one whose tokens `token_server` believes."""
    return Signer()


@pytest.fixture(scope="session")
def token_server(
    program: str, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sqld]:
    """Return a server that wants a token; it has one database, in which tests name their tables."""
    assert program
    key = tmp_path_factory.mktemp("keys") / "public.pem"
    signer.write_public_key(key)
    with Sqld("--auth-jwt-key-file", str(key)) as sqld:
        yield sqld


@pytest.fixture(scope="session")
def password_server(program: str) -> Iterator[Sqld]:
    """Return a server that wants `PASSWORD`."""
    assert program
    with Sqld("--http-auth", "basic:dXNlcjpwYXNz") as sqld:
        yield sqld


@pytest.fixture(scope="session")
def primary_and_replica(program: str) -> Iterator[tuple[Sqld, Sqld]]:
    """Return two servers of one database; the second passes writes on to the first."""
    assert program
    port = free_port()
    with (
        Sqld("--grpc-listen-addr", f"127.0.0.1:{port}") as primary,
        Sqld("--primary-grpc-url", f"http://127.0.0.1:{port}") as replica,
    ):
        yield primary, replica


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a certificate authority that nobody trusts who is not told to."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls_proxy(server: Sqld, authority: Authority) -> Iterator[Proxy]:
    """Return what speaks TLS for the server that tests share."""
    with Proxy(server.port, tls=authority.context) as between:
        yield between
