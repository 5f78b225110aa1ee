"""Fitting the additive tables to encoded vectors; both of our own decoders share them.

They are fitted to what the exactly decoded pair leaves over, then the tables of the pair's own symbols to what remains
for the additive decoder. All units are the normalised ones of the network.
"""

import torch
from torch import Tensor

from model.kernels import folded
from model.networks import QINCo2
from model.shortlist.additive import AdditiveDecoder, sum_rows
from model.shortlist.network_pairs import exact_steps


def fit_additive(
    network: QINCo2, steps: list[folded.FoldedStep], x: Tensor, codes: Tensor, ridge: float = 16.0
) -> AdditiveDecoder:
    """Fit the tables both decoders share to normalised vectors x [n, D] and their codes.

    Ridge regression on the one-hot codes through its normal equations, so memory does not grow with n. The ridge,
    counted in vectors, draws each table towards the network's own codebook rather than towards zero.
    """
    lists, symbols = network.split(codes)
    exact = exact_steps(network)
    tables = torch.stack([step.base for step in steps]).clone()
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
    device = targets.device
    symbols, targets = symbols.cpu(), targets.cpu()  # many small counts, then one float64 factorisation: the CPU's work
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
    return torch.cholesky_solve(products, factor).float().view(M, K, D).to(device)


def _decode_in_blocks(network: QINCo2, steps: list[folded.FoldedStep], codes: Tensor, count: int) -> Tensor:
    return torch.cat([folded.decode(network, steps, block, count) for block in torch.split(codes, 4096)])
