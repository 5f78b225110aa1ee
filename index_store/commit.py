"""A group of changes made durable and visible: originals first, then one transaction, then the views."""

import logging
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.changes import Applied, Change, Upsert
from index_store.deferred import ConditionalUpsert, ReplaceVectors
from index_store.errors import DiskFull, DiskUnavailable, ReadOnly, UnknownPoint
from index_store.holdings import Holdings
from index_store.originals import by_stripe
from index_store.storage import as_bytes

logger = logging.getLogger(__name__)

Deferred = ConditionalUpsert | ReplaceVectors
Vectors = dict[str, NDArray[np.generic] | None]


def commit(held: Holdings, group: Sequence[Change | Deferred]) -> list[int | UnknownPoint]:
    """Write a group, or nothing of it; returns for each change its operation's id, or why it alone was not made.

    A deferred change stands alone in its group. Raises DiskFull, ReadOnly, UnknownPoint.
    """
    refuse_if_read_only(held)
    changes = [one.resolved(held) if isinstance(one, Deferred) else one for one in group]
    vectors = {name: _joined(changes, name) for name in held.indexes}
    if any(rows is not None for rows in vectors.values()):
        held.storage.check_room(held.folder)
    try:
        _append_originals(held, vectors)
        return _committed(held, changes, vectors)
    finally:
        held.forget_mapped()


def _committed(held: Holdings, changes: Sequence[Change], vectors: Vectors) -> list[int | UnknownPoint]:
    """The changes in one transaction, and shown; for each its operation's id, or why it alone was not made."""
    with held.lock:
        first = held.version + 1
        applied, refused = _commit_points(held, changes, vectors)
        held.dead = held.dead.with_rows(np.concatenate([one.gone for one in applied]))
        for one in applied:
            held.absent |= {name: held.absent[name].with_rows(rows) for name, rows in one.absent.items()}
        held.publish()
        return [refused.get(place, first + place) for place in range(len(changes))]


def refuse_if_read_only(held: Holdings) -> None:
    """Raise ReadOnly when a sync has failed since the start."""
    if held.read_only_because is not None:
        raise ReadOnly(f"This collection takes no writes until the server is restarted: {held.read_only_because}")


def _joined(changes: Sequence[Change], name: str) -> NDArray[np.generic] | None:
    """The vectors of all upserts of a group in their order, [n, dim]; None when there are none."""
    parts = [change.vectors[name] for change in changes if isinstance(change, Upsert) and len(change.ids)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else None


def _append_originals(held: Holdings, vectors: Vectors) -> None:
    try:
        for name, index in held.indexes.items():
            rows = vectors[name]
            if rows is not None:
                index.originals.append(held.next_row, rows)
        held.map_ahead(held.next_row + max((len(rows) for rows in vectors.values() if rows is not None), default=0))
    except (DiskFull, DiskUnavailable):
        _cut_back(held)
        raise
    except OSError as error:  # a sync that failed must not be tried again: what lies on the disk is unknown
        held.turn_read_only(f"Writing vectors failed ({error.strerror}).")
        refuse_if_read_only(held)


def _commit_points(
    held: Holdings, changes: Sequence[Change], vectors: Vectors
) -> tuple[list[Applied], dict[int, UnknownPoint]]:
    """One transaction; returns what the changes did, and at their places those that were refused."""
    points, row, count = held.points, held.next_row, held.count
    applied: list[Applied] = [Applied()]
    refused: dict[int, UnknownPoint] = {}
    try:
        with held.transaction():
            for place, change in enumerate(changes):
                try:
                    applied.append(change.apply(held, row, held.version + 1 + place))
                except UnknownPoint as error:  # it has written nothing yet
                    refused[place] = error
                    continue
                row += applied[-1].taken
                count += applied[-1].taken - len(applied[-1].gone)
            for name, rows in vectors.items():
                for start, some in by_stripe(held.next_row, rows) if rows is not None else ():
                    points.codes.add_batch(name, start, len(some), zlib.crc32(as_bytes(some)))
            version = held.version + len(changes)
            points.set_counters(next_row=row, version=version, points=count)
            held.payloads.committing()
    except (DiskFull, DiskUnavailable):
        _cut_back(held)
        raise
    held.next_row, held.version, held.count = row, version, count
    held.payloads.committed(version)
    return applied, refused


def _cut_back(held: Holdings) -> None:
    """What lies beyond the counter may stay where it cannot be cut: the next write and the next start mend that."""
    try:
        held.cut_back()
    except (DiskFull, DiskUnavailable) as error:
        logger.warning("Left the rest of a failed write for later: %s", error)
    except OSError as error:
        held.turn_read_only(f"Cutting back a failed write failed ({error.strerror}).")
