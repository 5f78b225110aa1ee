"""How long the vectors are that codes were made of: whether they are all of one length, as embeddings often are.

Then what their codes decode to can be brought back to it, whatever the distance (`directions.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from index_store.answers import Float32

MOST_SPREAD = 0.005
"""Standard deviation, of the mean. By ten times as much do the lengths of what 16 bytes decode to vary."""
FARTHEST = 0.1
"""Of any single vector from the mean, of the mean: it is taken for as long as the others."""


@dataclass(frozen=True)
class Lengths:
    """Of `count` vectors the shortest, the longest, their mean and standard deviation."""

    count: int
    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, vectors: Float32) -> Lengths:
        """Those of vectors [n, dim], n ≥ 1."""
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        return cls(
            len(lengths), float(lengths.min()), float(lengths.max()), float(lengths.mean()), float(lengths.std())
        )

    @property
    def one(self) -> float | None:
        """The one that all have, or None."""
        nearly = max(self.high - self.mean, self.mean - self.low) <= FARTHEST * self.mean
        return self.mean if self.mean > 0 and nearly and self.deviation <= MOST_SPREAD * self.mean else None


def together(several: Iterable[Lengths | None]) -> Lengths | None:
    """Those of all the vectors of several; None if any are unknown, or there are none."""
    known: list[Lengths] = []
    for one in several:
        if one is None:
            return None
        known.append(one)
    count = sum(one.count for one in known)
    if not count:
        return None
    mean = sum(one.count * one.mean for one in known) / count
    variance = sum(one.count * (one.deviation**2 + (one.mean - mean) ** 2) for one in known) / count
    return Lengths(
        count, min(one.low for one in known), max(one.high for one in known), mean, math.sqrt(max(variance, 0.0))
    )
