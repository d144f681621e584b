"""What the documents tell a reader to run is run here."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from programs import load, run

if TYPE_CHECKING:
    from sqld import Sqld

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = ROOT / "docs" / "examples" / "quickstart.py"
RUNTIMES = ["asyncio", "uvloop", "trio", "anyio"]

# A block of Python, and the output that follows it, if any.
EXAMPLE = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
EXAMPLES = EXAMPLE.findall(README)
# Pages about other packages, which need not be there.
NEEDED = {"observability": "opentelemetry.sdk", "sqlalchemy": "sqlmodel"}
PAGES = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = [page for page in PAGES if page.parent.name in {"guides", "migrating"}]
RUN = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def test_readme_has_an_example_with_its_output() -> None:
    assert any(output for _, output in EXAMPLES)


@pytest.mark.parametrize(("code", "output"), EXAMPLES)
def test_readme_example_prints_what_it_says(code: str, output: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    printed = run(script, cwd=tmp_path)
    if output:
        assert printed == output


def test_guides_have_examples() -> None:
    assert GUIDES
    assert set(GUIDES) - set(RUN) == set()


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_page_prints_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if page.stem in NEEDED:
        pytest.importorskip(NEEDED[page.stem], reason="the page is about it")
    text = page.read_text(encoding="utf-8")
    examples = EXAMPLE.findall(text)
    assert len(examples) == text.count("```python")
    env = {}
    if any("DATABASE_URL" in code for code, _ in examples):
        server: Sqld = request.getfixturevalue("server")
        name = server.create_namespace()
        env["DATABASE_URL"] = f"http://{name}.localhost:{server.port}"
    for number, (code, output) in enumerate(examples):
        script = tmp_path / f"example{number}.py"
        script.write_text(code, encoding="utf-8")
        assert run(script, cwd=tmp_path, **env) == output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_test_command_is_what_ci_runs() -> None:
    commands = re.findall(r"^```sh\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.splitlines()[-1] == commands[1]


def test_quickstart_tours_every_runtime(tmp_path: Path) -> None:
    database = tmp_path / "cargo.db"
    printed = run(QUICKSTART, str(ROOT / "Cargo.lock"), str(database), cwd=tmp_path)
    lines = printed.splitlines()
    assert [line.rstrip(":") for line in lines if line.endswith(":")] == RUNTIMES
    for subject in ("transactions of", "rollback", "most wanted", "endless query"):
        assert sum(subject in line for line in lines) == len(RUNTIMES), subject
    assert database.exists()


def test_quickstart_reads_a_lock_file_alike_with_and_without_tomllib() -> None:
    quickstart = load(QUICKSTART)
    text = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    packages = quickstart.read_lock(text)
    assert list(quickstart.read_lock_lines(text)) == packages
    assert len(packages) == text.count("[[package]]")
    assert sum(len(package.dependencies) for package in packages) == len(
        re.findall(r'^ "', text, re.MULTILINE)
    )
