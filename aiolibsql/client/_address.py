"""Where a client's database is: libsql-client's rules for URLs, and how connections are made.

What the transports differ in stands here and nowhere else.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import aiolibsql
from aiolibsql.client._error import LibsqlError, translated

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from aiolibsql import dbapi

# Seconds to wait for a lock: as `aiolibsql.connect`, for the wait blocks nobody.
TIMEOUT = 5.0
# Calls of one client that a server is sent at the same time.
_REMOTE_CALLS = 8

_REMOTE = {"http": False, "https": True, "ws": False, "wss": True, "libsql": True}
_OTHER_SCHEME = {"http": "https", "https": "http", "ws": "wss", "wss": "ws"}
_memory_numbers = itertools.count(1)


class Address:
    """Where a database is.

    Attributes:
        calls: How many connections `execute` and `batch` have between them. Of a file, one: the
            calls come one after the other, and none finds the file locked by another.
        is_kept: Whether the connection of a transaction that is over serves others. That of a file
            does not: its temporary tables and settings are the transaction's.
        is_memory: Whether the database is gone when its last connection is.
        code: The code of errors that have none.
    """

    __slots__ = ("_database", "_options", "calls", "code", "is_kept", "is_memory")

    calls: int
    is_kept: bool
    is_memory: bool
    code: str

    def __init__(self, database: str, options: dict[str, Any], *, is_remote: bool) -> None:
        self._database = database
        self._options = options
        self.calls = _REMOTE_CALLS if is_remote else 1
        self.is_kept = is_remote
        self.is_memory = False
        self.code = "UNKNOWN" if is_remote else "SQLITE"

    def connection(self) -> aiolibsql.Connection[Any]:
        """Return a connection that is not open yet."""
        return aiolibsql.connect(self._database, TIMEOUT, None, **self._options)

    def open_blocking(self) -> dbapi.Connection:
        """Open a connection that blocks."""
        from aiolibsql import dbapi  # noqa: PLC0415 - whoever does not block does without

        conn: dbapi.Connection = dbapi.connect(
            self._database,
            timeout=TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            **self._options,
        )
        return conn


def _invalid(message: str) -> LibsqlError:
    return LibsqlError(message, "URL_INVALID")


def _tls_of(value: str) -> bool:
    if value not in {"0", "1"}:
        raise _invalid("the URL's 'tls' has to be 0 or 1")
    return value == "1"


def parse(url: str, auth_token: str | None, tls: bool | None) -> Address:
    """Read a URL and the parameters beside it; what the URL says comes first.

    Raises:
        LibsqlError: If it is not one, or contradicts itself.
    """
    if not url:
        raise LibsqlError("the URL of the database is empty", "URL_UNDEFINED")
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise _invalid(str(error)) from error
    for key, value in query:
        if key == "authToken":
            auth_token = value or None
        elif key == "tls":
            tls = _tls_of(value)
        else:
            # Not named: it may be a secret that is in the wrong place.
            message = "the URL of a database has the parameters 'authToken' and 'tls' only"
            raise LibsqlError(message, "URL_PARAM_NOT_SUPPORTED")
    if parts.fragment:
        raise _invalid("the URL of a database has no fragment ('#')")
    if parts.scheme == "file":
        return _file(parts)
    if parts.scheme in _REMOTE:
        return _remote(parts, auth_token, tls)
    schemes = "file:, libsql:, https:, http:, wss: or ws:"
    message = f"the scheme {parts.scheme + ':'!r} is not supported: use {schemes}"
    raise LibsqlError(message, "URL_SCHEME_NOT_SUPPORTED")


def _file(parts: SplitResult) -> Address:
    if parts.netloc not in {"", "localhost"}:
        raise _invalid("a 'file:' URL has no host but 'localhost'; 'file:///' is before a path")
    path = parts.path
    if path in {"", ":memory:"}:
        # A memory database that several connections have, with the locks of a file.
        name = f"file:/aiolibsql-client-{os.getpid()}-{next(_memory_numbers)}?vfs=memdb"
        address = Address(name, {"uri": True}, is_remote=False)
        address.is_memory = True
        return address
    if re.match(r"[a-z][a-z0-9+.-]*:", path, re.IGNORECASE):
        # A file, whatever its name looks like.
        path = f"./{path}"
    return Address(path, {}, is_remote=False)


def _remote(parts: SplitResult, auth_token: str | None, tls: bool | None) -> Address:
    scheme = parts.scheme
    if scheme in {"http", "https"} and ";" in parts.path.rpartition("/")[2]:
        raise _invalid("the URL of a database has no ';' parameters")
    if scheme in _OTHER_SCHEME and tls not in {None, _REMOTE[scheme]}:
        what, other = "with" if tls else "without", _OTHER_SCHEME[scheme]
        raise _invalid(f"a '{scheme}:' URL {what} TLS is a contradiction: use '{other}:'")
    try:
        port = parts.port
    except ValueError:
        raise _invalid("the port of the URL is not a number up to 65535") from None
    if scheme == "libsql" and tls is False and port is None:
        raise _invalid("a 'libsql:' URL without TLS has to name its port")
    options: dict[str, Any] = {}
    if auth_token is not None:
        options["auth_token"] = auth_token
    if tls is not None:
        options["tls"] = tls
    database = urlunsplit((scheme, parts.netloc, parts.path, "", ""))
    address = Address(database, options, is_remote=True)
    try:
        # It has rules of its own, and there is no reason to hear of them later.
        address.connection()
    except aiolibsql.Error as error:
        raise translated(error, "URL_INVALID") from error
    return address
