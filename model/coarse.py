"""The coarse quantiser of an IVF codec: the centroids of its lists, held once, and which of them are nearest.

Few centroids are compared one by one. From MANY_LISTS on they stay in the numbers of the checkpoint (float16, if it
keeps them so: the same values in half the memory), in storage that a graph over them shares; until there is a graph,
and where no graph can answer, they are compared a block at a time, in bounded memory.
"""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from model import list_graph
from model.list_graph import ListGraph

MANY_LISTS = 1 << 16
_BLOCK = 1 << 14


class CoarseQuantiser:
    """centroids [lists, D], normalised, float32 or, of very many, perhaps float16 · graph  set once there is one."""

    def __init__(self, centroids: Tensor) -> None:
        self.storage: faiss.Index | None = None
        self.graph: ListGraph | None = None
        self.centroids = centroids
        if len(centroids) >= MANY_LISTS and centroids.device.type == "cpu":
            self.storage = _storage(centroids)
            self.centroids = _held_by(self.storage, centroids.dtype)
        self._norms = torch.cat([block.float().square().sum(dim=1) for block in torch.split(self.centroids, _BLOCK)])

    def __len__(self) -> int:
        return len(self.centroids)

    def take_graph(self, path: Path, sha256: str) -> None:
        """Find lists through the graph in a file from now on; raises InvalidCheckpoint where it is not theirs."""
        assert self.storage is not None
        self.graph = list_graph.load(path, sha256, self.storage, float(self._norms.max().sqrt()))

    def nearest(self, x: Tensor) -> Tensor:
        """The list of each normalised vector x [n, D], that of its nearest centroid: int64 [n]."""
        if self.graph is not None:
            return torch.from_numpy(self.graph.nearest(x.numpy(), 1)[:, 0])
        if len(self) <= _BLOCK:
            return torch.addmm(self._norms, x, self.centroids.float().T, alpha=-2).argmin(dim=1)
        least, nearest = x.new_full((len(x),), torch.inf), x.new_zeros(len(x), dtype=torch.int64)
        for begin in range(0, len(self), _BLOCK):
            distances, places = self._compared(x, begin, by_inner_product=False).min(dim=1)
            nearest = torch.where(distances < least, begin + places, nearest)
            least = torch.minimum(distances, least)
        return nearest

    def nearest_many(self, x: Tensor, count: int, by_inner_product: bool) -> Tensor:
        """The `count` lists nearest to each of x [n, D], exactly, by inner product on demand: int64 [n, count]."""
        kept = x.new_zeros((len(x), 0)), x.new_zeros((len(x), 0), dtype=torch.int64)
        for begin in range(0, len(self), _BLOCK):
            block = self._compared(x, begin, by_inner_product)
            places = torch.arange(begin, begin + block.shape[1], device=x.device).expand(len(x), -1)
            distances, lists = torch.cat([kept[0], block], dim=1), torch.cat([kept[1], places], dim=1)
            best = distances.topk(min(count, distances.shape[1]), largest=False)
            kept = best.values, lists.gather(1, best.indices)
        return kept[1]

    @property
    def own_tensors(self) -> list[Tensor]:
        """What it holds, as far as tensors hold it."""
        return [self.centroids, self._norms]

    @property
    def graph_bytes(self) -> int:
        """What the graph takes beside the centroids."""
        return 0 if self.graph is None else self.graph.size_bytes

    def _compared(self, x: Tensor, begin: int, by_inner_product: bool) -> Tensor:
        """Squared distances, less ‖x‖², or negated products, of x [n, D] and a block of centroids: [n, block]."""
        block = self.centroids[begin : begin + _BLOCK].float()
        if by_inner_product:
            return -(x @ block.T)
        return torch.addmm(self._norms[begin : begin + _BLOCK], x, block.T, alpha=-2)


def _storage(centroids: Tensor) -> Any:
    """A Faiss index that holds centroids [lists, D] as they are, float16 or float32."""
    dim = centroids.shape[1]
    if centroids.dtype == torch.float16:
        storage: Any = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)
    else:
        storage = faiss.IndexFlatL2(dim)
    raw = centroids.contiguous().numpy().view(np.uint8).reshape(-1)
    storage.codes.resize(raw.size)
    faiss.rev_swig_ptr(storage.codes.data(), raw.size)[:] = raw
    storage.ntotal = len(centroids)
    return storage


def _held_by(storage: Any, dtype: torch.dtype) -> Tensor:
    """The vectors of a Faiss index as a tensor [n, D] over its memory, which the tensor keeps alive."""
    numbers = np.asarray(_Memory(storage, "<f2" if dtype == torch.float16 else "<f4"))
    return torch.from_numpy(numbers)


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
