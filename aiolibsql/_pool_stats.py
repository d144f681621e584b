"""PoolStats: what a pool tells of itself."""

from __future__ import annotations

from typing import NamedTuple


class PoolStats(NamedTuple):
    """The state of a pool at one moment, and what happened since it was made.

    The first six are gauges of one and the same moment, the others counters that only grow.

    Attributes:
        size: Connections that are open.
        readers: How many of them only read.
        idle: How many have nothing to do.
        opening: Connections that are being opened.
        in_use: Connections that are lent by `acquire`, `read`, `write` or `transaction`; from the
            moment on when they are, which their borrowers may not have heard of.
        waiting: Callers that wait for a connection.
        acquired: Connections that were lent.
        queued: Callers who did not find a connection at once, and got one.
        timeouts: Callers who got none: after ``acquire_timeout``, or as too many waited.
        opened: Connections that were opened.
        failed: Connections that could not be opened.
        closed: Connections that were closed.
        lost: How many of them for an error of theirs, or a fault.
        group_commits: Commits of several writes at once; at a server requests with several, each
            committed by itself.
        grouped_writes: How many writes these were.
        statements: Statements that the pool was given; those of borrowers are not counted.
        wait_seconds: How long the ``queued`` callers waited, in all.
    """

    size: int
    readers: int
    idle: int
    opening: int
    in_use: int
    waiting: int
    acquired: int
    queued: int
    timeouts: int
    opened: int
    failed: int
    closed: int
    lost: int
    group_commits: int
    grouped_writes: int
    statements: int
    wait_seconds: float
