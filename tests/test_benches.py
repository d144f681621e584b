"""The benchmark harness runs, and reports what goes wrong; speed itself is not asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parent.parent / "benches" / "run.py"
TINY = ["--short", "--size", "200", "--seconds", "0.001", "--rounds", "2"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *TINY, *arguments]
    # The harness imports its own modules from the folder that it is in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def settings_of(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run the harness and return the settings that it measured."""
    file = folder / "figures.json"
    done = bench("--peers", "aiolibsql,sqlite3", "--json", str(file), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    settings: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["settings"]
    return settings


@pytest.mark.parametrize("regime", ["free", "pinned", "saturated"])
@pytest.mark.parametrize(("row", "runtime"), [("1", "asyncio"), ("1", "uvloop"), ("2", "trio")])
def test_point_select_is_measured_under_every_loop_and_regime(
    tmp_path: Path, row: str, runtime: str, regime: str
) -> None:
    (setting,) = settings_of(tmp_path, "--rows", row, "--runtime", runtime, "--regime", regime)
    assert (setting["runtime"], setting["regime"]) == (runtime, regime)
    assert setting["failures"] == setting["unable"] == {}
    for samples in setting["samples"].values():
        assert len(samples) == 2
        assert all(sample["time"] > 0 for sample in samples)
    assert setting["goals"]


def test_row_8_compares_the_blocking_modules(tmp_path: Path) -> None:
    peers = ("--peers", "aiolibsql,aiolibsql.dbapi,sqlite3")
    settings = settings_of(tmp_path, *peers, "--rows", "8", "--regime", "free")
    assert len(settings) == 4
    for setting in settings:
        assert setting["failures"] == {}, setting["case"]
        assert set(setting["samples"]) == {"aiolibsql.dbapi", "sqlite3"}
    assert sum(len(setting["goals"]) for setting in settings) == 3


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_row_16_reads_a_replica_beside_a_file(tmp_path: Path, program: str, runtime: str) -> None:
    assert program
    peers = ("--peers", "aiolibsql,aiolibsql-replica,sqlite3")
    (setting,) = settings_of(
        tmp_path, *peers, "--rows", "16", "--runtime", runtime, "--regime", "free"
    )
    assert setting["failures"] == {}
    assert set(setting["samples"]) == {"aiolibsql", "aiolibsql-replica", "sqlite3"}
    assert len(setting["goals"]) == 1


# Without row 9's long queries.
ROWS = "3,4,5,6,7,10,11,12,17,19,streak-point,streak-tasks,streak-iterate"


@pytest.mark.slow
def test_every_short_case_is_measured(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "--rows", ROWS, "--regime", "free")
    assert {setting["row"] for setting in settings} == {3, 4, 5, 6, 7, 9, 10, 11, 12, 17, 19}
    for setting in settings:
        assert setting["failures"] == {}, setting["case"]
        assert all(setting["samples"]["aiolibsql"]), setting["case"]


def test_remote_rows_are_measured_at_servers(tmp_path: Path, program: str) -> None:
    assert program
    peers = ("--peers", "aiolibsql,bare,bare-ws")
    settings = settings_of(tmp_path, *peers, "--rows", "13,14,15", "--runtime", "asyncio")
    assert {setting["row"] for setting in settings} == {13, 14, 15}
    assert len(settings) == 10
    for setting in settings:
        assert setting["failures"] == {}, setting["case"]
        assert all(setting["samples"]["aiolibsql"]), setting["case"]
    verdicts = [goal for setting in settings for goal in setting["goals"]]
    assert {(goal["limit"], goal["against"]) for goal in verdicts} == {(1.2, "bare"), (0.5, "bare")}
    assert all(goal["found"] > 0 for goal in verdicts)


@pytest.mark.parametrize("runtime", ["uvloop", "trio"])
def test_remote_rows_run_on_every_loop(tmp_path: Path, program: str, runtime: str) -> None:
    assert program
    rows = ("--rows", "remote-tasks,remote-iterate-ws", "--peers", "aiolibsql,bare")
    settings = settings_of(tmp_path, *rows, "--runtime", runtime)
    assert [setting["failures"] for setting in settings] == [{}, {}]
    assert all(setting["runtime"] == runtime for setting in settings)


def test_missing_server_is_reported_and_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOLIBSQL_TEST_SQLD", "/nowhere/sqld")
    done = bench(
        "--check", "--rows", "remote-point", "--runtime", "asyncio", "--peers", "aiolibsql,bare"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "aiolibsql: FAILED: not there: AIOLIBSQL_TEST_SQLD is not a program" in done.stdout
    assert "UNKNOWN time ≤ 1.2" in done.stdout
    assert "aiolibsql and bare failed" in done.stdout


def test_peer_that_is_not_installed_is_reported_and_the_others_are_measured() -> None:
    # Nothing of the name is in the interpreter that is given for it.
    done = bench(
        "--rows", "1", "--runtime", "asyncio", "--regime", "free",
        "--peers", "aiolibsql,sqlite3,upstream", "--upstream-python", "/nowhere/python",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "upstream: FAILED: its interpreter does not start" in done.stdout
    assert "UNKNOWN time ≤ 0.0667" in done.stdout
    assert "upstream: upstream failed" in done.stdout
    assert "upstream failed in 1 settings: point" in done.stdout


def test_check_fails_if_a_goal_is_unknown() -> None:
    done = bench(
        "--check", "--rows", "1", "--runtime", "asyncio", "--regime", "free",
        "--peers", "aiolibsql,upstream", "--upstream-python", "/nowhere/python",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr


def test_package_of_another_is_not_taken_for_ours() -> None:
    done = bench(
        "--rows", "1", "--runtime", "asyncio", "--regime", "free",
        "--peers", "upstream", "--upstream-python", sys.executable,
    )  # fmt: skip
    assert "is this project's own package" in done.stdout


def test_unknown_row_is_refused() -> None:
    done = bench("--rows", "1,99")
    assert done.returncode == 2
    assert "no row 99" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(240)  # one cell waits for a query that nothing stops
def test_features_are_those_that_the_readme_shows() -> None:
    # The one peer that the tests have.
    features = RUN.with_name("features.py")
    command = [sys.executable, str(features), "--peers", "aiolibsql,aiosqlite"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    _, _, *found = [row for row in done.stdout.splitlines() if row.startswith("|")]
    assert len(found) == 7
    readme = (RUN.parent.parent / "README.md").read_text(encoding="utf-8")
    shown = ["|".join(row.split("|")[:4]) + "|" for row in readme.splitlines() if row[:2] == "| "]
    assert [row for row in found if row not in shown] == []
    assert not any(row.split("|")[2].strip() == "no" for row in found)
