"""Σ_m T_m[i_m], a sum of one table row a symbol: by an operator, the plain form, and in one Numba function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from torch import Tensor


def sum_rows(tables: Tensor, symbols: Tensor) -> Tensor:
    """Σ_m tables[m, symbols[:, m]]: tables [M, K, D], symbols [n, M] → [n, D]."""
    import torch

    M, K, D = tables.shape
    if M == 0:
        return tables.new_zeros(len(symbols), D)
    offsets = K * torch.arange(M, device=symbols.device)
    return torch.nn.functional.embedding_bag(symbols + offsets, tables.reshape(M * K, D), mode="sum")


@njit(nogil=True, cache=True)
def add_rows(out: Any, tables: Any, symbols: Any, first: int, scale: float) -> None:
    """Adds scale · Σ_{m ≥ first} tables[m, symbols[:, m]] to out float32 [n, D]."""
    weight = np.float32(scale)
    for row in range(out.shape[0]):
        for m in range(first, tables.shape[0]):
            added = tables[m, symbols[row, m]]
            for d in range(out.shape[1]):
                out[row, d] += weight * added[d]
