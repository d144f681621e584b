"""What the site does with pages that are also read where the repository is: a hook of MkDocs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

LINK = re.compile(r"\[([^][]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def title(page: Path) -> str:
    """Return the first heading of a page."""
    return page.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ").replace("`", "")


def examples(docs: Path) -> list[Path]:
    """Return the example programs."""
    return sorted((docs / "examples").glob("*.py"))


def on_config(config: MkDocsConfig) -> None:
    """Complete the navigation: the examples, and the design pages by date."""
    docs = Path(config.docs_dir)
    nav: list[Any] = config.nav or []
    for section in nav:
        for name, pages in section.items():
            if name == "Design":
                found = sorted((docs / "design").glob("*.md"))
                pages += [{title(page): f"design/{page.name}"} for page in found]
            elif name == "Examples":
                pages.append("examples/index.md")
                pages += [{path.name: f"examples/{path.stem}.md"} for path in examples(docs)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Make a page of each example program."""
    for path in examples(Path(config.docs_dir)):
        program = path.read_text(encoding="utf-8")
        about = (ast.get_docstring(ast.parse(program)) or "").split("\n", 1)[0]
        text = f"# {path.name}\n\n{about} [All examples](index.md)\n\n```python\n{program}```\n"
        files.append(File.generated(config, f"examples/{path.stem}.md", content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Show links to files outside of the site as their paths in the repository."""
    docs = Path(config.docs_dir).resolve()
    folder = (docs / page.file.src_uri).parent

    def replace(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target in examples(docs):
            return f"[{link[1]}]({link[2].removesuffix('.py')}.md)"
        if target.is_relative_to(docs) or not target.exists():
            return link[0]
        return f"{link[1]} (`{target.relative_to(docs.parent).as_posix()}`)"

    return LINK.sub(replace, markdown)
