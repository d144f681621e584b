"""aiosqlite's own tests, by its authors, run with aiolibsql in aiosqlite's place.

They come from the installed wheel of aiosqlite, and are read anew each time.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
import unittest
import warnings
from pathlib import Path

import aiosqlite.tests.helpers
import pytest

import aiolibsql

SMOKE = "aiosqlite.tests.smoke"
COUNT = 30

# What can't pass, for it looks at what aiosqlite is made of.
PRIVATE = {
    "test_connect_base_exception": "makes a Connection of a function that calls sqlite3.connect",
    "test_close_blocking_until_transaction_queue_empty": "looks into the queue of its thread",
}


@functools.cache
def load_suite() -> type[unittest.TestCase]:
    """Execute the module of tests, for which ``import aiosqlite`` is aiolibsql."""
    tests = Path(aiosqlite.tests.helpers.__file__).parent
    source = (tests / "smoke.py").read_text(encoding="utf-8")
    module = types.ModuleType(SMOKE)
    module.__package__ = "aiosqlite.tests"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "aiosqlite", aiolibsql)
        exec(compile(source, str(tests / "smoke.py"), "exec"), vars(module))
    assert module.aiosqlite is aiolibsql
    # It would add a handler to the root logger, which outlives the suite.
    module.setup_logger = lambda: None  # type: ignore[attr-defined]
    suite = module.SmokeTest
    assert isinstance(suite, type)
    assert issubclass(suite, unittest.TestCase)
    return suite


# The class itself has no name here, for pytest would collect its tests.
NAMES = unittest.defaultTestLoader.getTestCaseNames(load_suite())


@pytest.fixture(autouse=True)
def _folder_for_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One of them opens a file that is named like a lambda.
    monkeypatch.chdir(tmp_path)


def run(name: str) -> unittest.TestResult:
    """Run one test of the suite."""
    result = unittest.TestResult()
    with warnings.catch_warnings():
        # Some leave a connection of sqlite3's open, and so may a test that failed half-way.
        warnings.filterwarnings("ignore", r"unclosed database in <sqlite3\.", ResourceWarning)
        load_suite()(name).run(result)
        gc.collect()
    assert result.testsRun == 1
    return result


def has_passed(result: unittest.TestResult) -> bool:
    return result.wasSuccessful() and not result.skipped


def test_suite_is_the_one_that_is_known() -> None:
    assert len(NAMES) == COUNT
    assert PRIVATE.keys() <= set(NAMES)
    assert len(PRIVATE) <= 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PRIVATE])
def test_of_aiosqlite_passes(name: str) -> None:
    result = run(name)
    assert [trace for _, trace in result.errors + result.failures] == []
    assert result.skipped == []


@pytest.mark.parametrize("name", PRIVATE)
def test_of_what_aiosqlite_is_made_of_can_not_pass(name: str) -> None:
    assert not has_passed(run(name)), "it passes: take it off the table"
