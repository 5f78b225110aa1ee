"""The additive scan for CPUs: one pass over the codes, the best kept in a heap a query.

Numba compiles it once and keeps the result on disk. It is not parallel inside, since Numba's thread layers do not bear
calls from several threads at once; it lets go of the GIL instead, and a pool of threads takes shares of the queries.

There are two forms of the pass. One sums M table entries a code, as the equation reads. The other, for codes of bytes
on processors with `byte_lookups`, first sums tables rounded down to bytes, 64 codes at a time: a code's distance is
certainly no less, and only codes whose bound is below the heap's worst are summed exactly. Both keep the same. The best
200 of 700 000 codes of 8 bytes are found at 560 million codes a second, by the first form at 215 million (one core of
an AMD EPYC, 2026-11-21).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.candidates import NO_SEGMENT, Candidates
from index_store.row_set import RowSet
from index_store.scan import processor
from index_store.scan.byte_lookups import BLOCK, add_lookups
from index_store.scan.prefetching import AHEAD, prefetch
from index_store.scan.products import products
from index_store.segment import Segment, group_by_list

LEAST_A_SHARE = 4
"""Queries that are worth waking a thread for."""
SLACK = 1e-5
"""The share of a sum by which float32 arithmetic may at most be off, far from reached: a bound stays below by it."""


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
    """The same as `plain.scan`; with a pool many queries are shared out in `shares`."""
    form = bounded_pass if processor.has_byte_lookups() and tables.shape[2] <= 256 else plain_pass
    return scan_with(form, segments, lists, bases, tables, with_norms, skipped, shortlist, pool, shares)


def scan_with(
    form: Callable[..., None],
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
    """The scan by one of the two passes below."""
    q = len(lists)
    distances = np.full((q, shortlist), np.inf, np.float32)
    numbers = np.full((q, shortlist), NO_SEGMENT, np.int32)
    slots = np.zeros((q, shortlist), np.int64)
    lists, bases, tables = map(np.ascontiguousarray, (lists, bases, tables))

    def scan_share(share: slice) -> None:
        heaps = distances[share], numbers[share], slots[share]
        for number, segment in enumerate(segments):
            form(
                number, segment.offsets, segment.codes.T, segment.rows, segment.norms,
                np.float32(segment.norm_low if with_norms else 0), np.float32(segment.norm_step if with_norms else 0),
                lists[share], bases[share], tables[share], skipped.bits, *heaps,
            )  # fmt: skip
        _in_order(*heaps)

    shares = min(shares, q // LEAST_A_SHARE)
    if pool is None or shares < 2:
        scan_share(slice(0, q))
    else:
        list(pool.map(scan_share, [slice(q * part // shares, q * (part + 1) // shares) for part in range(shares)]))
    return Candidates(distances, numbers, slots)


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    products(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    for codes in codes_to_warm():
        n, M = codes.shape
        lists, rows, norms = np.zeros(n, np.int64), np.arange(n, dtype=np.uint32), np.zeros(n, np.float32)
        segment = group_by_list("", "", (0, n), lists, codes, rows, norms, 1)
        bases, tables = np.zeros((1, 1), np.float32), np.zeros((1, M, 256 * codes.itemsize), np.float32)
        scan([segment], np.zeros((1, 1), np.int64), bases, tables, True, RowSet(), 1)


def codes_to_warm() -> list[NDArray[np.unsignedinteger]]:
    """Codes [n, M] of each type that there may be: one vector's are of another type to Numba than two's."""
    return [np.zeros((1, 1), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16)]


@njit(nogil=True, cache=True)
def plain_pass(
    number: int,
    offsets: Any,
    columns: Any,
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
    """Offer one segment's codes, as columns [M, n], to each query's heap (writes distances, numbers, slots [q, s])."""
    codes = columns.T
    for query in range(lists.shape[0]):
        table, heap = tables[query], distances[query]  # [M, K], [s] with the worst on top
        for place in range(lists.shape[1]):
            if place + AHEAD < lists.shape[1] and lists[query, place + AHEAD] >= 0:
                coming = lists[query, place + AHEAD]
                prefetch(codes, offsets[coming], offsets[coming + 1])
                prefetch(norms, offsets[coming], offsets[coming + 1])
            one = lists[query, place]
            if one < 0:
                continue
            base = bases[query, place] + low
            for slot in range(offsets[one], offsets[one + 1]):
                distance = _distance(table, columns, slot, base + step * np.float32(norms[slot]))
                if distance < heap[0] and not _is_in(skipped, rows[slot]):
                    _replace_worst(heap, numbers[query], slots[query], distance, number, slot)


@njit(nogil=True, cache=True)
def bounded_pass(
    number: int,
    offsets: Any,
    columns: Any,
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
    """The same for codes of bytes, in blocks of 64."""
    M = columns.shape[0]
    rounded = np.zeros((M, 256), np.uint8)
    sums, bounds, lanes = np.zeros(BLOCK, np.uint16), np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.int64)
    for query in range(lists.shape[0]):
        table, heap = tables[query], distances[query]
        least, scale = _round_down(table, rounded)
        for place in range(lists.shape[1]):
            one = lists[query, place]
            if one < 0:
                continue
            base = bases[query, place] + low
            lowest = base + least - np.float32(SLACK) * (abs(base) + abs(least) + np.float32(255 * M) * scale)
            stop = offsets[one + 1]
            for begin in range(offsets[one], stop, BLOCK):
                count = min(BLOCK, stop - begin)
                sums[:] = 0
                for m in range(M):
                    add_lookups(columns[m, begin:].ctypes.data, count, rounded[m].ctypes.data, sums.ctypes.data)
                if not _bound(sums, norms, begin, count, lowest, scale, step, heap[0], bounds):
                    continue
                for passed in range(_pick(bounds, count, heap[0], lanes)):
                    lane = lanes[passed]
                    if bounds[lane] < heap[0]:
                        slot = begin + lane
                        distance = _distance(table, columns, slot, base + step * np.float32(norms[slot]))
                        if distance < heap[0] and not _is_in(skipped, rows[slot]):
                            _replace_worst(heap, numbers[query], slots[query], distance, number, slot)


@njit(nogil=True, cache=True, inline="always")
def _distance(table: Any, columns: Any, slot: Any, start: Any) -> Any:
    distance = start
    for m in range(columns.shape[0]):
        distance += table[m, columns[m, slot]]
    return distance


@njit(nogil=True, cache=True, fastmath=True)
def _bound(
    sums: Any, norms: Any, begin: Any, count: Any, lowest: Any, scale: Any, step: Any, worst: Any, bounds: Any
) -> bool:
    """What each code's distance is at least (writes bounds [64]); whether any is below the worst that is kept."""
    below = 0
    for lane in range(count):
        bound = lowest + scale * np.float32(sums[lane]) + step * np.float32(norms[begin + lane])
        bounds[lane] = bound
        below += bound < worst
    return below > 0


@njit(nogil=True, cache=True, inline="always")
def _pick(bounds: Any, count: Any, worst: Any, lanes: Any) -> Any:
    """Which of the bounds are below the worst (writes lanes [64]), and how many; no branch that is hard to predict."""
    picked = 0
    for lane in range(count):
        lanes[picked] = lane
        picked += bounds[lane] < worst
    return picked


@njit(nogil=True, cache=True, fastmath=True)
def _round_down(table: Any, rounded: Any) -> Any:
    """table [M, K] as bytes (writes rounded [M, 256]): Σ of its rows' entries ≥ least + scale · Σ of their bytes."""
    M, K = table.shape
    lows = np.empty(M, np.float32)
    least, widest = np.float32(0), np.float32(0)
    for m in range(M):
        low, high = table[m, 0], table[m, 0]
        for k in range(1, K):
            low, high = min(low, table[m, k]), max(high, table[m, k])
        lows[m] = low
        least += low
        widest = max(widest, high - low)
    scale = widest / np.float32(255)
    inverse = np.float32(0) if scale == 0 else np.float32(1) / scale
    for m in range(M):
        for k in range(K):
            rounded[m, k] = np.uint8(np.int32(min(np.float32(255), (table[m, k] - lows[m]) * inverse)))
    return least, scale


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


@njit(nogil=True, cache=True)
def _in_order(distances: Any, numbers: Any, slots: Any) -> None:
    """Sort each query's candidates, nearest first (writes distances, numbers, slots [q, s])."""
    for query in range(distances.shape[0]):
        order = np.argsort(distances[query])
        distances[query] = distances[query][order]
        numbers[query] = numbers[query][order]
        slots[query] = slots[query][order]
