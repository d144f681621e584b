"""Values: what goes into SQLite comes back the same, and what can't is refused by name."""

from __future__ import annotations

import array
import decimal
import enum
import math
import mmap
import resource
import sqlite3
import struct
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from healthy import assert_healthy
from hypothesis import example, given
from hypothesis import strategies as st

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = aiolibsql.Connection[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere]

SMALLEST, LARGEST = -(2**63), 2**63 - 1

values = st.one_of(
    st.none(),
    st.integers(SMALLEST, LARGEST),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)


def bits(value: object) -> object:
    """Make values comparable by type, and floats by sign too."""
    return (type(value), struct.pack("d", value) if isinstance(value, float) else value)


async def stored(conn: Connection, value: object) -> Any:
    """Return a value after a way through a table."""
    await conn.execute("CREATE TABLE IF NOT EXISTS box (value)")
    await conn.execute("DELETE FROM box")
    await conn.execute("INSERT INTO box VALUES (?)", (value,))
    row = await conn.fetch_one("SELECT value FROM box")
    return row[0]


# Round trips.


@given(row=st.lists(values, min_size=1, max_size=8))
@example(row=[SMALLEST, LARGEST, 0, -1, 2**31, 2**53 + 1])
@example(row=[0.0, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1])
@example(row=["", "\0", "a\0b", "\0\0", "é", "數據", "😀\0𝄞", "\ufeff", "\uffff", "\U0010ffff"])
@example(row=[b"", b"\0", bytes(range(256)), None])
async def test_values_selected_come_back_the_same(conn: Connection, row: list[object]) -> None:
    marks = ", ".join("?" * len(row))
    (back,) = await conn.fetch_all(f"SELECT {marks}", row)
    assert [bits(value) for value in back] == [bits(value) for value in row]


@given(rows=st.lists(st.tuples(values, values), max_size=30))
async def test_values_stored_by_executemany_come_back_the_same(
    conn: Connection, rows: list[tuple[object, object]]
) -> None:
    await conn.execute("CREATE TABLE IF NOT EXISTS pair (a, b)")
    await conn.execute("DELETE FROM pair")
    await conn.executemany("INSERT INTO pair VALUES (?, ?)", rows)
    back = await conn.fetch_all("SELECT a, b FROM pair ORDER BY rowid")
    assert [tuple(map(bits, row)) for row in back] == [tuple(map(bits, row)) for row in rows]


@given(text=st.text(min_size=1))
async def test_text_means_the_same_to_sqlite(conn: Connection, text: str) -> None:
    (row,) = await conn.fetch_all("SELECT hex(?1), typeof(?1)", (text,))
    assert row == (text.encode().hex().upper(), "text")


async def test_nan_becomes_null(conn: Connection) -> None:
    assert await conn.fetch_all("SELECT ?1, typeof(?1)", (math.nan,)) == [(None, "null")]


@pytest.mark.parametrize("value", [True, False])
async def test_bool_is_stored_as_an_integer(conn: Connection, value: bool) -> None:
    back = await stored(conn, value)
    assert bits(back) == (int, int(value))


class Colour(enum.IntEnum):
    RED = 7


class Text(str):
    __slots__ = ()


class Real(float):
    pass


class Blob(bytes):
    pass


@pytest.mark.parametrize(
    ("value", "plain"), [(Colour.RED, 7), (Text("x"), "x"), (Real(0.5), 0.5), (Blob(b"x"), b"x")]
)
async def test_subclass_is_stored_as_its_base(
    conn: Connection, value: object, plain: object
) -> None:
    assert bits(await stored(conn, value)) == bits(plain)


@pytest.mark.parametrize(
    "make", [bytearray, memoryview, lambda data: array.array("B", data), lambda data: data],
    ids=["bytearray", "memoryview", "array", "bytes"],
)  # fmt: skip
@pytest.mark.parametrize("data", [b"", b"\0\xff", b"abc" * 1000], ids=["empty", "short", "long"])
async def test_buffer_is_stored_as_a_blob(
    conn: Connection, make: Callable[[bytes], object], data: bytes
) -> None:
    assert bits(await stored(conn, make(data))) == (bytes, data)
    row = await conn.fetch_one("SELECT typeof(value) FROM box")
    assert row == ("blob",)


async def test_buffer_of_wider_items_is_stored_as_its_bytes(conn: Connection) -> None:
    numbers = array.array("d", [1.5, -2.5])
    assert await stored(conn, numbers) == numbers.tobytes()


async def test_buffer_changed_after_execute_began_is_stored_as_it_was(conn: Connection) -> None:
    data = bytearray(b"before")
    operation = conn.execute("SELECT ?", (data,))
    data[:] = b"after!"
    assert await (await operation).fetchall() == [(b"before",)]


async def test_empty_text_and_blob_are_not_null(conn: Connection) -> None:
    rows = await conn.fetch_all(
        "SELECT typeof(?), typeof(?), typeof(?), typeof(zeroblob(0))", ("", b"", None)
    )
    assert rows == [("text", "blob", "null", "blob")]
    assert await conn.fetch_all("SELECT x'', zeroblob(0), '', NULL") == [(b"", b"", "", None)]


@pytest.mark.local("values of more than 5 MB")
@pytest.mark.parametrize("value", ["é" * 3_000_000, b"\0\x01" * 4_000_000], ids=["text", "blob"])
async def test_large_value_comes_back_whole(conn: Connection, value: object) -> None:
    assert await stored(conn, value) == value
    assert await conn.fetch_all("SELECT ?", (value,)) == [(value,)]


async def test_columns_convert_by_affinity_as_in_sqlite3(conn: Connection) -> None:
    ddl = "CREATE TABLE t (i INTEGER, t TEXT, r REAL, n NUMERIC, b BLOB, x)"
    samples = [0, -1, LARGEST, 2.0, 0.5, -1e300, "12", " 7 ", "1.50", "0x10", "é", b"12", b"", None]
    oracle = sqlite3.connect(":memory:")
    oracle.execute(ddl)
    await conn.execute(ddl)
    for sample in samples:
        row = (sample,) * 6
        oracle.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", row)
        await conn.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", row)
    expected = oracle.execute("SELECT * FROM t").fetchall()
    oracle.close()
    rows = await conn.fetch_all("SELECT * FROM t")
    assert [tuple(map(bits, row)) for row in rows] == [tuple(map(bits, row)) for row in expected]


# What can't be stored.


@given(value=st.one_of(st.integers(max_value=SMALLEST - 1), st.integers(min_value=LARGEST + 1)))
@example(value=LARGEST + 1)
@example(value=SMALLEST - 1)
@example(value=10**400)
async def test_int_outside_64_bits_overflows_and_names_its_place(
    conn: Connection, value: int
) -> None:
    with pytest.raises(OverflowError, match=r"\b2\b"):
        await conn.execute("SELECT ?, ?", (0, value))
    with pytest.raises(OverflowError, match="wide"):
        await conn.execute("SELECT :wide", {"wide": value})


async def test_int_outside_64_bits_leaves_nothing_behind(conn: Connection) -> None:
    await conn.execute("CREATE TABLE t (a)")
    with pytest.raises(OverflowError):
        await conn.execute("INSERT INTO t VALUES (?)", (2**63,))
    assert await conn.fetch_all("SELECT * FROM t") == []
    await conn.rollback()
    await assert_healthy(conn)


UNSUPPORTED = [
    decimal.Decimal(1), object(), 1j, [1, 2], {"a": 1}, {1}, uuid.UUID(int=1), int, range(3), ...,
]  # fmt: skip


@pytest.mark.parametrize("value", UNSUPPORTED, ids=lambda value: type(value).__name__)
async def test_unsupported_type_is_refused_by_place_and_type(
    conn: Connection, value: object
) -> None:
    name = type(value).__name__
    with pytest.raises(aiolibsql.ProgrammingError, match=rf"\b2\b.*\b{name}\b"):
        await conn.execute("SELECT ?, ?", (1, value))
    with pytest.raises(aiolibsql.ProgrammingError, match=rf"\bodd\b.*\b{name}\b"):
        await conn.execute("SELECT :fine, :odd", {"fine": 1, "odd": value})
    await assert_healthy(conn)


@pytest.mark.parametrize("text", ["\ud800", "fine\udfffnot"])
async def test_text_with_surrogates_is_an_encode_error(conn: Connection, text: str) -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        await conn.execute("SELECT ?", (text,))
    with pytest.raises(UnicodeEncodeError):
        await conn.execute(f"SELECT '{text}'")
    await assert_healthy(conn)


async def test_value_beyond_sqlites_limit_is_a_data_error(conn: Connection) -> None:
    with pytest.raises(aiolibsql.DataError, match="too big") as caught:
        await conn.execute("SELECT zeroblob(1000000001)")
    assert caught.value.sqlite_errorname == "SQLITE_TOOBIG"
    await assert_healthy(conn)


@pytest.mark.parametrize("length", [1_000_000_001, 2**31 + 5, 2**32 + 5])
async def test_parameter_beyond_sqlites_limit_is_refused_uncopied(
    conn: Connection, length: int
) -> None:
    # Pages that nobody wrote take no memory, so what the process grows by is a copy.
    with mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as huge:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises((aiolibsql.DataError, OverflowError)):
            await conn.execute("SELECT length(?)", (huge,))
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert growth < length / 2
    await assert_healthy(conn)


# Text that is not UTF-8, and text_factory.

BROKEN = "SELECT CAST(x'666f6fff62' AS TEXT)"


@pytest.mark.local("text that is not UTF-8")
async def test_invalid_utf8_is_an_operational_error(conn: Connection) -> None:
    with pytest.raises(aiolibsql.OperationalError, match=r"(?i)utf-8"):
        await conn.fetch_all(BROKEN)
    cursor = await conn.execute(f"SELECT 'fine' UNION ALL {BROKEN} UNION ALL SELECT 'after'")
    assert await cursor.fetchone() == ("fine",)
    with pytest.raises(aiolibsql.OperationalError, match=r"(?i)utf-8"):
        await cursor.fetchone()
    await cursor.close()
    await assert_healthy(conn)


@pytest.mark.local("text that is not UTF-8")
@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (bytes, b"foo\xffb"),
        (bytearray, bytearray(b"foo\xffb")),
        (lambda data: data.decode(errors="replace"), "foo\ufffdb"),
        (len, 5),
    ],
    ids=["bytes", "bytearray", "replace", "any value"],
)
async def test_text_factory_makes_the_text(
    conn: Connection, factory: Callable[[bytes], object], expected: object
) -> None:
    assert conn.text_factory is str
    conn.text_factory = factory
    assert conn.text_factory is factory
    row = await conn.fetch_one(BROKEN)
    assert bits(row[0]) == bits(expected)
    assert (await conn.fetch_one("SELECT 1, x'ff', NULL, 0.5"))[:] == (1, b"\xff", None, 0.5)
    conn.text_factory = str
    assert await conn.fetch_one("SELECT 'x'") == ("x",)


async def test_text_factory_of_connect_is_used() -> None:
    async with aiolibsql.connect(":memory:", text_factory=bytes) as conn:
        assert await conn.fetch_all("SELECT 'a' || char(0) || 'b'") == [(b"a\0b",)]


async def test_error_of_a_text_factory_reaches_the_caller(conn: Connection) -> None:
    error = LookupError("no such text")

    def refuse(_: bytes) -> str:
        raise error

    conn.text_factory = refuse
    cursor = await conn.execute("SELECT 'x'")
    with pytest.raises(LookupError) as caught:
        await cursor.fetchone()
    assert caught.value is error
    conn.text_factory = str
    await cursor.close()
    await assert_healthy(conn)
