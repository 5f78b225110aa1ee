"""Ridge regression on one-hot codes without its normal equations: for codes of many codewords in all.

The equations of M · K codewords are a matrix of (M·K)² numbers, 137 GB for two steps of 65 536. Conjugate gradients
only multiply by it, (XᵀX + ridge) V = Xᵀ(X V) + ridge · V, and X V is a sum of one table row a symbol.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from model.shortlist.row_sums import sum_rows

MOST_ITERATIONS = 200
TOLERANCE = 1e-4
"""Of what is left of the right-hand side; a table row is then off by far less than float16 rounds it."""

_BLOCK = 4096


def solve(blocks: Iterable[tuple[Tensor, Tensor]], like: Tensor, ridge: float) -> Tensor:
    """The tables [M, K, D], as large as `like`, that minimise Σ ‖target − Σ_m T_m[i_m]‖² + ridge · ‖T‖².

    blocks of symbols [n, M] and targets [n, D]; the symbols are kept, the targets are not
    """
    M, K, D = like.shape
    kept, right = [], torch.zeros(M * K, D)
    for symbols, targets in blocks:
        kept.append(symbols.cpu().int())
        _add_rows(right, kept[-1].long(), targets.cpu().float(), K)
    symbols = torch.cat(kept) if kept else torch.zeros(0, M, dtype=torch.int32)
    counts = torch.bincount((symbols.long() + K * torch.arange(M)).flatten(), minlength=M * K).float()

    def product(tables: Tensor) -> Tensor:
        out = ridge * tables
        for block in torch.split(symbols.long(), _BLOCK):
            _add_rows(out, block, sum_rows(tables.view(M, K, D), block), K)
        return out

    return _conjugate_gradients(product, right, (counts + ridge)[:, None]).view(M, K, D).to(like.device)


def _conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor) -> Tensor:
    """V [N, D] with product(V) = right, each of the D columns by itself; the diagonal preconditions."""
    solution = torch.zeros_like(right)
    residual = right.clone()
    direction = scaled = residual / diagonal
    size = (residual * scaled).sum(dim=0)  # [D]
    enough = TOLERANCE**2 * size
    for _ in range(MOST_ITERATIONS):
        if bool((size <= enough).all()):
            break
        image = product(direction)
        step = size / (direction * image).sum(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(dim=0)
        direction = scaled + (size / before.clamp_min(torch.finfo(torch.float32).tiny)) * direction
    return solution


def _add_rows(out: Tensor, symbols: Tensor, rows: Tensor, K: int) -> None:
    """Add rows [n, D] to those of `out` [M·K, D] that their symbols [n, M] name."""
    for m, column in enumerate(symbols.unbind(1)):
        out.index_add_(0, column + m * K, rows)
