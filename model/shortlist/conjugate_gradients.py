"""Ridge regression on one-hot codes without its normal equations: for codes of many codewords in all.

The equations of M · K codewords are a matrix of (M·K)² numbers, 137 GB for two steps of 65 536. Conjugate gradients
only multiply by it, (XᵀX + ridge) V = Xᵀ(X V) + ridge · V, and X V is a sum of one table row a symbol.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from model.shortlist.row_sums import add_to_rows, sums_of_rows
from model.weights import Float32

MOST_ITERATIONS = 200
TOLERANCE = 1e-4
"""Of what is left of the right-hand side; a table row is then off by far less than float16 rounds it."""

_BLOCK = 4096
_TINY = np.finfo(np.float32).tiny


def solve(blocks: Iterable[tuple[NDArray[np.int64], Float32]], like: Float32, ridge: float) -> Float32:
    """The tables [M, K, D], as large as `like`, that minimise Σ ‖target − Σ_m T_m[i_m]‖² + ridge · ‖T‖².

    blocks of symbols [n, M] and targets [n, D]; the symbols are kept, the targets are not
    """
    M, K, D = like.shape
    kept: list[NDArray[np.int32]] = []
    right = np.zeros((M * K, D), np.float32)
    for symbols, targets in blocks:
        kept.append(symbols.astype(np.int32))
        add_to_rows(right, np.ascontiguousarray(symbols), np.ascontiguousarray(targets, np.float32), K)
    counts = np.zeros(M * K, np.float32)
    for block in kept:
        counts += np.bincount((block + K * np.arange(M)).ravel(), minlength=M * K)

    def product(tables: Float32) -> Float32:
        out = np.float32(ridge) * tables
        for whole in kept:
            for begin in range(0, len(whole), _BLOCK):
                block = whole[begin : begin + _BLOCK].astype(np.int64)
                add_to_rows(out, block, sums_of_rows(tables.reshape(M, K, D), block), K)
        return out

    return _conjugate_gradients(product, right, (counts + np.float32(ridge))[:, None]).reshape(M, K, D)


def _conjugate_gradients(product: Callable[[Float32], Float32], right: Float32, diagonal: Float32) -> Float32:
    """V [N, D] with product(V) = right, each of the D columns by itself; the diagonal preconditions."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = scaled = residual / diagonal
    size = (residual * scaled).sum(axis=0)  # [D]
    enough = TOLERANCE**2 * size
    for _ in range(MOST_ITERATIONS):
        if (size <= enough).all():
            break
        image = product(direction)
        step = size / np.maximum((direction * image).sum(axis=0), _TINY)
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(axis=0)
        direction = scaled + (size / np.maximum(before, _TINY)) * direction
    return solution
