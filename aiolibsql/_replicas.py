"""What `Connection.sync` and its companions give."""

from __future__ import annotations

from typing import NamedTuple


class SyncResult(NamedTuple):
    """What a sync came to.

    Attributes:
        frames: Versions of pages that were received and applied.
        replication_index: The number of the last change that the file has, or None if the server's
            database has none yet.
    """

    frames: int
    replication_index: int | None


class SyncStats(NamedTuple):
    """How a replica stands, since its file was opened by this process.

    Attributes:
        replication_index: The number of the last change that the file has, or None.
        syncs: Syncs that succeeded, whoever asked for them.
        failures: Syncs that failed.
        frames: Versions of pages that they received and applied.
        last_sync: When the last one succeeded, in seconds since the epoch, or None.
        last_error: What the last one failed with, or None if it succeeded.
    """

    replication_index: int | None
    syncs: int
    failures: int
    frames: int
    last_sync: float | None
    last_error: str | None
