"""Stores, collections and points for the tests of this room."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store import CodesConfig, Collection, CollectionConfig, SearchPlan, Store, VectorConfig
from index_store.storage import Storage
from tests.builders import clustered, tiny_codec

DIM = 16
THOROUGH = SearchPlan(10, nprobe=10_000, shortlist=2000, rerank=2000)


@contextmanager
def store_at(folder: Path, storage: Storage | None = None, max_pending: int = 200_000) -> Iterator[Store]:
    """A store that is closed in the end."""
    store = Store.open(folder / "data", threads=1, max_pending=max_pending, storage=storage)
    try:
        yield store
    finally:
        store.close()


def make_collection(
    store: Store, folder: Path, name: str = "terms", distance: str = "Euclid", lists: int | None = 8, **codes: Any
) -> Collection:
    """An empty collection with a tiny codec of so many lists (0: without IVF; None: no codec at all)."""
    if lists is not None:
        codes["model"] = f"tiny{lists}"
        if codes["model"] not in {record.name for record in store.models()}:
            store.put_model(codes["model"], tiny_codec(folder, dim=DIM, lists=lists))
    config = CollectionConfig({"default": VectorConfig(DIM, distance)}, {"default": CodesConfig(**codes)})
    return store.create_collection(name, config)


def fill(collection: Collection, n: int, first: int = 0, seed: int = 1) -> NDArray[np.float32]:
    """Write n clustered vectors with ids from `first` on; returns them."""
    vectors = clustered(n, DIM, seed)
    collection.upsert(np.arange(first, first + n, dtype=np.uint64), {"default": vectors})
    return vectors


def encode_all(collection: Collection, rows: int = 500) -> None:
    """Leave nothing pending."""
    while collection.encode_pending(rows):
        pass


def ids_of(answers: list[list[Any]]) -> list[list[Any]]:
    """The ids alone."""
    return [[hit.id for hit in hits] for hits in answers]


def nearest_ids(vectors: NDArray[np.float32], queries: NDArray[np.float32], limit: int) -> list[list[int]]:
    """The places of the nearest vectors by squared L2, in float64."""
    differences = queries[:, None].astype(np.float64) - vectors[None].astype(np.float64)
    return np.argsort((differences**2).sum(axis=2), axis=1, kind="stable")[:, :limit].tolist()
