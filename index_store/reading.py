"""Reading points without searching: by their ids, in the order of their ids, or at random."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from index_store.answers import Float32, PointId, Record
from index_store.filters import Filter
from index_store.holdings import Holdings
from index_store.row_vectors import vectors_of
from index_store.selection import live_rows, rows_matching
from index_store.stored_forms import id_from_stored, stored_ids

# Below this share of all points, the rows that a filter matches are looked up; above, points are read in order.
LOOKED_UP_SHARE = 0.05


@dataclass(frozen=True)
class Shown:
    """What an answer shows of a point beside its id: its payload, and the vectors of these names."""

    payload: bool = True
    vectors: tuple[str, ...] = ()


def retrieve(held: Holdings, ids: Sequence[PointId], shown: Shown) -> list[Record]:
    """The points with these ids, in this order; those that are not there are left out."""
    keys = stored_ids(ids)
    # With vectors, the lock: a vector's row must not move meanwhile.
    with held.lock if shown.vectors else nullcontext(), held.points.snapshot() as reader:
        found = held.points.rows_of(keys, reader)
        rows = [found[key] for key in keys if key in found]
        return _in_order(rows, records(held, rows, shown, reader))


def scroll(
    held: Holdings, limit: int, start: PointId | None, condition: Filter | None, shown: Shown
) -> tuple[list[Record], PointId | None]:
    """The first `limit` points from the id `start` on, by id: integers, then UUIDs; and the id that comes next."""
    with held.lock if shown.vectors else nullcontext(), held.points.snapshot() as reader:
        chosen = None if condition is None else rows_matching(condition, held.moment(reader))
        first = None if start is None else stored_ids([start])[0]
        if chosen is not None and len(chosen) <= LOOKED_UP_SHARE * held.count:
            found = held.points.ids_of(list(chosen), first, limit + 1, reader)
        else:
            found = held.points.ids_from(first, limit + 1, chosen, reader)
        following = id_from_stored(found[limit][1]) if len(found) > limit else None
        rows = [row for row, _ in found[:limit]]
        return _in_order(rows, records(held, rows, shown, reader)), following


def sample(held: Holdings, limit: int, condition: Filter | None, shown: Shown) -> list[Record]:
    """Some points, chosen at random, each at most once."""
    with held.lock if shown.vectors else nullcontext(), held.points.snapshot() as reader:
        rows = live_rows(reader) if condition is None else rows_matching(condition, held.moment(reader))
        chosen = random.sample(list(rows), min(limit, len(rows)))
        return _in_order(chosen, records(held, chosen, shown, reader))


def records(held: Holdings, rows: Sequence[int], shown: Shown, reader: sqlite3.Connection) -> dict[int, Record]:
    """row → point of those rows that are points now. With vectors, the caller holds the lock."""
    found = held.points.entries(rows, shown.payload, reader)
    vectors = {name: _vectors(held, name, list(found)) for name in shown.vectors}
    return {
        row: Record(
            entry.id, entry.version, entry.payload,
            {name: some[row] for name, some in vectors.items() if row in some} if shown.vectors else None,
        )
        for row, entry in found.items()
    }  # fmt: skip


def _vectors(held: Holdings, name: str, live: list[int]) -> dict[int, Float32]:
    """row → vector of those live rows that have this one."""
    view, rows = held.views[name], np.array(live, np.int64)
    rows = rows[~view.dead.contains(rows)]
    return dict(zip(rows.tolist(), vectors_of(held.indexes[name], rows, view), strict=True))


def _in_order(rows: Sequence[int], found: dict[int, Record]) -> list[Record]:
    return [found[row] for row in rows if row in found]
