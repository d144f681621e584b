"""Vectors as libSQL keeps them: `vector32` for ``F32_BLOB``, `vector64` for ``F64_BLOB``."""

from __future__ import annotations

import math
import sys
from array import array
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    VectorValues: TypeAlias = Iterable[SupportsFloat] | Buffer

# More, libSQL refuses to read.
_MOST = 65536
# How libSQL tells what is no float32 from it.
_FLOAT64 = b"\x02"
_FORMATS = {"f": "f", "<f": "f", "=f": "f", "@f": "f", "d": "d", "<d": "d", "=d": "d", "@d": "d"}
if sys.byteorder == "big":
    _FORMATS |= {">f": "f", ">d": "d"}
    del _FORMATS["<f"], _FORMATS["<d"]


def vector32(values: VectorValues) -> bytes:
    """Return floats as the bytes that ``vector32('[…]')`` makes in SQL, each rounded to 32 bits.

    They are what a column of type ``F32_BLOB`` holds and what libSQL's vector functions take.
    ``array("f", blob)`` reads them back on every machine that is little-endian, as does
    ``numpy.frombuffer(blob, "<f4")``.

    Args:
        values: Numbers in any iterable, or a buffer of one dimension with float32 or float64 in
            it, such as an `array.array`, a `memoryview` or a numpy array.

    Returns:
        4 bytes for each number.

    Raises:
        TypeError: If it is neither, or the buffer holds something else.
        ValueError: If there are no values, or more than 65536; for a NaN, for what is infinite or
            beyond the range of 32 bits (libSQL's distances to it would be no numbers); or if the
            buffer is not contiguous or has more than one dimension.

    Example:
        ```python
        await conn.execute("CREATE TABLE movie (title TEXT, embedding F32_BLOB(3))")
        await conn.execute("CREATE INDEX near ON movie (libsql_vector_idx(embedding))")
        movie = ("Solaris", aiolibsql.vector32([0.8, 0.1, 0.3]))
        await conn.execute("INSERT INTO movie VALUES (?, ?)", movie)
        nearest = await conn.fetch_all(
            "SELECT title FROM vector_top_k('near', ?, 10) JOIN movie ON movie.rowid = id",
            (aiolibsql.vector32([0.7, 0.2, 0.3]),),
        )
        ```
    """
    return _bytes(values, "f")


def vector64(values: VectorValues) -> bytes:
    """Return floats as the bytes that ``vector64('[…]')`` makes in SQL, for ``F64_BLOB`` columns.

    Args:
        values: As for `vector32`.

    Returns:
        8 bytes for each number, and one that tells libSQL that they are float64.

    Raises:
        TypeError, ValueError: As `vector32`.
    """
    return _bytes(values, "d") + _FLOAT64


def _bytes(values: VectorValues, kind: str) -> bytes:
    numbers = _numbers(values, kind)
    if not numbers:
        raise ValueError("a vector has at least one value")
    if len(numbers) > _MOST:
        raise ValueError(f"a vector has at most {_MOST} values, not {len(numbers)}")
    # One look finds what is not finite; a sum may also be too large by itself.
    if not math.isfinite(sum(numbers)):
        for place, number in enumerate(numbers):
            if not math.isfinite(number):
                what = "float32" if kind == "f" else "float64"
                raise ValueError(f"value {place} is no finite {what}")
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(values: VectorValues, kind: str) -> array[float]:
    try:
        view = memoryview(values)  # type: ignore[arg-type]  # it is tried
    except TypeError:
        try:
            return _array(kind, values)
        except TypeError as error:
            raise TypeError(f"a vector is made of numbers, or of a buffer: {error}") from None
    with view:
        given = _FORMATS.get(view.format)
        if given is None:
            message = f"a vector is made of a buffer of float32 or float64, not of '{view.format}'"
            raise TypeError(message)
        if view.ndim != 1:
            raise ValueError(f"a vector is made of a buffer of 1 dimension, not of {view.ndim}")
        if not view.contiguous:
            raise ValueError("a vector is made of a contiguous buffer: copy this one first")
        numbers = _array(given, ())
        numbers.frombytes(view.cast("B"))
    return numbers if given == kind else _array(kind, numbers)


def _array(kind: str, values: Any) -> array[float]:
    return array(kind, values)
