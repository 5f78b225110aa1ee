"""Whether a store answers as an oracle says: which points, their vectors and payloads, and who is nearest."""

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from index_store import Collection, SearchPlan, Store
from tests.builders import clustered
from tests.torture.oracle import Oracle

LIMIT = 5
THOROUGH = SearchPlan(LIMIT, nprobe=10_000, shortlist=5000, rerank=5000)
EXACT = SearchPlan(LIMIT, exact=True)


class Wrong(AssertionError):
    """The store answers something that no oracle allows."""


def check(store: Store, allowed: Sequence[Oracle]) -> None:
    """Raise Wrong unless the store is wholly as one of the oracles: the changes under way are done, or not begun."""
    found = dict[str, None]()
    for oracle in allowed:
        told = difference(store, oracle)
        if told is None:
            return
        found[told] = None
    raise Wrong(" · or ".join(found))


def difference(store: Store, oracle: Oracle) -> str | None:
    """What a store answers that the oracle does not say; None where they agree."""
    if store.collections() != sorted(oracle.collections):
        return f"collections are {store.collections()}, not {sorted(oracle.collections)}"
    for name in oracle.collections:
        told = _points_differ(store.collection(name), oracle) or _answers_differ(store.collection(name), oracle)
        if told:
            return f"'{name}': {told}"
    return None


def _points_differ(collection: Collection, oracle: Oracle) -> str | None:
    points = oracle.collections[collection.name]
    if collection.count() != len(points):
        return f"holds {collection.count()} points, not {len(points)}"
    keeps = collection.config.codes_of("default").originals == "float32"
    found = {record.id: record for record in collection.retrieve(sorted(points), True, keeps)}
    if set(found) != set(points):
        return f"lacks points {sorted(set(points) - set(map(int, found)))[:5]}"  # type: ignore[arg-type]
    for id, (vector, payload) in points.items():
        record = found[id]
        if json.dumps(record.payload or None, sort_keys=True) != json.dumps(payload or None, sort_keys=True):
            return f"point {id} has payload {record.payload}, not {payload}"
        if keeps and not np.array_equal(record.vectors["default"], vector):  # type: ignore[index]
            return f"point {id} has another vector"
    return None


@cache
def _queries(dim: int) -> NDArray[np.float32]:
    return clustered(2, dim, seed=7)


def _answers_differ(collection: Collection, oracle: Oracle) -> str | None:
    points = oracle.collections[collection.name]
    queries = _queries(next(iter(collection.config.vectors.values())).size)
    keeps = collection.config.codes_of("default").originals == "float32"
    for plan in (EXACT, THOROUGH) if keeps else (THOROUGH,):
        for query, hits in zip(queries, collection.query(queries, plan), strict=True):
            ids = [int(hit.id) for hit in hits]  # type: ignore[arg-type]
            if len(set(ids)) < len(ids) or not set(ids) <= set(points) or len(ids) != min(LIMIT, len(points)):
                return f"answers {ids} of {len(points)} points"
            if keeps:
                nearest = np.array(oracle.nearest(collection.name, query, LIMIT))
                found = np.array([hit.score**2 for hit in hits])
                if not (np.abs(found - nearest) <= 1e-3 + 1e-3 * nearest).all():
                    return f"finds {np.sqrt(found).tolist()}, nearest are {np.sqrt(nearest).tolist()}"
    return None
