"""`connect(trusted_schema=…, defensive=…)`: files that somebody else made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy

import aiolibsql

if TYPE_CHECKING:
    from backends import Backend

    Conn = aiolibsql.Connection[Any]

pytestmark = pytest.mark.anyio

SWITCHES = {
    "trusted_schema": (aiolibsql.SQLITE_DBCONFIG_TRUSTED_SCHEMA, True),
    "defensive": (aiolibsql.SQLITE_DBCONFIG_DEFENSIVE, False),
}


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [None, True, False])
async def test_switch_is_set_at_open(backend: Backend, name: str, value: bool | None) -> None:
    number, default = SWITCHES[name]
    async with backend.connect(**{name: value}) as conn:
        assert await conn.getconfig(number) is (default if value is None else value)
        await assert_healthy(conn)


async def make_view_with_a_function(backend: Backend, **options: Any) -> Conn:
    async with backend.connect() as conn:
        await conn.execute("CREATE VIEW harmful AS SELECT steal(1) AS stolen")
    conn = await backend.connect(**options)
    await conn.create_function("steal", 1, lambda value: f"stolen {value}")
    return conn


async def test_schema_that_is_not_trusted_calls_no_function(file_backend: Backend) -> None:
    conn = await make_view_with_a_function(file_backend)
    assert await conn.fetch_all("SELECT * FROM harmful") == [("stolen 1",)]
    await conn.close()
    async with file_backend.connect(trusted_schema=False) as conn:
        await conn.create_function("steal", 1, lambda value: f"stolen {value}")
        with pytest.raises(aiolibsql.OperationalError, match=r"unsafe use of steal\(\)"):
            await conn.fetch_all("SELECT * FROM harmful")
        assert await conn.fetch_scalar("SELECT steal(2)") == "stolen 2"


async def test_defensive_connection_does_not_write_the_schema(backend: Backend) -> None:
    change = "UPDATE sqlite_schema SET sql = 'nonsense'"
    pragmas = {"writable_schema": True}
    async with backend.connect(defensive=True, pragmas=pragmas) as conn:
        await conn.execute("CREATE TABLE t (x)")
        with pytest.raises(aiolibsql.OperationalError, match="may not be modified"):
            await conn.execute(change)
        await conn.rollback()
        await assert_healthy(conn)
    async with aiolibsql.connect(":memory:", pragmas=pragmas) as conn:
        await conn.execute("CREATE TABLE t (x)")
        await conn.execute(change)


async def test_defensive_connection_does_not_write_shadow_tables(backend: Backend) -> None:
    async with backend.connect(defensive=True) as conn:
        await conn.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
        with pytest.raises(aiolibsql.OperationalError, match="may not be modified"):
            await conn.execute("DELETE FROM words_data")
        await conn.rollback()
        await conn.execute("INSERT INTO words VALUES ('allowed')")
        await conn.commit()


async def test_switches_come_before_pragmas_and_stay_in_a_shared_database() -> None:
    pragmas = {"trusted_schema": True}
    options: dict[str, Any] = {"trusted_schema": False, "pragmas": pragmas}
    async with aiolibsql.connect_memory("switches", **options) as conn:
        assert await conn.getconfig(aiolibsql.SQLITE_DBCONFIG_TRUSTED_SCHEMA) is True
        async with aiolibsql.connect_memory("switches", trusted_schema=False):
            assert await conn.getconfig(aiolibsql.SQLITE_DBCONFIG_TRUSTED_SCHEMA) is False
