"""A collection: points and their vector indexes; the one class that the service calls."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.answers import CollectionInfo, Float32, Hit, Payload, PointId, Record
from index_store.config import DEFAULT_VECTOR, CollectionConfig
from index_store.filters import Filter
from index_store.plan import SearchPlan, SearchTrace


class Collection:
    """Points, found again by their vectors. Every method may be called from any thread."""

    name: str
    config: CollectionConfig

    def upsert(
        self,
        ids: Sequence[PointId] | NDArray[np.uint64],
        vectors: Mapping[str, Float32],
        payloads: Sequence[Payload | None] | None = None,
    ) -> int:
        """Write points; returns the operation's id once they are durable and queries see them."""
        raise NotImplementedError

    def delete(self, ids: Sequence[PointId] | NDArray[np.uint64]) -> int:
        """Delete points; ids that are not there are no error. Returns the operation's id."""
        raise NotImplementedError

    def delete_matching(self, condition: Filter) -> int:
        """Delete the points that a filter matches. Returns the operation's id."""
        raise NotImplementedError

    def largest_id(self) -> int | None:
        """The largest integer id; None when there is none."""
        raise NotImplementedError

    def retrieve(
        self, ids: Sequence[PointId], with_payload: bool = True, with_vector: bool = False
    ) -> list[Record]:
        """The points with these ids, in this order; those that are not there are left out."""
        raise NotImplementedError

    def count(self, condition: Filter | None = None) -> int:
        """How many points there are, or match."""
        raise NotImplementedError

    def query(
        self,
        queries: Float32,
        plan: SearchPlan,
        using: str = DEFAULT_VECTOR,
        filter: Filter | None = None,
        with_payload: bool = False,
        with_vector: bool = False,
        trace: SearchTrace | None = None,
    ) -> list[list[Hit]]:
        """The nearest points to each of the queries float32 [q, dim], nearest first."""
        raise NotImplementedError

    def info(self, using: str = DEFAULT_VECTOR) -> CollectionInfo:
        """What it holds and costs."""
        raise NotImplementedError

    def encode_pending(self, max_rows: int) -> int:
        """Encode one batch of the oldest pending rows; returns how many rows left the pending state."""
        raise NotImplementedError

    def merge(self) -> int:
        """One step of compaction where it is worth it; returns how many segments went into it."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop the writer and close the files."""
        raise NotImplementedError
