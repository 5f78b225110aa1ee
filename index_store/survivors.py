"""The rows that pass a filter at one moment, remembered while nothing changes, with what a search makes of them.

A service asks with few filters again and again: by tenant, by language. Evaluating one takes longer than the search.
"""

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass

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
            made = self._picked = weakref.ref(view), few.pick(view, row_slots, self.rows)
        return made[1]

    def size_bytes(self) -> int:
        """What they take at most, roughly: the rows as a bitmap, as bits, and as slots."""
        count = len(self.rows)
        as_bits = (self.rows.max() >> 3) if count else 0
        return int(2 * as_bits + (4 * count if count <= FEW else 0))


@dataclass(frozen=True)
class _Held:
    """What was found for a filter, and about how many bytes it takes at most."""

    condition: Filter
    survivors: Survivors
    size_bytes: int


class Remembered:
    """The survivors of the filters asked of late, the longest unused forgotten first. Any thread may call it.

    All are of one state of the indexes, which each change of points replaces.
    """

    def __init__(self) -> None:
        # Filters by what they read as: equal filters are not always the same, since to Python 1, 1.0 and True are
        # equal, and hashing one again and again takes longer than finding it.
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._state: State | None = None
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, condition: Filter, state: State) -> Survivors | None:
        """Those that were found when the indexes were in this very state."""
        key = condition.text
        with self._lock:
            held = self._held.get(key)
            if held is None or self._state is not state or held.condition != condition:
                return None
            self._held.move_to_end(key)
            return held.survivors

    def put(self, condition: Filter, state: State, found: Survivors) -> None:
        """Remember what was found; what is of another state goes."""
        key, one = condition.text, _Held(condition, found, found.size_bytes())
        with self._lock:
            if self._state is not state:
                self._held.clear()
                self._state, self._size_bytes = state, 0
            replaced = self._held.pop(key, None)
            self._held[key] = one
            self._size_bytes += one.size_bytes - (0 if replaced is None else replaced.size_bytes)
            while self._size_bytes > MOST_BYTES:
                _, oldest = self._held.popitem(last=False)
                self._size_bytes -= oldest.size_bytes
