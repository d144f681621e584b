"""What the manual says of a cancellation, against what ``test_every_method.py`` sees happen."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from every_method import TABLE

import aiolibsql

PACKAGE = Path(aiolibsql.__file__).parent
SECTION = re.compile(r"^Cancellation:\n((?:    .*\n?|\n)+)", re.MULTILINE)
REFERENCE = re.compile(r"[Aa]s for `([\w.]+)`")
# Blocks are made by methods, and waited for where they begin.
STANDS_FOR = {
    "Connection.savepoint": "Transaction.__aenter__",
    "Connection.transaction": "Transaction.__aenter__",
}

# What a section has to say, by what the table says.
SAYS = {
    "never": r"Queued, it never runs|Queued, it loses no row",
    "always": r"done even if the caller was cancelled before; the cancelled caller waits for it"
    r"|goes on, and the cancelled caller waits for it|A ROLLBACK is always done",
    "once queued": r"Once it is queued",
    "once begun": r"Once it has begun",
    "at once": r".",
}
# Where a read stands for a write that is begun, or the other way about.
MAY_NOT_SAY = {"never": r"even if the caller was cancelled", "always": r"Queued, it never runs"}


def documented(body: list[ast.stmt], prefix: str = "") -> dict[str, str]:
    """Return the docstrings of a module, by name."""
    found: dict[str, str] = {}
    for statement in body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = prefix + statement.name
            found[name] = found.get(name) or ast.get_docstring(statement) or ""
            if isinstance(statement, ast.ClassDef):
                found |= documented(statement.body, f"{name}.")
    return found


def read_manual() -> dict[str, str]:
    """Return all docstrings of the package: those of the stub come first."""
    manual: dict[str, str] = {}
    for path in [*sorted(PACKAGE.glob("*.py")), PACKAGE / "_aiolibsql.pyi"]:
        manual |= documented(ast.parse(path.read_text(encoding="utf-8")).body)
    return manual


MANUAL = read_manual()
AWAITED = {
    key.partition(":")[0].removeprefix("aiolibsql."): use.cancelled
    for key, use in reversed(TABLE.items())
    if not use.is_sync
}


def section(name: str) -> str:
    """Return what a docstring says of a cancellation, with what it refers to."""
    found = SECTION.search(MANUAL[STANDS_FOR.get(name, name)] + "\n")
    if found is None:
        return ""
    text = " ".join(found[1].split())
    for reference in REFERENCE.findall(text):
        full = reference if "." in reference else f"{name.partition('.')[0]}.{reference}"
        assert full in MANUAL, reference
        text += " " + section(full)
    return text


@pytest.mark.parametrize("name", [name for name in AWAITED if "__" not in name])
def test_manual_says_of_a_cancellation_what_happens(name: str) -> None:
    cancelled = AWAITED[name]
    text = section(name)
    assert re.search(SAYS[cancelled], text), text
    if cancelled in MAY_NOT_SAY:
        assert not re.search(MAY_NOT_SAY[cancelled], text), text


def test_manual_was_read() -> None:
    assert len(AWAITED) > 100
    assert sum(bool(SECTION.search(text + "\n")) for text in MANUAL.values()) > 90
