"""CPython's own tests of `sqlite3`, by its authors, run with `aiolibsql.dbapi` in its place.

They are those of the interpreter that runs this, read where it has them, and run in a process of
their own, for they open files and look at the process.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

SUITE = "test.test_sqlite3" if sys.version_info >= (3, 11) else "sqlite3.test"
# The command line of the stdlib's sqlite3 is no part of the module.
LEFT_OUT = {"test_cli"}

RUN = """
import importlib, json, pkgutil, sys, unittest, warnings

import aiolibsql.exceptions  # with the stdlib's sqlite3 as the base of the exceptions
import aiolibsql.dbapi

import sqlite3
package = importlib.import_module(sys.argv[1])
assert aiolibsql.exceptions.Error.__bases__ == (sqlite3.Error,)
for name in [name for name in sys.modules if name.startswith(sys.argv[1] + ".")]:
    del sys.modules[name]
sys.modules["sqlite3"] = sys.modules["sqlite3.dbapi2"] = aiolibsql.dbapi

class Result(unittest.TestResult):
    def __init__(self, *args):
        super().__init__(*args)
        self.outcomes = {}

    def note(self, test, outcome):
        name = test.id().removeprefix(sys.argv[1] + ".")
        if self.outcomes.get(name, "ok") == "ok":
            self.outcomes[name] = outcome

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skipped")

    def addExpectedFailure(self, test, error):
        self.note(test, "ok")

    def addError(self, test, error):
        self.note(test, self._exc_info_to_string(error, test))

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note(test, self._exc_info_to_string(error, test))

loader = unittest.TestLoader()
suite = unittest.TestSuite()
names = [m.name for m in pkgutil.iter_modules(package.__path__)]
for name in names:
    if name in sys.argv[3].split(",") or name.startswith("__") or name == "util":
        continue
    module = importlib.import_module(f"{sys.argv[1]}.{name}")
    assert getattr(module, "sqlite", aiolibsql.dbapi) is aiolibsql.dbapi, name
    suite.addTests(loader.loadTestsFromModule(module))
result = Result()
warnings.simplefilter("ignore", ResourceWarning)
suite.run(result)
with open(sys.argv[2], "w") as file:
    json.dump(result.outcomes, file)
"""

# What can't pass, with the reason; and the first version that has it so, or the first that has not.
EXCLUDED = {
    "test_dbapi.CursorTests.test_execute_non_iterable": "our message says more",
    "test_userfunctions.FunctionTests.test_too_large_int": "our message says more",
}


def find(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the suite; return what came of each test."""
    if not find(SUITE):
        pytest.skip(f"this interpreter was installed without {SUITE}")
    folder = tmp_path_factory.mktemp("suite")
    found = folder / "outcomes.json"
    command = [sys.executable, "-X", "faulthandler", "-c", RUN, SUITE, str(found)]
    done = subprocess.run(
        [*command, ",".join(LEFT_OUT)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes: dict[str, str] = json.loads(found.read_text())
    return outcomes
