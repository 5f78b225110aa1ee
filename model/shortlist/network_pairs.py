"""The pairwise decoder of our own: the network for the first pair of columns, the additive tables for all others.

What the network adds for the pair (list and first symbol; without IVF the first two symbols) depends on two numbers
only, so a table *computed from the network* holds it, in the network's D_e dimensions: it cannot overfit, needs no
place in the checkpoint, and for 1024 lists of 256 codewords and D_e = 64 takes 34 MB instead of 201 MB. The paper fits
its pair tables from data (`model.shortlist.fitted_pairs`).
"""

from functools import cached_property

import torch
from torch import Tensor

from model.kernels import folded
from model.networks import QINCo2
from model.shortlist.additive import AdditiveDecoder, sum_rows

PAIR_TABLE_BYTES = 64 << 20
"""A pair table above this is not made; the pair is then decoded by the network itself, which gives the same."""


class PairTable:
    """The exactly decoded first pair of columns, from the network alone: the same for any additive tables.

    The table is made when it is first read: only queries that ask for `rerank` do.
    """

    def __init__(self, network: QINCo2, steps: list[folded.FoldedStep]) -> None:
        self.exact = exact_steps(network)
        self._network, self._steps = network.prefix(self.exact), steps[: self.exact]  # keeps no more of it alive
        self._step = self._steps[-1]

    def decode(self, codes: Tensor) -> Tensor:
        """What the first pair of codes [n, M] ([n, 1 + M] with IVF) stands for: [n, D], normalised."""
        if self._table is None:
            return folded.decode(self._network, self._steps, codes, self.exact)
        first, second = codes[:, 0], codes[:, 1]
        z = self._table[first * len(self._step.base) + second].float()  # [n, D_e]
        start = self._first()[first].float()
        return start + self._step.base[second] + (z if self._step.out is None else z @ self._step.out.T)

    @property
    def own_tensors(self) -> list[Tensor]:
        """What it holds beside the network."""
        made = vars(self).get("_table")
        return [] if made is None else [made]

    def _first(self) -> Tensor:
        """What the pair's first column stands for: centroids [lists, D] or the first codebook [K, D]."""
        return self._network.centroids if self._network.config.ivf_lists else self._steps[0].base

    @cached_property
    def _table(self) -> Tensor | None:
        """z_L of every pair, float16 [first · K, D_e], or None where it would be too large."""
        step, first = self._step, self._first()
        if step.table is None or 2 * len(first) * step.table.numel() > PAIR_TABLE_BYTES:
            return None
        assert step.mix is not None
        K, D_e = step.table.shape
        table = first.new_empty((len(first), K, D_e), dtype=torch.float16)
        block = max(1, 65536 // K)
        with torch.no_grad():
            for begin in range(0, len(first), block):
                mixed = first[begin : begin + block].float() @ step.mix.T  # [block, D_e]
                z = (mixed[:, None, :] + step.table).flatten(0, 1)
                table[begin : begin + block] = folded.residual_blocks(step, z).view(-1, K, D_e)
        return table.flatten(0, 1)


class NetworkPairs:
    """The network for the first pair of columns, the additive tables for all others."""

    def __init__(self, network: QINCo2, pair: PairTable, additive: AdditiveDecoder) -> None:
        self._network, self._pair, self._additive = network, pair, additive

    def decode(self, codes: Tensor) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        _, symbols = self._network.split(codes)
        exact = self._pair.exact
        return self._pair.decode(codes) + sum_rows(self._additive.tables[exact:], symbols[:, exact:])


def exact_steps(network: QINCo2) -> int:
    """Learned steps that the pairwise decoder decodes exactly: one after a list, else two where there are two."""
    return 1 if network.config.ivf_lists else min(2, network.config.steps)
