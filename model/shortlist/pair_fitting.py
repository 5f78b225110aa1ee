"""Fitting the paper's pairwise decoder to data: tables of K² cell means, the best pair of columns first.

QINCo2 (Vallaeys et al., ICLR 2025), section 3.4. A cell that few vectors fall into holds their noise: on vectors it was
not fitted to, such a decoder can be worse than the additive one. `shrink` is what the paper does not have.
"""

from itertools import combinations

import torch
from torch import Tensor

from model.networks import QINCo2
from model.shortlist.fitted_pairs import FittedPairs

LIST_CODES = 5
"""M̃, symbols that a list number is quantised into."""

LLOYD_ITERATIONS = 50

CHOOSING_ROWS = 100_000
"""Vectors by which pairs of columns are compared, the first ones, as in the paper's code."""


def fit_pairs(
    network: QINCo2, x: Tensor, codes: Tensor, list_codes: Tensor, tables: int, shrink: float = 0.0
) -> FittedPairs:
    """The decoder of so many tables, fitted to normalised vectors x [n, D] and their codes.

    list_codes  int64 [lists, M̃] of `quantised_lists`, [0, 0] without IVF
    shrink      a cell's mean is drawn towards nothing as if so many vectors of residual 0 were in it too
    """
    lists, symbols = network.split(codes)
    extended = symbols if lists is None else torch.cat([symbols, list_codes[lists]], dim=1)  # [n, M + M̃]
    residual = x - network.start(lists, len(x))
    K = network.config.codewords
    columns, fitted = [], []
    for _ in range(tables):
        pair = max(
            combinations(range(extended.shape[1]), 2), key=lambda ab: _gain(residual, _cells(extended, ab, K), K)
        )
        cells = _cells(extended, pair, K)
        sums, counts = _sums(residual, cells, K)
        table = sums / (counts + shrink).clamp(min=1)[:, None]
        residual = residual - table[cells]
        columns.append(pair)
        fitted.append(table)
    return FittedPairs(torch.tensor(columns), torch.stack(fitted), list_codes)


def quantised_lists(
    centroids: Tensor, populations: Tensor, K: int, generator: torch.Generator, symbols: int = LIST_CODES
) -> Tensor:
    """RQ codes int64 [lists, M̃] of centroids [lists, D], each weighted by the vectors in its list."""
    residual, weights = centroids.clone(), populations.to(centroids.dtype)
    K = min(K, int((populations > 0).sum()))
    columns = []
    for _ in range(symbols):
        chosen = torch.multinomial(weights, K, generator=generator)
        codebook, assigned = residual[chosen], torch.full((len(residual),), -1)
        for _ in range(LLOYD_ITERATIONS):
            before, assigned = assigned, torch.cdist(residual, codebook).argmin(dim=1)
            if torch.equal(before, assigned):
                break
            codebook = _weighted_means(residual, weights, assigned, codebook)
        residual = residual - codebook[assigned]
        columns.append(assigned)
    return torch.stack(columns, dim=1)


def _weighted_means(x: Tensor, weights: Tensor, assigned: Tensor, before: Tensor) -> Tensor:
    """Means [K, D] of what is assigned to each; those of nothing stay as before."""
    sums = torch.zeros_like(before).index_add_(0, assigned, x * weights[:, None])
    totals = torch.zeros(len(before), dtype=x.dtype).index_add_(0, assigned, weights)
    return torch.where(totals[:, None] > 0, sums / totals.clamp(min=1e-12)[:, None], before)


def _gain(residual: Tensor, cells: Tensor, K: int) -> float:
    """The squared error that cell means take off the vectors they are fitted to: Σ ‖sum‖² / count."""
    sums, counts = _sums(residual, cells, K)
    return float((sums.square().sum(dim=1) / counts.clamp(min=1)).sum())


def _cells(extended: Tensor, pair: tuple[int, int], K: int) -> Tensor:
    return extended[:, pair[0]] * K + extended[:, pair[1]]


def _sums(residual: Tensor, cells: Tensor, K: int) -> tuple[Tensor, Tensor]:
    sums = residual.new_zeros(K * K, residual.shape[1]).index_add_(0, cells, residual)
    return sums, torch.bincount(cells, minlength=K * K).to(residual.dtype)
