"""Rows still in the running, and the selection of the nearest among them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32

NO_SEGMENT = -1


@dataclass(frozen=True)
class Candidates:
    """For each query its candidates, nearest first; absent ones come last, at distance infinity.

    distances float32 [q, s] · slots int64 [q, s]
    segments int32 [q, s], the place in the view's segments, −1 for an absent one
    """

    distances: Float32
    segments: NDArray[np.int32]
    slots: NDArray[np.int64]

    def nearest(self, distances: Float32, count: int) -> "Candidates":
        """The `count` nearest by other distances [q, s]."""
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return Candidates(
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(self.segments, order, axis=1),
            np.take_along_axis(self.slots, order, axis=1),
        )


@dataclass(frozen=True)
class Found:
    """For each query its rows, nearest first; −1 where there were fewer.

    distances float32 [q, s] · rows int64 [q, s]
    """

    distances: Float32
    rows: NDArray[np.int64]

    def first(self, count: int) -> "Found":
        """The `count` nearest, in order."""
        order = np.argsort(self.distances, axis=1, kind="stable")[:, :count]
        return Found(np.take_along_axis(self.distances, order, axis=1), np.take_along_axis(self.rows, order, axis=1))

    def merged(self, other: "Found", count: int) -> "Found":
        """The `count` nearest of both."""
        distances = np.concatenate([self.distances, other.distances], axis=1)
        rows = np.concatenate([self.rows, other.rows], axis=1)
        return Found(distances, rows).first(count)


def nothing(queries: int) -> Found:
    """No rows for so many queries."""
    return Found(np.zeros((queries, 0), np.float32), np.zeros((queries, 0), np.int64))
