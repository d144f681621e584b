"""What a round measures: seconds on the clock and of the processors, for each operation; memory.

Thread: the loop's. The loop's own share is what its thread used, the workers' what is left of the
process, also of threads that have ended. Memory is the most that the process had in the round.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

Sample = dict[str, float]
"""Names of measures, and seconds (each for one operation), ratios of such, or bytes."""

SCHEDSTAT = Path("/proc/thread-self/schedstat")


def waited() -> float:
    """Return how long this thread was ready to run but had no core; 0 where Linux doesn't say."""
    try:
        return int(SCHEDSTAT.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Let the peak of the process's memory begin again, where Linux can do that."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")


def peak() -> float:
    """Return the most bytes that were in memory since; 0 where Linux doesn't say."""
    try:
        found = PEAK.search(STATUS.read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return int(found[1]) * 1024.0 if found else 0.0


class Stopwatch:
    """Times a block: ``with Stopwatch() as watch: …``, then `Stopwatch.sample`."""

    def __init__(self) -> None:
        self._began = (0.0, 0.0, 0.0, 0.0)
        self._took = (0.0, 0.0, 0.0, 0.0)
        self._memory = 0.0

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        return waited(), time.process_time(), time.thread_time(), time.perf_counter()

    def __enter__(self) -> Self:
        forget_peak()
        self._began = self._read()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # In the opposite order, so that the clock sees nothing of the reading.
        ended = time.perf_counter(), time.thread_time(), time.process_time(), waited()
        self._took = (
            ended[3] - self._began[0],
            ended[2] - self._began[1],
            ended[1] - self._began[2],
            ended[0] - self._began[3],
        )
        self._memory = peak()

    def sample(self, operations: int) -> Sample:
        """Return the block's measures for one of its operations."""
        starved, process, loop, wall = self._took
        return {
            "time": wall / operations,
            "cpu": process / operations,
            "cpu_loop": loop / operations,
            "cpu_workers": max(0.0, process - loop) / operations,
            "loop_waited": starved / operations,
            "memory": self._memory,
        }
