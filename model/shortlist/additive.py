"""The additive decoder: x̂ = start + Σ_m T_m[i_m], a sum of one table row a symbol."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.shortlist.row_sums import add_rows
from model.weights import Float32, Weights


@dataclass(frozen=True)
class AdditiveDecoder:
    """tables float32 [M, K, D], normalised; with IVF the list's centroid is added."""

    tables: Float32

    def decode(self, weights: Weights, codes: NDArray[np.int64]) -> Float32:
        """codes [n, M] ([n, 1 + M] with IVF) → [n, D], in the vectors' units."""
        lists, symbols = weights.split(codes)
        decoded = weights.restore(weights.start(lists, len(codes)))
        add_rows(decoded, self.tables, np.ascontiguousarray(symbols), 0, float(weights.std))
        return decoded
