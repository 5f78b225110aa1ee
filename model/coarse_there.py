"""The coarse quantiser where a codec on a GPU is: all centroids compared, a block at a time, by PyTorch's operators."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.weights import Float32

_BLOCK = 1 << 14


class CoarseThere:
    """The same face as `CoarseQuantiser` towards searches; codecs ask `assign`, with what is there already."""

    storage = graph = None
    graph_bytes = 0

    def __init__(self, centroids: Tensor) -> None:
        """centroids [lists, D], normalised, float32 or float16"""
        self.centroids = centroids
        self._norms = torch.cat([block.float().square().sum(dim=1) for block in torch.split(centroids, _BLOCK)])

    def __len__(self) -> int:
        return len(self.centroids)

    def assign(self, x: Tensor) -> Tensor:
        """The list of each normalised vector x [n, D], that of its nearest centroid: int64 [n]."""
        if len(self) <= _BLOCK:
            return torch.addmm(self._norms, x, self.centroids.float().T, alpha=-2).argmin(dim=1)
        least, nearest = x.new_full((len(x),), torch.inf), x.new_zeros(len(x), dtype=torch.int64)
        for begin in range(0, len(self), _BLOCK):
            distances, places = self._compared(x, begin, by_inner_product=False).min(dim=1)
            nearest = torch.where(distances < least, begin + places, nearest)
            least = torch.minimum(distances, least)
        return nearest

    def nearest_many(self, x: Float32, count: int, by_inner_product: bool) -> NDArray[np.int64]:
        """The `count` lists nearest to each of x [n, D], exactly, by inner product on demand: int64 [n, count]."""
        with torch.inference_mode():
            return self._nearest_many(torch.from_numpy(x).to(self.centroids.device), count, by_inner_product)

    def _nearest_many(self, x: Tensor, count: int, by_inner_product: bool) -> NDArray[np.int64]:
        kept = x.new_zeros((len(x), 0)), x.new_zeros((len(x), 0), dtype=torch.int64)
        for begin in range(0, len(self), _BLOCK):
            block = self._compared(x, begin, by_inner_product)
            places = torch.arange(begin, begin + block.shape[1], device=x.device).expand(len(x), -1)
            distances, lists = torch.cat([kept[0], block], dim=1), torch.cat([kept[1], places], dim=1)
            best = distances.topk(min(count, distances.shape[1]), largest=False)
            kept = best.values, lists.gather(1, best.indices)
        return np.asarray(kept[1].cpu().numpy())

    def rows(self, lists: NDArray[np.int64]) -> Float32:
        """The centroids of some lists [n], float32 [n, D], normalised."""
        return np.asarray(self.centroids[self._there(lists)].float().cpu().numpy())

    def among(self, lists: NDArray[np.int64]) -> CoarseThere:
        """One of these lists alone, a copy."""
        return CoarseThere(self.centroids[self._there(lists)])

    @property
    def own_arrays(self) -> list[Tensor]:
        """What it holds."""
        return [self.centroids, self._norms]

    def _there(self, lists: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(lists).to(self.centroids.device)

    def _compared(self, x: Tensor, begin: int, by_inner_product: bool) -> Tensor:
        """Squared distances, less ‖x‖², or negated products, of x [n, D] and a block of centroids: [n, block]."""
        block = self.centroids[begin : begin + _BLOCK].float()
        if by_inner_product:
            return -(x @ block.T)
        return torch.addmm(self._norms[begin : begin + _BLOCK], x, block.T, alpha=-2)
