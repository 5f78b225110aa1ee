"""Σ_m T_m[i_m], a sum of one table row a symbol: by an operator, the plain form, and in one Numba function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.weights import Float32

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


def sums_of_rows(tables: Float32, symbols: NDArray[np.int64]) -> Float32:
    """The same for arrays."""
    out = np.zeros((len(symbols), tables.shape[2]), np.float32)
    add_rows(out, tables, np.ascontiguousarray(symbols), 0, 1.0)
    return out


@njit(nogil=True, cache=True)
def add_rows(out: Any, tables: Any, symbols: Any, first: int, scale: float) -> None:
    """Adds scale · Σ_{m ≥ first} tables[m, symbols[:, m]] to out float32 [n, D]."""
    weight = np.float32(scale)
    for row in range(out.shape[0]):
        for m in range(first, tables.shape[0]):
            added = tables[m, symbols[row, m]]
            for d in range(out.shape[1]):
                out[row, d] += weight * added[d]


@njit(nogil=True, cache=True)
def add_to_rows(out: Any, symbols: Any, rows: Any, codewords: int) -> None:
    """The other way: adds rows [n, D] to those of `out` [M · K, D] that their symbols [n, M] name."""
    for row in range(rows.shape[0]):
        for m in range(symbols.shape[1]):
            into = out[m * codewords + symbols[row, m]]
            for d in range(rows.shape[1]):
                into[d] += rows[row, d]
