"""Runs pytest while a fresh server runs: ``python at_a_server.py ARGUMENTS``.

``PORT`` in an argument stands for the server's port.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqld import Sqld

with Sqld() as server:
    arguments = [argument.replace("PORT", str(server.port)) for argument in sys.argv[1:]]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False)
sys.exit(done.returncode)
