"""The performance pages: what is made of a run's figures, between marks that say so.

``python benches/page.py`` makes them again from the figures that are kept; ``--check`` only tells
whether they are what the figures make, and every loss has its reason. Words that explain why a row
is lost are `losses.md`'s, written by hand. Must not know: how anything is measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures as kept
import report
from drivers import BLOCKING, INLINE, OURS, REFERENCE
from honesty import BLOB

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
FIGURES = FOLDER / "figures.json"
LOSSES = Path(__file__).with_name("losses.md")
BEGIN = "<!-- Made by `nox -s bench`; what is written here by hand is lost. -->"
END = "<!-- The end of what is made. -->"
RUNTIMES = ("asyncio", "uvloop", "trio")
# They hold the loop, or are no drivers; they are the measure, not the rivals.
NO_RIVALS = frozenset(
    {REFERENCE, "apsw", "bare", "bare-ws", "aiolibsql.ungrouped", OURS, BLOCKING, INLINE}
)
UNEXPLAINED = "Not explained yet."
LATE = 0.015  # seconds: what row 9 allows at the worst
LATENESS = """\
A task of the same loop ticks each millisecond. The figures are how late it was at the worst, in
milliseconds, while another task awaited one method: the median of the rounds, and in brackets the
greatest if it is another. Small is ten rows or 1 kB, large {rows} rows or {megabytes} MB. Bold is
what row 9 would not allow, {limit} ms. What the machine does by itself is the first row; `sqlite3`
blocks, and shows what the loop would wait for without a driver. A dash is a method that the driver
does not have, or where it failed."""
MAIN = """\
A cell is our time as a multiple of the measure's, which is the standard library's blocking
`sqlite3` for files: below 1 is quicker. Where no ratio makes sense it is the time itself. The
nearest rival is the asynchronous driver that is nearest to ours, or ahead, and our time as a
multiple of its time, on the first event loop that was measured."""
MORE = """\
More: [every row with every driver](performance/rows.md), [curves](performance/scaling.md),
[how late the event loop is](performance/lateness.md), and all of it for programs:
[`figures.json`](performance/figures.json)."""
ROWS = """\
Medians of all rounds, and in brackets the least and the greatest; times and processor times are for
one operation, memory is the most that the process had in a round."""
UNGROUPED = """\
`aiolibsql.ungrouped` is the same pool, with each write in a `pool.write()` block of its own, which
group commit leaves alone."""
IDLE = """\
Threads are all of the process, the loop's too: with every connection just used, and after three
seconds in which nothing happened."""
LONGEST = 200  # characters of an error


def failed(setting: dict[str, Any]) -> Iterator[str]:
    """Say which drivers failed, and how."""
    for name, errors in setting["failures"].items():
        words = " ".join(" ".join(errors).split()).replace("`", "")
        yield f"{code(name)} failed: `{words[:LONGEST]}`."


def code(name: str) -> str:
    """Return a name as code, which no dictionary has to know."""
    return f"`{name}`"


def ratio(value: float) -> str:
    """Return a multiple."""
    return f"{value:.3g} ×"


def losses() -> dict[str, str]:
    """Return what is written about cases that are lost, by the case's key."""
    parts = re.split(r"^## (\S+)\n", LOSSES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {key: " ".join(text.split()) for key, text in zip(parts[1::2], parts[2::2], strict=True)}


def rivals(setting: dict[str, Any]) -> dict[str, float]:
    """Return our figure as a multiple of each rival's."""
    blocking = setting["ours"] == BLOCKING
    out = NO_RIVALS - {"apsw"} if blocking else NO_RIVALS
    return {name: found for name, found in setting["peers"].items() if name not in out}


def lost(setting: dict[str, Any]) -> Iterator[str]:
    """Say which goals a setting misses, and which rival is better."""
    for goal in setting["goals"]:
        if goal["held"]:
            continue
        measure = goal["measure"]
        if goal["found"] is None:
            yield f"{measure} not known"
        elif goal["against"] is None:
            found, limit = (report.shown(measure, goal[key]).strip() for key in ("found", "limit"))
            yield f"{code(measure)} {found}, goal {limit}"
        else:
            measured = ratio(goal["found"])
            yield f"{code(measure)} {measured} {code(goal['against'])}, goal {goal['limit']:.3g}"
    for name, times in rivals(setting).items():
        if times > 1:
            yield f"{ratio(times)} {code(name)}"


def heading(figures: dict[str, Any]) -> str:
    """Return what was measured, where and when."""
    changed = ", with changes that are not committed" if figures["is_changed"] else ""
    load = figures["load"]
    busy = f" The machine did other work meanwhile (load {load:.1f})." if load > 1 else ""
    return (
        f"Measured at commit {code(figures['commit'])}{changed}, {figures['date']}, in "
        f"{figures['seconds'] // 60} minutes ({figures['mode']} form): "
        f"CPython {figures['python']}, "
        f"{code(figures['processor'])}, {figures['cores']} processors, "
        f"{figures['memory'] / 1e9:.0f} GB.{busy}"
    )


def cell(setting: dict[str, Any]) -> str:
    """Return our main figure of a setting."""
    ours, main = setting["ours"], setting["measures"][0]
    if ours in setting.get("ratios", {}) and setting["reference"] != ours and setting["row"] != 9:  # noqa: PLR2004
        return ratio(setting["ratios"][ours][0])
    found = setting["drivers"].get(ours, {}).get(main)
    return report.shown(main, found[0]).strip() if found else "–"


def rival_cell(setting: dict[str, Any]) -> str:
    """Return the rival that is nearest to us, or ahead."""
    found = rivals(setting)
    if not found:
        return "–"
    name = max(found, key=lambda rival: found[rival])
    return f"{ratio(found[name])} {code(name)}"


def by_case(figures: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the rows' settings, put together by case and regime."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for setting in figures["rows"]:
        grouped.setdefault((setting["case"], setting["regime"]), []).append(setting)
    return grouped


def summary(figures: dict[str, Any]) -> Iterator[str]:
    """Return the table of all rows."""
    yield f"| row | case | regime | measure | {' | '.join(RUNTIMES)} | nearest rival |"
    yield f"|{'---|' * 8}"
    for (_, regime), settings in by_case(figures).items():
        first = settings[0]
        cells = {one["runtime"]: cell(one) for one in settings}
        found = [cells.get(runtime, "") for runtime in RUNTIMES]
        is_ratio = any("×" in text for text in found)
        measure = code(first["reference"] if is_ratio else first["measures"][0])
        yield (
            f"| {first['row']} | {first['title']} | {regime} | {measure} | {' | '.join(found)} | "
            f"{rival_cell(first)} |"
        )


def losing(figures: dict[str, Any]) -> dict[str, list[str]]:
    """Return what is lost in each case, with where."""
    found: dict[str, list[str]] = {}
    for setting in figures["rows"]:
        words = list(lost(setting))
        if words:
            where = f"{setting['runtime']}, {setting['regime']}: {'; '.join(words)}"
            found.setdefault(setting["case"], []).append(where)
    return found


def losing_part(figures: dict[str, Any]) -> Iterator[str]:
    """Return the list of rows that are lost, with the reasons."""
    titles = {one["case"]: f"Row {one['row']}, {one['title']}" for one in figures["rows"]}
    reasons = losses()
    found = losing(figures)
    goals = [goal for one in figures["rows"] for goal in one["goals"]]
    held = sum(goal["held"] for goal in goals)
    yield (
        f"{held} of {len(goals)} goals are held. These cases miss one, or a rival is quicker "
        "there: for each setting what was found, and then why."
    )
    yield ""
    for case, where in found.items():
        yield f"* **{titles[case]}.** {reasons.get(case, UNEXPLAINED)}"
        yield from (f"    * {words}" for words in where)
    broken = {
        name: sorted({one["case"] for one in figures["rows"] if name in one["failures"]})
        for name in sorted({name for one in figures["rows"] for name in one["failures"]})
    }
    if broken:
        yield ""
        yield "Drivers that failed, which their tables say more of:"
        yield ""
        for name, cases in broken.items():
            yield f"* {code(name)}: {', '.join(code(case) for case in cases)}"


def main_part(figures: dict[str, Any]) -> str:
    """Return what is made of the first page."""
    lines = [
        heading(figures),
        "",
        MAIN,
        "",
        *summary(figures),
        "",
        "![Time of every driver in every case](performance/time.svg)",
        "",
        "Processor time of the event loop's thread and of all others, and memory:",
        "",
        "![Processor time for each operation](performance/cpu.svg)",
        "",
        "![Memory of the process](performance/memory.svg)",
        "",
        MORE,
        "",
        "## Where this driver loses",
        "",
        *losing_part(figures),
    ]
    return "\n".join(lines)


def setting_part(setting: dict[str, Any]) -> Iterator[str]:
    """Return the table of one setting."""
    yield f"### {setting['title']}, {setting['runtime']}, {setting['regime']}"
    yield ""
    measures = [*setting["measures"], *(("memory",) if "memory" not in setting["measures"] else ())]
    ratios = setting.get("ratios")
    head = [
        code(name) for name in measures if any(name in of for of in setting["drivers"].values())
    ]
    measures = [name for name in measures if code(name) in head]
    reference = [f"× {code(setting['reference'])}"] if ratios else []
    yield f"| | {' | '.join([*head, *reference])} |"
    yield f"|{'---|' * (1 + len(head) + len(reference))}"
    for driver, found in setting["drivers"].items():
        cells = []
        for measure in measures:
            if measure in found:
                middle, *ends = (report.shown(measure, value).strip() for value in found[measure])
                is_single = ends[0] == ends[1]
                cells.append(middle if is_single else f"{middle} ({ends[0]} – {ends[1]})")
            else:
                cells.append("–")
        if ratios:
            cells.append(f"{ratios[driver][0]:.3g}" if driver in ratios else "–")
        yield f"| {code(driver)} | {' | '.join(cells)} |"
    yield ""
    notes = [f"{code(name)} was not measured: it {why}." for name, why in setting["unable"].items()]
    notes += [
        f"{code(name)} ran one round only, for it takes {took:.1f} s."
        for name, took in setting["once"].items()
    ]
    notes += failed(setting)
    missed = list(lost(setting))
    if missed:
        notes.append(f"Lost: {'; '.join(missed)}.")
    if notes:
        yield from (f"* {note}" for note in notes)
        yield ""


def rows_page(figures: dict[str, Any]) -> str:
    """Return the page with every row."""
    lines = [
        BEGIN, "", "# Every row", "", heading(figures), "",
        ROWS, "",
    ]  # fmt: skip
    row = None
    for setting in figures["rows"]:
        if setting["row"] != row:
            row = setting["row"]
            lines += [f"## Row {row}", ""]
        lines += setting_part(setting)
    versions: dict[str, str] = {}
    for setting in figures["rows"]:
        versions.update(setting["versions"])
    lines += ["## Versions", "", *(f"* {code(name)}: `{text}`" for name, text in versions.items())]
    return "\n".join(lines).rstrip() + "\n"


def idle_part(found: dict[str, Any]) -> Iterator[str]:
    """Return the table of what idle connections cost."""
    names = ("threads", "threads_idle", "memory_each", "files_each")
    head = ("connections", "threads, just used", "threads, idle", "memory of each", "files of each")
    yield f"| | {' | '.join(head)} |"
    yield f"|{'---|' * 6}"
    for number, settings in found["points"].items():
        for driver, measures in settings[0]["drivers"].items():
            threads, idle, memory, files = (measures[name][0] for name in names)
            yield (
                f"| {code(driver)} | {int(number):,} | {threads:.0f} | {idle:.0f} | "
                f"{memory / 1e3:.0f} kB | {files:.1f} |"
            )


def scaling_page(figures: dict[str, Any]) -> str:
    """Return the page with the curves."""
    lines = [BEGIN, "", "# Curves", "", heading(figures), "",
             "Lines are medians, shades reach from the least to the greatest.", ""]  # fmt: skip
    for found in figures["curves"]:
        key, title = found["key"], found["title"]
        lines += [f"## {title}", "", f"![{title.replace('`', '')}](at-{key}.svg)", ""]
        if key in ("fetchall", "iterate"):
            lines += [f"![Memory of the process meanwhile](at-{key}-memory.svg)", ""]
        if key == "writers":
            lines += [
                UNGROUPED, "",
            ]  # fmt: skip
        if key == "idle":
            lines += [
                "![Threads of the process](at-idle-threads.svg)", "",
                IDLE, "",
                *idle_part(found), "",
            ]  # fmt: skip
    if any(one["case"] == "import" for one in figures["rows"]):
        lines += ["## Import", "", "![Time of an import](import.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


def milliseconds(found: list[float] | None) -> str:
    """Return a worst case: the median of the rounds, and the greatest."""
    if found is None:
        return "–"
    middle, _, greatest = (value * 1e3 for value in found)
    text = f"{middle:.1f}" if greatest < middle * 1.2 else f"{middle:.1f} ({greatest:.1f})"
    return f"**{text}**" if middle > LATE * 1e3 else text


def detector_part(setting: dict[str, Any], *, by_driver: bool) -> Iterator[str]:
    """Return a table of a detector's run."""
    drivers = setting["drivers"]
    names = dict.fromkeys(
        name.rpartition(" | ")[0] for of in drivers.values() for name in of if " | " in name
    )
    columns = [(driver, amount) for driver in drivers for amount in ("small", "large")]
    if by_driver:
        yield f"| | {' | '.join(f'{code(name)} {amount}' for name, amount in columns)} |"
    else:
        yield "| | small | large |"
    yield f"|{'---|' * (1 + len(columns))}"
    for name in names:
        found = [drivers[driver].get(f"{name} | {amount}") for driver, amount in columns]
        label = name if by_driver else code(name)
        yield f"| {label} | {' | '.join(map(milliseconds, found))} |"


def lateness_page(figures: dict[str, Any]) -> str:
    """Return the page of the detector."""
    lines = [
        BEGIN, "", "# How late the event loop is", "", heading(figures), "",
        LATENESS.format(
            rows=f"{figures['size']:,}", megabytes=f"{figures['size'] * BLOB / 1e6:.3g}",
            limit=f"{LATE * 1e3:.0f}",
        ), "",
    ]  # fmt: skip
    for setting in figures["detectors"]:
        is_compared = setting["case"] == "methods"
        title = "Methods of every driver" if is_compared else "Every public method"
        lines += [f"## {title}, {setting['runtime']}", ""]
        if is_compared:
            if setting is figures["detectors"][0]:
                lines += ["![Worst lateness with much data](lateness.svg)", ""]
        else:
            lines += ["All that is public of this driver, as the tests use it.", ""]
        lines += [*detector_part(setting, by_driver=is_compared), ""]
        lines += [f"* {words}" for words in failed(setting)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def pages(figures: dict[str, Any]) -> dict[Path, str]:
    """Return the text of every page. The first keeps what is written around the marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    return {
        PAGE: f"{before}{BEGIN}\n\n{main_part(figures)}\n\n{END}{after}",
        FOLDER / "rows.md": rows_page(figures),
        FOLDER / "scaling.md": scaling_page(figures),
        FOLDER / "lateness.md": lateness_page(figures),
    }


def publish(figures: dict[str, Any]) -> None:
    """Write figures, pages and plots."""
    import plots  # noqa: PLC0415 - whoever only measures needs no matplotlib

    kept.write(figures, FIGURES)
    for path, text in pages(figures).items():
        path.write_text(text, encoding="utf-8")
    plots.draw(figures, FOLDER)


def faults(figures: dict[str, Any]) -> list[str]:
    """Return what is wrong with the pages as they are."""
    stale = [
        f"{path} is not what the figures make"
        for path, text in pages(figures).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    unexplained = sorted(set(losing(figures)) - set(losses()))
    return stale + [f"{case} is lost, and {LOSSES.name} has no reason" for case in unexplained]


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    figures = kept.read(FIGURES)
    if not options.check:
        publish(figures)
        return 0
    found = faults(figures)
    print("\n".join(found) or "the pages are what the figures make")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
