"""Programs that documents show: run by themselves, or loaded to use what they define."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def command(script: Path, *args: str) -> list[str]:
    """Return what starts a script, in which a warning is an error."""
    return [sys.executable, "-W", "error", str(script), *args]


def environment(**env: str) -> dict[str, str]:
    """Return the variables of a program that prints UTF-8."""
    return {**os.environ, "PYTHONIOENCODING": "utf-8", **env}


def run(script: Path, *args: str, cwd: Path, **env: str) -> str:
    """Run a script where only the installed package can be imported, and return what it prints."""
    done = subprocess.run(
        command(script, *args),
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def load(script: Path) -> ModuleType:
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    return module
