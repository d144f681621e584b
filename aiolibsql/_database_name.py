"""What the name of a database tells about it before it is opened."""

from __future__ import annotations

import os
import re


def _text(database: object) -> str:
    if isinstance(database, (str, bytes, os.PathLike)):
        return os.fsdecode(database)
    return str(database)


def is_in_memory(database: object) -> bool:
    """Return whether a name stands for a database that has no file of its own."""
    name = _text(database)
    is_uri = name.startswith("file:")
    return name in {"", ":memory:"} or (
        is_uri and ("file::memory:" in name or "mode=memory" in name)
    )


def is_remote(database: object) -> bool:
    """Return whether a name is the URL of a database at a server."""
    scheme, separator, _ = _text(database).partition("://")
    return bool(separator) and scheme.lower() in {"libsql", "http", "https", "ws", "wss"}


def shown(database: object) -> str:
    """Return a name without what is secret in the URL of a database at a server."""
    name = _text(database)
    if not is_remote(database):
        return name
    scheme, _, rest = name.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def is_read_only(database: object) -> bool:
    """Return whether a name says that the database is not to be written."""
    name, _, query = _text(database).partition("?")
    parameters = query.partition("#")[0].split("&")
    return name.startswith("file:") and not {"mode=ro", "immutable=1"}.isdisjoint(parameters)
