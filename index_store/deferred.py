"""Upserts that depend on the points as they are: the writer resolves them, alone in their group, just before writing.

Nothing but the writer makes or moves points, so what is read here still holds when it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store.changes import Upsert
from index_store.errors import UnknownPoint
from index_store.filters import Filter
from index_store.holdings import Holdings
from index_store.row_vectors import stored_vectors
from index_store.selection import rows_matching
from index_store.stored_forms import StoredId, id_from_stored, payload_texts

UpdateMode = Literal["upsert", "insert_only", "update_only"]


@dataclass(frozen=True)
class ConditionalUpsert:
    """An upsert of the new points alone, of those alone that are there, or of those there that a filter matches."""

    upsert: Upsert
    mode: UpdateMode = "upsert"
    condition: Filter | None = None

    def resolved(self, held: Holdings) -> Upsert:
        """The upsert of those points that are to be written."""
        with held.points.snapshot() as reader:
            present = held.points.rows_of(self.upsert.ids, reader)
            matching = None if self.condition is None else rows_matching(self.condition, held.moment(reader))
        kept = [place for place, key in enumerate(self.upsert.ids) if self._is_wanted(present.get(key), matching)]
        return _part(self.upsert, np.array(kept, np.int64))

    def _is_wanted(self, row: int | None, matching: BitMap | None) -> bool:
        if row is None:
            return self.mode != "update_only"
        return self.mode != "insert_only" and (matching is None or row in matching)

    def size_bytes(self) -> int:
        """As the upsert."""
        return self.upsert.size_bytes()


@dataclass(frozen=True)
class ReplaceVectors:
    """Vectors to put in the place of those that points have; other vectors and the payloads stay.

    vectors    name → as stored, [m, dim], of the points at `places[name]` [m] of `ids`
    condition  points that it does not match are left alone
    """

    ids: Sequence[StoredId]
    vectors: Mapping[str, NDArray[np.generic]]
    places: Mapping[str, NDArray[np.int64]]
    condition: Filter | None = None

    def resolved(self, held: Holdings) -> Upsert:
        """The points written anew, with all their vectors; raises UnknownPoint.

        Where no originals are kept, a vector that stays is what its code decodes to.
        """
        with held.lock, held.points.snapshot() as reader:  # the lock: a stripe of originals must not go meanwhile
            present = held.points.rows_of(self.ids, reader)
            missing = next((key for key in self.ids if key not in present), None)
            if missing is not None:
                raise UnknownPoint(f"There is no point {id_from_stored(missing)}; nothing of this request was changed.")
            rows = np.array([present[key] for key in self.ids], np.int64)
            entries = held.points.entries(rows.tolist(), True, reader)
            matching = None if self.condition is None else rows_matching(self.condition, held.moment(reader))
            columns = {name: self._column(held, name, rows) for name in held.indexes}
        upsert = Upsert(
            self.ids,
            {name: vectors for name, (vectors, _) in columns.items()},
            payload_texts([entries[row].payload for row in rows.tolist()]),
            {name: absent for name, (_, absent) in columns.items() if len(absent)},
        )
        if matching is None:
            return upsert
        return _part(upsert, np.flatnonzero([row in matching for row in rows.tolist()]))

    def _column(
        self, held: Holdings, name: str, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """One named vector of all points as it will be stored, [n, dim], and the places that lack it."""
        index, view = held.indexes[name], held.views[name]
        has = ~view.dead.contains(rows)
        new = self.places.get(name, np.zeros(0, np.int64))
        kept = has.copy()
        kept[new] = False
        column = index.forms.fillers(len(rows))
        if kept.any():
            column[kept] = stored_vectors(index, rows[kept], view)
        column[new] = self.vectors[name] if len(new) else column[new]
        has[new] = True
        return column, np.flatnonzero(~has)

    def size_bytes(self) -> int:
        """Vectors, and a little for each id."""
        return 64 * (1 + len(self.ids)) + sum(vectors.nbytes for vectors in self.vectors.values())


def _part(upsert: Upsert, kept: NDArray[np.int64]) -> Upsert:
    """The points at the places `kept`, ascending."""
    absent = {name: np.flatnonzero(np.isin(kept, places)) for name, places in upsert.absent.items()}
    return Upsert(
        [upsert.ids[place] for place in kept],
        {name: vectors[kept] for name, vectors in upsert.vectors.items()},
        None if upsert.payloads is None else [upsert.payloads[place] for place in kept],
        {name: places for name, places in absent.items() if len(places)},
    )
