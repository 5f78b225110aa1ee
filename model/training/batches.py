"""Batches of vectors in an order that is random and yet a function of the seed and the batch's number alone.

So a training that is taken up again needs to remember no more than how many batches it has seen.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """x [n, D], normalised · lists [n], None without IVF."""

    x: Tensor
    lists: Tensor | None


class Batches(Protocol):
    """Where a training's vectors come from."""

    @property
    def rows(self) -> int:
        """Vectors of an epoch that are in no batch's remainder."""
        ...

    @property
    def an_epoch(self) -> int:
        """Batches of an epoch."""
        ...

    def at(self, number: int) -> Batch:
        """The batch of this number, counted from the start of training."""
        ...


class BatchesInMemory:
    """Batches of normalised vectors x [n, D] that are at hand, with their lists [n]."""

    def __init__(self, x: Tensor, lists: Tensor | None, batch: int, seed: int) -> None:
        self._x, self._lists, self._seed = x, lists, seed
        self._batch = min(batch, len(x))
        self.an_epoch = len(x) // self._batch
        self.rows = self.an_epoch * self._batch
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def at(self, number: int) -> Batch:
        epoch, place = divmod(number, self.an_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, shuffled(len(self._x), self._seed, epoch)
        chosen = self._order[place * self._batch : (place + 1) * self._batch].to(self._x.device)
        return Batch(self._x[chosen], None if self._lists is None else self._lists[chosen])


def shuffled(n: int, *seeds: int) -> Tensor:
    """A permutation of n that these numbers alone settle."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 1_000_003 + seed + 1) % (1 << 62)
    return torch.randperm(n, generator=torch.Generator().manual_seed(mixed))
