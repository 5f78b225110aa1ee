"""What a query adds to the distance of a code for each of its symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index_store.answers import Float32
from index_store.coding import Coding

if TYPE_CHECKING:
    import torch


def weight(by_product: bool) -> np.float32:
    """Of the inner product of query and codeword in a distance."""
    return np.float32(-1 if by_product else -2)


def lookup_tables(coding: Coding, queries: Float32, by_product: bool) -> Float32:
    """Entries float32 [q, M, K] for queries [q, dim], of a codec on the CPU."""
    from index_store.scan.products import products  # compiled by Numba

    found = products(coding.tables, queries) if len(queries) == 1 else queries @ coding.tables.T  # [q, M·K]
    return np.asarray(weight(by_product) * found.reshape(len(queries), coding.codec.steps, -1), np.float32)


def lookup_tables_there(coding: Coding, queries: Float32, by_product: bool) -> torch.Tensor:
    """The same where the codec is, not copied back."""
    import torch

    products = torch.from_numpy(queries).to(coding.tables_there.device) @ coding.tables_there.T
    return (float(weight(by_product)) * products).view(len(queries), coding.codec.steps, -1)
