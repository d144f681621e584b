"""`vector32` and `vector64`: what libSQL's vector functions and columns take."""

from __future__ import annotations

import math
import struct
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiolibsql
from aiolibsql import vector32, vector64

if TYPE_CHECKING:
    from collections.abc import Callable

    Conn = aiolibsql.Connection[Any]
    Make = Callable[[Any], bytes]

floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
floats64 = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(floats32, min_size=1, max_size=50))
def test_vector32_is_little_endian(values: list[float]) -> None:
    packed = struct.pack(f"<{len(values)}f", *values)
    assert vector32(values) == packed
    assert vector32(array("f", values)) == packed
    assert vector32(array("d", values)) == packed
    assert vector32(memoryview(array("f", values))) == packed
    assert vector32(value for value in values) == packed


@given(st.lists(floats64, min_size=1, max_size=50))
def test_vector64_ends_with_its_kind(values: list[float]) -> None:
    packed = struct.pack(f"<{len(values)}d", *values) + b"\x02"
    assert vector64(values) == packed
    assert vector64(array("d", values)) == packed


def test_numbers_of_other_kinds_count() -> None:
    assert vector32((1, True, 2.5)) == struct.pack("<3f", 1, 1, 2.5)
    assert vector32(range(3)) == struct.pack("<3f", 0, 1, 2)


@pytest.mark.parametrize("make", [vector32, vector64])
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], ValueError, "at least one value"),
        (array("f"), ValueError, "at least one value"),
        ([0.0] * 65537, ValueError, "at most 65536 values, not 65537"),
        ([1.0, math.nan], ValueError, "value 1 is no finite float"),
        ([1.0, 2.0, math.inf, -math.inf], ValueError, "value 2 is no finite float"),
        (array("d", [math.nan]), ValueError, "value 0 is no finite float"),
        (memoryview(array("f", [1, 2, 3]))[::2], ValueError, "contiguous"),
        (memoryview(bytes(16)).cast("f", (2, 2)), ValueError, "1 dimension, not of 2"),
        (b"abcd", TypeError, "float32 or float64, not of 'B'"),
        (bytearray(8), TypeError, "float32 or float64"),
        (array("i", [1]), TypeError, "not of 'i'"),
        ("12", TypeError, "made of numbers"),
        (["1"], TypeError, "made of numbers"),
        ([[1.0]], TypeError, "made of numbers"),
        (1.0, TypeError, "made of numbers"),
        (None, TypeError, "made of numbers"),
    ],
)
def test_what_is_no_vector_is_refused(
    make: Make, values: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(values)


def test_what_32_bits_do_not_hold_is_refused() -> None:
    for values in ([0.0, 1e39], array("d", [0.0, -1e39])):
        with pytest.raises(ValueError, match="value 1 is no finite float32"):
            vector32(values)
    assert vector64([1e39])


def test_large_numbers_whose_sum_is_none_are_taken() -> None:
    assert vector64([1.5e308, 1.5e308]) == struct.pack("<2d", 1.5e308, 1.5e308) + b"\x02"


@pytest.mark.anyio
@pytest.mark.parametrize(("make", "name"), [(vector32, "vector32"), (vector64, "vector64")])
async def test_bytes_are_those_of_the_sql_function(conn: Conn, make: Make, name: str) -> None:
    values = [1.0, 2.5, -3.0, 0.1, 1e-30]
    assert await conn.fetch_scalar(f"SELECT {name}(?)", (str(values),)) == make(values)
    extracted = await conn.fetch_scalar("SELECT vector_extract(?)", (make([1, 2.5, -3]),))
    assert extracted == "[1,2.5,-3]"
    most = await conn.fetch_scalar("SELECT vector_extract(?)", (make([0] * 65536),))
    assert most.count("0") == 65536


@pytest.mark.anyio
async def test_nearest_neighbours_by_an_index(conn: Conn) -> None:
    await conn.execute("CREATE TABLE movie (title TEXT, embedding F32_BLOB(3))")
    await conn.execute("CREATE INDEX near ON movie (libsql_vector_idx(embedding))")
    movies = {"Solaris": [0.8, 0.1, 0.3], "Stalker": [0.7, 0.2, 0.4], "Airplane": [-0.9, 0.5, 0.0]}
    rows = [(title, vector32(embedding)) for title, embedding in movies.items()]
    await conn.executemany("INSERT INTO movie VALUES (?, ?)", rows)
    await conn.commit()
    wanted = vector32([0.8, 0.1, 0.3])
    nearest = await conn.fetch_all(
        "SELECT title, vector_distance_cos(embedding, ?) FROM vector_top_k('near', ?, 2) "
        "JOIN movie ON movie.rowid = id ORDER BY 2",
        (wanted, wanted),
    )
    assert [title for title, _ in nearest] == ["Solaris", "Stalker"]
    assert nearest[0][1] == pytest.approx(0, abs=1e-6)
    with pytest.raises(aiolibsql.OperationalError, match="dimensions are different: 2 != 3"):
        await conn.execute("INSERT INTO movie VALUES ('x', ?)", (vector32([1, 2]),))
    await conn.rollback()
    stored = await conn.fetch_scalar("SELECT embedding FROM movie")
    assert vector32(array("f", stored)) == stored
