"""The coarse quantiser of an IVF codec: the centroids of its lists, held once, and which of them are nearest.

Few centroids are compared one by one. From MANY_LISTS on they stay in the numbers of the checkpoint (float16, if it
keeps them so: the same values in half the memory), in storage that a graph over them shares; until there is a graph,
and where no graph can answer, they are compared a block at a time, in bounded memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from model import list_graph
from model.list_graph import ListGraph
from model.weights import Array, Float32

MANY_LISTS = 1 << 16
_BLOCK = 1 << 14


class CoarseQuantiser:
    """centroids [lists, D], normalised, float32 or, of very many, perhaps float16 · graph  set once there is one."""

    def __init__(self, centroids: Array) -> None:
        self.storage: faiss.Index | None = None
        self.graph: ListGraph | None = None
        self.centroids = centroids
        if len(centroids) >= MANY_LISTS:
            self.storage = _storage(centroids)
            self.centroids = _held_by(self.storage, centroids.dtype)
        self._norms = np.concatenate(
            [np.square(self._floats(begin)).sum(axis=1) for begin in range(0, len(centroids), _BLOCK)]
        )

    def __len__(self) -> int:
        return len(self.centroids)

    def take_graph(self, path: Path, sha256: str) -> None:
        """Find lists through the graph in a file from now on; raises InvalidCheckpoint where it is not theirs."""
        assert self.storage is not None
        self.graph = list_graph.load(path, sha256, self.storage, float(np.sqrt(self._norms.max())))

    def nearest(self, x: Float32) -> NDArray[np.int64]:
        """The list of each normalised vector x [n, D], that of its nearest centroid: int64 [n]."""
        if self.graph is not None:
            return self.graph.nearest(x, 1)[:, 0]
        least, nearest = np.full(len(x), np.inf, np.float32), np.zeros(len(x), np.int64)
        for begin in range(0, len(self), _BLOCK):
            distances, places = faiss.knn(x, self._floats(begin), 1)
            is_nearer = distances[:, 0] < least
            nearest[is_nearer] = begin + places[is_nearer, 0]
            least = np.minimum(least, distances[:, 0])
        return nearest

    def nearest_many(self, x: Float32, count: int, by_inner_product: bool) -> NDArray[np.int64]:
        """The `count` lists nearest to each of x [n, D], exactly, by inner product on demand: int64 [n, count]."""
        distances, lists = np.zeros((len(x), 0), np.float32), np.zeros((len(x), 0), np.int64)
        for begin in range(0, len(self), _BLOCK):
            block = self._compared(x, begin, by_inner_product)
            places = np.broadcast_to(np.arange(begin, begin + block.shape[1]), block.shape)
            distances = np.concatenate([distances, block], axis=1)
            lists = np.concatenate([lists, places], axis=1)
            if count < distances.shape[1]:
                best = np.argpartition(distances, count - 1, axis=1)[:, :count]
                distances = np.take_along_axis(distances, best, axis=1)
                lists = np.take_along_axis(lists, best, axis=1)
        return np.take_along_axis(lists, np.argsort(distances, axis=1, kind="stable"), axis=1)

    def rows(self, lists: NDArray[np.int64]) -> Float32:
        """The centroids of some lists [n], float32 [n, D], normalised."""
        return np.asarray(self.centroids[lists], np.float32)

    def among(self, lists: NDArray[np.int64]) -> CoarseQuantiser:
        """One of these lists alone, a copy."""
        return CoarseQuantiser(self.centroids[lists])

    @property
    def own_arrays(self) -> list[Array]:
        """What it holds, as far as arrays hold it."""
        return [self.centroids, self._norms]

    @property
    def graph_bytes(self) -> int:
        """What the graph takes beside the centroids."""
        return 0 if self.graph is None else self.graph.size_bytes

    def _compared(self, x: Float32, begin: int, by_inner_product: bool) -> Float32:
        """Squared distances, less ‖x‖², or negated products, of x [n, D] and a block of centroids: [n, block]."""
        products = x @ self._floats(begin).T
        return -products if by_inner_product else self._norms[begin : begin + _BLOCK] - 2 * products

    def _floats(self, begin: int) -> Float32:
        return np.asarray(self.centroids[begin : begin + _BLOCK], np.float32)


def _storage(centroids: Array) -> Any:
    """A Faiss index that holds centroids [lists, D] as they are, float16 or float32."""
    dim = centroids.shape[1]
    if centroids.dtype == np.float16:
        storage: Any = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)
    else:
        storage = faiss.IndexFlatL2(dim)
    raw = np.ascontiguousarray(centroids).view(np.uint8).reshape(-1)
    storage.codes.resize(raw.size)
    faiss.rev_swig_ptr(storage.codes.data(), raw.size)[:] = raw
    storage.ntotal = len(centroids)
    return storage


def _held_by(storage: Any, dtype: np.dtype[Any]) -> Array:
    """The vectors of a Faiss index as an array [n, D] over its memory, which the array keeps alive."""
    return np.asarray(_Memory(storage, "<f2" if dtype == np.float16 else "<f4"))


class _Memory:
    """What NumPy makes an array of without a copy; the array keeps it, and it keeps the index."""

    def __init__(self, storage: Any, dtype: str) -> None:
        self._storage = storage
        self.__array_interface__ = {
            "data": (int(storage.codes.data()), False),
            "shape": (storage.ntotal, storage.d),
            "typestr": dtype,
            "version": 3,
        }
