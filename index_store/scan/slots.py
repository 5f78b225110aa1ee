"""From rows to the slots where their codes lie, ascending: codes are read in that order several times as fast."""

from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Slots = NDArray[np.uint32]


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query with a filter has to wait for it."""
    ascending_slots(np.zeros(1, np.uint32), 0, np.zeros(1, np.uint32), 1)


def ascending_slots_plain(places: Slots, first: int, rows: Slots, count: int) -> Slots:
    """The slots, below `count`, of those of `rows` [n] that have one.

    places  slot + 1 of each row from `first` on, 0 where there is none · rows  distinct, each of them has a place
    """
    found = places[rows - np.uint32(first)]
    return np.sort(found[found > 0] - np.uint32(1)).astype(np.uint32)


def ascending_slots(places: Slots, first: int, rows: Slots, count: int) -> Slots:
    """The same through one bit a slot, which sorts by itself: half the time for a tenth of 262 144 slots (AVX2)."""
    read_only = places[:]
    read_only.setflags(write=False)  # as those of a mapped file are: one type, compiled once
    return np.asarray(_ascending(read_only, np.uint32(first), rows, count), np.uint32)


@njit(nogil=True, cache=True)
def _ascending(places: Any, first: Any, rows: Any, count: int) -> Any:
    one = np.uint64(1)
    words = np.zeros((count >> 6) + 1, np.uint64)
    found = 0
    for row in rows:
        place = places[row - first]
        if place:
            slot = np.uint64(place) - one
            words[slot >> np.uint64(6)] |= one << (slot & np.uint64(63))
            found += 1
    slots = np.empty(found, np.uint32)
    filled = 0
    for word in range(words.shape[0]):
        left = words[word]
        while left:
            slots[filled] = np.uint32(word << 6) + _lowest_bit(left)
            filled += 1
            left &= left - one
    return slots


@njit(nogil=True, cache=True)
def _lowest_bit(bits: Any) -> Any:
    """The place of the lowest bit that is set in an uint64, by halving."""
    low = bits & (~bits + np.uint64(1))
    place = np.uint32(0)
    for step in (32, 16, 8, 4, 2, 1):
        if low >> np.uint64(step):
            place += np.uint32(step)
            low >>= np.uint64(step)
    return place
