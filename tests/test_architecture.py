"""Who may import whom, read from the sources; ``rust/lib.rs`` says it in words."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUST = ROOT / "rust"
PACKAGE = ROOT / "aiolibsql"

# For each layer of the crate, the layers that it may use.
MAY_USE = {
    "sqlite": set[str](),
    "wakeup": set[str](),
    "core": {"sqlite"},
    "remote": {"core"},
    "hosted": {"core", "remote"},
    "replica": {"core", "hosted", "remote"},
    "python": {"core", "hosted", "remote", "replica", "sqlite", "wakeup"},
}

# What the remote client may know of the core: values, errors, notes and forks, not how SQLite is
# run.
CORE_OF_REMOTE = {"ALL_CODES", "Birth", "Cell", "Error", "Kind", "RowBatch", "ValueRef", "code"} | {
    "Area",
    "Notes",
    "Severity",
}

LONGEST = 500

# A comment, a string, a byte string, a raw string or a character: none of them is code. A lifetime
# ('a without a closing quote) is.
NOT_CODE = re.compile(
    r"""
      //[^\n]*
    | /\*.*?\*/
    | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
    | \b[bc]?"(?:\\.|[^"\\])*"
    | "(?:\\.|[^"\\])*"
    | '(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'
    """,
    re.VERBOSE | re.DOTALL,
)


def code_of(source: str) -> str:
    """Return Rust source without comments and literals, its lines where they were."""
    return NOT_CODE.sub(lambda found: '""' + "\n" * found[0].count("\n"), source)


def rust_files() -> list[str]:
    return sorted(path.relative_to(RUST).as_posix() for path in RUST.rglob("*.rs"))


def layer_of(name: str) -> str:
    """Return the layer that a file, named from ``rust/``, belongs to."""
    return name.partition("/")[0].removesuffix(".rs")


def places(pattern: str, allowed: str) -> list[str]:
    """Return where code matches one pattern in a file whose name does not match the other."""
    found = []
    for name in rust_files():
        if re.match(allowed, name):
            continue
        code = code_of((RUST / name).read_text(encoding="utf-8"))
        found += [
            f"rust/{name}:{number}: {line.strip()}"
            for number, line in enumerate(code.splitlines(), 1)
            if re.search(pattern, line)
        ]
    return found


def layers_used(name: str, code: str) -> set[str]:
    """Return the layers that the code of a file names, by ``crate::`` or by ``super::``."""
    layers = "|".join(MAY_USE)
    used = set(re.findall(rf"\bcrate::({layers})\b", code))
    for group in re.findall(r"\bcrate::\{(.*?)\};", code, re.DOTALL):
        used |= set(re.findall(rf"(?:^|[{{,])\s*({layers})\b", group))
    # `rust/core/x.rs` is crate::core::x, so two steps up is the crate; a mod.rs is one higher.
    depth = name.count("/") + (not name.endswith("mod.rs"))
    # A block of tests inside a module may be one step deeper.
    for steps in (depth, depth + 1):
        used |= set(re.findall(rf"\b(?:super::){{{steps}}}({layers})\b", code))
    return used - {layer_of(name)}


def test_code_of_keeps_code_and_nothing_else() -> None:
    source = (
        "let a = 'x'; // unsafe\n/* unsafe\n */ fn f<'a>(b: &'a str) {}\n"
        'let c = r#"unsafe " "#; let d = "\\"unsafe"; let e = b\'\\\'\'; let g = unsafe { h() };\n'
    )
    code = code_of(source)
    assert code.count("unsafe") == 1
    assert "fn f<'a>(b: &'a str) {}" in code
    assert code.count("\n") == source.count("\n")


def test_layers_used_sees_every_way_to_name_a_layer() -> None:
    assert layers_used("core/x.rs", "use crate::python::y;") == {"python"}
    assert layers_used("core/x.rs", "use crate::{sqlite::{a, b},\n python};") == {
        "sqlite",
        "python",
    }
    assert layers_used("core/x.rs", "use super::super::wakeup;") == {"wakeup"}
    assert layers_used("core/pool/x.rs", "super::super::super::remote::y()") == {"remote"}
    assert layers_used("core/x.rs", "use crate::core::error; use super::python_like;") == set()


def test_rust_has_every_layer() -> None:
    assert {layer_of(name) for name in rust_files()} <= {"lib", *MAY_USE}
    assert {"core", "hosted", "python", "remote", "sqlite", "wakeup"} <= {
        layer_of(name) for name in rust_files()
    }


def test_pyo3_is_used_only_under_python() -> None:
    assert places(r"\bpyo3\b|\bPy(Result|Object|Any|Err)\b", r"python/|lib\.rs$") == []


def test_unsafe_is_written_only_under_sqlite_and_python_ffi() -> None:
    assert places(r"\bunsafe\b", r"sqlite/|python/ffi(/|\.rs$)") == []


def test_libsql_is_used_only_under_sqlite_and_replica() -> None:
    assert places(r"\blibsql(_ffi|_sys)?\s*::|\buse libsql\b", r"sqlite/|replica/") == []


@pytest.mark.parametrize("layer", MAY_USE)
def test_layer_uses_only_the_layers_below_it(layer: str) -> None:
    wrong = {}
    for name in rust_files():
        if layer_of(name) == layer:
            used = layers_used(name, code_of((RUST / name).read_text(encoding="utf-8")))
            if used - MAY_USE[layer]:
                wrong[name] = sorted(used - MAY_USE[layer])
    assert wrong == {}


def core_names(code: str) -> set[str]:
    """Return what code takes from ``crate::core``, by ``use`` or in its place."""
    used = set[str]()
    for group in re.findall(r"\bcrate::core::\{(.*?)\};", code, re.DOTALL):
        used |= set(re.findall(r"\w+", group)) - {"self"}
    used |= set(re.findall(r"\bcrate::core::(\w+)", code))
    used |= set(re.findall(r"(?<!::)\bcore::(\w+)", code))
    return used


def test_core_names_sees_every_way_to_name_them() -> None:
    assert core_names("use crate::core::{self, A,\n B}; core::C::new()") == {"A", "B", "C"}
    assert core_names("let a = crate::core::D::default();") == {"D"}


def test_remote_knows_values_and_errors_of_the_core_only() -> None:
    used = {
        name: core_names(code_of((RUST / name).read_text(encoding="utf-8")))
        for name in rust_files()
        if layer_of(name) == "remote"
    }
    wrong = {name: sorted(names - CORE_OF_REMOTE) for name, names in used.items()}
    assert {name: names for name, names in wrong.items() if names} == {}
    assert any("RowBatch" in names for names in used.values())


def test_core_runs_sockets_for_others_and_knows_none_of_them() -> None:
    assert places(r"\b(hyper|tokio_tungstenite|tokio_rustls|prost|serde_json)\b", r"remote/") == []
    assert places(r"\btokio\b", r"(remote|hosted|replica)/|core/runtime\.rs$") == []


@pytest.mark.parametrize("name", rust_files())
def test_rust_module_begins_with_what_it_is(name: str) -> None:
    first = (RUST / name).read_text(encoding="utf-8").lstrip().partition("\n")[0]
    assert re.match(r"//! \S", first), first


def test_no_source_file_is_too_long() -> None:
    sources = [
        path
        for folder in (RUST, PACKAGE)
        for path in folder.rglob("*")
        if path.suffix in {".rs", ".py"}
    ]
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("name", ["aiolibsql", "aiolibsql.dbapi", "aiolibsql.client"])
def test_import_brings_no_event_loop_and_no_sqlalchemy(name: str, tmp_path: Path) -> None:
    script = (
        f"import sys, {name}\n"
        "loops = {'asyncio', 'trio', 'anyio', 'uvloop', 'sniffio'}\n"
        "print(sorted((loops | {'sqlalchemy'}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_import_brings_no_part_that_was_not_asked_for(tmp_path: Path) -> None:
    script = "import sys, aiolibsql\nprint([n for n in sys.modules if n.startswith('aiolibsql.')])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "aiolibsql._connect" in done.stdout
    assert "aiolibsql.client" not in done.stdout
    assert "aiolibsql.dbapi" not in done.stdout
