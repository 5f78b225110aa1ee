"""The additive scan of picked codes alone: the same distances as in `plain.py`, of the slots that are given."""

from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.scan.cpu import _distance, _replace_worst, codes_to_warm
from index_store.scan.prefetching import prefetch
from index_store.segment import laid_out

AHEAD = 16
"""Codes ahead that memory is asked for: a tenth of 262 144 codes of 16 bytes takes 0.6 ms, and 1.3 without (medians in
turn, a busy core of an AMD EPYC without AVX-512, 2026-11-21). Of codes that lie as columns the first is asked for."""


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query with a filter has to wait for it."""
    for codes in map(laid_out, codes_to_warm()):
        n, M = codes.shape
        heaps = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64)
        offer(
            0, codes.T, np.zeros(n, np.uint16), np.float32(0), np.float32(0), np.zeros(1, np.uint32),
            np.zeros(1, np.int64), np.zeros((1, 1), np.float32), np.zeros((1, M, 256), np.float32), heaps,
        )  # fmt: skip


def offer(
    number: int,
    columns: NDArray[np.unsignedinteger],
    norms: NDArray[np.uint16],
    low: np.float32,
    step: np.float32,
    slots: NDArray[np.uint32],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Float32,
    heaps: tuple[Float32, NDArray[np.int32], NDArray[np.int64]],
) -> None:
    """Offer picked codes of segment `number` to each query's heap (writes `heaps`: distances, numbers, slots [q, s]).

    columns [M, n] of the segment · slots [c] · lists [c], each slot's place in bases [q, l]; empty: place 0
    tables float32 [q, M, K]
    """
    _offer(number, columns, norms, low, step, slots, lists, bases, tables, *heaps)


@njit(nogil=True, cache=True)
def _offer(
    number: int,
    columns: Any,
    norms: Any,
    low: Any,
    step: Any,
    picked: Any,
    lists: Any,
    bases: Any,
    tables: Any,
    distances: Any,
    numbers: Any,
    slots: Any,
) -> None:
    codes = columns.T
    for query in range(distances.shape[0]):
        table, heap = tables[query], distances[query]  # [M, K], [s] with the worst on top
        for place in range(picked.shape[0]):
            if place + AHEAD < picked.shape[0]:
                coming: Any = np.int64(picked[place + AHEAD])
                prefetch(codes, coming, coming + 1)
            slot: Any = np.int64(picked[place])
            own = lists[place] if lists.shape[0] else 0
            start = bases[query, own] + low + step * np.float32(norms[slot])
            distance = _distance(table, columns, slot, start)
            if distance < heap[0]:
                _replace_worst(heap, numbers[query], slots[query], distance, number, slot)
