"""Engine URLs, translated into the arguments of ``connect``.

==================================================  ==========================================
``sqlite+aiolibsql://``, ``…:///:memory:``          a database in memory
``…:///file.db``, ``…:////absolute/file.db``        a file
``…:///file:file.db?mode=ro&uri=true``              a URI of SQLite
``…://:KEY@/file.db``, ``?encryption_key=KEY``      an encrypted file
``…://:TOKEN@host:port/``, ``…://host?authToken=``  a server
``…:///replica.db?sync_url=libsql://host``          a replica of a server's database
==================================================  ==========================================

A URL's password is what SQLAlchemy hides when it shows one, so secrets of the query move there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.util import asbool

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import URL

_EVERYWHERE: dict[str, Callable[[str], Any]] = {
    "timeout": float,
    "isolation_level": str,
    "detect_types": int,
    "cached_statements": int,
    "check_same_thread": asbool,
}
_LOCAL: dict[str, Callable[[str], Any]] = {
    "encryption_key": str,
    "uri": asbool,
    "foreign_keys": asbool,
}
_SERVER: dict[str, Callable[[str], Any]] = {
    "auth_token": str,
    "tls": asbool,
    "namespace": str,
    "request_timeout": float,
    "connect_timeout": float,
}
_REPLICA: dict[str, Callable[[str], Any]] = {
    "sync_url": str,
    "sync_interval": float,
    "read_your_writes": asbool,
    "offline": asbool,
}
# What others call them.
_ALIASES = {"authToken": "auth_token", "secure": "tls"}
_SCHEMES = ("libsql", "https", "http", "wss", "ws")


def is_server(url: URL) -> bool:
    """Tell whether a URL names a server, so that nothing of the database is here."""
    return url.host is not None and url.host != ""


def is_file(url: URL) -> bool:
    """Tell whether several connections to a URL see the same database, one on this machine."""
    if is_server(url) or not url.database or url.database == ":memory:":
        return False
    return url.query.get("mode") != "memory"


def without_secrets(url: URL) -> URL:
    """Return the same URL with the key or token as its password."""
    if url.password:
        return url
    names = ("authToken", "auth_token") if is_server(url) or "sync_url" in url.query else ()
    for name in (*names, "encryption_key"):
        secret = url.query.get(name)
        if isinstance(secret, str):
            return url.difference_update_query([name]).set(password=secret)
    return url


def connect_arguments(url: URL) -> tuple[list[str], dict[str, Any]]:
    """Return the arguments of ``connect`` for a URL.

    Raises:
        ArgumentError: For an option that is unknown, given twice, or not for such a database.
    """
    query = _query(url)
    if url.username:
        raise exc.ArgumentError("a URL of aiolibsql has no user name: give a key or token alone")
    if is_server(url):
        return _server(url, query)
    if url.port:
        raise exc.ArgumentError("a URL with a port wants a host")
    kinds = _EVERYWHERE | _LOCAL
    is_replica = "sync_url" in query
    if is_replica:
        kinds |= _SERVER | _REPLICA
    if asbool(query.get("uri", False)):
        # The rest is SQLite's.
        rest = {name: query.pop(name) for name in sorted(query.keys() - kinds.keys())}
        database = url.database or ""
        if rest:
            database += "?" + "&".join(f"{name}={value}" for name, value in rest.items())
    else:
        database = url.database or ":memory:"
        if database != ":memory:":
            database = os.path.abspath(database)  # noqa: PTH100 - as SQLAlchemy's own dialects
    options = _options(query, kinds)
    if url.password:
        options.setdefault("auth_token" if is_replica else "encryption_key", str(url.password))
    return [database], options


def _query(url: URL) -> dict[str, str]:
    """Return the options of a URL by the names that ``connect`` has for them."""
    query: dict[str, str] = {}
    for alias, value in url.query.items():
        name = _ALIASES.get(alias, alias)
        if name in query or not isinstance(value, str):
            raise exc.ArgumentError(f"the URL says {name} twice")
        query[name] = value
    return query


def _options(query: dict[str, str], kinds: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    unknown = ", ".join(sorted(query.keys() - kinds.keys()))
    if unknown:
        raise exc.ArgumentError(
            f"options of the URL that this database does not take: {unknown} "
            "(those of SQLite's URIs want uri=true)"
        )
    try:
        return {name: kinds[name](value) for name, value in query.items()}
    except ValueError as error:
        # Not the value: it may be a secret's.
        raise exc.ArgumentError("an option of the URL has a value of a wrong type") from error


def _server(url: URL, query: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    scheme = query.pop("scheme", "libsql")
    if scheme not in _SCHEMES:
        raise exc.ArgumentError(f"scheme has to be one of {', '.join(_SCHEMES)}")
    options = _options(query, _EVERYWHERE | _SERVER)
    if url.password:
        options.setdefault("auth_token", str(url.password))
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    port = f":{url.port}" if url.port else ""
    path = f"/{url.database}" if url.database else ""
    return [f"{scheme}://{host}{port}{path}"], options
