"""Distances inside (smaller is nearer) and scores as users see them.

distance      inside                         score
Cosine        squared L2 of unit vectors     1 − d / 2, larger is nearer
Dot           − inner product                − d, larger is nearer
Euclid        squared L2                     √d, smaller is nearer
Manhattan     L1                             d, smaller is nearer
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.errors import InvalidPoints

_TINY = 1e-30

LONGEST = 9.2e18
"""Length of a vector: squared distances between two of these, and inner products, are within float32."""


def is_inner_product(distance: str) -> bool:
    """Whether vectors are compared by inner product rather than by squared L2."""
    return distance == "Dot"


def normalised(vectors: Float32) -> Float32:
    """Vectors [n, dim] at length 1, or InvalidPoints naming the first that has no direction."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))  # [n]
    if len(norms) and norms.min() < _TINY:
        raise InvalidPoints(
            f"Vector {int(norms.argmin())} of the request is zero: it has no direction, and Cosine compares directions."
        )
    return np.asarray(vectors / norms[:, None], np.float32)


def comparable(vectors: Float32) -> Float32:
    """Vectors [n, dim] as they are, or InvalidPoints naming the longest if distances to it may not be numbers."""
    squares = np.einsum("nd,nd->n", vectors, vectors)  # [n], infinite beyond float32
    if len(squares) and squares.max() > LONGEST**2:
        place = int(squares.argmax())
        length = np.linalg.norm(vectors[place].astype(np.float64))
        raise InvalidPoints(
            f"Vector {place} of the request has a length of {length:.2g}; beyond {LONGEST:.2g} distances are no "
            "float32 numbers any more. Scale all vectors down."
        )
    return vectors


def distances(distance: str, queries: Float32, vectors: Float32) -> Float32:
    """Each query to each vector, [q, n], by matrix products; near-equal vectors lose digits: see `direct_distances`."""
    if distance == "Manhattan":
        return np.asarray(faiss.pairwise_distances(queries, vectors, faiss.METRIC_L1), np.float32)
    products: Float32 = queries @ vectors.T  # [q, n]
    if is_inner_product(distance):
        return -products
    products *= -2
    products += np.einsum("nd,nd->n", vectors, vectors)
    products += np.einsum("qd,qd->q", queries, queries)[:, None]
    return products


def direct_distances(distance: str, queries: Float32, vectors: Float32) -> Float32:
    """Each query to its own candidates, [q, s] for vectors [q, s, dim], from the differences themselves."""
    if is_inner_product(distance):
        return np.asarray(-np.einsum("qd,qsd->qs", queries, vectors))
    differences = vectors - queries[:, None, :]
    if distance == "Manhattan":
        return np.asarray(np.abs(differences).sum(axis=2))
    return np.asarray(np.einsum("qsd,qsd->qs", differences, differences))


def nearness(distance: str, queries: Float32, vectors: Float32) -> Float32:
    """Each query to each vector, [q, n], larger is nearer: cosine, inner product, or less the (squared) distance."""
    inside = distances(distance, queries, vectors)
    return np.asarray(1 - inside / 2 if distance == "Cosine" else -inside, np.float32)


def scores(distance: str, inside: NDArray[np.floating]) -> NDArray[np.float64]:
    """What users see for distances inside."""
    precise = inside.astype(np.float64)
    if distance == "Cosine":
        precise = 1 - precise / 2
    elif distance == "Euclid":
        precise = np.sqrt(np.maximum(precise, 0))
    elif distance == "Dot":
        precise = -precise
    return precise


def reaches(distance: str, score: float, threshold: float) -> bool:
    """Whether a score is at least as near as a threshold."""
    return score <= threshold if distance in ("Euclid", "Manhattan") else score >= threshold
