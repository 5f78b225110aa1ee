"""Fitting the additive tables to encoded vectors; both of our own decoders share them.

They are fitted to what the exactly decoded pair leaves over, then the tables of the pair's own symbols to what remains
for the additive decoder. All units are the normalised ones of the network.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from model.kernels.folding import base_of
from model.shortlist import conjugate_gradients
from model.shortlist.additive import AdditiveDecoder
from model.shortlist.network_pairs import exact_steps
from model.shortlist.row_sums import add_to_rows, sums_of_rows
from model.weights import Float32, Weights

MOST_DIRECT = 8192
"""Codewords in all up to which the normal equations are made and solved: 0.5 GB."""

Codes = NDArray[np.int64]
Blocks = Callable[[], Iterable[tuple[Float32, Codes]]]
"""Gives normalised vectors [n, D] with their codes, block by block, from the start each time it is called."""


def fit_additive(
    weights: Weights, decode_exactly: Callable[[Codes], Float32], blocks: Blocks, ridge: float = 16.0
) -> AdditiveDecoder:
    """Fit the tables both decoders share to vectors and their codes.

    decode_exactly  codes → what the first `exact_steps` symbols stand for, normalised, [n, D]

    Ridge regression on the one-hot codes through its normal equations: what is held is (M · K)² counts, and a block,
    however many vectors there are; of very many codewords the codes are held instead. The ridge, counted in vectors,
    draws each table towards the network's own codebook rather than towards zero.
    """
    exact = exact_steps(weights.config)
    tables: Float32 = np.stack([base_of(step) for step in weights.steps])

    def left_by_pair() -> Iterator[tuple[Codes, Float32]]:
        for x, codes in blocks():
            others = weights.split(codes)[1][:, exact:]
            yield others, x - decode_exactly(codes) - sums_of_rows(tables[exact:], others)

    def left_by_all() -> Iterator[tuple[Codes, Float32]]:
        for x, codes in blocks():
            lists, symbols = weights.split(codes)
            yield symbols[:, :exact], x - weights.start(lists, len(x)) - sums_of_rows(tables, symbols)

    tables[exact:] += _ridge_regression(left_by_pair(), tables[exact:], ridge)
    tables[:exact] += _ridge_regression(left_by_all(), tables[:exact], ridge)
    return AdditiveDecoder(tables)


def _ridge_regression(blocks: Iterable[tuple[Codes, Float32]], like: Float32, ridge: float) -> Float32:
    """The tables [M, K, D], as large as `like`, that minimise Σ ‖target − Σ_m T_m[i_m]‖² + ridge · ‖T‖².

    blocks of symbols [n, M] and targets [n, D]
    """
    M, K, D = like.shape
    if M == 0:
        return np.zeros_like(like)
    if M * K > MOST_DIRECT:
        return conjugate_gradients.solve(blocks, like, ridge)
    gram, products = np.zeros((M, M, K * K)), np.zeros((M * K, D))
    for symbols, targets in blocks:
        sums = np.zeros((M * K, D), np.float32)
        add_to_rows(sums, np.ascontiguousarray(symbols), np.ascontiguousarray(targets, np.float32), K)
        products += sums
        for a in range(M):
            for b in range(a, M):
                gram[a, b] += np.bincount(symbols[:, a] * K + symbols[:, b], minlength=K * K)
    equations = np.empty((M * K, M * K))
    for a in range(M):
        for b in range(a, M):
            counts = gram[a, b].reshape(K, K)
            equations[a * K : (a + 1) * K, b * K : (b + 1) * K] = counts
            equations[b * K : (b + 1) * K, a * K : (a + 1) * K] = counts.T
    del gram
    equations[np.diag_indices(M * K)] += ridge
    return np.asarray(np.linalg.solve(equations, products), np.float32).reshape(M, K, D)
