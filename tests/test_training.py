"""What a wheel that is guided by a profile is trained with runs on the package as it is."""

import os
import subprocess
import sys
from pathlib import Path

TRAINING = Path(__file__).parents[1] / "benches" / "training.py"


def test_training_runs(tmp_path: Path) -> None:
    # Not in safe path mode, which the sessions set: the script imports its neighbours.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(TRAINING)]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
