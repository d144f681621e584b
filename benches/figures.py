"""Figures: what a run found, small enough to be kept with the pages that are made of it.

Each measure is its median, its least and its greatest of all rounds of all processes; the samples
themselves go elsewhere. Must not know: how a page shows them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import report
from curves import CURVES, IDLES_CURVE
from drivers import OURS
from honesty import DETECTORS
from regimes import cores

if TYPE_CHECKING:
    from campaign import Outcome

ROOT = Path(__file__).resolve().parent.parent
MEASURES = ("time", "cpu_loop", "cpu_workers", "memory")
# What a figure of the driver depends on; pages may differ.
SOURCES = ("rust", "aiolibsql", "aiolibsql_sqlalchemy", "benches", "Cargo.toml", "Cargo.lock")
FOUR = 4  # significant digits: no clock of a shared machine has more
FOLDERS = re.compile(r"(?:/[\w.@+-]+)+/(?=[\w.])")


def rounded(value: float) -> float:
    """Return a number without the digits that mean nothing."""
    return float(f"{value:.{FOUR}g}")


def without_folders(error: str) -> str:
    """Return an error without the names of the folders of the machine that it happened on."""
    return FOLDERS.sub("", error)


def spread(found: list[float]) -> list[float]:
    """Return the median, the least and the greatest."""
    return [rounded(value) for value in (statistics.median(found), min(found), max(found))]


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", *arguments],  # noqa: S607 - where it is differs
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, and of what state of the sources."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "is_changed": bool(_git("status", "--porcelain", "--", *SOURCES)),
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(cores()),
        "memory": pages,
        "load": os.getloadavg()[0],
    }


def of_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return one setting's figures."""
    setting = outcome.setting
    case = setting.case
    is_detector = case in DETECTORS
    drivers: dict[str, Any] = {}
    for driver, samples in outcome.samples.items():
        there = [sample for sample in samples if sample]
        if not there:
            continue
        known = list(there[0]) if is_detector else [*case.measures, *MEASURES]
        drivers[driver] = {
            name: spread([sample[name] for sample in there])
            for name in dict.fromkeys(known)
            if all(name in sample for sample in there)
        }
    figures: dict[str, Any] = {
        "row": case.row,
        "case": case.key,
        "title": case.title,
        "runtime": setting.runtime,
        "regime": setting.regime,
        "reference": case.reference,
        "measures": list(case.measures),
        "drivers": drivers,
        "versions": {name: ready.version for name, ready in outcome.ready.items()},
        "unable": outcome.unable,
        "failures": {
            name: [without_folders(error) for error in errors]
            for name, errors in outcome.failures.items()
        },
        "once": {name: rounded(took) for name, took in outcome.once.items()},
        "other_load": rounded(statistics.mean(outcome.other_load or [0.0])),
        "goals": [
            {
                "driver": verdict.goal.driver,
                "measure": verdict.goal.measure,
                "limit": verdict.goal.limit,
                "against": verdict.goal.against,
                "found": None if verdict.found is None else rounded(verdict.found),
                "held": verdict.is_held,
            }
            for verdict in report.verdicts(outcome)
        ],
    }
    if case.measures[0] == "time":
        figures["ratios"] = {
            driver: spread(found)
            for driver in drivers
            if (found := report.ratios(outcome, driver, case.reference, "time"))
        }
    ours = case.only or OURS if OURS in drivers else "aiolibsql.dbapi"
    figures["ours"] = ours
    figures["peers"] = {
        driver: rounded(statistics.median(found))
        for driver in drivers
        if driver != ours and (found := report.ratios(outcome, ours, driver, case.measures[0]))
    }
    return figures


def collect(outcomes: list[Outcome], *, mode: str, seconds: float, size: int) -> dict[str, Any]:
    """Return all figures of a run, on tables of so many rows."""
    of_case: dict[str, list[Any]] = {outcome.setting.case.key: [] for outcome in outcomes}
    for outcome in outcomes:
        of_case[outcome.setting.case.key].append(of_outcome(outcome))
    curves = [
        {
            "key": curve.key,
            "title": curve.title,
            "unit": curve.unit,
            "measure": curve.measure,
            "points": {
                str(number): of_case.pop(case.key)
                for number, case in curve.points.items()
                if case.key in of_case
            },
        }
        for curve in (*CURVES, IDLES_CURVE)
    ]
    detectors = [of for case in DETECTORS for of in of_case.pop(case.key, [])]
    return {
        **machine(),
        "mode": mode,
        "size": size,
        "seconds": round(seconds),
        "rows": [of for settings in of_case.values() for of in settings],
        "curves": [curve for curve in curves if curve["points"]],
        "detectors": detectors,
    }


def write(figures: dict[str, Any], path: Path) -> None:
    """Write them, a setting on each line, so that a change of one is a change of one line."""
    lines = json.dumps(figures, ensure_ascii=False, separators=(",", ":"))
    for mark in ('{"row":', '"rows":', '"curves":', '"detectors":', '{"key":'):
        lines = lines.replace(mark, f"\n{mark}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read what was written."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures
