"""The tests of the first aiolibsql, by its own authors, run against this one.

They are fetched from its source distribution. One thing in them can't hold: its constant for the
version of SQLite was false.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

import aiolibsql

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "0.2.8"

# pip wants to know the distribution's dependencies, and asks its build back-end. This one answers
# at once, where the real one would first have a Rust project resolved.
BACKEND = f"""
import os

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = "aiolibsql-{VERSION}.dist-info"
    os.mkdir(os.path.join(metadata_directory, folder))
    with open(os.path.join(metadata_directory, folder, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: aiolibsql\\nVersion: {VERSION}\\n")
    return folder
"""

CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

INI = """
[pytest]
anyio_mode = auto
markers = asyncio
filterwarnings =
    error
    # It closes after INSERTs without a commit, which used to keep them.
    ignore:.*uncommitted changes:ResourceWarning
"""


def fetch_sources(folder: Path) -> Path:
    """Download the source distribution, or skip the test where that can't be done."""
    backend = folder / "backend"
    backend.mkdir()
    (backend / "maturin.py").write_text(BACKEND)
    result = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-build-isolation", "--no-binary=aiolibsql", "--retries=2",
            "--timeout=10", f"--dest={folder}", f"aiolibsql=={VERSION}",
        ],
        env={**os.environ, "PYTHONPATH": str(backend)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if result.returncode:
        reason = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1]
        pytest.skip(f"aiolibsql {VERSION} can't be fetched: {reason}")
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_suite_of_the_first_aiolibsql_passes(tmp_path: Path) -> None:
    member = f"aiolibsql-{VERSION}/tests/test_suite.py"
    with tarfile.open(fetch_sources(tmp_path)) as archive:
        file = archive.extractfile(member)
        assert file is not None
        suite = file.read().decode()
    false_constant = "aiolibsql.sqlite_version_info == (3, 42, 0)"
    assert false_constant in suite
    true_constant = f"aiolibsql.sqlite_version_info == {aiolibsql.sqlite_version_info}"
    suite = suite.replace(false_constant, true_constant)

    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_suite.py").write_text(suite)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text(INI)
    # The suite's plugin in two words; anyio runs its coroutines.
    (folder / "pytest_asyncio.py").write_text("from pytest import fixture\n")
    result = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no:asyncio", "-p", "no:cacheprovider",
            "--strict-markers", "test_suite.py",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    summary = re.search(r"(\d+) passed", result.stdout)
    assert summary is not None
    assert int(summary[1]) == len(re.findall(r"(?m)^(?:async )?def test_", suite)) >= 30
    assert "skipped" not in result.stdout
