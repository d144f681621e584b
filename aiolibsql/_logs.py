"""The loggers: ``aiolibsql`` and one below it for each area.

Imported when there is something to log, for `logging` takes longer to import than all of this.
"""

from __future__ import annotations

import logging

# As libraries do: where nobody has set up logging, nothing is printed.
logging.getLogger("aiolibsql").addHandler(logging.NullHandler())


def write(area: str, level: int, message: str) -> None:
    """Write a text to the logger of an area."""
    # The frame above is that of whoever awaits, or calls.
    logging.getLogger(f"aiolibsql.{area}").log(level, "%s", message, stacklevel=2)
