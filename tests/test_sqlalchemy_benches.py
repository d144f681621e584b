"""Row 18 of the benchmarks runs on every driver that it is about; speed is not asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_benches import settings_of

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["asyncio", "uvloop", "trio"])
def test_row_18_measures_the_orm(tmp_path: Path, runtime: str) -> None:
    peers = ("--peers", "aiolibsql,aiosqlite,sqlite3")
    settings = settings_of(tmp_path, *peers, "--rows", "18", "--runtime", runtime)
    drivers = {"aiolibsql", "aiosqlite", "sqlite3"} - (
        {"aiosqlite"} if runtime == "trio" else set()
    )
    assert [setting["case"] for setting in settings] == ["orm-load", "orm-insert", "orm-commit"]
    for setting in settings:
        assert setting["failures"] == {}, setting["case"]
        assert set(setting["samples"]) == drivers
        assert all(setting["samples"]["aiolibsql"]), setting["case"]
    goals = [len(setting["goals"]) for setting in settings]
    assert goals == ([0, 0, 0] if runtime == "trio" else [1, 1, 0])
