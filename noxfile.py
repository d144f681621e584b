"""Every check of the project, each one a session: ``nox`` runs them all, ``nox -s NAME`` runs one.

Nothing but cargo, a C compiler and CPython has to be installed. The wheel is built once per
interpreter, by pip as a user's would be, and all sessions share it and one cargo target folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "virtualenv"  # it brings pip, which builds the wheel
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
# The sdist comes first: in a fresh clone what it builds serves the others too. The full matrix
# comes last, so that its result stands at the end of the output.
nox.options.sessions = [
    "sdist", "lint", "docs", "rust", "bare", "smoke", "sqlalchemy", "tests",
]  # fmt: skip

# A shell starts background jobs with Control-C ignored; tests of it would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WHEELS = ROOT / "dist"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
LICENSES = ["LICENSE", "THIRD-PARTY-LICENSES"]
IN_SDIST = [".cargo/config.toml", "Cargo.lock", "Cargo.toml", *LICENSES, "rust/lib.rs"]
LARGEST_WHEEL = 6_000_000


def runs(python: str) -> bool:
    """Tell whether an interpreter starts: a version manager's shim may refuse to."""
    try:
        subprocess.run([python, "-c", ""], check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def find_interpreters() -> list[str]:
    """Return the supported versions this machine has, and put version managers' ones on PATH."""
    homes = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions"),
        Path.home() / ".local" / "share" / "uv" / "python",
    ]
    found = []
    for version in PYTHONS:
        name = f"python{version}"
        if not runs(name):
            kept = [bin_ / name for home in homes for bin_ in sorted(home.glob("*/bin"))]
            kept = [path for path in kept if runs(str(path))]
            if not kept:
                continue
            os.environ["PATH"] += os.pathsep + str(kept[-1].parent)
        found.append(version)
    return found


INSTALLED = find_interpreters()
# One interpreter runs the whole matrix: the newest, for it alone has every kind of loop.
MAIN_PYTHON = INSTALLED[-1] if INSTALLED else f"{sys.version_info[0]}.{sys.version_info[1]}"


def source_digest() -> str:
    """Name the state of everything a wheel is made of."""
    files = ["Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", ".cargo/config.toml"]
    files += ["pgo.py", "benches/training.py"]
    paths = [ROOT / name for name in files]
    for folder in ("rust", "aiolibsql", "aiolibsql_sqlalchemy"):
        paths += [
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.is_file() and path.suffix not in {".so", ".pyd", ".pyc"}
        ]
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def build_wheel(session: nox.Session, source: Path, target: Path) -> None:
    """Build the wheel for the session's interpreter, out of the tree or out of an sdist."""
    session.run(
        "python", "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={WHEELS / source_digest()}",
        str(source), env={"CARGO_TARGET_DIR": str(target)},
    )  # fmt: skip


def check_wheel(session: nox.Session, path: Path) -> None:
    """Look at what a wheel brings besides code, and at its size."""
    with zipfile.ZipFile(path) as archive:
        files = archive.namelist()
    for name in LICENSES:
        if not any(file.endswith(f".dist-info/licenses/{name}") for file in files):
            session.error(f"{path.name} lacks {name}")
    if path.stat().st_size > LARGEST_WHEEL:
        session.error(f"{path.name} has {path.stat().st_size:,} bytes, {LARGEST_WHEEL:,} at most")


def find_wheel(session: nox.Session, folder: Path) -> str | None:
    """Return the wheel of a folder that is for the session's interpreter."""
    version = session.run(
        "python", "-c", "import sys; print('cp%d%d' % sys.version_info[:2])", silent=True
    )
    tag = str(version).strip()
    return next(map(str, folder.glob(f"aiolibsql-*-{tag}-{tag}-*.whl")), None)


def wheel(session: nox.Session) -> str:
    """Build the wheel for the session's interpreter, or return the one that is there."""
    folder = WHEELS / source_digest()
    if not find_wheel(session, folder):
        build_wheel(session, ROOT, TARGET)
    return str(find_wheel(session, folder))


def profiled_wheel(session: nox.Session) -> str:
    """Do the same, guided by a profile."""
    folder = WHEELS / f"{source_digest()}-pgo"
    if not find_wheel(session, folder):
        session.install(*nox.project.dependency_groups(PYPROJECT, "build"))
        session.run("python", str(ROOT / "pgo.py"), str(folder), f"--target={TARGET / 'pgo'}")
    return str(find_wheel(session, folder))


def pytest(session: nox.Session, *args: str, **env: str) -> None:
    """Run pytest on the installed package."""
    # Safe path: a test's own `python -c` would import the source folder, which has no extension.
    session.run("pytest", *args, *session.posargs, env={"PYTHONSAFEPATH": "1", **env})


def install(session: nox.Session, *groups: str) -> None:
    """Install the wheel and dependency groups into the session."""
    # By force: an environment that is used again may hold an older build of the same version.
    session.install("--no-deps", "--force-reinstall", wheel(session))
    session.install(*nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session(python=MAIN_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style and types, and the stub against the built module."""
    install(session, "test", "lint", "nox")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    # The next two look at the installed package, so they run where its sources are not.
    with session.chdir(session.create_tmp()):
        session.run(
            "stubtest", "aiolibsql",
            f"--mypy-config-file={ROOT / 'pyproject.toml'}",
            f"--allowlist={ROOT / 'tests' / 'stubtest_allow.txt'}",
            "--ignore-unused-allowlist",  # some entries are needed on newer Pythons only
        )  # fmt: skip
        session.run("pyright", "--ignoreexternal", "--verifytypes", "aiolibsql")


@nox.session(python=MAIN_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the site, check its links, its spelling, and that it has every public name."""
    if MAIN_PYTHON == "3.10":
        session.skip("the theme needs Python 3.11")
    install(session, "docs", "runtimes")  # the benches, whose pages are compared, import these
    session.run("codespell")
    folder = Path(session.create_tmp(), "site").resolve()
    session.run(
        "mkdocs", "build", "--strict", "--quiet", f"--site-dir={folder}",
        env={"NO_MKDOCS_2_WARNING": "1"},  # about a version that nothing here uses
    )  # fmt: skip
    # The tests' own conftest wants event loops and servers.
    checks = ["tests/test_site.py", "tests/test_spelling.py", "tests/test_performance_pages.py"]
    pytest(session, "--noconftest", *checks, AIOLIBSQL_SITE=str(folder))


@nox.session(python=MAIN_PYTHON)
def rust(session: nox.Session) -> None:
    """Format, lint and test the crate, and model-check its races with loom."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "build", "server"))
    env = {"CARGO_TARGET_DIR": str(TARGET), "PYO3_PYTHON": str(Path(session.bin, "python"))}

    def cargo(*args: str) -> None:
        session.run("cargo", *args, external=True, env=env)

    session.run("python", "licenses.py", "--check", env=env)
    cargo("fmt", "--check")
    cargo("clippy", "--release", "--locked", "--all-targets", "--", "-D", "warnings")
    if sys.platform == "linux":
        server = session.run("python", "tests/sqld.py", silent=True)
        env["AIOLIBSQL_TEST_SQLD"] = str(server).strip()
    # The crate's own tests call no Python; with it they would need its shared library, which many
    # systems keep in a package apart.
    cargo("test", "--release", "--locked", "--no-default-features")
    cargo("test", "--release", "--locked", "--manifest-path=tests/loom/Cargo.toml")


@nox.session(python=MAIN_PYTHON)
def sdist(session: nox.Session) -> None:
    """Build the wheel from the sdist, and test how SQLite was compiled by that."""
    # In a target folder that was not used before: a SQLite compiled elsewhere would prove nothing.
    target = TARGET / "sdist" if TARGET.exists() else TARGET
    session.install(*nox.project.dependency_groups(PYPROJECT, "build"))
    folder = Path(session.create_tmp())
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    session.run("maturin", "sdist", "--out", str(folder), env={"CARGO_TARGET_DIR": str(TARGET)})
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        root = archive.name.removesuffix(".tar.gz")
        missing = {f"{root}/{name}" for name in IN_SDIST} - set(tar.getnames())
    if missing:
        session.error(f"the sdist lacks {', '.join(sorted(missing))}")
    build_wheel(session, archive, target)
    check_wheel(session, Path(wheel(session)))
    install(session, "test")
    pytest(session, "tests/test_build.py")


@nox.session(python=MAIN_PYTHON)
def bare(session: nox.Session) -> None:
    """Run the tests for a user who has neither trio nor anyio."""
    install(session, "bare")
    # The tests' own conftest imports both, so it stays out.
    pytest(session, "--confcutdir=tests/bare", "tests/bare")


@nox.session(python=INSTALLED or False)
def smoke(session: nox.Session) -> None:
    """Run a short selection on every Python the machine has."""
    install(session, "test")
    example = "tests/test_readme.py::test_readme_example_prints_what_it_says"
    pytest(session, "-m", "not slow and not soak", "tests/test_smoke.py", example)


@nox.session(python=MAIN_PYTHON)
def tests(session: nox.Session) -> None:
    """Run the whole suite under every event loop."""
    install(session, "test", "examples")
    pytest(session, "-n", "2")


def dialect_suite(session: nox.Session) -> Path:
    """Return a folder with SQLAlchemy's own tests of dialects, of the version that is installed."""
    version = session.run(
        "python", "-c", "import sqlalchemy; print(sqlalchemy.__version__)", silent=True
    )
    folder = Path(session.create_tmp()).resolve() / "suite"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    session.run(
        "python", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=sqlalchemy",
        f"--dest={folder}", f"sqlalchemy=={str(version).strip()}",
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    root = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive) as tar:
        tests = [member for member in tar.getmembers() if member.name.startswith(f"{root}/test/")]
        tar.extractall(folder, tests, filter="data")
    # Theirs would look for the library's sources beside the tests.
    (folder / root / "test" / "conftest.py").unlink()
    for path in (ROOT / "tests" / "alchemy").iterdir():
        if path.is_file():
            shutil.copy(path, folder / root)
    return folder / root


DIALECT_TESTS = ["test/dialect/test_suite.py", "test/dialect/sqlite"]
AT_SERVERS = {
    "2.0": [("aiolibsql", "http"), ("aiolibsql_async", "ws")],
    "2.1": [("aiolibsql", "ws"), ("aiolibsql_async", "http")],
}


@nox.session(python=MAIN_PYTHON)
@nox.parametrize("series", ["2.0", "2.1"])
def sqlalchemy(session: nox.Session, series: str) -> None:
    """Run SQLAlchemy's dialect suite and our tests of the dialect."""
    install(session, "test", "sqlalchemy")
    session.install(f"sqlalchemy[asyncio]=={series}.*")
    pytest(session, *sorted(str(path) for path in ROOT.glob("tests/test_sqlalchemy*.py")))
    pytest(session, "tests/test_readme.py", "-k", "page and sqlalchemy")
    with session.chdir(dialect_suite(session)):
        for driver in ("aiolibsql", "aiolibsql_async"):
            for database in (":memory:", "suite.db"):
                pytest(
                    session, "-p", "no:cacheprovider", "-q", "-rs",
                    f"--dburi=sqlite+{driver}:///{database}",
                    *DIALECT_TESTS,
                )  # fmt: skip
        if sys.platform != "linux":
            return
        # Each driver over each transport, in half of the runs.
        for driver, scheme in AT_SERVERS[series]:
            session.run(
                "python", str(ROOT / "tests" / "alchemy" / "at_a_server.py"),
                "-p", "no:cacheprovider", "-q", "-rs",
                f"--dburi=sqlite+{driver}://127.0.0.1:PORT/?secure=false&scheme={scheme}",
                *DIALECT_TESTS, env={"PYTHONSAFEPATH": "1"},
            )  # fmt: skip


@nox.session(python=MAIN_PYTHON)
def soak(session: nox.Session) -> None:
    """Run the long tests with their full counts."""
    install(session, "test")
    limits = ["--timeout=1800", "-o", "faulthandler_timeout=1790"]
    pytest(session, "-m", "soak", *limits, AIOLIBSQL_SOAK="1")


@nox.session(python=MAIN_PYTHON)
def pgo(session: nox.Session) -> None:
    """Build the quickest wheel for this machine's kind, guided by a profile, and try it."""
    path = Path(profiled_wheel(session))
    check_wheel(session, path)
    session.install("--no-deps", "--force-reinstall", str(path))
    session.install(*nox.project.dependency_groups(PYPROJECT, "test"))
    pytest(session, "-m", "not slow and not soak", "tests/test_smoke.py", "tests/test_build.py")
    session.log(f"{path}")


@nox.session(python=MAIN_PYTHON)
def bench(session: nox.Session) -> None:
    """Measure this driver and its peers, and make the performance pages of that.

    What follows ``--`` goes to benches/run.py: ``--short``, ``--check``, ``--rows 1,5``.
    """
    session.install("--no-deps", "--force-reinstall", profiled_wheel(session))
    session.install(*nox.project.dependency_groups(PYPROJECT, "runtimes"))
    # One by one: a peer that can't be installed is reported by the run, and spoils no other.
    for peer in nox.project.dependency_groups(PYPROJECT, "bench"):
        session.install(peer, success_codes=[0, 1])
    # Upstream has our package's name.
    folder = Path(session.create_tmp(), "upstream")
    python = folder / "bin" / "python"
    if not python.exists():
        # By nox's own interpreter, which has virtualenv.
        session.run(
            sys.executable, "-m", "virtualenv", f"--python={session.bin}/python", str(folder),
            external=True,
        )  # fmt: skip
    upstream = nox.project.dependency_groups(PYPROJECT, "bench-upstream")
    session.run(
        str(python), "-m", "pip", "install", "--quiet", *upstream,
        external=True, success_codes=[0, 1],
    )  # fmt: skip
    run = ROOT / "benches" / "run.py"
    session.run("python", str(run), f"--upstream-python={python}", *session.posargs)


@nox.session(python=MAIN_PYTHON)
def instructions(session: nox.Session) -> None:
    """Count instructions for one operation by valgrind, and compare with those that are kept."""
    if shutil.which("valgrind") is None:
        session.skip("valgrind is not installed")
    install(session)
    session.run("python", str(ROOT / "benches" / "instructions.py"), *session.posargs)
