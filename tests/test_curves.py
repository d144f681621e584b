"""Curves, idle connections and the detector are measured as the rows are; speed is not asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_benches import settings_of

if TYPE_CHECKING:
    from pathlib import Path

PEERS = ("--peers", "aiolibsql,aiolibsql.ungrouped,sqlite3")
ON_ASYNCIO = ("--runtime", "asyncio")
ONCE = ("--rounds", "1", "--timeout", "80")  # a short run's time-out is for rounds of the rows


def samples(setting: dict[str, Any], driver: str = "aiolibsql") -> list[dict[str, float]]:
    assert setting["failures"] == {}, setting["case"]
    found: list[dict[str, float]] = setting["samples"][driver]
    assert found
    assert all(found)
    return found


def test_points_of_curves_are_measured(tmp_path: Path) -> None:
    keys = "at-tasks-1000,at-connections-16,at-fetchall-100,at-iterate-10000,at-writers-3"
    settings = settings_of(tmp_path, *PEERS, *ON_ASYNCIO, "--rows", keys)
    assert [setting["case"] for setting in settings] == keys.split(",")
    for setting in settings:
        assert all(sample["time"] > 0 for sample in samples(setting))
    (writers,) = (setting for setting in settings if setting["case"] == "at-writers-3")
    assert len(samples(writers, "aiolibsql.ungrouped")) == 2


def test_memory_is_that_of_the_round(tmp_path: Path) -> None:
    # 40,000 rows are more than the 200 of the tables: memory of a round grows with what it fetches.
    keys = "at-fetchall-10,at-fetchall-100000"
    few, many = settings_of(tmp_path, *PEERS, *ON_ASYNCIO, "--rows", keys)
    least = min(sample["memory"] for sample in samples(many))
    assert least - max(sample["memory"] for sample in samples(few)) > 40_000 * 100


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_idle_connections_hold_no_thread(tmp_path: Path, runtime: str) -> None:
    (setting,) = settings_of(tmp_path, *ONCE, "--runtime", runtime, "--rows", "at-idle-10")
    for sample in samples(setting):
        assert sample["threads_idle"] == 1
        assert sample["memory_each"] > 0
        assert sample["files_each"] >= 2


def test_detector_has_every_method_that_a_driver_has(tmp_path: Path) -> None:
    (setting,) = settings_of(tmp_path, *ON_ASYNCIO, *ONCE, "--rows", "methods")
    (ours,) = samples(setting)
    names = {name.rpartition(" | ")[0] for name in ours} - {""}
    assert {"`fetchall`", "`async for`", "`serialize`", "nothing, for comparison"} <= names
    assert {f"{name} | {amount}" for name in names for amount in ("small", "large")} < set(ours)
    (blocking,) = samples(setting, "sqlite3")
    assert set(blocking) <= set(ours)


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_detector_uses_every_public_method(tmp_path: Path) -> None:
    from every_method import TABLE  # noqa: PLC0415 - imports the package

    (setting,) = settings_of(tmp_path, *ON_ASYNCIO, *ONCE, "--rows", "every-method")
    (ours,) = samples(setting)
    assert {f"{key} | {amount}" for key in TABLE for amount in ("small", "large")} < set(ours)
    assert "ConnectionPool.executemany | large" in ours
