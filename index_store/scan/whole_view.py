"""The additive scan of all segments of a view in one compiled function, which other compiled functions call.

Where `cpu.py` takes the segments one after another, this takes the lists, nearest first, and of each what every segment
holds: the worst that is kept falls sooner, so fewer candidates are kept for a while only. Codes are read eight steps at
a time, and four sums do not wait for each other. Codes of bytes, on processors without `byte_lookups`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from index_store.scan import processor
from index_store.scan.cpu import _is_in
from index_store.scan.heaps import in_order, replace_worst
from index_store.scan.prefetching import LINE, _prefetch_line
from index_store.segment import Segment

AHEAD = 2
"""Lists whose codes are asked for before they are read: a list of few codes takes as long as memory does."""

PICKED_AHEAD = 16
"""Codes ahead that memory is asked for, where they are picked: they lie a cache line or more apart."""

SLOT_BITS = 40
"""A place is the number of a segment above, and a slot below."""

_WORD = 8


class Addresses(NamedTuple):
    """Where the arrays of segments lie, and how to read their norms; valid as long as the segments live.

    arrays uint64 [segments, 4], of offsets, codes, rows and norms · counts int64 [segments], of codes
    norms float32 [segments, 2], the smallest and the step
    """

    arrays: NDArray[np.uint64]
    counts: NDArray[np.int64]
    norms: NDArray[np.float32]


def fits(segments: Sequence[Segment]) -> bool:
    """Whether segments can be scanned so."""
    return not processor.has_byte_lookups() and all(one.codes.dtype == np.uint8 for one in segments)


def addresses_of(segments: Sequence[Segment]) -> Addresses:
    """Those of segments that `fits` allows."""
    arrays = [
        [one.offsets.ctypes.data, one.codes.ctypes.data, one.rows.ctypes.data, one.norms.ctypes.data]
        for one in segments
    ]
    norms = [[one.norm_low, one.norm_step] for one in segments]
    counts = [len(one) for one in segments]
    return Addresses(
        np.array(arrays, np.uint64).reshape(-1, 4),
        np.array(counts, np.int64),
        np.array(norms, np.float32).reshape(-1, 2),
    )


def _pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.uintp), generate


at_address: Any = intrinsic(_pointer)


@njit(nogil=True, cache=True)
def scan_lists(
    heap: Any,
    places: Any,
    lists: Any,
    bases: Any,
    table: Any,
    steps: int,
    codewords: int,
    list_count: int,
    arrays: Any,
    counts: Any,
    norms: Any,
    with_norms: bool,
    skipped: Any,
) -> None:
    """The nearest codes of some lists to one query, nearest first (writes heap, places [s]; absent: infinity, −1).

    lists int64 [p], −1: none · bases float32 [p] · table float32 [M · K] · list_count: offsets are one more
    """
    heap[:] = np.inf
    places[:] = -1
    for place in range(lists.shape[0]):
        if place + AHEAD < lists.shape[0] and lists[place + AHEAD] >= 0:
            _ask_for(lists[place + AHEAD], steps, list_count, arrays)
        one = lists[place]
        if one < 0:
            continue
        for number in range(arrays.shape[0]):
            offsets = carray(at_address(arrays[number, 0]), list_count + 1, np.int64)
            begin, stop = offsets[one], offsets[one + 1]
            if begin == stop:
                continue
            low = norms[number, 0] if with_norms else np.float32(0)
            step = norms[number, 1] if with_norms else np.float32(0)
            stored = carray(at_address(arrays[number, 3]), counts[number], np.uint16)
            rows = carray(at_address(arrays[number, 2]), counts[number], np.uint32)
            above = number << SLOT_BITS
            first = bases[place] + low
            if steps % _WORD == 0 and codewords == 256:
                words = carray(at_address(arrays[number, 1]), (counts[number], steps // _WORD), np.uint64)
                _offer_words(heap, places, begin, stop, above, first, step, words, stored, rows, table, skipped)
            else:
                codes = carray(at_address(arrays[number, 1]), (counts[number], steps), np.uint8)
                _offer_bytes(
                    heap, places, begin, stop, above, first, step, codes, stored, rows, table, codewords, skipped
                )
    in_order(heap, places)


@njit(nogil=True, cache=True)
def row_at(place: Any, arrays: Any, counts: Any) -> Any:
    """The row of a place, −1 for none."""
    if place < 0:
        return np.int64(-1)
    number = place >> SLOT_BITS
    rows = carray(at_address(arrays[number, 2]), counts[number], np.uint32)
    return np.int64(rows[place - (number << SLOT_BITS)])


@njit(nogil=True, cache=True)
def _ask_for(one: Any, steps: int, list_count: int, arrays: Any) -> None:
    for number in range(arrays.shape[0]):
        offsets = carray(at_address(arrays[number, 0]), list_count + 1, np.int64)
        codes, norms = np.int64(arrays[number, 1]), np.int64(arrays[number, 3])
        for address in range(codes + offsets[one] * steps, codes + offsets[one + 1] * steps, LINE):
            _prefetch_line(address)
        for address in range(norms + offsets[one] * 2, norms + offsets[one + 1] * 2, LINE):
            _prefetch_line(address)


@njit(nogil=True, cache=True)
def _offer_words(
    heap: Any, places: Any, begin: Any, stop: Any, above: Any, first: Any, step: Any, words: Any, norms: Any,
    rows: Any, table: Any, skipped: Any,
) -> None:  # fmt: skip
    worst = heap[0]
    for slot in range(np.uint64(begin), np.uint64(stop)):  # unsigned: no index is below 0, and none is looked at for it
        distance = _sum_of_word_codes(words, slot, table, first + step * np.float32(norms[slot]))
        if distance < worst and not _is_in(skipped, rows[slot]):
            replace_worst(heap, places, distance, above + np.int64(slot), heap.shape[0])
            worst = heap[0]


@njit(nogil=True, cache=True)
def _sum_of_word_codes(words: Any, slot: Any, table: Any, start: Any) -> Any:
    """start + Σ_m table[m, code of the slot], in four sums that do not wait for each other."""
    low_byte, at = np.uint64(255), np.uint64(0)
    a, b, c, d = start, np.float32(0), np.float32(0), np.float32(0)
    for word in range(words.shape[1]):
        symbols = words[slot, np.uint64(word)]
        a += table[at + (symbols & low_byte)]
        b += table[at + np.uint64(256) + (symbols >> np.uint64(8) & low_byte)]
        c += table[at + np.uint64(512) + (symbols >> np.uint64(16) & low_byte)]
        d += table[at + np.uint64(768) + (symbols >> np.uint64(24) & low_byte)]
        a += table[at + np.uint64(1024) + (symbols >> np.uint64(32) & low_byte)]
        b += table[at + np.uint64(1280) + (symbols >> np.uint64(40) & low_byte)]
        c += table[at + np.uint64(1536) + (symbols >> np.uint64(48) & low_byte)]
        d += table[at + np.uint64(1792) + (symbols >> np.uint64(56))]
        at += np.uint64(2048)
    return (a + b) + (c + d)


@njit(nogil=True, cache=True)
def _offer_bytes(
    heap: Any, places: Any, begin: Any, stop: Any, above: Any, first: Any, step: Any, codes: Any, norms: Any,
    rows: Any, table: Any, codewords: int, skipped: Any,
) -> None:  # fmt: skip
    worst = heap[0]
    for slot in range(np.uint64(begin), np.uint64(stop)):
        distance = first + step * np.float32(norms[slot])
        for m in range(codes.shape[1]):
            distance += table[np.uint64(m) * np.uint64(codewords) + codes[slot, np.uint64(m)]]
        if distance < worst and not _is_in(skipped, rows[slot]):
            replace_worst(heap, places, distance, above + np.int64(slot), heap.shape[0])
            worst = heap[0]


@njit(nogil=True, cache=True)
def scan_picked(
    heap: Any, places: Any, picked: Any, picked_counts: Any, bases: Any, table: Any, steps: int, codewords: int,
    list_count: int, arrays: Any, counts: Any, norms: Any, with_norms: bool,
) -> None:  # fmt: skip
    """The nearest of picked codes to one query, nearest first (writes heap, places [s]; absent: infinity, −1).

    picked uint64 [segments], where each one's slots uint32 lie, ascending · picked_counts int64 [segments]
    bases float32 [lists], or none · the rest as in `scan_lists`
    """
    heap[:] = np.inf
    places[:] = -1
    for number in range(arrays.shape[0]):
        if not picked_counts[number]:
            continue
        slots = carray(at_address(picked[number]), picked_counts[number], np.uint32)
        offsets = carray(at_address(arrays[number, 0]), list_count + 1, np.int64)
        stored = carray(at_address(arrays[number, 3]), counts[number], np.uint16)
        low = norms[number, 0] if with_norms else np.float32(0)
        step = norms[number, 1] if with_norms else np.float32(0)
        above = number << SLOT_BITS
        if steps % _WORD == 0 and codewords == 256:
            words = carray(at_address(arrays[number, 1]), (counts[number], steps // _WORD), np.uint64)
            _offer_picked_words(heap, places, slots, above, low, step, words, stored, table, bases, offsets)
        else:
            codes = carray(at_address(arrays[number, 1]), (counts[number], steps), np.uint8)
            _offer_picked_bytes(heap, places, slots, above, low, step, codes, stored, table, codewords, bases, offsets)
    in_order(heap, places)


@njit(nogil=True, cache=True)
def _offer_picked_words(
    heap: Any, places: Any, slots: Any, above: Any, low: Any, step: Any, words: Any, norms: Any, table: Any,
    bases: Any, offsets: Any,
) -> None:  # fmt: skip
    worst, own, last = heap[0], 0, np.uint64(slots.shape[0] - 1)
    at_words, at_norms, size = np.uint64(words.ctypes.data), np.uint64(norms.ctypes.data), np.uint64(8 * words.shape[1])
    for place in range(np.uint64(slots.shape[0])):
        coming = np.uint64(slots[min(place + np.uint64(PICKED_AHEAD), last)])
        _prefetch_line(at_words + coming * size)
        _prefetch_line(at_norms + coming * np.uint64(2))
        slot = np.uint64(slots[place])
        start = low + step * np.float32(norms[slot])
        if bases.shape[0]:
            while np.uint64(offsets[own + 1]) <= slot:
                own += 1
            start += bases[own]
        distance = _sum_of_word_codes(words, slot, table, start)
        if distance < worst:
            replace_worst(heap, places, distance, above + np.int64(slot), heap.shape[0])
            worst = heap[0]


@njit(nogil=True, cache=True)
def _offer_picked_bytes(
    heap: Any, places: Any, slots: Any, above: Any, low: Any, step: Any, codes: Any, norms: Any, table: Any,
    codewords: int, bases: Any, offsets: Any,
) -> None:  # fmt: skip
    worst, own = heap[0], 0
    for place in range(slots.shape[0]):
        slot = np.uint64(slots[place])
        distance = low + step * np.float32(norms[slot])
        if bases.shape[0]:
            while np.uint64(offsets[own + 1]) <= slot:
                own += 1
            distance += bases[own]
        for m in range(codes.shape[1]):
            distance += table[np.uint64(m) * np.uint64(codewords) + codes[slot, np.uint64(m)]]
        if distance < worst:
            replace_worst(heap, places, distance, above + np.int64(slot), heap.shape[0])
            worst = heap[0]
