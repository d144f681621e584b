"""The default adapters and converters of dates, which are those of `sqlite3`.

Python 3.12 deprecated sqlite3's own; these give no warning, on any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt


def adapt_date(value: dt.date) -> str:
    """Return a date as ``YYYY-MM-DD``."""
    return value.isoformat()


def adapt_datetime(value: dt.datetime) -> str:
    """Return a date and time as ``YYYY-MM-DD HH:MM:SS[.ffffff][+HH:MM]``."""
    return value.isoformat(" ")
