"""What SQLAlchemy's own test suite wants of a dialect: databases for its tests."""

from __future__ import annotations

from sqlalchemy.dialects.sqlite import provision

# In the names of the files it makes.
provision._drivernames |= {"aiolibsql", "aiolibsql_async"}  # noqa: SLF001 - there is no other way
