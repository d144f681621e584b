"""The parts of a whole run: the rows, the curves, the detector, open connections that are idle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import campaign
from curves import CURVES, IDLES_CURVE
from honesty import DETECTORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("rows", "curves", "idle", "detector")
ENOUGH = 90  # seconds for a round of what takes long, whatever a round of the rows may take
CURVE_REGIME = ("free",)


def plans(plan: campaign.Plan, parts: tuple[str, ...]) -> Iterator[campaign.Plan]:
    """Return what to run for each part; `plan` is the rows'."""
    timeout = max(plan.timeout, ENOUGH)
    first = plan.runtimes[:1]  # the other loops differ in the rows already
    for part in parts:
        if part == "rows":
            yield plan
        elif part == "curves":
            cases = tuple(case for curve in CURVES for case in curve.points.values())
            yield replace(
                plan, cases=cases, runtimes=first, regimes=CURVE_REGIME, timeout=timeout,
                processes=1,
            )  # fmt: skip
        elif part == "idle":
            yield replace(
                plan, cases=tuple(IDLES_CURVE.points.values()), runtimes=first,
                regimes=CURVE_REGIME, timeout=timeout, processes=1, rounds=1,
            )  # fmt: skip
        else:
            yield replace(
                plan, cases=DETECTORS, timeout=2 * timeout, processes=1, regimes=CURVE_REGIME,
                rounds=2 if plan.is_short else plan.rounds, is_whole=not plan.is_short,
            )  # fmt: skip


def run(
    plan: campaign.Plan, parts: tuple[str, ...], progress: Callable[[str], None]
) -> Iterator[campaign.Outcome]:
    """Run parts one after the other; gives each setting's outcome when it is complete."""
    for one in plans(plan, parts):
        yield from campaign.run(one, progress)
