"""Drift: how far the vectors encoded of late are from their codes, beside those that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from index_store.answers import Float32
from index_store.coding import Codes

if TYPE_CHECKING:
    from model import Codec

SAMPLED = 128
"""Vectors of each batch that are decoded again, a hundredth of the batch's work or less."""

LEAST_SAMPLED = 32
MEMORY = 0.9
"""Of what is known, after each further batch: about ten batches count."""


class Drift:
    """A running mean of the squared error of one vector index, written by the one thread that encodes."""

    def __init__(self, training_mse: Mapping[int, float]) -> None:
        """training_mse: what the model has on vectors like those it was trained on, by the steps that are decoded"""
        self._training_mse = training_mse
        self._error = self._weight = 0.0

    def note(self, codec: Codec, vectors: Float32, codes: Codes) -> None:
        """Take in a batch: vectors [n, dim] and their codes."""
        chosen = np.unique(np.linspace(0, len(vectors) - 1, min(SAMPLED, len(vectors)), dtype=np.int64))
        error = float(np.square(codec.decode(codes[chosen]) - vectors[chosen]).sum())
        self._error, self._weight = MEMORY * self._error + error, MEMORY * self._weight + len(chosen)

    @property
    def recent_mse(self) -> float | None:
        """Squared error a vector of late; None until enough were encoded."""
        return self._error / self._weight if self._weight >= LEAST_SAMPLED else None

    def training_mse(self, steps: int) -> float | None:
        """What to compare it with, of codes of so many steps; None where the model does not tell."""
        return self._training_mse.get(steps)
