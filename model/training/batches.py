"""Batches of vectors in an order that is random and yet a function of the seed and the batch's number alone.

So a training that is taken up again needs to remember no more than how many batches it has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """x [n, D], normalised · lists [n], None without IVF."""

    x: Tensor
    lists: Tensor | None

    def rows(self, chosen: slice) -> "Batch":
        """Some rows of it."""
        return Batch(self.x[chosen], None if self.lists is None else self.lists[chosen])


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


class BatchesFromFile:
    """Batches of vectors that are read as they are needed, in shuffled blocks.

    An epoch takes the file's blocks in random order; a pool of as many as memory holds is shuffled row by row. What is
    no whole pool is left out, another part in each epoch.
    """

    def __init__(
        self,
        read: Callable[[int, int], Tensor],
        lists: Callable[[Tensor], Tensor | None],
        n: int,
        batch: int,
        seed: int,
        pool_rows: int,
        block_rows: int = 4096,
    ) -> None:
        """`read` gives rows [begin, end), normalised, or fewer where some are held out; `lists` those of rows."""
        block_rows = min(block_rows, max(1, n // 4))
        blocks = n // block_rows
        pools = -(-n // max(pool_rows, block_rows, batch))
        self._blocks_a_pool, self._blocks, self._block_rows = max(1, blocks // pools), blocks, block_rows
        self._pools = blocks // self._blocks_a_pool
        self._batch = min(batch, self._blocks_a_pool * block_rows)
        self._batches_a_pool = self._blocks_a_pool * block_rows // self._batch
        self._read, self._lists_of, self._seed = read, lists, seed
        self.an_epoch = self._pools * self._batches_a_pool
        self.rows = self.an_epoch * self._batch
        self._held = (-1, -1)
        self._pool = Batch(torch.empty(0), None)

    def at(self, number: int) -> Batch:
        epoch, within = divmod(number, self.an_epoch)
        pool, place = divmod(within, self._batches_a_pool)
        if (epoch, pool) != self._held:
            self._held, self._pool = (epoch, pool), self._filled(epoch, pool)
        return self._pool.rows(slice(place * self._batch, (place + 1) * self._batch))

    def _filled(self, epoch: int, pool: int) -> Batch:
        self._pool = Batch(torch.empty(0), None)  # the one before goes first: two would not fit
        order = shuffled(self._blocks, self._seed, epoch)
        own = order[pool * self._blocks_a_pool : (pool + 1) * self._blocks_a_pool].sort().values.tolist()
        parts = [self._read(block * self._block_rows, (block + 1) * self._block_rows) for block in own]
        present = sum(map(len, parts))
        chosen = shuffled(present, self._seed, epoch, pool)
        needed = self._batches_a_pool * self._batch
        chosen = chosen.repeat(-(-needed // present))[:needed]  # in place of rows held out, some come twice
        x = torch.cat(parts)[chosen]
        return Batch(x, self._lists_of(x))


def shuffled(n: int, *seeds: int) -> Tensor:
    """A permutation of n that these numbers alone settle."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 1_000_003 + seed + 1) % (1 << 62)
    return torch.randperm(n, generator=torch.Generator().manual_seed(mixed))
