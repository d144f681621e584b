"""Plots of a run's figures, as SVG: what the performance pages show beside their tables.

The same figures make the same bytes. Text stays text, so files are small and can be searched.
Imported only by whoever draws: matplotlib is in the group `bench`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from drivers import OURS, REFERENCE
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aiolibsql",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#d0d0d0",
    "legend.frameon": False,
}
# Told apart with any eyes, by the palette of Okabe and Ito and by the mark.
LOOKS = {
    OURS: ("#d55e00", "o"),
    "aiolibsql.dbapi": ("#d55e00", "s"),
    "aiolibsql.ungrouped": ("#e69f00", "o"),
    REFERENCE: ("#000000", "|"),
    "aiosqlite": ("#0072b2", "v"),
    "aiosqlitepool": ("#56b4e9", "v"),
    "apsw.aio": ("#009e73", "^"),
    "apsw": ("#009e73", "s"),
    "sqlite-anyio": ("#cc79a7", "<"),
    "rapsqlite": ("#7f7f7f", ">"),
    "pyturso": ("#8c564b", "D"),
    "upstream": ("#17becf", "P"),
    "libsql": ("#bcbd22", "X"),
    "libsql-client": ("#9467bd", "*"),
    "bare": ("#555555", "|"),
    "bare-ws": ("#555555", "_"),
}
OTHER = ("#aaaaaa", ".")
BARS = (
    "point", "tasks", "connections", "fetchall", "iterate", "executemany", "insert", "pool-insert",
)  # fmt: skip
FREE = "free"
LATENESS_ROW = 9  # whose measures are no durations of work
DECADE = 10


def save(figure: Figure, path: Path) -> None:
    """Write a figure without a date, so that the same one is the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure.savefig(
            path, format="svg", bbox_inches="tight",
            metadata={"Date": None, "Creator": None},
        )  # fmt: skip
    # Some lines of paths end with a blank.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def logarithmic(*axis: Axis) -> None:
    """Let axes be logarithmic, with plain numbers."""
    for one in axis:
        name = one.axis_name  # type: ignore[attr-defined,unused-ignore] # of each kind of axis
        one.axes.set(**{f"{name}scale": "log"})
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        least, greatest = one.get_view_interval()
        if greatest > least * DECADE:
            one.set_minor_formatter(NullFormatter())
        else:
            one.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}"))


def plain(text: str) -> str:
    """Return a title without the marks of code."""
    return text.replace("`", "")


def of_free(figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the settings on asyncio, or what stands for it, with a core for each thread."""
    seen = set()
    for setting in figures["rows"]:
        if setting["regime"] == FREE and setting["case"] not in seen:
            seen.add(setting["case"])
            yield setting


def times(figures: dict[str, Any], path: Path) -> None:
    """Draw each driver's time in each case as a multiple of the case's measure."""
    settings = [
        one
        for one in of_free(figures)
        if one["measures"][0] == "time"
        and OURS in one.get("ratios", {})
        and one["row"] != LATENESS_ROW
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.9 + 0.27 * len(settings)))
        axes = figure.subplots()
        shown: dict[str, Any] = {}
        for place, setting in enumerate(reversed(settings)):
            for driver, ratio in setting["ratios"].items():
                colour, mark = LOOKS.get(driver, OTHER)
                (shown[driver],) = axes.plot(
                    ratio[0], place, mark, color=colour, markersize=7 if driver == OURS else 5,
                    zorder=3 if driver == OURS else 2, label=driver,
                )  # fmt: skip
        logarithmic(axes.xaxis)
        axes.set_yticks(
            range(len(settings)),
            [f"{one['row']}  {one['title']}" for one in reversed(settings)],
        )
        axes.set_xlabel("time, × the case's measure (|); further left is quicker")
        _legend(axes, shown)
        save(figure, path)


def _legend(axes: Axes, shown: dict[str, Any]) -> None:
    ordered = [name for name in (*LOOKS, *shown) if name in shown]
    names = list(dict.fromkeys(ordered))
    axes.legend(
        [shown[name] for name in names], names, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )


def bars(
    figures: dict[str, Any], path: Path, stacks: dict[str, tuple[str, float]], unit: str
) -> None:
    """Draw measures of some cases as bars, one on the other, for each driver."""
    settings = [one for one in of_free(figures) if one["case"] in BARS]
    with mpl.rc_context(STYLE):
        columns = 2
        rows = max(1, math.ceil(len(settings) / columns))
        figure = Figure(figsize=(9, 1.9 * rows), layout="constrained")
        for number, setting in enumerate(settings):
            axes = figure.add_subplot(rows, columns, number + 1)
            names = [name for name in setting["drivers"] if name in LOOKS][::-1]
            left = [0.0] * len(names)
            for colour, (measure, factor) in zip(
                ("#d55e00", "#0072b2"), stacks.values(), strict=False
            ):
                found = [setting["drivers"][name].get(measure, [0.0])[0] * factor for name in names]
                axes.barh(names, found, left=left, color=colour, height=0.7)
                left = [old + new for old, new in zip(left, found, strict=True)]
            axes.set_title(f"{setting['row']}  {setting['title']}", fontsize=9)
            axes.tick_params(labelsize=7)
            axes.set_xlabel(unit, fontsize=8)
            axes.grid(axis="y", visible=False)
        if len(stacks) > 1:
            figure.legend(list(stacks), loc="outside lower center", ncols=len(stacks))
        save(figure, path)


def curve(figures: dict[str, Any], key: str, path: Path, measure: str | None = None) -> None:
    """Draw a curve: a rate for times, the figure itself for anything else."""
    found = next(one for one in figures["curves"] if one["key"] == key)
    measure = measure or found["measure"]
    lines: dict[str, list[tuple[int, list[float]]]] = {}
    for number, settings in found["points"].items():
        for driver, measures in settings[0]["drivers"].items():
            if measure in measures:
                lines.setdefault(driver, []).append((int(number), measures[measure]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.4))
        axes = figure.subplots()
        shown: dict[str, Any] = {}
        for driver, points in lines.items():
            colour, mark = LOOKS.get(driver, OTHER)
            numbers = [number for number, _ in points]
            is_of_rows = found["unit"] == "rows"
            values = [
                _value(measure, spread, number if is_of_rows else 1) for number, spread in points
            ]
            (shown[driver],) = axes.plot(
                numbers, [middle for middle, _, _ in values], color=colour, linewidth=1.2,
                marker=mark, markersize=5, zorder=3 if driver == OURS else 2,
            )  # fmt: skip
            axes.fill_between(
                numbers, [low for _, low, _ in values], [high for _, _, high in values],
                color=colour, alpha=0.15, linewidth=0,
            )  # fmt: skip
        logarithmic(axes.xaxis, axes.yaxis)
        axes.set_xlabel(found["unit"])
        axes.set_ylabel(
            UNITS[measure].format(of="rows" if found["unit"] == "rows" else "operations")
        )
        axes.set_title(plain(found["title"]), fontsize=10)
        _legend(axes, shown)
        save(figure, path)


UNITS = {
    "time": "{of} per second",
    "memory": "memory of the process, MB",
    "memory_each": "memory of a connection, kB",
    "threads_idle": "threads of the process",
    "threads": "threads of the process",
}
FACTORS = {"memory": 1e-6, "memory_each": 1e-3}


def _value(measure: str, spread: list[float], each: int) -> tuple[float, float, float]:
    """Return a figure and its bounds as they are drawn; a time is of so many of something each."""
    middle, least, greatest = spread
    if measure == "time":
        return each / middle, each / greatest, each / least
    factor = FACTORS.get(measure, 1.0)
    return middle * factor, least * factor, greatest * factor


def single(figures: dict[str, Any], case: str, measures: dict[str, str], path: Path) -> None:
    """Draw one case's measures in milliseconds, a bar for each driver."""
    setting = next(one for one in figures["rows"] if one["case"] == case)
    names = list(setting["drivers"])[::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.8 + 0.3 * len(names)))
        axes = figure.subplots()
        height = 0.8 / len(measures)
        for number, measure in enumerate(measures):
            found = [setting["drivers"][name][measure][0] * 1e3 for name in names]
            places = [place - number * height for place in range(len(names))]
            axes.barh(places, found, height=height, label=measures[measure])
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("ms")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="best")
        save(figure, path)


def lateness(figures: dict[str, Any], path: Path) -> None:
    """Draw the worst lateness of a ticker during methods with much data, for each driver."""
    setting = next(one for one in figures["detectors"] if one["case"] == "methods")
    ours = setting["drivers"].get(OURS, {})
    names = [name for name in ours if name.endswith("| large")][::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.9 + 0.27 * len(names)))
        axes = figure.subplots()
        shown: dict[str, Any] = {}
        for driver, measures in setting["drivers"].items():
            colour, mark = LOOKS.get(driver, OTHER)
            there = [
                (place, measures[name][0]) for place, name in enumerate(names) if name in measures
            ]
            (shown[driver],) = axes.plot(
                [max(worst * 1e3, 0.05) for _, worst in there], [place for place, _ in there], mark,
                color=colour, linestyle="none", markersize=7 if driver == OURS else 5,
                zorder=3 if driver == OURS else 2,
            )  # fmt: skip
        logarithmic(axes.xaxis)
        axes.set_yticks(range(len(names)), [plain(name.rpartition(" | ")[0]) for name in names])
        axes.set_xlabel("worst lateness of a 1 ms ticker, ms")
        _legend(axes, shown)
        save(figure, path)


def draw(figures: dict[str, Any], folder: Path) -> None:
    """Draw everything that there are figures for."""
    times(figures, folder / "time.svg")
    cpu = {"loop's thread": ("cpu_loop", 1e6), "workers": ("cpu_workers", 1e6)}
    bars(figures, folder / "cpu.svg", cpu, "µs of processor time for each operation")
    bars(figures, folder / "memory.svg", {"memory": ("memory", 1e-6)}, "MB, the most in a round")
    if any(one["case"] == "import" for one in figures["rows"]):
        labels = {"time": "in a new interpreter", "after_asyncio": "after asyncio"}
        single(figures, "import", labels, folder / "import.svg")
    for found in figures["curves"]:
        key = found["key"]
        curve(figures, key, folder / f"at-{key}.svg")
        if key in ("fetchall", "iterate"):
            curve(figures, key, folder / f"at-{key}-memory.svg", "memory")
        if key == "idle":
            curve(figures, key, folder / "at-idle-threads.svg", "threads_idle")
    if any(one["case"] == "methods" for one in figures["detectors"]):
        lateness(figures, folder / "lateness.svg")
