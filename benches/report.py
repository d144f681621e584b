"""What the rounds say: medians, ranges, ratios, and whether the goals were reached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers import BLOCKING, INLINE, OURS, REFERENCE, REPLICA
from goals import GOALS, Goal
from registry import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from campaign import Outcome

# Measures that are no seconds.
RATIOS = frozenset({"of_one_reader", "threads", "threads_idle", "files_each"})
BYTES = frozenset({"memory", "memory_each"})
QUIET = 0.1  # cores that others may use before a reader should doubt the figures


@dataclass(frozen=True)
class Verdict:
    """A goal, and what was found."""

    goal: Goal
    found: float | None
    """None if it can't be told."""
    reason: str = ""
    """Why not."""

    @property
    def is_held(self) -> bool:
        """Whether it was measured and reached."""
        return self.found is not None and self.found <= self.goal.limit

    def line(self) -> str:
        """Return it in words."""
        goal = self.goal
        if goal.against is None:
            limit, found = shown(goal.measure, goal.limit), shown(goal.measure, self.found or 0.0)
        else:
            limit, found = f"{goal.limit:.3g} × {goal.against}", f"{self.found or 0.0:.3g} ×"
        text = f"{goal.measure} ≤ {limit}"
        if self.found is None:
            return f"UNKNOWN {text}: {self.reason}"
        return f"{'held   ' if self.is_held else 'MISSED '} {text}: {found}"


def seconds(value: float) -> str:
    """Return seconds in a unit that suits them."""
    for unit, factor in (("s ", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-9:.0f} ns"


def shown(measure: str, value: float) -> str:
    """Return a figure in a unit that suits it."""
    if measure in RATIOS:
        return f"{value:.3g}"
    return f"{value / 1e6:.3g} MB" if measure in BYTES else seconds(value)


def values(outcome: Outcome, driver: str, measure: str) -> list[float]:
    """Return what a driver's rounds measured."""
    return [sample[measure] for sample in outcome.samples.get(driver, []) if sample]


def ratios(outcome: Outcome, driver: str, other: str, measure: str) -> list[float]:
    """Return a driver's measure relative to another's, round by round."""
    pairs = zip(outcome.samples.get(driver, []), outcome.samples.get(other, []), strict=False)
    return [mine[measure] / its[measure] for mine, its in pairs if mine and its and its[measure]]


def verdicts(outcome: Outcome) -> Iterator[Verdict]:
    """Compare with the goals. A driver that was not asked for leaves its goals out."""
    setting = outcome.setting
    asked = {*outcome.samples, *outcome.unable}
    for goal in GOALS:
        if goal.driver not in asked:
            continue
        ready = outcome.ready.get(goal.driver)
        major, minor = (ready.python if ready else "0.0").split(".")[:2]
        if not goal.is_for(
            setting.case.key, setting.runtime, setting.regime, (int(major), int(minor))
        ):
            continue
        if goal.against is None:
            found = values(outcome, goal.driver, goal.measure)
        elif goal.against in asked:
            found = ratios(outcome, goal.driver, goal.against, goal.measure)
        else:
            continue
        if found:
            yield Verdict(goal, statistics.median(found))
        else:
            pair = (goal.driver, goal.against)
            broken = [name for name in pair if name and outcome.failures.get(name)]
            yield Verdict(goal, None, f"{' and '.join(broken) or 'nothing'} failed")


def table(outcome: Outcome) -> str:
    """Return one setting's figures and verdicts as text."""
    setting = outcome.setting
    case = setting.case
    load = statistics.mean(outcome.other_load) if outcome.other_load else 0.0
    noise = f"; others kept {load:.2f} cores busy" if load > QUIET else ""
    lines = [f"row {case.row}  {case.title}  [{setting.runtime}, {setting.regime}{noise}]"]
    main = case.measures[0]
    head = ["", *(text for name in case.measures for text in (name, "range"))]
    if main == "time":
        head.append(f"× {case.reference}")
    grid = [head]
    for driver in outcome.samples:
        if not values(outcome, driver, main):
            continue
        cells = [driver]
        for measure in case.measures:
            found = values(outcome, driver, measure)
            cells += [
                shown(measure, statistics.median(found)),
                f"{shown(measure, min(found)).strip()} – {shown(measure, max(found)).strip()}",
            ]
        if main == "time":
            ratio = ratios(outcome, driver, case.reference, main)
            cells.append(f"{statistics.median(ratio):.2f}" if ratio else "")
        grid.append(cells)
    widths = [max(len(row[column]) for row in grid) for column in range(len(head))]
    for row in grid:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    for driver, reason in outcome.unable.items():
        lines.append(f"  {driver}: not measured, it {reason}")
    for driver, took in outcome.once.items():
        lines.append(f"  {driver}: one round of each process only, for it takes {took:.1f} s")
    for driver, errors in outcome.failures.items():
        lines += [f"  {driver}: FAILED: {' '.join(error.split())}" for error in errors]
    lines += [f"  goal {verdict.line()}" for verdict in verdicts(outcome)]
    return "\n".join(lines)


def summary(outcomes: list[Outcome]) -> str:
    """Return the verdicts of the whole run, the missed ones by name."""
    found = [(outcome.setting, verdict) for outcome in outcomes for verdict in verdicts(outcome)]
    held = sum(verdict.is_held for _, verdict in found)
    lines = [f"{held} of {len(found)} goals held"]
    for setting, verdict in found:
        if not verdict.is_held:
            where = (
                f"row {setting.case.row} {setting.case.key} [{setting.runtime}, {setting.regime}]"
            )
            lines.append(f"  {where}: {verdict.line()}")
    for driver in DRIVERS:
        failed = [outcome.setting for outcome in outcomes if outcome.failures.get(driver)]
        if failed:
            keys = sorted({setting.case.key for setting in failed})
            lines.append(f"  {driver} failed in {len(failed)} settings: {', '.join(keys)}")
    return "\n".join(lines)


def is_passed(outcomes: list[Outcome]) -> bool:
    """Tell whether every goal is held and what they rest on did not fail."""
    return all(
        not outcome.failures.get(OURS)
        and not outcome.failures.get(BLOCKING)
        and not outcome.failures.get(REPLICA)
        and not outcome.failures.get(INLINE)
        and not outcome.failures.get(REFERENCE)
        and all(verdict.is_held for verdict in verdicts(outcome))
        for outcome in outcomes
    )


def as_json(outcomes: list[Outcome], machine: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured, for other programs."""
    return {
        "machine": machine,
        "settings": [
            {
                "row": outcome.setting.case.row,
                "case": outcome.setting.case.key,
                "title": outcome.setting.case.title,
                "runtime": outcome.setting.runtime,
                "regime": outcome.setting.regime,
                "other_load": outcome.other_load,
                "versions": {name: ready.version for name, ready in outcome.ready.items()},
                "operations": {name: ready.operations for name, ready in outcome.ready.items()},
                "samples": outcome.samples,
                "unable": outcome.unable,
                "once": outcome.once,
                "failures": outcome.failures,
                "goals": [
                    {
                        "measure": verdict.goal.measure,
                        "limit": verdict.goal.limit,
                        "against": verdict.goal.against,
                        "found": verdict.found,
                        "held": verdict.is_held,
                    }
                    for verdict in verdicts(outcome)
                ],
            }
            for outcome in outcomes
        ],
    }
