"""The additive decoder: x̂ = start + Σ_m T_m[i_m], a sum of one table row a symbol."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.networks import QINCo2


@dataclass(frozen=True)
class AdditiveDecoder:
    """tables [M, K, D], normalised; with IVF the list's centroid is added."""

    tables: Tensor

    def decode(self, network: QINCo2, codes: Tensor) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        lists, symbols = network.split(codes)
        return network.start(lists, len(codes)) + sum_rows(self.tables, symbols)


def sum_rows(tables: Tensor, symbols: Tensor) -> Tensor:
    """Σ_m tables[m, symbols[:, m]]: tables [M, K, D], symbols [n, M] → [n, D]."""
    M, K, D = tables.shape
    if M == 0:
        return tables.new_zeros(len(symbols), D)
    offsets = K * torch.arange(M, device=symbols.device)
    return torch.nn.functional.embedding_bag(symbols + offsets, tables.reshape(M * K, D), mode="sum")
