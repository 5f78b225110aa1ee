"""Points judged by their nearness to several examples: recommending, discovering, and looking within a context.

A judge takes nearnesses [e, n] of n points to e examples, larger is nearer (`metric.nearness`), and gives scores [n],
larger is better. The formulas are Qdrant's. Which points are judged: all of them where that is asked for or where there
are few, else the nearest to each of the examples that draw points near, by codes and originals as any query finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store import metric
from index_store.answers import Float32
from index_store.filters import Filter
from index_store.holdings import Holdings
from index_store.plan import FEW_SURVIVORS, SearchPlan, SearchTrace
from index_store.planned_search import nearest_rows
from index_store.row_vectors import vectors_of
from index_store.selection import live_rows
from index_store.vector_index import VectorIndex
from index_store.view import View

EPSILON = 1.1920929e-7
BLOCK_FLOATS = 1 << 22
CANDIDATES_A_HIT, LEAST_CANDIDATES = 10, 200

Judge = Callable[[Float32], Float32]


@dataclass(frozen=True)
class Examples:
    """Vectors float32 [e, dim], how nearness to them is judged, and which of them draw points near."""

    vectors: Float32
    judge: Judge
    leads: NDArray[np.int64]


def best_score(positive: Float32, negative: Float32) -> Examples:
    """The nearest positive example counts, unless a negative one is nearer: then the farther from that the better."""
    n = len(positive)

    def judge(nearness: Float32) -> Float32:
        pulled, pushed = _largest(nearness[:n]), _largest(nearness[n:])
        return np.where(pulled > pushed, _sigmoid(pulled), -_sigmoid(pushed))

    return Examples(np.concatenate([positive, negative]), judge, np.arange(n))


def sum_scores(positive: Float32, negative: Float32) -> Examples:
    """All nearness to positive examples, less all to negative ones."""
    n = len(positive)
    return Examples(
        np.concatenate([positive, negative]),
        lambda nearness: nearness[:n].sum(axis=0) - nearness[n:].sum(axis=0),
        np.arange(n),
    )


def discovery(target: Float32, positive: Float32, negative: Float32) -> Examples:
    """First on how many pairs' positive side, then by nearness to the target [1, dim]; pairs [p, dim] twice."""
    n = len(positive)

    def judge(nearness: Float32) -> Float32:
        sides = np.sign(nearness[1 : 1 + n] - nearness[1 + n :]).sum(axis=0)
        return np.asarray(sides + _sigmoid(nearness[0]), np.float32)

    return Examples(np.concatenate([target, positive, negative]), judge, np.arange(1 + n))


def context(positive: Float32, negative: Float32) -> Examples:
    """Zero on the positive side of all pairs [p, dim], less the farther on the negative side of some."""
    n = len(positive)

    def judge(nearness: Float32) -> Float32:
        loss = np.minimum(nearness[:n] - nearness[n:] - np.float32(EPSILON), 0)
        return np.asarray(_fast_sigmoid(loss).sum(axis=0), np.float32)

    return Examples(np.concatenate([positive, negative]), judge, np.arange(n))


def best_rows(
    held: Holdings, index: VectorIndex, examples: Examples, plan: SearchPlan, condition: Filter | None
) -> tuple[NDArray[np.int64], Float32]:
    """The best `limit` + `offset` rows and their scores, best first."""
    prepared = index.forms.prepare_queries(examples.vectors)
    view, survivors = held.look(index.name, condition)
    few = (held.count if survivors is None else len(survivors)) <= FEW_SURVIVORS
    wanted = plan.limit + plan.offset
    if plan.exact or view.coding is None or few or not len(examples.leads):
        rows = _rows(_live(held) if survivors is None else survivors.rows, view)
    else:
        deep = replace(plan, limit=max(LEAST_CANDIDATES, CANDIDATES_A_HIT * wanted), offset=0)
        trace = SearchTrace()
        found = nearest_rows(index.searched, view, prepared[examples.leads], deep, survivors, held.count, trace)
        rows = np.unique(found.rows[found.rows >= 0])
    scores = np.empty(len(rows), np.float32)
    block = max(1, BLOCK_FLOATS // max(prepared.shape))
    for begin in range(0, len(rows), block):
        vectors = vectors_of(index, rows[begin : begin + block], view)
        scores[begin : begin + block] = examples.judge(metric.nearness(index.config.distance, prepared, vectors))
    best = np.argsort(-scores, kind="stable")[:wanted]
    return rows[best], scores[best]


def _live(held: Holdings) -> BitMap:
    with held.points.snapshot() as reader:
        return live_rows(reader)


def _rows(chosen: BitMap, view: View) -> NDArray[np.int64]:
    """Those of the rows that a view shows and that have this vector."""
    rows = np.array(chosen.to_array(), np.int64)
    rows = rows[rows < view.stop]
    return rows[~view.dead.contains(rows)]


def _largest(nearness: Float32) -> Float32:
    return nearness.max(axis=0) if len(nearness) else np.full(nearness.shape[1], -np.inf, np.float32)


def _sigmoid(values: Float32) -> Float32:
    return 0.5 * (_fast_sigmoid(values) + 1)


def _fast_sigmoid(values: Float32) -> Float32:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), values / (1 + np.abs(values)), values)
