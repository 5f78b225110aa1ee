"""Rows still in the running, and the selection of the nearest among them."""

from dataclasses import dataclass
from typing import Any

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
        order = _order(distances, count)
        return Candidates(_taken(distances, order), _taken(self.segments, order), _taken(self.slots, order))

    def first(self, count: int) -> "Candidates":
        """The `count` nearest, of candidates in order."""
        return Candidates(self.distances[:, :count], self.segments[:, :count], self.slots[:, :count])


@dataclass(frozen=True)
class Found:
    """For each query its rows, nearest first; −1 where there were fewer.

    distances float32 [q, s] · rows int64 [q, s]
    """

    distances: Float32
    rows: NDArray[np.int64]

    def first(self, count: int) -> "Found":
        """The `count` nearest, in order."""
        order = _order(self.distances, count)
        return Found(_taken(self.distances, order), _taken(self.rows, order))

    def merged(self, other: "Found", count: int) -> "Found":
        """The `count` nearest of both."""
        distances = np.concatenate([self.distances, other.distances], axis=1)
        rows = np.concatenate([self.rows, other.rows], axis=1)
        return Found(distances, rows).first(count)


def nothing(queries: int) -> Found:
    """No rows for so many queries."""
    return Found(np.zeros((queries, 0), np.float32), np.zeros((queries, 0), np.int64))


def _order(distances: Float32, count: int) -> NDArray[np.int64]:
    """Where the `count` smallest of each row of distances [q, s] lie in all of them, flat: [q, count]."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return order if len(order) == 1 else order + distances.shape[1] * np.arange(len(order))[:, None]


def _taken(array: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """A quarter of what `np.take_along_axis` takes, for one query: 3 instead of 12 µs."""
    return array.ravel()[order]
