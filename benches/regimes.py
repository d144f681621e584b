"""Regimes: which cores a process may use, and who competes for them.

A figure of a driver that hands work to a thread means nothing without its regime; README.md says
what each one is. Linux only, for nothing else can pin a process to a core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REGIMES = ("free", "pinned", "saturated")

# It ends by itself if the command that started it is gone.
HOG = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""

TICKS = os.sysconf("SC_CLK_TCK")


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def cores_of(regime: str) -> list[int]:
    """Return the cores that a measured process may use."""
    return cores()[-1:] if regime == "pinned" else cores()


@contextmanager
def hogs(regime: str) -> Iterator[None]:
    """Keep every core busy where the regime asks for it."""
    wanted = cores() if regime == "saturated" else []
    running = [
        subprocess.Popen([sys.executable, "-c", HOG, str(core)])  # noqa: S603 - it is our own text
        for core in wanted
    ]
    try:
        yield
    finally:
        for hog in running:
            hog.kill()
            hog.wait()


class OtherLoad:
    """How many cores others kept busy meanwhile: the noise that the figures carry."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = _busy()
        self._own = _own()

    def cores(self) -> float:
        """Return the average since the start. Every process that was started has to have ended."""
        others = _busy() - self._busy - (_own() - self._own)
        return max(0.0, others / (time.perf_counter() - self._began))


def _busy() -> float:
    """Return the seconds that all cores together were busy."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields)
    return (user + nice + system + irq + softirq + steal) / TICKS


def _own() -> float:
    """Return the processor seconds of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
