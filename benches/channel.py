"""What the command and a measured process say to each other: one JSON object on each line.

The command writes an `Order` to the process's stdin. The process answers with `Ready` or
`Failure`; then, to each line ``"round"``, with a sample or a `Failure`. It ends with its stdin.
"""

from __future__ import annotations

from dataclasses import dataclass

from measure import Sample

ROUND = "round"


@dataclass(frozen=True)
class Order:
    """What a process has to measure."""

    case: str
    driver: str
    runtime: str
    cores: list[int]
    path: str
    size: int
    seconds: float


@dataclass(frozen=True)
class Ready:
    """A process is warm, and waits for rounds."""

    version: str
    python: str
    operations: int
    took: float
    """How long a round takes, as far as it is known."""
    first: Sample | None
    """The sample of the first, cold round, if there was a whole one."""


@dataclass(frozen=True)
class Failure:
    """Something went wrong, in words for the report."""

    error: str


Answer = Ready | Failure | Sample
