"""What `Connection.sync` and its companions give."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self


class _Synced(NamedTuple):
    frames: int
    replication_index: int | None


class SyncResult(_Synced):
    """What a sync came to: a pair of `frames` and `replication_index`.

    Attributes:
        frames: Versions of pages that were received and applied.
        replication_index: The number of the last change that the file has, or None if the server's
            database has none yet. Of a replica that is written offline, the last one that both
            have, counted anew whenever the server begins another log.
        pushed: Versions of pages that were sent, which only replicas that are written offline do.
    """

    pushed: int = 0

    def __new__(cls, frames: int, replication_index: int | None, pushed: int = 0) -> Self:
        """Return the pair, with what was sent beside it."""
        made = super().__new__(cls, frames, replication_index)
        made.pushed = pushed
        return made


class SyncStats(NamedTuple):
    """How a replica stands, since its file was opened by this process.

    Attributes:
        replication_index: The number of the last change that the file has, or None.
        syncs: Syncs that succeeded, whoever asked for them.
        failures: Syncs that failed.
        frames: Versions of pages that they received and applied.
        last_sync: When the last one succeeded, in seconds since the epoch, or None.
        last_error: What the last one failed with, or None if it succeeded.
        pushed: Versions of pages that they sent.
    """

    replication_index: int | None
    syncs: int
    failures: int
    frames: int
    last_sync: float | None
    last_error: str | None
    pushed: int = 0
