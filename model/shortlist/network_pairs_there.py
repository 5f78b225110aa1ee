"""`network_pairs` in its plain form, of PyTorch's operators, which also computes it where a codec on a GPU is."""

from functools import cached_property

import torch
from torch import Tensor

from model.kernels import folded, folding
from model.networks import QINCo2
from model.shortlist.network_pairs import PAIR_TABLE_BYTES, exact_steps
from model.shortlist.row_sums import sum_rows


class PairTable:
    """The exactly decoded first pair of columns, from the network alone: the same for any additive tables.

    The table is made when it is first read: only queries that ask for `rerank` do.
    """

    def __init__(self, network: QINCo2, steps: list[folding.FoldedStep], most_bytes: int = PAIR_TABLE_BYTES) -> None:
        self.exact = exact_steps(network.config)
        self._most_bytes = most_bytes
        self._network, self._steps = network.prefix(self.exact), steps[: self.exact]  # keeps no more of it alive
        self._step = self._steps[-1]

    def decode(self, codes: Tensor) -> Tensor:
        """What the first pair of codes [n, M] ([n, 1 + M] with IVF) stands for: [n, D], normalised."""
        if self._table is None:
            return folded.decode(self._network, self._steps, codes, self.exact)
        first, second = codes[:, 0], codes[:, 1]
        z = self._table[first * len(self._step.base) + second].float()  # [n, D_e]
        start: Tensor = self._first()[first].float() + self._step.base[second]
        return start + (z if self._step.out is None else z @ self._step.out.T)

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
        if step.table is None or 2 * len(first) * step.table.numel() > self._most_bytes:
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


def decode(network: QINCo2, pair: PairTable, tables: Tensor, codes: Tensor) -> Tensor:
    """codes [n, M] ([n, 1 + M] with IVF), additive tables [M, K, D] → [n, D], normalised."""
    _, symbols = network.split(codes)
    return pair.decode(codes) + sum_rows(tables[pair.exact :], symbols[:, pair.exact :])
