"""Fitting the additive tables to encoded vectors; both of our own decoders share them.

They are fitted to what the exactly decoded pair leaves over, then the tables of the pair's own symbols to what remains
for the additive decoder. All units are the normalised ones of the network.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from model.kernels import folded, folding
from model.networks import QINCo2
from model.shortlist import conjugate_gradients
from model.shortlist.additive import AdditiveDecoder
from model.shortlist.network_pairs import exact_steps
from model.shortlist.row_sums import sum_rows

MOST_DIRECT = 8192
"""Codewords in all up to which the normal equations are made and solved: 0.5 GB."""

Blocks = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives normalised vectors [n, D] with their codes, block by block, from the start each time it is called."""


def fit_additive(
    network: QINCo2, steps: list[folding.FoldedStep], blocks: Blocks, ridge: float = 16.0
) -> AdditiveDecoder:
    """Fit the tables both decoders share to vectors and their codes.

    Ridge regression on the one-hot codes through its normal equations: what is held is (M · K)² counts, and a block,
    however many vectors there are; of very many codewords the codes are held instead. The ridge, counted in vectors,
    draws each table towards the network's own codebook rather than towards zero.
    """
    exact = exact_steps(network.config)
    tables = torch.stack([step.base for step in steps]).clone()

    def left_by_pair() -> Iterator[tuple[Tensor, Tensor]]:
        for x, codes in blocks():
            others = network.split(codes)[1][:, exact:]
            yield others, x - folded.decode(network, steps, codes, exact) - sum_rows(tables[exact:], others)

    def left_by_all() -> Iterator[tuple[Tensor, Tensor]]:
        for x, codes in blocks():
            lists, symbols = network.split(codes)
            yield symbols[:, :exact], x - network.start(lists, len(x)) - sum_rows(tables, symbols)

    tables[exact:] += _ridge_regression(left_by_pair(), tables[exact:], ridge)
    tables[:exact] += _ridge_regression(left_by_all(), tables[:exact], ridge)
    return AdditiveDecoder(tables.cpu().numpy())


def in_blocks(x: Tensor, codes: Tensor, rows: int = 4096) -> Blocks:
    """Blocks of vectors [n, D] that are at hand."""
    return lambda: zip(torch.split(x, rows), torch.split(codes, rows), strict=True)


def _ridge_regression(blocks: Iterable[tuple[Tensor, Tensor]], like: Tensor, ridge: float) -> Tensor:
    """The tables [M, K, D], as large as `like`, that minimise Σ ‖target − Σ_m T_m[i_m]‖² + ridge · ‖T‖².

    blocks of symbols [n, M] and targets [n, D], which are moved to the CPU: many small counts, then one factorisation
    """
    M, K, D = like.shape
    if M == 0:
        return torch.zeros_like(like)
    if M * K > MOST_DIRECT:
        return conjugate_gradients.solve(blocks, like, ridge)
    gram = torch.zeros(M, M, K * K, dtype=torch.float64)
    products = torch.zeros(M * K, D, dtype=torch.float64)
    for on_device, targets in blocks:
        symbols = on_device.cpu()
        sums = torch.zeros(M * K, D)
        for a in range(M):
            sums.index_add_(0, symbols[:, a] + a * K, targets.cpu().float())
            for b in range(a, M):
                gram[a, b] += torch.bincount(symbols[:, a] * K + symbols[:, b], minlength=K * K)
        products += sums
    equations = torch.zeros(M * K, M * K, dtype=torch.float64)
    for a in range(M):
        for b in range(a, M):
            counts = gram[a, b].view(K, K)
            equations[a * K : (a + 1) * K, b * K : (b + 1) * K] = counts
            equations[b * K : (b + 1) * K, a * K : (a + 1) * K] = counts.T
    equations.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(equations)
    return torch.cholesky_solve(products, factor).float().view(M, K, D).to(like.device)
