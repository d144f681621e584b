"""Objects that are dropped while an exception is being raised around them."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

import aiolibsql


def test_operation_dropped_while_an_exception_is_raised_leaves_that_exception() -> None:
    connection = aiolibsql.connect(":memory:")

    def drop_one() -> Any:
        return [connection.execute("SELECT 1"), 1 / 0]

    with pytest.warns(RuntimeWarning, match="never awaited"), pytest.raises(ZeroDivisionError):
        drop_one()


def test_connection_dropped_while_an_exception_is_raised_leaves_that_exception() -> None:
    async def main() -> None:
        (await aiolibsql.connect(":memory:")).execute(1 / 0)  # type: ignore[arg-type]

    with pytest.warns(ResourceWarning, match="deleted before"), pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_warning_turned_into_an_error_in_a_destructor_leaves_the_exception_around_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))

    async def main() -> None:
        (await aiolibsql.connect(":memory:")).execute(1 / 0)  # type: ignore[arg-type]

    with warnings.catch_warnings(), pytest.raises(ZeroDivisionError):
        warnings.simplefilter("error")
        asyncio.run(main())
    gc.collect()
    assert [type(error) for error in seen] == [ResourceWarning]
    assert capsys.readouterr().err == ""
