"""The performance pages are made of figures, by the tool that measures, and have nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PERFORMANCE = ROOT / "docs" / "performance"
RUN_PLOTS = """
import sys
sys.path.insert(0, {benches!r})
from pathlib import Path
import figures, plots
plots.draw(figures.read(Path({figures!r})), Path({folder!r}))
"""


def page(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The program imports its own modules from the folder that it is in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, str(root / "benches" / "page.py"), *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


def kept() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((PERFORMANCE / "figures.json").read_text(encoding="utf-8"))
    return figures


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the tool and of the pages, which may be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "benches", tmp_path / "benches", ignore=ignored)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=ignored)
    return tmp_path


def test_pages_are_what_the_figures_make_and_every_loss_has_its_reason() -> None:
    done = page(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_say_the_commit_of_their_figures() -> None:
    commit = kept()["commit"]
    assert commit
    for name in ("../performance.md", "rows.md", "scaling.md", "lateness.md"):
        text = (PERFORMANCE / name).read_text(encoding="utf-8")
        assert f"Measured at commit `{commit}`" in text, name


def test_figures_name_no_folders_of_the_machine() -> None:
    figures = (PERFORMANCE / "figures.json").read_text(encoding="utf-8")
    home = re.compile(r"[\"'( ]/(?:home|mnt|opt|root|srv|tmp|usr|var|work)/")
    assert home.search("error: '/tmp/file'")
    assert not home.findall(figures)


def test_a_figure_that_was_changed_by_hand_is_found(copy: Path) -> None:
    changed = copy / "docs" / "performance" / "rows.md"
    changed.write_text(changed.read_text(encoding="utf-8").replace(" µs ", " ns ", 1), "utf-8")
    done = page(copy, "--check")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rows.md is not what the figures make" in done.stdout


def test_a_loss_without_a_reason_is_found(copy: Path) -> None:
    losses = copy / "benches" / "losses.md"
    losses.write_text(
        losses.read_text(encoding="utf-8").replace("## point\n", "## other\n"), "utf-8"
    )
    done = page(copy, "--check")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "point is lost, and losses.md has no reason" in done.stdout


def test_words_around_the_marks_stay(copy: Path) -> None:
    path = copy / "docs" / "performance.md"
    text = path.read_text(encoding="utf-8")
    assert "## What makes programs slow" in text.partition("<!-- The end of what is made. -->")[2]
    path.write_text(text.replace("## What makes programs slow", "## What is slow"), "utf-8")
    assert page(copy, "--check").returncode == 0


def test_plots_of_the_same_figures_are_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="nox -s docs has it")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        script = RUN_PLOTS.format(
            benches=str(ROOT / "benches"),
            figures=str(PERFORMANCE / "figures.json"),
            folder=str(folder),
        )
        subprocess.run([sys.executable, "-c", script], check=True)
    first, second = ({path.name: path.read_bytes() for path in at.iterdir()} for at in folders)
    assert first == second
    linked = {path.name for path in PERFORMANCE.glob("*.svg")}
    assert set(first) == linked
    assert all(b"<text" in svg for svg in first.values())
