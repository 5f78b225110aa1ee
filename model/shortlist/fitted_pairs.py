"""The pairwise decoder of the paper: tables of K² rows fitted to data, as the authors' files bring them.

QINCo2 (Vallaeys et al., ICLR 2025, section 3.4): x̂ = centroid + Σ_t P_t[i_a · K + i_b], where a and b are columns of
the extended code, the symbols followed by those that the list number itself was quantised into.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import CodecConfig
from model.errors import InvalidCheckpoint
from model.networks import QINCo2


@dataclass(frozen=True)
class FittedPairs:
    """columns int64 [T, 2] of the extended code · tables [T, K², D], normalised · list_codes int64 [lists, M̃].

    Without IVF there are no lists, and the code is not extended.
    """

    columns: Tensor
    tables: Tensor
    list_codes: Tensor

    def decode(self, network: QINCo2, codes: Tensor) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        lists, symbols = network.split(codes)
        extended = symbols if lists is None else torch.cat([symbols, self.list_codes[lists]], dim=1)  # [n, M + M̃]
        decoded = network.start(lists, len(codes))
        for (a, b), table in zip(self.columns.tolist(), self.tables, strict=True):
            decoded = decoded + table[extended[:, a] * network.config.codewords + extended[:, b]]
        return decoded

    def check(self, config: CodecConfig) -> None:
        """Raise InvalidCheckpoint unless they are for codes of such a codec, whatever a file holds."""
        if self.columns.ndim != 2 or self.columns.shape[1] != 2 or self.list_codes.ndim != 2:
            raise InvalidCheckpoint("The pairs' columns do not come two by two, or a list has no row of codes.")
        tables = (len(self.columns), config.codewords**2, config.dim)
        if self.tables.shape != tables or len(self.list_codes) != config.ivf_lists:
            raise InvalidCheckpoint(f"The pairs are for another codec: their tables have shape {[*self.tables.shape]}.")
        width = config.steps + (self.list_codes.shape[1] if config.ivf_lists else 0)
        if not _are_within(self.columns, width):
            raise InvalidCheckpoint(f"The pairs name columns that a code of {width} has not.")
        if not _are_within(self.list_codes, config.codewords):
            raise InvalidCheckpoint(f"The codes of the lists are not all from 0 to {config.codewords - 1}.")

    def to(self, device: torch.device) -> "FittedPairs":
        """The same on a device."""
        return FittedPairs(self.columns, self.tables.to(device), self.list_codes.to(device))

    @property
    def size_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in vars(self).values())


def _are_within(numbers: Tensor, stop: int) -> bool:
    return not numbers.numel() or (int(numbers.min()) >= 0 and int(numbers.max()) < stop)
