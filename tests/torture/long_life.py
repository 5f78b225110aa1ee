"""A life of very many operations, merges and restarts on the way; in the end it is compared with a fresh build.

Then the collection must hold what a dictionary holds, find neighbours as well as one that was made of the same vectors
in one go (recall@10 within half a point), and answer the same query on the same state the same.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index_store import CodesConfig, Collection, CollectionConfig, Hit, SearchPlan, Store, VectorConfig
from tests.builders import clustered, tiny_codec

DIM, LIMIT, QUERIES = 16, 10, 500
BATCH = 100
RESTARTS = 3
WITHIN = 0.005
PLAN = SearchPlan(LIMIT, nprobe=4, shortlist=100, rerank=50, rescore=False)
COARSE = 8
CONFIG = CollectionConfig({"default": VectorConfig(DIM, "Euclid")}, {"default": CodesConfig("tiny")})


@dataclass
class Life:
    """What the collection must hold, and how far the life is."""

    seed: int
    operations: int = 0
    points: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    merges: int = 0
    restarts: int = 0


def lived(folder: Path, seed: int, operations: int, ids: int) -> Life:
    """A life of so many operations over so many ids, in an empty folder; checked at the end. Raises AssertionError."""
    life = Life(seed)
    while life.operations < operations:
        stop = min(operations, life.operations + max(1, operations // (RESTARTS + 1)))
        store = _opened(folder)
        try:
            _go_on(store.collection("c"), life, stop, ids)
        finally:
            store.close()
        life.restarts += 1
    store = _opened(folder)
    try:
        assert life.merges and life.restarts > RESTARTS
        _check(store, life)
    finally:
        store.close()
    return life


def _opened(folder: Path) -> Store:
    store = Store.open(folder / "data", threads=1)
    if not store.collections():
        store.put_model("tiny", tiny_codec(folder, dim=DIM))
        store.create_collection("c", CONFIG)
    return store


def _go_on(collection: Collection, life: Life, stop: int, ids: int) -> None:
    """Upserts of new and of known ids, and deletes, each of up to so many points; an operation is one point's."""
    while life.operations < stop:
        rng = random.Random(f"{life.seed} {life.operations}")
        chosen = rng.sample(range(ids), min(stop - life.operations, rng.randint(1, BATCH)))
        if rng.random() < 0.3:
            collection.delete(chosen)
            for id in chosen:
                life.points.pop(id, None)
        else:
            vectors = clustered(len(chosen), DIM, seed=rng.randrange(2**31))
            collection.upsert(np.array(chosen, np.uint64), {"default": vectors})
            life.points.update(zip(chosen, vectors, strict=True))
        life.operations += len(chosen)
        if rng.random() < 0.2:
            collection.encode_pending(5000)
            life.merges += collection.merge() > 0


def _check(store: Store, life: Life) -> None:
    collection = store.collection("c")
    _upkeep(collection)
    ids = np.array(sorted(life.points), np.uint64)
    vectors = np.stack([life.points[int(id)] for id in ids])
    assert collection.count() == len(ids), f"holds {collection.count()} points, not {len(ids)}"
    for place in range(0, len(ids), 1000):
        some = collection.retrieve(ids[place : place + 1000].tolist(), False, True)
        found = np.stack([record.vectors["default"] for record in some])  # type: ignore[index]
        assert np.array_equal(found, vectors[place : place + 1000]), f"vectors from id {ids[place]} on differ"
    fresh = store.create_collection("fresh", CONFIG)
    try:
        fresh.upsert(ids, {"default": vectors})
        _upkeep(fresh)
        queries = clustered(QUERIES, DIM, seed=99)
        answers = [one.query(queries, PLAN) for one in (collection, collection, fresh)]
        assert answers[0] == answers[1], "the same query on the same state is answered otherwise"
        aged, _, new = (_recall(found, ids, vectors, queries) for found in answers)
        assert aged >= new - WITHIN, f"recall@{LIMIT} is {aged:.4f}, of a fresh build {new:.4f}"
    finally:
        store.delete_collection("fresh")


def _upkeep(collection: Collection) -> None:
    while collection.encode_pending(5000):
        pass
    while collection.merge():
        pass


def _recall(
    answers: list[list[Hit]], ids: NDArray[np.uint64], vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> float:
    """The share of the true nearest, by brute force in float64, that was found."""
    hits = 0
    for query, found in zip(queries.astype(np.float64), answers, strict=True):
        distances = ((vectors.astype(np.float64) - query) ** 2).sum(axis=1)
        nearest = set(ids[np.argpartition(distances, LIMIT)[:LIMIT]].tolist())
        hits += len(nearest & {hit.id for hit in found})
    return hits / (LIMIT * len(answers))
