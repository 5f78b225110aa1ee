"""The rows that pass a filter at one moment, remembered while nothing changes, with what a search makes of them.

A service asks with few filters again and again: by tenant, by language. Evaluating one takes longer than the search.
"""

import threading
import weakref
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store import few
from index_store.few import FEW, Picked
from index_store.filters import Filter
from index_store.payload_indexes import State
from index_store.row_set import RowSet
from index_store.row_slots import RowSlots
from index_store.view import View

MOST_BYTES = 8 << 20
"""Remembered in a collection, estimated."""


class Survivors:
    """Rows that pass a filter. What is made of them for a view is kept until another view asks."""

    def __init__(self, rows: BitMap, unindexed: frozenset[str] = frozenset()) -> None:
        """unindexed: keys that were asked about without an index that could answer"""
        self.rows, self.unindexed = rows, unindexed
        self._skipped: tuple[weakref.ref[View], RowSet] | None = None
        self._picked: tuple[weakref.ref[View], Picked] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def are_few(self) -> bool:
        """Whether all of them are scored, rather than lists read."""
        return len(self.rows) <= FEW

    def skipped_in(self, view: View) -> RowSet:
        """The rows of a view that are no candidates."""
        made = self._skipped
        if made is None or made[0]() is not view:
            made = self._skipped = weakref.ref(view), view.dead.union(RowSet.all_but(self.rows, view.stop))
        return made[1]

    def rows_in(self, view: View) -> NDArray[np.uint32]:
        """Those that have a vector in a view, ascending."""
        return few.survivors_in(view, self.rows)

    def picked_in(self, view: View, row_slots: RowSlots) -> Picked:
        """Where the codes of those that a view has lie."""
        made = self._picked
        if made is None or made[0]() is not view:
            made = self._picked = weakref.ref(view), few.pick(view, row_slots, self.rows_in(view))
        return made[1]

    def size_bytes(self) -> int:
        """What they take at most, roughly: the rows as a bitmap, as bits, and as slots."""
        count = len(self.rows)
        as_bits = (self.rows.max() >> 3) if count else 0
        return int(2 * as_bits + (4 * count if count <= FEW else 0))


class Remembered:
    """The survivors of the filters asked of late, the longest unused forgotten first. Any thread may call it."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, Filter], tuple[State, Survivors]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, condition: Filter, state: State) -> Survivors | None:
        """Those that were found when the indexes were in this very state, which each change of points replaces."""
        key = _key(condition)
        with self._lock:
            held = self._held.get(key)
            if held is None or held[0] is not state:
                return None
            self._held.move_to_end(key)
            return held[1]

    def put(self, condition: Filter, state: State, found: Survivors) -> None:
        """Remember what was found; what is of another state goes."""
        with self._lock:
            self._held[_key(condition)] = state, found
            self._held.move_to_end(_key(condition))
            left = MOST_BYTES
            for key, (of, one) in reversed(list(self._held.items())):
                left -= one.size_bytes()
                if of is not state or left < 0:
                    del self._held[key]


def _key(condition: Filter) -> tuple[str, Filter]:
    """Equal filters are not always the same: to Python 1, 1.0 and True are equal, to a filter they are not."""
    return repr(condition), condition
