"""What recall is left: a collection's own points as queries, each without itself, against exact search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.holdings import Holdings
from index_store.plan import SearchPlan, SearchTrace
from index_store.planned_search import nearest_rows
from index_store.vector_index import VectorIndex

SAMPLE = 200


@dataclass(frozen=True)
class Recall:
    """Of the `limit` exactly nearest points the share that is found, on average over a sample of its own points.

    with_defaults  as queries are answered by default · from_codes  without rescoring by originals
    """

    limit: int
    sample: int
    with_defaults: float
    from_codes: float


def of_own_points(held: Holdings, index: VectorIndex, limit: int = 10) -> Recall | None:
    """Recall at `limit`; None without originals to compare with, or with too few points."""
    view = held.views[index.name]
    live = np.flatnonzero(~view.dead.between(0, view.stop))
    if not index.keeps_originals or len(live) <= limit:
        return None
    rows = live[np.unique(np.linspace(0, len(live) - 1, min(len(live), SAMPLE), dtype=np.int64))]
    queries = index.forms.as_searched(index.originals.read(rows))

    def nearest(plan: SearchPlan) -> NDArray[np.int64]:
        found = nearest_rows(index.searched, view, queries, plan, None, len(live), SearchTrace()).rows
        others = np.argsort(found == rows[:, None], axis=1, kind="stable")[:, :limit]  # itself comes last
        return np.take_along_axis(found, others, axis=1)

    true = nearest(SearchPlan(limit + 1, exact=True))
    by_default, from_codes = (nearest(SearchPlan(limit + 1, rescore=rescore)) for rescore in (None, False))
    return Recall(limit, len(rows), _share_found(by_default, true), _share_found(from_codes, true))


def _share_found(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(own, some).mean() for own, some in zip(true, found, strict=True)]))
