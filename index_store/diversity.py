"""Maximal marginal relevance: of the nearest points, those that are not too near to one another."""

import numpy as np

from index_store import metric
from index_store.answers import Float32


def diverse(distance: str, query: Float32, vectors: Float32, diversity: float, limit: int) -> list[int]:
    """The places of `limit` of vectors [n, dim], in order: each is near the query [1, dim] and far from those before.

    diversity: from 0, nearness to the query alone, to 1, distance from one another alone.
    """
    if not len(vectors):
        return []
    if distance == "Cosine":
        query = metric.normalised(query)
    relevance = metric.nearness(distance, query, vectors)[0]  # [n]
    between = metric.nearness(distance, vectors, vectors)  # [n, n]
    chosen = [int(relevance.argmax())]
    nearest = between[chosen[0]].copy()  # [n], nearness to the nearest of those chosen
    left = np.ones(len(vectors), np.bool_)
    left[chosen[0]] = False
    while len(chosen) < min(limit, len(vectors)):
        worth = (1 - diversity) * relevance - diversity * nearest
        best = int(np.where(left, worth, -np.inf).argmax())
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, between[best])
    return chosen
