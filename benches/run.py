"""Measure this driver and its peers: ``python benches/run.py --help``; README.md explains it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import campaign
import figures
import page
import parts
import report
from cases import CASES, Case
from catalogue import CATALOGUE
from data import SIZE
from regimes import REGIMES, cores
from registry import DRIVERS
from runtimes import RUNTIMES


def names(known: dict[str, Any] | tuple[str, ...]) -> Any:
    """Return a converter of a list with commas, for names that are known."""

    def convert(text: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return chosen

    return convert


def rows(text: str) -> tuple[Case, ...]:
    """Return the cases of rows, given by number, or by key for a part of a row or a curve."""
    chosen = []
    for name in text.split(","):
        found = [case for case in CASES.values() if name.strip() in (case.key, str(case.row))]
        # Points of curves have no row.
        if not found and name.strip() in CATALOGUE:
            found = [CATALOGUE[name.strip()]]
        if not found:
            known = ", ".join(f"{case.row} {key}" for key, case in CASES.items())
            raise argparse.ArgumentTypeError(f"no row {name}; there are {known}")
        chosen += found
    return tuple(dict.fromkeys(chosen))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure this driver and its peers.")
    add = parser.add_argument
    add("--rows", type=rows, help="rows or cases, such as 1,5,step; nothing else is measured then")
    add("--parts", type=names(parts.PARTS), default=parts.PARTS, help=", ".join(parts.PARTS))
    add("--no-page", action="store_true", help="leave the performance pages as they are")
    add("--peers", type=names(DRIVERS), default=tuple(DRIVERS), help=", ".join(DRIVERS))
    add("--runtime", type=names(RUNTIMES), default=tuple(RUNTIMES), help=", ".join(RUNTIMES))
    add("--regime", type=names(REGIMES), default=REGIMES, help=", ".join(REGIMES))
    add("--short", action="store_true", help="one process, short rounds, one loop for each case")
    add("--whole", action="store_true", help="short, but with every case and every loop")
    add("--check", action="store_true", help="fail if a goal is missed")
    add("--json", type=Path, metavar="FILE", help="write every sample to a file")
    add("--processes", type=int, help="processes of each driver (3; short: 1)")
    add("--rounds", type=int, help="rounds of each process (5; short: 5)")
    add("--seconds", type=float, help="a round's time, where it can be chosen (0.2; short: 0.05)")
    add("--size", type=int, default=SIZE, help="rows of each table (goals are for %(default)s)")
    add("--timeout", type=float, help="seconds that a round may take (120; short: 10)")
    add("--folder", type=Path, help="where the databases are made (the system's temporary folder)")
    add("--bench-python", default=sys.executable, help="interpreter that has the drivers")
    add(
        "--upstream-python",
        default=os.environ.get("BENCHES_UPSTREAM_PYTHON"),
        help="interpreter that has the package of our name from PyPI",
    )
    options = parser.parse_args(arguments)
    if options.rows:
        options.parts = ("rows",)
    # A page's figures come from one run.
    is_whole = not options.rows and set(options.parts) == set(parts.PARTS)
    options.is_for_page = is_whole and not options.no_page
    if options.is_for_page and importlib.util.find_spec("matplotlib") is None:
        parser.error("the pages have plots, which need matplotlib; --no-page does without")
    return options


def plan_of(options: argparse.Namespace) -> campaign.Plan:
    """Make the plan that the command line asks for."""
    pythons = {"bench": options.bench_python, "upstream": options.upstream_python}
    is_short = options.short
    return campaign.Plan(
        cases=options.rows or tuple(CASES.values()),
        drivers=options.peers,
        runtimes=options.runtime,
        regimes=options.regime,
        pythons={name: python for name, python in pythons.items() if python},
        size=options.size,
        processes=options.processes or (1 if is_short else 3),
        rounds=options.rounds or 5,
        seconds=options.seconds or (0.05 if is_short else 0.2),
        timeout=options.timeout or (10 if is_short else 120),
        patience=0.5 if is_short else 10,
        is_short=is_short,
        folder=options.folder,
        is_whole=options.whole or not is_short,
    )


def say(text: str) -> None:
    """Show progress without mixing it with the report."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parse(arguments)
    plan = plan_of(options)
    machine = figures.machine()
    print("Python {python}, {system}, {cores} cores, load {load:.2f}".format(**machine), flush=True)
    if not plan.is_whole:
        out = ", ".join(case.key for case in plan.cases if not case.is_in_short)
        print(f"short: one event loop for each case; left out: {out or 'no case'}")
    if len(cores()) == 1:
        print("one core only: the regime free is not free here")
    began = time.monotonic()
    outcomes = []
    for outcome in parts.run(plan, options.parts, say):
        say("")
        print(f"\n{report.table(outcome)}", flush=True)
        outcomes.append(outcome)
    took = time.monotonic() - began
    print(f"\n{report.summary(outcomes)}\n{took:.0f} s")
    if options.json:
        text = json.dumps(report.as_json(outcomes, machine), indent=1)
        options.json.write_text(text, encoding="utf-8")
    if outcomes and options.is_for_page:
        mode = "short" if plan.is_short else "full"
        found = figures.collect(outcomes, mode=mode, seconds=took, size=plan.size)
        # The machine's load and the sources are those of the start.
        page.publish({**found, **machine})
        print(f"written: {page.PAGE} and {page.FOLDER}")
    if not outcomes:
        print("nothing was selected")
        return 2
    return 1 if options.check and not report.is_passed(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
