"""What the site does with pages that are also read where the repository is: a hook of MkDocs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

LINK = re.compile(r"\[([^][]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def title(page: Path) -> str:
    """Return the first heading of a page."""
    return page.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ").replace("`", "")


def on_config(config: MkDocsConfig) -> None:
    """Complete the navigation: the design pages by date."""
    docs = Path(config.docs_dir)
    nav: list[Any] = config.nav or []
    for section in nav:
        for name, pages in section.items():
            if name == "Design":
                found = sorted((docs / "design").glob("*.md"))
                pages += [{title(page): f"design/{page.name}"} for page in found]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Show links to files outside of the site as their paths in the repository."""
    docs = Path(config.docs_dir).resolve()
    folder = (docs / page.file.src_uri).parent

    def replace(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(docs) or not target.exists():
            return link[0]
        return f"{link[1]} (`{target.relative_to(docs.parent).as_posix()}`)"

    return LINK.sub(replace, markdown)
