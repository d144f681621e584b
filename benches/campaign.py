"""A campaign: every selected case, event loop and regime, its drivers interleaved round by round.

All drivers of one setting are warm before the first round, and then take turns; the order moves on
with each round, so that nobody always follows the same one.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import data
from channel import Failure, Order
from drivers import BLOCKING, INLINE, LOCALS, OURS, REPLICA, SYNCED_WITH
from hosts import MissingServerError, Servers
from pools import POOLS
from process import Process
from regimes import OtherLoad, cores_of, hogs
from registry import DRIVERS
from remotes import REMOTES, SOCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cases import Case
    from channel import Ready
    from measure import Sample


REMOTE_PART = 2  # of the rows that files have, a server's tables have one in so many


@dataclass(frozen=True)
class Plan:
    """What to run, and how long."""

    cases: tuple[Case, ...]
    drivers: tuple[str, ...]
    runtimes: tuple[str, ...]
    regimes: tuple[str, ...]
    pythons: Mapping[str, str]
    """The interpreter of each environment."""
    size: int
    processes: int
    rounds: int
    seconds: float
    timeout: float
    patience: float
    """Seconds of a round of another driver that is not repeated."""
    is_short: bool
    folder: Path | None
    is_whole: bool = True
    """Whether it has every case and every event loop: a short run may."""

    def settings(self) -> Iterator[Setting]:
        """Return the settings of all cases, or what a short run takes of them."""
        for case in self.cases:
            if not self.is_whole and not case.is_in_short:
                continue
            runtimes = [name for name in case.runtimes if name in self.runtimes]
            for runtime in runtimes if self.is_whole else runtimes[:1]:
                for regime in case.regimes:
                    if regime in self.regimes:
                        yield Setting(case, runtime, regime)


@dataclass(frozen=True)
class Setting:
    """One case on one event loop in one regime."""

    case: Case
    runtime: str
    regime: str


@dataclass
class Outcome:
    """What came of a setting. In ``samples`` each driver has one entry for each round, or None."""

    setting: Setting
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)
    once: dict[str, float] = field(default_factory=dict)
    """Drivers so slow that each process ran one round only, and how long that takes."""
    ready: dict[str, Ready] = field(default_factory=dict)
    other_load: list[float] = field(default_factory=list)

    def fail(self, driver: str, error: str) -> None:
        """Note once what went wrong."""
        known = self.failures.setdefault(driver, [])
        if error not in known:
            known.append(error)


@dataclass(frozen=True)
class Sources:
    """Where the data is: each driver has a copy of the file, and a server of its own."""

    original: Path
    servers: Servers
    followed: Servers
    """Those with as many rows as the file."""

    def path(self, driver: str, transport: str | None) -> str | Failure:
        """Return what a driver connects to."""
        if DRIVERS[driver].is_replica:
            return self._replica(driver)
        if transport is None:
            return str(data.copy(self.original, self.original.parent, driver))
        scheme = transport if driver in SOCKETS else "http"
        try:
            return f"{scheme}://{self.servers.address(driver)}"
        except MissingServerError as error:
            return Failure(f"not there: {error}")

    def _replica(self, driver: str) -> str | Failure:
        file = self.original.parent / f"{driver}.db"
        try:
            return f"{file}{SYNCED_WITH}http://{self.followed.address(driver)}"
        except MissingServerError as error:
            return Failure(f"not there: {error}")


def why_unable(driver: str, setting: Setting) -> str | None:
    """Return why a driver can't run a setting, if it can't."""
    kind = DRIVERS[driver]
    if setting.runtime not in kind.runtimes:
        return f"does not run on {setting.runtime}"
    return kind.lacks.get(setting.case.key)


def must_repeat(driver: str, case: Case) -> bool:
    """Tell whether one round of a driver is too little, however slow it is: verdicts rest on it."""
    is_measure_of_others = driver == case.reference and case.measures[0] == "time"
    return driver in (OURS, BLOCKING, REPLICA, INLINE, case.only) or is_measure_of_others


def is_compared(driver: str, case: Case) -> bool:
    """Tell whether a case is about a driver."""
    named = {case.only} if case.only else case.among
    if named is not None:
        return driver in named
    if case.transport:
        return DRIVERS[driver] in REMOTES
    if DRIVERS[driver] not in LOCALS:
        return False
    if case.is_pooled:
        return driver in POOLS
    if case.is_blocking:
        return not DRIVERS[driver].is_async
    return driver != BLOCKING and not DRIVERS[driver].is_only_pool


def run(plan: Plan, progress: Callable[[str], None]) -> Iterator[Outcome]:
    """Run everything; gives each setting's outcome when it is complete."""
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(dir=plan.folder, prefix="benches-")
        folder = Path(stack.enter_context(temporary))
        original = folder / "original.db"
        data.make(original, plan.size)
        servers = stack.enter_context(Servers(plan.size // REMOTE_PART))
        sources = Sources(original, servers, stack.enter_context(Servers(plan.size)))
        for setting in plan.settings():
            outcome = Outcome(setting)
            runs = []
            for driver in plan.drivers:
                if not is_compared(driver, setting.case):
                    continue
                reason = why_unable(driver, setting)
                if reason:
                    outcome.unable[driver] = reason
                else:
                    runs.append(driver)
                    outcome.samples[driver] = []
            for number in range(plan.processes):
                progress(
                    f"{setting.case.key} {setting.runtime} {setting.regime} "
                    f"{number + 1}/{plan.processes}"
                )
                _run_processes(plan, outcome, runs, sources)
            yield outcome


def _run_processes(plan: Plan, outcome: Outcome, drivers: list[str], sources: Sources) -> None:
    """Run all rounds of one process for each driver."""
    setting = outcome.setting
    load = OtherLoad()
    with ExitStack() as stack:
        stack.enter_context(hogs(setting.regime))
        processes: dict[str, Process] = {}
        for driver in drivers:
            process = _start(plan, outcome, driver, sources, stack)
            if process:
                processes[driver] = process
        for number in range(plan.rounds):
            first = number % len(drivers) if drivers else 0
            for driver in drivers[first:] + drivers[:first]:
                _round(outcome, driver, processes)
            done = max(map(len, outcome.samples.values()), default=0)
            for samples in outcome.samples.values():
                samples.extend([None] * (done - len(samples)))
    outcome.other_load.append(load.cores())


def _start(
    plan: Plan, outcome: Outcome, driver: str, sources: Sources, stack: ExitStack
) -> Process | None:
    setting = outcome.setting
    transport = setting.case.transport
    environment = DRIVERS[driver].environment
    python = plan.pythons.get(environment)
    if python is None:
        outcome.fail(driver, f"no interpreter for it; give --{environment}-python")
        return None
    path = sources.path(driver, transport)
    if isinstance(path, Failure):
        outcome.fail(driver, path.error)
        return None
    order = Order(
        case=setting.case.key,
        driver=driver,
        runtime=setting.runtime,
        cores=cores_of(setting.regime),
        path=path,
        size=plan.size // REMOTE_PART if transport else plan.size,
        seconds=plan.seconds,
    )
    try:
        process = Process(python, order, plan.timeout)
    except OSError as error:
        outcome.fail(driver, f"its interpreter does not start: {error}")
        return None
    stack.callback(process.close)
    ready = process.ready()
    if isinstance(ready, Failure):
        outcome.fail(driver, ready.error)
        return None
    return _accept(plan, outcome, driver, process, ready)


def _accept(
    plan: Plan, outcome: Outcome, driver: str, process: Process, ready: Ready
) -> Process | None:
    """Note that a process is warm; it takes part in the rounds unless it is too slow."""
    setting = outcome.setting
    outcome.ready[driver] = ready
    if ready.took < plan.patience or must_repeat(driver, setting.case):
        return process
    outcome.once[driver] = max(ready.took, outcome.once.get(driver, 0.0))
    if ready.first is None:
        return process
    outcome.samples[driver].append(ready.first)
    return None


def _round(outcome: Outcome, driver: str, processes: dict[str, Process]) -> None:
    process = processes.get(driver)
    if process is None:
        return
    sample = process.round()
    if isinstance(sample, Failure):
        outcome.fail(driver, sample.error)
        del processes[driver]
        return
    outcome.samples[driver].append(sample)
    if driver in outcome.once:
        del processes[driver]
