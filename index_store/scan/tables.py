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
    """Entries float32 [q, M, K] for queries [q, dim], computed where the codec is."""
    products = _products(coding.tables, queries)  # [q, M·K]
    return np.asarray(weight(by_product) * products.reshape(len(queries), coding.codec.steps, -1), np.float32)


def lookup_tables_there(coding: Coding, queries: Float32, by_product: bool) -> torch.Tensor:
    """The same where the codec is, not copied back."""
    import torch

    products = torch.from_numpy(queries).to(coding.tables.device) @ coding.tables.T
    return (float(weight(by_product)) * products).view(len(queries), coding.codec.steps, -1)


def _products(tables: torch.Tensor, queries: Float32) -> Float32:
    """⟨query, table row⟩, [q, M·K]."""
    if tables.device.type == "cpu" and len(queries) == 1:
        from index_store.scan.products import products

        return products(tables.numpy(), queries)
    import torch

    return (torch.from_numpy(queries).to(tables.device) @ tables.T).cpu().numpy()
