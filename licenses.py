"""Licences of everything that is linked into the extension module.

    python licenses.py            writes THIRD-PARTY-LICENSES
    python licenses.py --check    fails if that file is not what it would write

What is linked is what cargo says of the targets that wheels are for; the texts are the files that
the crates come with. Where a crate offers a choice it is MIT's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
FILE = ROOT / "THIRD-PARTY-LICENSES"
TARGETS = [
    "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl", "x86_64-apple-darwin", "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
]  # fmt: skip
NAMES = re.compile(r"(un)?licen[cs]e|copying|copyright|notice", re.IGNORECASE)

HEAD = """\
Licences of what is linked into aiolibsql's extension module, besides aiolibsql itself, whose own
licence is in the file LICENSE. Written by licenses.py; where there is a choice, it is MIT's.
"""
MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
# Crates that come without the file: that of their repositories.
LIBSQL = f"MIT License\n\nCopyright 2022 the libSQL authors\n\n{MIT}"
# What is linked and is no crate.
SQLITE = """\
SQLite: the authors disclaim copyright to its source code. In place of a legal notice, here is a
blessing:

   May you do good and not evil.
   May you find forgiveness for yourself and forgive others.
   May you share freely, never taking more than you give.
"""
RUST = f"Copyright (c) The Rust Project Contributors\n\n{MIT}"


@dataclass(frozen=True, order=True)
class Crate:
    """A crate that is linked.

    Attributes:
        name: What it is called.
        version: Which one.
        license: An expression of SPDX.
        folder: Where its files are.
    """

    name: str
    version: str
    license: str
    folder: Path

    def __str__(self) -> str:
        """Return a line of the file."""
        return f"{self.name} {self.version} ({self.license})"

    def texts(self) -> list[str]:
        """Return its licence, or several that hold together."""
        files = sorted(path for path in self.folder.iterdir() if NAMES.match(path.name))
        offers_mit = re.search(r"\bMIT\b", self.license) and " AND " not in self.license
        of_mit = [path for path in files if offers_mit and "MIT" in path.name.upper()]
        return [
            tidy(path.read_text(encoding="utf-8")) for path in of_mit or files if path.is_file()
        ]


def tidy(text: str) -> str:
    """Return a text without what differs although nothing is different."""
    return "\n".join(line.rstrip() for line in text.expandtabs().strip().splitlines()) + "\n"


def cargo(*arguments: str) -> str:
    """Run cargo and return what it prints."""
    command = ["cargo", *arguments, "--locked"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)  # noqa: S603
    return done.stdout.decode()


def linked() -> list[Crate]:
    """Return what is linked for any target, without what only runs when something is compiled."""
    wanted = set()
    for target in TARGETS:
        tree = cargo(
            *("tree", "--edges=normal,no-proc-macro", f"--target={target}"),
            *("--prefix=none", "--format={p}"),
        )
        wanted |= {tuple(line.split(" ")[:2]) for line in tree.splitlines()}
    return sorted(
        Crate(package["name"], package["version"], license_, Path(package["manifest_path"]).parent)
        for package in json.loads(cargo("metadata", "--format-version=1"))["packages"]
        if (package["name"], f"v{package['version']}") in wanted and package["source"]
        for license_ in [package["license"].replace(" / ", " OR ").replace("/", " OR ")]
    )


def collect() -> dict[str, list[str]]:
    """Return who is under each text.

    Raises:
        LookupError: If there is none for a crate.
    """
    crates = linked()
    found: defaultdict[str, list[str]] = defaultdict(list)
    found[tidy(SQLITE)].append("SQLite, within libsql-ffi")
    found[tidy(RUST)].append("The Rust standard library (MIT OR Apache-2.0)")
    for crate in crates:
        texts = crate.texts()
        if not texts and crate.name.startswith("libsql"):
            texts = [tidy(LIBSQL)]
        if not texts:  # another version of it may have the file
            texts = [text for other in crates if other.name == crate.name for text in other.texts()]
        if not texts:
            raise LookupError(f"{crate} comes without a licence")
        for text in texts:
            found[text].append(str(crate))
        if crate.name == "libsql-ffi":
            ciphers = crate.folder / "bundled" / "SQLite3MultipleCiphers" / "LICENSE"
            text = tidy(ciphers.read_text(encoding="utf-8"))
            found[text].append("SQLite3 Multiple Ciphers, within libsql-ffi (MIT)")
    return found


def render() -> str:
    """Return the whole file."""
    parts = sorted((sorted(set(names)), text) for text, names in collect().items())
    line = "=" * 100 + "\n"
    return line.join([HEAD, *("\n".join([*names, "", text]) for names, text in parts)])


def main() -> None:
    """Write the file, or compare it."""
    text = render()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"{FILE.name} is not what is linked: run `python {Path(__file__).name}`")


if __name__ == "__main__":
    main()
