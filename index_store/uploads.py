"""How far uploads that can be resumed have come: noted in the transaction that writes their points."""

import sqlite3
from dataclasses import dataclass

from index_store.answers import PointId
from index_store.stored_forms import id_from_stored, stored_ids

# Of more uploads the oldest are forgotten: their points stay, but sent again they are written again.
KEPT = 1000


@dataclass(frozen=True)
class UploadProgress:
    """An upload's first `stored` of `total` rows are durable.

    is_numbered  whether its ids were counted from `first_id` on, and not sent with it
    checksum     of the stored rows, a signed number of 64 bits, as whoever uploads computes it
    """

    key: str
    stored: int
    total: int
    first_id: PointId
    last_id: PointId
    is_numbered: bool
    checksum: int
    operation_id: int = 0


def note(db: sqlite3.Connection, progress: UploadProgress, version: int) -> None:
    """Put it in the place of what was known of this upload, in a transaction."""
    first, last = stored_ids([progress.first_id, progress.last_id])
    db.execute(
        "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (progress.key, progress.stored, progress.total, first, last, progress.is_numbered, progress.checksum, version),
    )
    db.execute("DELETE FROM uploads WHERE key NOT IN (SELECT key FROM uploads ORDER BY version DESC LIMIT ?)", (KEPT,))


def find(db: sqlite3.Connection, key: str) -> UploadProgress | None:
    """What is known of an upload; None when nothing of it is stored."""
    found = db.execute(
        "SELECT stored, total, first_id, last_id, is_numbered, checksum, version FROM uploads WHERE key = ?", (key,)
    ).fetchone()
    if found is None:
        return None
    stored, total, first, last, is_numbered, checksum, version = found
    return UploadProgress(
        key, stored, total, id_from_stored(first), id_from_stored(last), bool(is_numbered), checksum, version
    )


def end_of_promised_ids(db: sqlite3.Connection) -> int:
    """The id after all that numbered uploads will take when they are resumed; 0 when none waits for that."""
    found = db.execute("SELECT first_id, total FROM uploads WHERE is_numbered AND stored < total").fetchall()
    return max((int(id_from_stored(first)) + total for first, total in found), default=0)
