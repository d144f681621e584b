"""SQLAlchemy's requirements, and where they name drivers that can do something, ours too."""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from test.requirements import DefaultRequirements


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
