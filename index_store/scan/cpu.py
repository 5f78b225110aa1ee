"""The additive scan for CPUs: one pass over the codes, the best kept in a heap a query.

Numba compiles it once and keeps the result on disk. It is not parallel inside, since Numba's thread layers do not bear
calls from several threads at once; it lets go of the GIL instead, and a pool of threads takes shares of the queries.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.candidates import NO_SEGMENT, Candidates
from index_store.row_set import RowSet
from index_store.segment import Segment, group_by_list


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Float32,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
    pool: Executor | None = None,
    shares: int = 1,
) -> Candidates:
    """The same as `plain.scan`; with a pool the queries are shared out in `shares`."""
    q = len(lists)
    distances = np.full((q, shortlist), np.inf, np.float32)
    numbers = np.full((q, shortlist), NO_SEGMENT, np.int32)
    slots = np.zeros((q, shortlist), np.int64)
    lists, bases, tables = map(np.ascontiguousarray, (lists, bases, tables))

    def scan_share(share: slice) -> None:
        for number, segment in enumerate(segments):
            _scan_segment(
                number, segment.offsets, segment.codes, segment.rows, segment.norms,
                np.float32(segment.norm_low if with_norms else 0), np.float32(segment.norm_step if with_norms else 0),
                lists[share], bases[share], tables[share], skipped.bits,
                distances[share], numbers[share], slots[share],
            )  # fmt: skip

    parts = [slice(q * part // shares, q * (part + 1) // shares) for part in range(shares)]
    if pool is None or q < 2:
        scan_share(slice(0, q))
    else:
        list(pool.map(scan_share, parts))
    kept = Candidates(distances, numbers, slots)
    return kept.nearest(distances, shortlist)


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    one = np.zeros(1, np.uint32)
    for codes in (np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16)):
        segment = group_by_list("", "", (0, 1), one, codes, one, np.zeros(1, np.float32), 1)
        bases, tables = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
        scan([segment], np.zeros((1, 1), np.int64), bases, tables, True, RowSet(), 1)


@njit(nogil=True, cache=True)
def _scan_segment(
    number: int,
    offsets: Any,
    codes: Any,
    rows: Any,
    norms: Any,
    low: Any,
    step: Any,
    lists: Any,
    bases: Any,
    tables: Any,
    skipped: Any,
    distances: Any,
    numbers: Any,
    slots: Any,
) -> None:
    """Offer one segment's codes to each query's heap (writes distances, numbers, slots [q, s])."""
    steps = codes.shape[1]
    for query in range(lists.shape[0]):
        table = tables[query]  # [M, K]
        heap = distances[query]  # [s], the worst on top
        heap_numbers = numbers[query]
        heap_slots = slots[query]
        for place in range(lists.shape[1]):
            one = lists[query, place]
            if one < 0:
                continue
            base = bases[query, place] + low
            for slot in range(offsets[one], offsets[one + 1]):
                distance = base + step * np.float32(norms[slot])
                for m in range(steps):
                    distance += table[m, codes[slot, m]]
                if distance < heap[0] and not _is_in(skipped, rows[slot]):
                    _replace_worst(heap, heap_numbers, heap_slots, distance, number, slot)


@njit(nogil=True, cache=True, inline="always")
def _is_in(bits: Any, row: Any) -> bool:
    byte = np.int64(row) >> 3
    if byte >= bits.shape[0]:
        return False
    return bool((bits[byte] >> (row & 7)) & 1)


@njit(nogil=True, cache=True)
def _replace_worst(heap: Any, heap_numbers: Any, heap_slots: Any, distance: Any, number: int, slot: int) -> None:
    """Put a candidate in the place of the heap's worst and let it sink."""
    size = heap.shape[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= distance:
            break
        heap[place] = heap[child]
        heap_numbers[place] = heap_numbers[child]
        heap_slots[place] = heap_slots[child]
        place = child
    heap[place] = distance
    heap_numbers[place] = number
    heap_slots[place] = slot
