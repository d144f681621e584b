"""All drivers by name, whatever they speak to."""

from __future__ import annotations

from drivers import LOCALS, AiolibsqlInline, AiolibsqlReplica, Driver
from remotes import REMOTES
from replayed import Replayed

_ALL: tuple[type[Driver], ...] = (*LOCALS, AiolibsqlReplica, AiolibsqlInline, Replayed, *REMOTES)
DRIVERS: dict[str, type[Driver]] = {driver.name: driver for driver in _ALL}
