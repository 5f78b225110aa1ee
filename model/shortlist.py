"""Cheap decoders that shorten a list of candidates before the network is asked: additive, and pairwise.

Both read the codes that the network's encoder made. Additive: x̂ = start + Σ_m T_m[i_m], the tables fitted by least
squares (qinco's "AQ decoder"). Pairwise: the first pair of columns (list and first symbol; without IVF the first two
symbols) decoded exactly as the network would, the rest additive. What the network adds for that pair depends on two
numbers only, so a table *computed from the network* holds it, in the network's D_e dimensions: it cannot overfit, needs
no place in the checkpoint, and for 1024 lists of 256 codewords and D_e = 64 takes 34 MB instead of 201 MB. The
paper fits its pair tables from data; on SIFT those gain next to nothing at a few hundred thousand vectors.

Both share the tables T: they are fitted to what the exact pair leaves over, then the additive decoder's first tables to
what remains. All units are the normalised ones of the network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.kernels import folded
from model.networks import QINCo2

PAIR_TABLE_BYTES = 64 << 20
"""A pair table above this is not made; the pair is then decoded by the network itself, which gives the same."""


@dataclass(frozen=True)
class AdditiveDecoder:
    """tables [M, K, D], normalised; with IVF the list's centroid is added."""

    tables: Tensor

    def decode(self, network: QINCo2, codes: Tensor) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        lists, symbols = network.split(codes)
        return network.start(lists, len(codes)) + sum_rows(self.tables, symbols)


class PairwiseDecoder:
    """The network for the first pair of columns, the additive tables for all others."""

    def __init__(self, network: QINCo2, steps: list[folded.FoldedStep], additive: AdditiveDecoder) -> None:
        self._network, self._steps, self._additive = network, steps, additive
        self._exact = exact_steps(network)
        self._step = steps[self._exact - 1]
        self._table = self._pair_table()

    def decode(self, codes: Tensor) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        _, symbols = self._network.split(codes)
        return self._pair(codes) + sum_rows(self._additive.tables[self._exact :], symbols[:, self._exact :])

    @property
    def size_bytes(self) -> int:
        return 0 if self._table is None else self._table.numel() * self._table.element_size()

    def _pair(self, codes: Tensor) -> Tensor:
        if self._table is None:
            return folded.decode(self._network, self._steps, codes, self._exact)
        first, second = codes[:, 0], codes[:, 1]
        z = self._table[first * len(self._step.codebook) + second].float()  # [n, D_e]
        return (
            self._first()[first] + self._step.codebook[second] + (z if self._step.out is None else z @ self._step.out.T)
        )

    def _first(self) -> Tensor:
        """What the pair's first column stands for: centroids [lists, D] or the first codebook [K, D]."""
        return self._network.centroids if self._network.config.ivf_lists else self._steps[0].codebook

    def _pair_table(self) -> Tensor | None:
        """z_L of every pair, float16 [first · K, D_e], or None where it would be too large."""
        step, first = self._step, self._first()
        if step.table is None or 2 * len(first) * step.table.numel() > PAIR_TABLE_BYTES:
            return None
        assert step.mix is not None
        K, D_e = step.table.shape
        table = first.new_empty((len(first), K, D_e), dtype=torch.float16)
        block = max(1, 65536 // K)
        for begin in range(0, len(first), block):
            mixed = first[begin : begin + block] @ step.mix.T  # [block, D_e]
            z = (mixed[:, None, :] + step.table).flatten(0, 1)
            table[begin : begin + block] = folded.residual_blocks(step, z).view(-1, K, D_e)
        return table.flatten(0, 1)


def exact_steps(network: QINCo2) -> int:
    """Learned steps that the pairwise decoder decodes exactly: one after a list, else two where there are two."""
    return 1 if network.config.ivf_lists else min(2, network.config.steps)


def sum_rows(tables: Tensor, symbols: Tensor) -> Tensor:
    """Σ_m tables[m, symbols[:, m]]: tables [M, K, D], symbols [n, M] → [n, D]."""
    M, K, D = tables.shape
    if M == 0:
        return tables.new_zeros(len(symbols), D)
    offsets = K * torch.arange(M, device=symbols.device)
    return torch.nn.functional.embedding_bag(symbols + offsets, tables.reshape(M * K, D), mode="sum")


def fit_additive(
    network: QINCo2, steps: list[folded.FoldedStep], x: Tensor, codes: Tensor, ridge: float = 2.0
) -> AdditiveDecoder:
    """Fit the tables both decoders share to normalised vectors x [n, D] and their codes.

    Ridge regression on the one-hot codes through its normal equations, so memory does not grow with n. The ridge,
    counted in vectors, draws each table towards the network's own codebook rather than towards zero.
    """
    lists, symbols = network.split(codes)
    exact = exact_steps(network)
    tables = torch.stack([step.codebook for step in steps]).clone()
    pair = _decode_in_blocks(network, steps, codes, exact)
    left = x - pair - sum_rows(tables[exact:], symbols[:, exact:])
    tables[exact:] += _ridge_regression(symbols[:, exact:], left, tables.shape[1], ridge)
    left = x - network.start(lists, len(x)) - sum_rows(tables, symbols)
    tables[:exact] += _ridge_regression(symbols[:, :exact], left, tables.shape[1], ridge)
    return AdditiveDecoder(tables)


def _ridge_regression(symbols: Tensor, targets: Tensor, K: int, ridge: float) -> Tensor:
    """The tables [M, K, D] that minimise Σ ‖target − Σ_m T_m[i_m]‖² + ridge · ‖T‖²."""
    M = symbols.shape[1]
    D = targets.shape[1]
    if M == 0:
        return targets.new_zeros(0, K, D)
    gram = torch.zeros(M * K, M * K, dtype=torch.float64)
    products = torch.zeros(M * K, D, dtype=torch.float64)
    for a in range(M):
        products[a * K : (a + 1) * K] = torch.zeros(K, D).index_add_(0, symbols[:, a], targets)
        for b in range(a, M):
            counts = torch.bincount(symbols[:, a] * K + symbols[:, b], minlength=K * K).view(K, K).double()
            gram[a * K : (a + 1) * K, b * K : (b + 1) * K] = counts
            gram[b * K : (b + 1) * K, a * K : (a + 1) * K] = counts.T
    gram.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(products, factor).float().view(M, K, D)


def _decode_in_blocks(network: QINCo2, steps: list[folded.FoldedStep], codes: Tensor, count: int) -> Tensor:
    return torch.cat([folded.decode(network, steps, block, count) for block in torch.split(codes, 4096)])
