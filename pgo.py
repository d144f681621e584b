"""Build a wheel guided by a profile: build it, run what is to be quick, and build it again.

``python pgo.py FOLDER`` puts the wheel for the interpreter that runs this into a folder. gcc and
rustc count how often each branch is taken while ``benches/training.py`` runs, and lay out the code
by that. rustc's counts need an ``llvm-profdata`` that reads them: rustup's component
``llvm-tools``, or the system's if it is new enough. Without it, or with a compiler that is not
gcc, that half is built as ever, and this says so.

Owns how a profile comes about. Must not know: what is measured with the wheel.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent
SQLITE = "libsql-ffi"  # what compiles SQLite: it does not notice other flags by itself


def output(*command: str | Path) -> str:
    """Return what a command prints; nothing if there is no such command."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except OSError:
        return ""
    return done.stdout


def is_gcc() -> bool:
    """Tell whether C is compiled by gcc: other compilers have other profiles."""
    macros = output("cc", "-dM", "-E", "-x", "c", os.devnull)
    return "__GNUC__" in macros and "__clang__" not in macros


def profdata_tools() -> list[str]:
    """Return every ``llvm-profdata`` there is, rustc's own first and then the newest."""
    sysroot = Path(output("rustc", "--print", "sysroot").strip())
    own = [str(path) for path in sysroot.glob("lib/rustlib/*/bin/llvm-profdata")]
    folders = [Path(folder) for folder in os.get_exec_path()]
    systems = {path for folder in folders for path in folder.glob("llvm-profdata*")}

    def version(path: Path) -> int:
        found = re.search(r"-(\d+)$", path.name)
        return int(found[1]) if found else 0

    return own + [str(path) for path in sorted(systems, key=version, reverse=True)]


def own_cflags() -> str:
    """Return the flags that SQLite is compiled with anyway."""
    config = (ROOT / ".cargo" / "config.toml").read_text(encoding="utf-8")
    (flags,) = re.findall(r'^CFLAGS = \{ value = "([^"]*)"', config, re.MULTILINE)
    return str(flags)


def build_once(target: Path, folder: Path, cflags: str, *rustflags: str) -> Path:
    """Build the wheel with more flags for SQLite and for our own crate."""
    env = os.environ | {"CARGO_TARGET_DIR": str(target)}
    clean = ["cargo", "clean", "--quiet", "--release", "--package", SQLITE]
    subprocess.run(clean, check=True, cwd=ROOT, env=env)  # noqa: S603
    subprocess.run(  # noqa: S603
        [
            sys.executable, "-m", "maturin", "build", "--release", "--locked", "--strip",
            "--interpreter", sys.executable, "--out", str(folder),
            "--config", f'env.CFLAGS.value="{cflags} {own_cflags()}"',
            "--", *rustflags,
        ],
        check=True, cwd=ROOT, env=env,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def train(wheel: Path, folder: Path) -> None:
    """Run what is to be quick with a wheel that counts."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    script = ROOT / "benches" / "training.py"
    env = os.environ | {"PYTHONPATH": str(folder)}
    env.pop("PYTHONSAFEPATH", None)  # the script imports its neighbours
    subprocess.run([sys.executable, str(script)], check=True, cwd=folder, env=env)  # noqa: S603


def merge(counts: Path, profile: Path) -> bool:
    """Make a profile of rustc's counts, if there is a tool that reads them."""
    raw = [str(path) for path in counts.glob("*.profraw")]
    for tool in profdata_tools():
        command = [tool, "merge", f"--output={profile}", *raw]
        if subprocess.run(command, check=False).returncode == 0:  # noqa: S603
            return True
    return False


def build(folder: Path, target: Path) -> None:
    """Build a wheel, train it, and build the one that is kept."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        of_c, of_rust, profile = work / "c", work / "rust", work / "rust.profdata"
        counting, using, linking = "", "", []
        if is_gcc():
            counting = f"-fprofile-generate -fprofile-update=atomic -fprofile-dir={of_c}"
            # What was not trained is compiled as ever, not for size.
            using = f"-fprofile-use={of_c} -fprofile-partial-training"
            linking = ["-Clink-arg=-lgcov"]
        else:
            print("SQLite is built without a profile: that needs gcc", file=sys.stderr)
        trained = build_once(
            target, work / "counting", counting, f"-Cprofile-generate={of_rust}", *linking
        )
        train(trained, work / "installed")
        rustflags = [f"-Cprofile-use={profile}"] if merge(of_rust, profile) else []
        if not rustflags:
            print(
                "our crate is built without a profile: no llvm-profdata reads it", file=sys.stderr
            )
        shutil.copy(build_once(target, work / "kept", using, *rustflags), folder)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the wheel is put")
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "pgo", help="cargo's")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    build(options.folder.resolve(), options.target.resolve())


if __name__ == "__main__":
    main()
