"""The few smallest of many numbers, inside Numba functions."""

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def smallest(places: Any, values: Any, count: int) -> None:
    """Where the `count` smallest of values [n] are, in rising order of place, into places; of equals the first.

    Needs 1 ≤ count ≤ n. Every place is written where the next one found goes: no branch depends on a value, which the
    processor would often guess wrong. Sorting in took five times as long for 16 of 256, twenty for 128 of 512.
    """
    below, most, spare = threshold(values, count)
    found = 0
    for place in range(len(values)):
        if found == count:
            break
        places[found] = place
        if spare == 0:
            found += values[place] < below
        elif values[place] < below:
            found += 1
        elif not values[place] > most:
            found, spare = found + 1, spare - 1


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def threshold(values: Any, count: int) -> tuple[np.float32, np.float32, int]:
    """(below, most, spare): the `count` smallest of values [n] are those < below, and `spare` of those ≤ most.

    Needs 1 ≤ count ≤ n. Halves the range until as many as wanted lie below: some ten passes over the values, which are
    compared a register at a time, where sorting in would move most of them.
    """
    below, most = np.float32(np.inf), np.float32(-np.inf)
    for place in range(len(values)):
        below, most = min(below, values[place]), max(most, values[place])
    found = 0  # of values < below, fewer than wanted
    while True:
        middle = below + (most - below) * np.float32(0.5)
        if not (below < middle and middle < most):
            return below, most, count - found
        lower = np.float32(0)  # counted in float32, as they are compared; exact below 2^24
        for place in range(len(values)):
            lower += np.float32(1) if values[place] < middle else np.float32(0)
        if lower == count:
            return middle, middle, 0
        if lower < count:
            below, found = middle, int(lower)
        else:
            most = middle
