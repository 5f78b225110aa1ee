"""The lists of a codec that has very many of them (2^16 and more): its own centroids, found through its graph.

Most of so many lists are empty in all but huge collections. What a query sees of them are the occupied ones: as few as
a collection has points, compared one by one while they are few. Many are found through the graph over all lists, which
gives only occupied ones; where no graph is there yet, or more are asked for than it is fast at, all are compared.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.directions import at_length
from index_store.segment import Segment
from model import Codec, NetworkCodec
from model import coarse as coarse_quantiser

if TYPE_CHECKING:
    from model.coarse import CoarseQuantiser
    from model.coarse_there import CoarseThere

MOST_BY_GRAPH = 1 << 14
"""Lists that a graph is walked for; comparing all is as fast beyond."""


class ManyLists:
    """All lists of a codec. Their centroids and the graph are the codec's, for all its collections."""

    def __init__(self, codec: NetworkCodec, by_inner_product: bool) -> None:
        self._codec, self._by_inner_product = codec, by_inner_product
        self._seen: OccupiedLists | None = None

    def __len__(self) -> int:
        return self._codec.ivf_lists

    def seen_in(self, segments: tuple[Segment, ...]) -> OccupiedLists:
        """What a query sees of them; found anew when the segments change."""
        if self._seen is None or self._seen.segments is not segments:
            self._seen = OccupiedLists(self._codec, self._by_inner_product, segments)
        return self._seen

    def ram_bytes(self) -> int:
        """The bytes beside those of the codec."""
        return 0 if self._seen is None else self._seen.ram_bytes()


class OccupiedLists:
    """The lists that hold codes in some segments."""

    def __init__(self, codec: NetworkCodec, by_inner_product: bool, segments: tuple[Segment, ...]) -> None:
        assert codec.coarse is not None
        self._weights, self._coarse = codec.weights, codec.coarse
        self._by_inner_product, self.segments = by_inner_product, segments

    def __len__(self) -> int:
        return len(self._numbers)

    def probe(self, queries: Float32, nprobe: int) -> NDArray[np.int64]:
        """The occupied lists to read for each query, nearest first, [q, nprobe]; −1 where a graph found fewer."""
        if nprobe >= len(self):
            return np.tile(self._numbers, (len(queries), 1))
        if self._few is not None:
            return np.asarray(self._numbers[self._compared(self._few, queries, nprobe)])
        walked = math.ceil(nprobe * len(self._coarse) / len(self))
        graph = self._coarse.graph
        if graph is None or walked > MOST_BY_GRAPH:
            return self._compared(self._coarse, queries, min(walked, len(self._coarse)))
        x = queries if self._by_inner_product else self._weights.normalise(queries)
        return graph.nearest_of(x, nprobe, walked, self._bits, self._by_inner_product)

    def products(self, queries: Float32, probed: NDArray[np.int64]) -> Float32:
        """⟨query, centroid⟩ of each probed list, [q, p]; anything where there is none."""
        pairs = zip(np.maximum(probed, 0), queries, strict=True)
        found = np.stack([self._coarse.rows(lists) @ query for lists, query in pairs])
        return np.asarray(self._weights.std * found + (queries @ self._weights.mean)[:, None], np.float32)

    def cosines(self, queries: Float32, lists: NDArray[np.int64]) -> Float32:
        """The cosine of each query at length 1, [q, dim], and the centroid of its own one of `lists` [q]."""
        centroids = self._weights.restore(self._coarse.rows(np.maximum(lists, 0)))
        products = np.einsum("qd,qd->q", queries, at_length(1, centroids))
        return np.asarray(products, np.float32)

    def ram_bytes(self) -> int:
        """The bytes beside those of the codec."""
        copied = 0 if self._few is None else sum(one.nbytes for one in self._few.own_arrays)
        return int(self._numbers.nbytes + self._bits.nbytes + copied)

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        occupied = np.zeros(len(self._coarse), bool)
        for one in self.segments:
            occupied |= np.diff(one.offsets) > 0
        return np.flatnonzero(occupied)

    @cached_property
    def _bits(self) -> NDArray[np.uint8]:
        occupied = np.zeros(len(self._coarse), bool)
        occupied[self._numbers] = True
        return np.packbits(occupied, bitorder="little")

    @cached_property
    def _few(self) -> CoarseQuantiser | CoarseThere | None:
        """The occupied centroids by themselves, where these are few."""
        if len(self) >= coarse_quantiser.MANY_LISTS:
            return None
        return self._coarse.among(self._numbers)

    def _compared(self, coarse: CoarseQuantiser | CoarseThere, queries: Float32, count: int) -> NDArray[np.int64]:
        x = queries if self._by_inner_product else self._weights.normalise(queries)
        return coarse.nearest_many(x, count, self._by_inner_product)


def has_many(codec: Codec) -> bool:
    """Whether a codec's lists are these."""
    return codec.ivf_lists >= coarse_quantiser.MANY_LISTS
