"""What SQLAlchemy's own test suite wants of a dialect: databases for its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.sqlite import provision
from sqlalchemy.testing.provision import post_configure_engine

from aiolibsql.sqlalchemy import _urls

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

# In the names of the files it makes.
provision._drivernames |= {"aiolibsql", "aiolibsql_async"}  # noqa: SLF001 - there is no other way

_attach = post_configure_engine.fns["sqlite"]


def _attach_if_local(url: URL, engine: Any, follower_ident: str | None) -> None:
    """Attach the tests' second schema to new connections; a server has no files of the client."""
    if not _urls.is_server(url):
        _attach(url, engine, follower_ident)


post_configure_engine.for_db("sqlite")(_attach_if_local)
