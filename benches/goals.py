"""The goals: what each row of the table promises, as something that can be compared.

A ratio is the median over rounds of this driver's measure divided by the other driver's measure in
the same round; an absolute goal is the median over rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers import BLOCKING, INLINE, OURS, REFERENCE, REPLICA
from remotes import BARE, SUFFIXES

MS = 1e-3
NS = 1e-9


@dataclass(frozen=True)
class Goal:
    """At most so much, or at most so much of another driver's."""

    case: str
    measure: str
    limit: float
    """Seconds; or a ratio, if there is a driver to compare with or the measure is one."""
    against: str | None = REFERENCE
    runtimes: tuple[str, ...] | None = None
    """The event loops that it holds for; None for all of the case's."""
    regimes: tuple[str, ...] | None = None
    older_than: tuple[int, int] | None = None
    """The first Python version that it does not hold for."""
    since: tuple[int, int] | None = None
    """The first Python version that it holds for."""
    driver: str = OURS

    def is_for(self, case: str, runtime: str, regime: str, python: tuple[int, int]) -> bool:
        """Tell whether it says something about a measurement."""
        return (
            self.case == case
            and (self.runtimes is None or runtime in self.runtimes)
            and (self.regimes is None or regime in self.regimes)
            and (self.older_than is None or python < self.older_than)
            and (self.since is None or python >= self.since)
        )


FREE = ("free",)
PINNED = ("pinned",)
SATURATED = ("saturated",)
ON_ASYNCIO = ("asyncio", "uvloop")
ON_TRIO = ("trio",)
FOR_HEAP = {
    "late-fetch": 15 * MS,
    "late-insert": 15 * MS,
    "late-fetch-frozen": 2 * MS,
    "late-insert-frozen": 2 * MS,
}

GOALS = (
    Goal("point", "time", 2.0, regimes=FREE),
    Goal("point", "time", 2.8, regimes=PINNED),
    Goal("point", "time", 0.2 * MS, against=None, regimes=SATURATED),
    Goal("point", "time", 1 / 10, against="aiosqlite", regimes=FREE),
    Goal("point", "time", 1 / 10, against="apsw.aio", regimes=FREE),
    Goal("point", "time", 1 / 15, against="rapsqlite", regimes=FREE),
    Goal("point", "time", 1 / 15, against="upstream", regimes=FREE),
    Goal("point-trio", "time", 4.5, regimes=FREE + PINNED),
    Goal("point-trio", "time", 0.2 * MS, against=None, regimes=SATURATED),
    Goal("point-trio", "time", 1 / 6, against="apsw.aio", regimes=FREE),
    Goal("tasks", "time", 1.2, runtimes=ON_ASYNCIO, regimes=FREE),
    Goal("tasks", "time", 1.9, runtimes=ON_ASYNCIO, regimes=PINNED),
    Goal("tasks", "time", 1.6, runtimes=ON_TRIO, regimes=FREE),
    Goal("tasks", "time", 2.2, runtimes=ON_TRIO, regimes=PINNED),
    Goal("tasks", "cpu", 1.6, runtimes=ON_ASYNCIO),
    Goal("tasks", "cpu", 2.2, runtimes=ON_TRIO),
    Goal("connections", "time", 2.6),
    Goal("fetchall", "time", 0.30, regimes=FREE),
    Goal("fetchall", "time", 0.45, regimes=PINNED),
    Goal("iterate", "time", 0.50),
    Goal("step", "step", 45 * NS, against=None, older_than=(3, 12)),
    Goal("step", "step", 80 * NS, against=None, since=(3, 12)),
    Goal("executemany", "time", 0.35),
    Goal("blocking-point", "time", 0.7, driver=BLOCKING),
    Goal("blocking-fetchall", "time", 0.45, driver=BLOCKING),
    Goal("blocking-executemany", "time", 0.45, driver=BLOCKING),
    Goal("late-query", "p99", 3 * MS, against=None),
    Goal("late-query", "worst", 10 * MS, against=None),
    *(Goal(case, "p99", 1.5 * MS, against=None) for case in FOR_HEAP),
    *(Goal(case, "worst", limit, against=None) for case, limit in FOR_HEAP.items()),
    Goal("streak-point", "p99", 1.5 * MS, against=None),
    Goal("streak-tasks", "p99", 1.5 * MS, against=None),
    Goal("streak-iterate", "p99", 1.5 * MS, against=None),
    *(
        Goal(case, "time", limit, against=peer, runtimes=ON_ASYNCIO)
        for case, limit in (("pool-insert-full", 1 / 10), ("pool-insert", 1 / 4))
        for peer in ("aiosqlite", "aiosqlitepool")
    ),
    *(
        Goal("pool-mixed", measure, limit, against=peer, runtimes=ON_ASYNCIO)
        for measure, limit in (("time", 1 / 5), ("p99", 1 / 4))
        for peer in ("aiosqlitepool", "upstream")
    ),
    Goal("pool-scan", "of_one_reader", 1 / 1.8, against=None),
    *(
        goal
        for suffix in SUFFIXES
        for goal in (
            Goal(f"remote-point{suffix}", "time", 1.2, against=BARE),
            Goal(f"remote-tasks{suffix}", "time", 0.5, against=BARE),
            *(
                Goal(f"remote-{case}{suffix}", "time", 1 / 3, against=peer, runtimes=runtimes)
                for case in ("point", "tasks")
                for peer, runtimes in (
                    ("libsql", None),
                    ("libsql-client", ON_ASYNCIO),
                    ("upstream", ON_ASYNCIO),
                )
            ),
            Goal(f"remote-fetchall{suffix}", "time", 1 / 5, against="libsql"),
            Goal(f"remote-iterate{suffix}", "time", 1 / 5, against="libsql"),
            Goal(f"remote-executemany{suffix}", "time", 1 / 15, against="libsql"),
        )
    ),
    *(
        Goal("replica-point", "time", limit, runtimes=runtimes, regimes=regimes, driver=REPLICA)
        for limit, runtimes, regimes in (
            (2.0, ON_ASYNCIO, FREE),
            (2.8, ON_ASYNCIO, PINNED),
            (4.5, ON_TRIO, FREE + PINNED),
        )
    ),
    Goal("replica-point", "time", 0.2 * MS, against=None, regimes=SATURATED, driver=REPLICA),
    Goal("import", "time", 1.0, against="aiosqlite"),
    Goal("connect", "time", 2.0),
    Goal("orm-load", "time", 0.8, against="aiosqlite", runtimes=ON_ASYNCIO),
    Goal("orm-insert", "time", 0.6, against="aiosqlite", runtimes=ON_ASYNCIO),
    Goal("insert", "time", 2.8),
    Goal("insert", "time", 0.7, against="aiosqlite", runtimes=ON_ASYNCIO),
    Goal("inline-point", "time", 0.7, runtimes=ON_ASYNCIO, driver=INLINE),
    Goal("inline-tasks", "time", 1.1, driver=INLINE),
    Goal("inline-connections", "time", 0.7, driver=INLINE),
    Goal("inline-late-query", "p99", 3 * MS, against=None, driver=INLINE),
    Goal("inline-late-query", "worst", 10 * MS, against=None, driver=INLINE),
    Goal("inline-streak-point", "p99", 1.5 * MS, against=None, driver=INLINE),
    Goal("inline-streak-tasks", "p99", 1.5 * MS, against=None, driver=INLINE),
    Goal("cancel", "raised", 1 * MS, against=None),
    Goal("cancel", "usable", 1 * MS, against=None),
)
