"""The module's adapters of classes that SQLite has a type for. ``test_adapters`` runs these tests.

As in ``sqlite3``, the first such adapter has values of these classes looked up from then on.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from test_adapters import PLAIN, register, same

import aiolibsql

if TYPE_CHECKING:
    from test_adapters import Connection

__all__ = ["register"]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
async def test_adapter_of_a_class_that_sqlite_has_a_type_for(
    conn: Connection, register: Any, value: Any
) -> None:
    expected = await same(conn, value)
    register(type(value), lambda value: f"adapted {value!r}")
    assert await same(conn, value) == (f"adapted {value!r}", "text")
    # What the test leaves behind says "look": there must be nothing to find.
    for registry in (aiolibsql.adapters, sqlite3.adapters):
        del registry[type(value), sqlite3.PrepareProtocol]
    assert await same(conn, value) == expected
