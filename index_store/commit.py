"""A group of writes made durable and visible: originals first, then one transaction, then the views."""

import sqlite3
import zlib

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Rows
from index_store.errors import DiskFull, ReadOnly
from index_store.holdings import Holdings
from index_store.selection import rows_matching
from index_store.storage import as_bytes
from index_store.writer import Write

Vectors = dict[str, NDArray[np.generic] | None]


def commit(held: Holdings, group: list[Write]) -> list[int]:
    """Write all of a group or nothing of it; returns an operation's id for each. Raises DiskFull, ReadOnly."""
    refuse_if_read_only(held)
    vectors = {name: _joined(group, name) for name in held.indexes}
    _append_originals(held, vectors)
    with held.lock:
        dead = _commit_points(held, group, vectors)
        held.dead = held.dead.with_rows(dead)
        held.publish()
        return [held.version - len(group) + 1 + place for place in range(len(group))]


def refuse_if_read_only(held: Holdings) -> None:
    """Raise ReadOnly when a sync has failed since the start."""
    if held.read_only_because is not None:
        raise ReadOnly(f"This collection takes no writes until the server is restarted: {held.read_only_because}")


def _joined(group: list[Write], name: str) -> NDArray[np.generic] | None:
    """The vectors of all upserts of a group in their order, [n, dim]; None when there are none."""
    parts = [write.vectors[name] for write in group if write.vectors is not None and len(write.ids)]
    return np.concatenate(parts) if parts else None


def _append_originals(held: Holdings, vectors: Vectors) -> None:
    try:
        for name, index in held.indexes.items():
            rows = vectors[name]
            if rows is not None:
                index.originals.append(held.next_row, rows)
    except DiskFull:
        _cut_back(held)
        raise
    except OSError as error:  # a sync that failed must not be tried again: what lies on the disk is unknown
        held.turn_read_only(f"Writing vectors failed ({error.strerror}).")
        refuse_if_read_only(held)


def _commit_points(held: Holdings, group: list[Write], vectors: Vectors) -> Rows:
    """One transaction; returns the rows that are tombstones now."""
    points, row, count = held.points, held.next_row, held.count
    gone: list[Rows] = [np.zeros(0, np.uint32)]
    try:
        with points.transaction():
            for place, write in enumerate(group):
                if write.vectors is not None:
                    gone.append(points.insert(row, write.ids, write.payloads, held.version + 1 + place))
                    row += len(write.ids)
                    count += len(write.ids)
                elif write.condition is not None:
                    matching = rows_matching(write.condition, held.moment(points.db))
                    gone.append(points.remove_rows(matching.to_array().tolist()))
                else:
                    gone.append(points.remove_ids(write.ids))
                count -= len(gone[-1])
            for name, rows in vectors.items():
                if rows is not None:
                    points.add_batch(name, held.next_row, len(rows), zlib.crc32(as_bytes(rows)))
            version = held.version + len(group)
            points.set_counters(next_row=row, version=version, points=count)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            _cut_back(held)
            raise DiskFull("The disk is full: nothing of this request was kept. Free some space first.") from error
        held.turn_read_only(f"Committing points failed ({error}).")
        refuse_if_read_only(held)
    held.next_row, held.version, held.count = row, version, count
    return np.concatenate(gone)


def _cut_back(held: Holdings) -> None:
    try:
        held.cut_back()
    except OSError as error:
        held.turn_read_only(f"Cutting back a failed write failed ({error.strerror}).")
