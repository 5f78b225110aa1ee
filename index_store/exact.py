"""Exact search over originals: pending rows, collections without a model, and queries that ask for it.

Chunks are compared by matrix products, which lose digits between near-equal vectors; so a few more than wanted are
kept, and those are compared again by their differences.
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
    """The `wanted` nearest rows of `pieces` to each query [q, dim]; `as_searched` gives stored vectors as float32."""
    kept = nothing(len(queries))
    vectors = np.zeros((len(queries), 0, queries.shape[1]), np.float32)  # [q, s, dim], of the rows kept
    for first, stored in pieces:
        for begin in range(0, len(stored), chunk := max(1, CHUNK_FLOATS // max(queries.shape[1], len(queries)))):
            some = as_searched(stored[begin : begin + chunk])
            kept, vectors = _with_chunk(
                kept, vectors, distance, queries, first + begin, some, skipped, wanted + KEPT_BESIDES
            )
    distances = np.where(kept.rows < 0, np.inf, metric.direct_distances(distance, queries, vectors))
    return Found(distances.astype(np.float32), kept.rows).merged(nothing(len(queries)), wanted)


def _with_chunk(
    kept: Found,
    vectors: Float32,
    distance: str,
    queries: Float32,
    first: int,
    some: Float32,
    skipped: RowSet,
    count: int,
) -> tuple[Found, Float32]:
    """What is kept once the rows from `first` on, `some` [n, dim], have been looked at, and their vectors."""
    rows = np.flatnonzero(~skipped.between(first, first + len(some)))
    if not len(rows):
        return kept, vectors
    some = some if len(rows) == len(some) else some[rows]
    distances = metric.distances(distance, queries, some)  # [q, n]
    if distances.shape[1] > count:
        best = np.argpartition(distances, count - 1, axis=1)[:, :count]
    else:
        best = np.tile(np.arange(distances.shape[1]), (len(queries), 1))
    joined = np.concatenate([kept.distances, np.take_along_axis(distances, best, axis=1)], axis=1)
    order = np.argsort(joined, axis=1, kind="stable")[:, :count]
    all_rows = np.concatenate([kept.rows, first + rows[best]], axis=1)
    all_vectors = np.concatenate([vectors, some[best]], axis=1)
    return (
        Found(np.take_along_axis(joined, order, axis=1), np.take_along_axis(all_rows, order, axis=1)),
        np.take_along_axis(all_vectors, order[:, :, None], axis=1),
    )
