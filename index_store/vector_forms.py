"""The forms of a vector: as it came, as it is stored, and as it is compared with queries."""

import math

import numpy as np
from numpy.typing import NDArray

from index_store import metric
from index_store.answers import Float32
from index_store.config import VectorConfig
from index_store.originals import as_stored
from model.errors import DimensionMismatch, InvalidVectors


class VectorForms:
    """Cosine: they are stored at length 1, or, where they are stored as bytes, brought to it when they are read."""

    def __init__(self, name: str, config: VectorConfig, dtype: str) -> None:
        """name: what messages call the vector · dtype: what its numbers are stored as"""
        self._name, self._config, self._dtype = name, config, dtype
        self.normalises_late = config.distance == "Cosine" and dtype in ("uint8", "int8")

    def prepare(self, vectors: Float32) -> NDArray[np.generic]:
        """Vectors [n, dim] as they will be stored; raises DimensionMismatch, InvalidVectors, InvalidPoints."""
        vectors = self._checked(vectors)
        compared = self._compared(vectors)
        return as_stored(vectors if self.normalises_late else compared, self._dtype)

    def prepare_queries(self, queries: Float32) -> Float32:
        """Queries [q, dim] as they are compared; raises the same."""
        if self._are_ready(queries):
            return queries
        queries = np.require(self._checked(queries), requirements="W")  # PyTorch warns of read-only arrays
        return self._compared(queries)

    def _are_ready(self, queries: Float32) -> bool:
        """Whether queries are compared as they came, which one look at them says: nothing is to be made of them."""
        if self._config.distance == "Cosine" or type(queries) is not np.ndarray or queries.dtype != np.float32:
            return False
        is_array = queries.ndim == 2 and queries.flags.c_contiguous and queries.flags.writeable
        if not is_array or queries.shape[1] != self._config.size:
            return False
        return bool(np.vdot(queries, queries) <= metric.LONGEST**2)  # of all of them together; not so with NaN

    def as_searched(self, stored: NDArray[np.generic]) -> Float32:
        """Stored vectors as float32 [n, dim] of the kind that queries are compared with."""
        vectors = np.asarray(stored, np.float32)
        return metric.normalised(vectors) if self.normalises_late else vectors

    def fillers(self, n: int) -> NDArray[np.generic]:
        """What is stored in the rows of points that lack this vector; never looked at."""
        return self.prepare(np.ones((n, self._config.size), np.float32))

    def _compared(self, vectors: Float32) -> Float32:
        return metric.normalised(vectors) if self._config.distance == "Cosine" else metric.comparable(vectors)

    def _checked(self, vectors: Float32) -> Float32:
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
            told = f"{vectors.dtype} {list(vectors.shape)}"
            raise InvalidVectors(f"Vectors come as numbers [n, {self._config.size}], not as {told}.")
        if vectors.shape[1] != self._config.size:
            raise DimensionMismatch(
                f"The vector '{self._name}' has {self._config.size} numbers; this request sent {vectors.shape[1]}."
            )
        vectors = np.ascontiguousarray(vectors, np.float32)
        if not math.isfinite(np.vdot(vectors, vectors)):  # or the sum of their squares is beyond float32
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                raise InvalidVectors(f"Vector {int(finite.argmin())} of the request holds NaN or infinity.")
        return vectors
