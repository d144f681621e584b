"""Registers the dialect ``sqlite+aiolibsql``, for those who import it so."""

from __future__ import annotations

from aiolibsql.sqlalchemy import *  # noqa: F403 - the same names
from aiolibsql.sqlalchemy import __all__ as __all__
