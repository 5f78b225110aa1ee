"""The few smallest of many numbers, inside Numba functions."""

from typing import Any

import numpy as np
from numba import njit

RUN = 16
"""Numbers that are compared at once before any is looked at alone."""


@njit(nogil=True, cache=True)
def smallest(places: Any, values: Any, count: int) -> None:
    """Where the `count` smallest of values [n] are, in rising order, into places [count]; of equals the first.

    Needs count ≤ n. Made for few: a number that is among the smallest so far is sorted in by moving the larger ones.
    """
    n, taken = len(values), 0
    kept = np.empty(count, np.float32)
    for begin in range(0, n, RUN):
        end = min(begin + RUN, n)
        if taken == count:
            is_any = 0
            for place in range(begin, end):
                is_any |= values[place] < kept[count - 1]
            if not is_any:
                continue
        for place in range(begin, end):
            value = values[place]
            if taken == count and not value < kept[count - 1]:
                continue
            at = min(taken, count - 1)
            while at > 0 and kept[at - 1] > value:
                kept[at], places[at] = kept[at - 1], places[at - 1]
                at -= 1
            kept[at], places[at] = value, place
            taken = min(taken + 1, count)
