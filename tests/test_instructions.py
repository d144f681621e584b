"""Instructions are counted and compared, where valgrind is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / "benches" / "instructions.py"

pytestmark = pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts")


def count(kept: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The program imports its own modules from the folder that it is in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(PROGRAM), "--kept", str(kept), "--only", "blocking"]
    return subprocess.run(
        [*command, "--runs", "1", *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_growth_by_more_than_five_percent_fails(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("{}", encoding="utf-8")
    done = count(kept, "--record")
    assert done.returncode == 0, done.stdout + done.stderr
    (figures,) = json.loads(kept.read_text(encoding="utf-8")).values()
    instructions = figures["blocking"]["loop"]
    # SQLite's work alone is some thousands; with the start of the interpreter it would be millions.
    assert 5_000 < instructions < 50_000
    (name,) = json.loads(kept.read_text(encoding="utf-8"))
    changed = {name: {"blocking": {"loop": instructions * 9 // 10, "workers": 0}}}
    kept.write_text(json.dumps(changed), encoding="utf-8")
    done = count(kept)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "grown by more than 5%: blocking" in done.stdout
