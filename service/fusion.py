"""Several rankings made one: reciprocal ranks (RRF), or scores by their distribution (DBSF), by Qdrant's formulas."""

from collections.abc import Sequence
from dataclasses import replace

from index_store import Hit, PointId

DEFAULT_K = 2

Ranking = list[Hit]


def by_reciprocal_rank(rankings: Sequence[Ranking], k: int = DEFAULT_K, weights: Sequence[float] = ()) -> Ranking:
    """Σ 1 / ((rank + 1) / weight + k − 1) over the rankings, the largest first."""
    scores: dict[PointId, float] = {}
    first: dict[PointId, Hit] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, hit in enumerate(ranking):
            first.setdefault(hit.id, hit)
            gained = 1 / ((rank + 1) / weight + k - 1) if weight > 0 else 0.0
            scores[hit.id] = scores.get(hit.id, 0.0) + gained
    return _ranked(first, scores)


def by_distribution(rankings: Sequence[Ranking]) -> Ranking:
    """Σ of scores, of which each ranking's mean ± 3 standard deviations are stretched to 0 … 1."""
    scores: dict[PointId, float] = {}
    first: dict[PointId, Hit] = {}
    for ranking in rankings:
        for hit, score in zip(ranking, _stretched([hit.score for hit in ranking]), strict=True):
            first.setdefault(hit.id, hit)
            scores[hit.id] = scores.get(hit.id, 0.0) + score
    return _ranked(first, scores)


def _stretched(scores: list[float]) -> list[float]:
    if len(scores) < 2:
        return [0.5] * len(scores)
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5
    if deviation == 0:
        return [0.5] * len(scores)
    return [(score - (mean - 3 * deviation)) / (6 * deviation) for score in scores]


def _ranked(hits: dict[PointId, Hit], scores: dict[PointId, float]) -> Ranking:
    order = sorted(scores, key=lambda id: -scores[id])
    return [replace(hits[id], score=scores[id]) for id in order]
