"""The pairwise decoder of the paper: tables of K² rows fitted to data, as the authors' files bring them.

QINCo2 (Vallaeys et al., ICLR 2025, section 3.4): x̂ = centroid + Σ_t P_t[i_a · K + i_b], where a and b are columns of
the extended code, the symbols followed by those that the list number itself was quantised into.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.config import CodecConfig
from model.errors import InvalidCheckpoint
from model.kernels.folding import Array
from model.weights import Weights

if TYPE_CHECKING:
    import torch

    from model.networks import QINCo2


@dataclass(frozen=True)
class FittedPairs:
    """columns int64 [T, 2] of the extended code · tables [T, K², D], normalised · list_codes int64 [lists, M̃].

    Without IVF there are no lists, and the code is not extended. All are arrays, or all tensors of one device.
    """

    columns: Array
    tables: Array
    list_codes: Array

    def decode(self, network: Weights | QINCo2, codes: Array) -> Array:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], normalised."""
        one: Any = network  # the same calls, for arrays and for tensors
        lists, symbols = one.split(codes)
        decoded: Array = one.start(lists, len(codes))

        def column(of: int) -> Array:  # of the extended code, [n, M + M̃]
            width = symbols.shape[1]
            return symbols[:, of] if of < width else self.list_codes[lists, of - width]

        for (a, b), table in zip(self.columns.tolist(), self.tables, strict=True):
            decoded = decoded + table[column(a) * network.config.codewords + column(b)]
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

    def to(self, device: torch.device) -> FittedPairs:
        """The same as tensors on a device."""
        import torch

        return FittedPairs(*(torch.as_tensor(one).to(device) for one in vars(self).values()))

    def as_arrays(self) -> FittedPairs:
        """The same as arrays."""
        return FittedPairs(*(one if hasattr(one, "astype") else one.cpu().numpy() for one in vars(self).values()))

    @property
    def size_bytes(self) -> int:
        return sum(one.nbytes for one in vars(self).values())


def _are_within(numbers: Array, stop: int) -> bool:
    return not numbers.nbytes or (int(numbers.min()) >= 0 and int(numbers.max()) < stop)
