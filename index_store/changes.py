"""What a request changes, ready to be applied in a transaction: points written or deleted, payloads, vectors taken.

Whatever needs to be known of the points as they are is found out inside the transaction, so that a change sees all
those before it. What can be wrong with a change was looked for before, but for ids that are not there: `apply` raises
UnknownPoint for these before it has written anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Payload, PointId, Rows
from index_store.errors import InvalidPoints, UnknownPoint
from index_store.filters import Filter
from index_store.holdings import Holdings
from index_store.selection import rows_matching
from index_store.stored_forms import StoredId, id_from_stored, stored_ids
from index_store.uploads import UploadProgress, note

Places = NDArray[np.integer]


@dataclass(frozen=True)
class Applied:
    """What a change did to the rows: how many it took, which are tombstones now, which lack a vector (by its name)."""

    taken: int = 0
    gone: Rows = field(default_factory=lambda: np.zeros(0, np.uint32))
    absent: Mapping[str, Rows] = field(default_factory=dict)


class Change(Protocol):
    """One request's change to a collection."""

    def apply(self, held: Holdings, row: int, version: int) -> Applied:
        """Make the change, in a transaction; new points get the rows from `row` on. Raises UnknownPoint."""
        ...

    def size_bytes(self) -> int:
        """Roughly what it weighs while it waits."""
        ...


@dataclass(frozen=True)
class Upsert:
    """Points to write: ids, JSON texts of payloads, and for each named vector as stored, [n, dim].

    absent  name → places of points that lack that vector; their rows of it hold anything
    upload  how far the upload that they are part of is with them, if it can be resumed
    """

    ids: Sequence[StoredId]
    vectors: Mapping[str, NDArray[np.generic]]
    payloads: Sequence[str | None] | None = None
    absent: Mapping[str, Places] = field(default_factory=dict)
    upload: UploadProgress | None = None

    def apply(self, held: Holdings, row: int, version: int) -> Applied:
        """New rows; those that the ids had before become tombstones."""
        gone = held.points.insert(row, self.ids, self.payloads, version)
        absent = {name: (row + places).astype(np.uint32) for name, places in self.absent.items()}
        for name, rows in absent.items():
            held.points.add_absent(name, rows.tolist())
        if self.upload is not None:
            note(held.points.db, self.upload, version)
        return Applied(len(self.ids), gone, absent)

    def size_bytes(self) -> int:
        """Vectors, and a little for each id."""
        return 64 * (1 + len(self.ids)) + sum(vectors.nbytes for vectors in self.vectors.values())


@dataclass(frozen=True)
class Selection:
    """Which points a change is for: ids, or all that a filter matches."""

    ids: Sequence[StoredId] = ()
    condition: Filter | None = None

    @classmethod
    def of(cls, chosen: Sequence[PointId] | NDArray[np.uint64] | Filter) -> "Selection":
        """From what users give; raises InvalidPoints, also for no ids at all, which is an oversight."""
        if isinstance(chosen, Filter):
            return cls(condition=chosen)
        if not len(chosen):
            raise InvalidPoints("The change names no points: give at least one id, or a filter.")
        return cls(stored_ids(chosen))

    def rows(self, held: Holdings) -> list[int]:
        """The rows of these points; raises UnknownPoint when an id is not there."""
        if self.condition is not None:
            return list(rows_matching(self.condition, held.moment(held.points.db)))
        found = held.points.rows_of(self.ids, held.points.db)
        missing = next((key for key in self.ids if key not in found), None)
        if missing is not None:
            raise UnknownPoint(f"There is no point {id_from_stored(missing)}; nothing of this request was changed.")
        return list(found.values())

    def size_bytes(self) -> int:
        """A little for each id."""
        return 64 * (1 + len(self.ids))


@dataclass(frozen=True)
class Delete:
    """Points to forget; ids that are not there are no error."""

    chosen: Selection

    def apply(self, held: Holdings, row: int, version: int) -> Applied:
        """Their rows become tombstones."""
        if self.chosen.condition is not None:
            return Applied(gone=held.points.remove_rows(self.chosen.rows(held)))
        return Applied(gone=held.points.remove_ids(self.chosen.ids))

    def size_bytes(self) -> int:
        """As its selection."""
        return self.chosen.size_bytes()


@dataclass(frozen=True)
class ChangePayload:
    """Payloads to change: `change` turns a payload, which it may alter, into the new one."""

    chosen: Selection
    change: Callable[[Payload], Payload]

    def apply(self, held: Holdings, row: int, version: int) -> Applied:
        """Rows stay as they are."""
        held.points.change_payloads(self.chosen.rows(held), self.change, version)
        return Applied()

    def size_bytes(self) -> int:
        """As its selection."""
        return self.chosen.size_bytes()


@dataclass(frozen=True)
class TakeVectors:
    """Named vectors to take away from points, which keep all else."""

    chosen: Selection
    names: Sequence[str]

    def apply(self, held: Holdings, row: int, version: int) -> Applied:
        """Rows stay as they are, and lack these vectors from now on."""
        rows = self.chosen.rows(held)
        for name in self.names:
            held.points.add_absent(name, rows)
        held.points.touch(rows, version)
        return Applied(absent={name: np.array(rows, np.uint32) for name in self.names})

    def size_bytes(self) -> int:
        """As its selection."""
        return self.chosen.size_bytes()
