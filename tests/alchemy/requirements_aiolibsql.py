"""SQLAlchemy's requirements, and where they name drivers that can do something, ours too."""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from test.requirements import DefaultRequirements


def not_at_a_server(reason: str) -> Any:
    """Return the rule of what works with files only: there `reason` is not true."""
    return exclusions.skip_if(lambda config: bool(config.db.url.host), reason)


class Requirements(DefaultRequirements):  # type: ignore[misc]  # it has no types
    """What the tests may ask of ``sqlite+aiolibsql``."""

    @property
    def emulated_lastrowid(self) -> Any:
        """`lastrowid` is what an INSERT made."""
        return exclusions.open()

    @property
    def emulated_lastrowid_even_with_sequences(self) -> Any:
        """The same, for a table that has a Sequence."""
        return exclusions.open()

    @property
    def dbapi_lastrowid(self) -> Any:
        """Cursors have `lastrowid`."""
        return exclusions.open()

    @property
    def schemas(self) -> Any:
        """There is an attached database that can be written."""
        return not_at_a_server("the server attaches its own databases only, and those to be read")

    @property
    def temporary_tables(self) -> Any:
        """There are temporary tables."""
        return super().temporary_tables + not_at_a_server("the server refuses temporary tables")

    @property
    def has_temp_table(self) -> Any:
        """There are temporary tables that can be asked for."""
        return super().has_temp_table + not_at_a_server("the server refuses temporary tables")

    @property
    def temp_table_names(self) -> Any:
        """There are temporary tables that can be listed."""
        return super().temp_table_names + not_at_a_server("the server refuses temporary tables")

    @property
    def temp_table_reflect_indexes(self) -> Any:
        """There are temporary tables with indexes that can be listed."""
        return self.temp_table_names

    @property
    def create_temp_table_as(self) -> Any:
        """There is CREATE TEMPORARY TABLE … AS."""
        return super().create_temp_table_as + not_at_a_server("the server refuses temporary tables")

    @property
    def temporary_views(self) -> Any:
        """There are temporary views."""
        return super().temporary_views + not_at_a_server("the server refuses temporary views")

    @property
    def regexp_match(self) -> Any:
        """There is the operator REGEXP."""
        return super().regexp_match + not_at_a_server("the server has no functions of the client")
