"""`cascade.distances` in one Numba function: the steps of its candidates, and who of them goes on."""

from typing import Any

import numpy as np
from numba import njit

from index_store.directions import TINY
from model.kernels.decoding import advance, room_for
from model.kernels.instructions import CHUNK, ROWS


@njit(nogil=True, cache=True)
def distances_into(
    out: Any, queries: Any, firsts: Any, symbols: Any, starts: Any, tables: Any, after: Any, kept: Any,
    by_product: bool, length: float, packed: Any,
) -> None:  # fmt: skip
    """Writes out [c] as `cascade.distances_plain` says.

    firsts int64 [q + 1], where each query's codes begin · symbols int64 [c, M] · starts [c, dim], or none
    tables [M, K, dim], additive, normalised · length: 0 where vectors have several
    """
    count, dim = symbols.shape[0], queries.shape[1]
    held, alive = np.zeros((count, packed.base.shape[2]), np.float32), np.arange(count)
    if len(starts):
        held[:, :dim] = starts
    found, vector = np.empty(count, np.float32), np.empty(dim, np.float32)
    begins, done = firsts.copy(), 0
    for stage in range(len(after) + 1):
        stop = after[stage] if stage < len(after) else symbols.shape[1]
        _advance_all(held, alive, begins[-1], symbols, done, stop, packed)
        done, moved = stop, 0
        for query in range(len(queries)):
            begin, end = begins[query], begins[query + 1]
            for row in range(begin, end):
                _estimate_into(vector, held[row], symbols[alive[row]], stop, tables, length, packed)
                found[row] = _distance(queries[query], vector, by_product)
            begins[query] = moved
            moved += move_nearest(held, alive, found, begin, end, kept[stage] if stage < len(after) else count, moved)
        begins[-1] = moved
    out[:] = np.inf
    for row in range(begins[-1]):
        out[alive[row]] = found[row]


@njit(nogil=True, cache=True)
def _advance_all(held: Any, alive: Any, count: Any, symbols: Any, first: int, stop: Any, packed: Any) -> None:
    """Steps first to stop − 1 of the first `count` rows held [c, D], those of the codes `alive`."""
    rows_padded = min(CHUNK, (count + ROWS - 1) // ROWS * ROWS)
    decoded, own = np.zeros((rows_padded, held.shape[1]), np.float32), np.empty(rows_padded, np.int64)
    z, left, inner, hidden = room_for(rows_padded, packed)
    for begin in range(0, count, CHUNK):
        rows = min(CHUNK, count - begin)
        decoded[:rows] = held[begin : begin + rows]
        for m in range(first, stop):
            for row in range(rows):
                own[row] = symbols[alive[begin + row], m]
            advance(decoded, z, left, inner, hidden, own, rows, m, packed)
        held[begin : begin + rows] = decoded[:rows]


@njit(nogil=True, cache=True)
def _estimate_into(
    vector: Any, decoded: Any, symbols: Any, after: int, tables: Any, length: float, packed: Any
) -> None:
    """What is decoded of a code, and the tables' rows for its other steps, in the vectors' units (writes vector)."""
    dim = vector.shape[0]
    vector[:] = decoded[:dim]
    for m in range(after, tables.shape[0]):
        added = tables[m, symbols[m]]
        for d in range(dim):
            vector[d] += added[d]
    squared = np.float32(0)
    for d in range(dim):
        vector[d] = vector[d] * np.float32(packed.std) + packed.mean[d]
        squared += vector[d] * vector[d]
    if length:
        factor = np.float32(length) / np.sqrt(max(squared, np.float32(TINY)))
        for d in range(dim):
            vector[d] *= factor


@njit(nogil=True, cache=True)
def _distance(query: Any, vector: Any, by_product: bool) -> Any:
    total = np.float32(0)
    for d in range(len(query)):
        if by_product:
            total -= query[d] * vector[d]
        else:
            total += (query[d] - vector[d]) * (query[d] - vector[d])
    return total


@njit(nogil=True, cache=True)
def move_nearest(held: Any, alive: Any, found: Any, begin: Any, end: Any, kept: Any, to: Any) -> Any:
    """Move the `kept` nearest of the rows from begin to end to where `to` is, at most begin; returns how many they are.

    They stay in their order; of equals the earlier ones go.
    """
    count = end - begin
    worst = np.float32(np.inf) if kept >= count else np.sort(found[begin:end])[kept - 1]
    equal, moved = min(kept, count), to
    for row in range(begin, end):
        equal -= found[row] < worst
    for row in range(begin, end):
        if found[row] > worst or (found[row] == worst and equal == 0):
            continue
        equal -= found[row] == worst
        held[moved], alive[moved], found[moved] = held[row], alive[row], found[row]
        moved += 1
    return moved - to
