"""The default adapters and converters of dates, which work like those of `sqlite3`.

Python 3.12 deprecated sqlite3's own; these give no warning, on any version.
"""

from __future__ import annotations

import datetime as dt


def adapt_date(value: dt.date) -> str:
    """Return a date as ``YYYY-MM-DD``."""
    return value.isoformat()


def adapt_datetime(value: dt.datetime) -> str:
    """Return a date and time as ``YYYY-MM-DD HH:MM:SS[.ffffff][+HH:MM]``."""
    return value.isoformat(" ")


def convert_date(value: bytes) -> dt.date:
    """Read ``YYYY-MM-DD``."""
    return dt.date(*[int(part) for part in value.split(b"-")])


def convert_timestamp(value: bytes) -> dt.datetime:
    """Read ``YYYY-MM-DD HH:MM:SS[.ffffff]``, of which digits after the sixth do not count."""
    date, time = value.split(b" ")
    clock, _, fraction = time.partition(b".")
    year, month, day = [int(part) for part in date.split(b"-")]
    hour, minute, second = [int(part) for part in clock.split(b":")]
    microsecond = int(fraction[:6].ljust(6, b"0"))
    # Naive as sqlite3's: what follows six digits, such as an offset from UTC, is not looked at.
    return dt.datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001
