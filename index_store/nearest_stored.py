"""The nearest of some stored vectors, in one compiled call for a batch of queries instead of ten array operations."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index_store.answers import Float32

COMPILED = ("float32", "uint8", "int8")
SQUARED, PRODUCT, NORMALISED = 0, 1, 2
"""Squared L2, less the inner product, squared L2 of stored vectors at length 1."""


def way_of_comparing(distance: str, dtype: str, normalises_late: bool) -> int | None:
    """One of these for a collection's distance and what it stores; None where it is not compiled."""
    if distance not in ("Euclid", "Cosine", "Dot") or dtype not in COMPILED:
        return None
    return NORMALISED if normalises_late else PRODUCT if distance == "Dot" else SQUARED


def nearest_stored_plain(
    kind: int, queries: Float32, rows: NDArray[np.int64], stored: NDArray[np.generic], wanted: int
) -> tuple[Float32, NDArray[np.int64]]:
    """The `wanted` nearest of rows [q, s], and their distances, nearest first; of equals the earlier place.

    stored [c, dim]: the vectors of those rows that are not −1, one after another. Absent ones come last, at infinity.
    """
    vectors = stored.astype(np.float32)
    if kind == NORMALISED:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.full(rows.shape, np.inf, np.float32)
    own = queries[np.nonzero(rows >= 0)[0]]  # [c, dim]
    products, differences = (own * vectors).sum(axis=1), np.square(own - vectors).sum(axis=1)
    distances[rows >= 0] = -products if kind == PRODUCT else differences
    order = np.argsort(distances, axis=1, kind="stable")[:, :wanted]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


def nearest_stored(
    kind: int, queries: Float32, rows: NDArray[np.int64], stored: NDArray[np.generic], wanted: int
) -> tuple[Float32, NDArray[np.int64]]:
    """The same for what is stored as one of COMPILED."""
    shape = len(rows), min(wanted, rows.shape[1])
    distances, found = np.full(shape, np.inf, np.float32), np.full(shape, -1, np.int64)
    _nearest_into(distances, found, kind, queries, rows, stored)
    return distances, found


def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    for dtype in COMPILED:
        nearest_stored(0, np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64), np.zeros((1, 1), dtype), 1)


@njit(nogil=True, cache=True)
def _nearest_into(distances: Any, found: Any, kind: Any, queries: Any, rows: Any, stored: Any) -> None:
    at = 0
    for query in range(rows.shape[0]):
        kept = 0
        for place in range(rows.shape[1]):
            row = rows[query, place]
            if row < 0:
                continue
            distance = distance_to(kind, queries[query], stored[at])
            at += 1
            kept = insert(distances[query], found[query], kept, distance, row)


@njit(nogil=True, cache=True)
def insert(distances: Any, rows: Any, kept: Any, distance: Any, row: Any) -> Any:
    """Put a row among the `kept` nearest, if it is (writes both [s]); returns how many there are then."""
    if kept == distances.shape[0] and (kept == 0 or distance >= distances[kept - 1]):
        return kept
    here = kept if kept < distances.shape[0] else kept - 1
    kept = here + 1
    while here > 0 and distances[here - 1] > distance:
        distances[here] = distances[here - 1]
        rows[here] = rows[here - 1]
        here -= 1
    distances[here] = distance
    rows[here] = row
    return kept


# Sums in any order, and products added in one step: without that they are not eight at a time.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def distance_to(kind: Any, query: Any, vector: Any) -> Any:
    """Of a query and a stored vector, in one of the ways of comparing."""
    total = np.float32(0)
    if kind == PRODUCT:
        for d in range(vector.shape[0]):
            total -= query[d] * np.float32(vector[d])
        return total
    scale = np.float32(1)
    if kind == NORMALISED:
        for d in range(vector.shape[0]):
            total += np.float32(vector[d]) * np.float32(vector[d])
        scale = np.float32(1) / np.sqrt(total)
        total = np.float32(0)
    for d in range(vector.shape[0]):
        difference = query[d] - scale * np.float32(vector[d])
        total += difference * difference
    return total
