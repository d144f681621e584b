"""SQLAlchemy's pytest plugin, for the dialect that is installed, and what is left out."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin import pytestplugin  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403

# Tests that can't pass: a pattern of class and name, and the reason.
EXCLUDED = {
    r"KeywordInDatabaseNameTest\.test_reflect": "its DETACH is in a transaction, which SQLite "
    "refuses: transactions begin with the first statement here, not with the first INSERT",
}
# At a server too; what whole groups of tests want and a server lacks is among the requirements.
EXCLUDED_AT_A_SERVER = {
    **EXCLUDED,
    r"ComponentReflectionTest\.test_metadata\[.*-True\]": "does not say that it needs a schema",
    r"ComponentReflectionTestExtra\.test_check_constraint_\w+\[True": "does not say that it needs "
    "a schema",
    r"AttachedDBTest\.": "attaches a file, which the server does not",
    r"ConstraintReflectionTest\.": "makes a temporary table, which the server refuses",
    r"ReflectInternalSchemaTables\.test_get_temp_": "makes a temporary view",
    r"TableOptionsReflectionTest\.test_temp_table": "makes a temporary table",
    r"UnicodeSchemaTest\.": "has a foreign key to a column that is not unique; the server checks "
    "foreign keys",
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
    is_at_a_server = any("://127.0.0.1" in url for url in config.option.dburi)
    excluded = EXCLUDED_AT_A_SERVER if is_at_a_server else EXCLUDED
    for item in items:
        suite = item.parent.name.partition("_sqlite")[0] if item.parent else ""
        for pattern, reason in excluded.items():
            if re.match(pattern, f"{suite}.{item.name}"):
                item.add_marker(pytest.mark.skip(reason=reason))
