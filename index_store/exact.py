"""Brute force over originals: pending rows, collections without a model, and queries that ask for it.

Vectors are compared by matrix products, which lose digits between near-equal ones: so a few more rows than wanted are
kept, for the caller to compare by their differences (`search.rescore`).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from index_store import metric
from index_store.answers import Float32
from index_store.candidates import Found, nothing
from index_store.originals import Piece
from index_store.row_set import RowSet

CHUNK_FLOATS = 1 << 21
KEPT_BESIDES = 32


def nearest(
    distance: str,
    queries: Float32,
    pieces: Iterable[Piece],
    skipped: RowSet,
    wanted: int,
    as_searched: Callable[[NDArray[np.generic]], Float32],
) -> Found:
    """The `wanted` nearest rows of `pieces` to each query [q, dim], and a few more; what is `skipped` is left out.

    `as_searched` gives stored vectors as float32.
    """
    kept = nothing(len(queries))
    chunk = max(1, CHUNK_FLOATS // max(queries.shape[1], len(queries)))
    for first, stored in pieces:
        for begin in range(0, len(stored), chunk):
            some = stored[begin : begin + chunk]
            rows = np.flatnonzero(~skipped.between(first + begin, first + begin + len(some)))
            if len(rows):
                vectors = as_searched(some if len(rows) == len(some) else some[rows])
                found = _best(metric.distances(distance, queries, vectors), first + begin + rows, wanted + KEPT_BESIDES)
                kept = kept.merged(found, wanted + KEPT_BESIDES)
    return kept


def _best(distances: Float32, rows: NDArray[np.int64], count: int) -> Found:
    """The `count` smallest of distances [q, n], in any order, with their rows [n]."""
    if distances.shape[1] <= count:
        return Found(distances, np.tile(rows, (len(distances), 1)))
    best = np.argpartition(distances, count - 1, axis=1)[:, :count]
    return Found(np.take_along_axis(distances, best, axis=1), rows[best])
