"""The nearest that were seen so far, in a heap of distances with the worst on top, for compiled functions."""

from typing import Any

from numba import njit


@njit(nogil=True, cache=True)
def replace_worst(heap: Any, places: Any, distance: Any, place: Any, size: Any) -> None:
    """Put a distance and its place where the worst of the first `size` is, and let them sink (writes both [≥ size])."""
    here = 0
    child = 1
    while child < size:
        # Which of two is worse cannot be predicted: it is added, not branched on.
        child += child + 1 < size and heap[child + 1] > heap[child]
        if heap[child] <= distance:
            break
        heap[here] = heap[child]
        places[here] = places[child]
        here = child
        child = 2 * here + 1
    heap[here] = distance
    places[here] = place


@njit(nogil=True, cache=True)
def in_order(heap: Any, places: Any) -> None:
    """Sort a heap, nearest first (writes both [s])."""
    for size in range(heap.shape[0] - 1, 0, -1):
        distance, place = heap[size], places[size]
        heap[size], places[size] = heap[0], places[0]
        replace_worst(heap, places, distance, place, size)
