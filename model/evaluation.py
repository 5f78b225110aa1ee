"""How good a codec is: its error, and recall by exhaustive search over decoded vectors, as the papers measure it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from model.codec import NetworkCodec
from model.errors import DimensionMismatch, InvalidVectors, UnsupportedOption
from model.product_codec import ProductCodec

Float32 = NDArray[np.float32]
Codec = NetworkCodec | ProductCodec

RECALL_AT = (1, 10, 100)
BLOCK_NUMBERS = 2_000_000
"""Numbers of a block of vectors, which bounds memory whatever the size of the base: 8 MB."""


@dataclass(frozen=True)
class Quality:
    """What the first `steps` symbols of each code are worth.

    mse     squared error, summed over dimensions, mean over vectors
    recall  at 1, 10 and 100: the share of queries whose nearest vector is among so many nearest decoded ones; of
            vectors that decode alike, as many do from short prefixes, Faiss takes any first
    """

    steps: int
    mse: float
    recall: dict[int, float]


@dataclass(frozen=True)
class Evaluation:
    """prefixes  shortest first, the whole code last · encode_us, decode_us  for one vector, of the whole code."""

    vectors: int
    queries: int
    prefixes: list[Quality]
    encode_us: float
    decode_us: float


@dataclass(frozen=True)
class Effort:
    """candidates A and beam B to encode with, None for the codec's own · every_prefix, or the whole code alone
    unit  for cosine: divide vectors and queries by their length first, and decoded vectors before they are searched
    """

    candidates: int | None = None
    beam: int | None = None
    every_prefix: bool = False
    unit: bool = False


DEFAULT_EFFORT = Effort()


def evaluate(
    codec: Codec,
    base: NDArray[np.generic],
    queries: NDArray[np.generic],
    neighbours: NDArray[np.integer] | None = None,
    effort: Effort = DEFAULT_EFFORT,
    report: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Encode and decode base [n, dim] and search it for queries [q, dim], block by block.

    neighbours  [q, 1 or more], each query's nearest vectors, nearest first; None to find them by exact search
    report      called with how many vectors are done
    Raises InvalidVectors, DimensionMismatch, UnsupportedOption.
    """
    _check(codec, base, queries, neighbours)
    asked = as_float32(queries, 0, effort.unit)
    lengths = prefix_lengths(codec) if effort.every_prefix else [codec.steps]
    prefixes = [_Prefix(steps, _Nearest(asked, min(RECALL_AT[-1], len(base))), effort.unit) for steps in lengths]
    exact = _Nearest(asked, 1)
    seconds = {"encode": 0.0, "decode": 0.0}
    rows = max(1, BLOCK_NUMBERS // codec.dim)
    codec.decode(codec.encode(as_float32(base[:1], 0, effort.unit), effort.candidates, effort.beam))  # warms up
    for begin in range(0, len(base), rows):
        block = as_float32(base[begin : begin + rows], begin, effort.unit)
        began = time.perf_counter()
        codes = codec.encode(block, effort.candidates, effort.beam)
        seconds["encode"] += time.perf_counter() - began
        for prefix in prefixes:
            began = time.perf_counter()
            decoded = codec.decode(codes, prefix.steps)
            seconds["decode"] += time.perf_counter() - began if prefix is prefixes[-1] else 0.0
            prefix.add(block, decoded)
        if neighbours is None:
            exact.add(block)
        report(begin + len(block))
    nearest = exact.found()[:, 0] if neighbours is None else neighbours[:, 0]
    a_vector = {what: 1e6 * spent / len(base) for what, spent in seconds.items()}
    qualities = [prefix.quality(nearest, len(base)) for prefix in prefixes]
    return Evaluation(len(base), len(queries), qualities, a_vector["encode"], a_vector["decode"])


def prefix_lengths(codec: Codec) -> list[int]:
    """The numbers of symbols that a code can be cut to: each, or whole steps of all slices."""
    slices = len(codec.slices) if isinstance(codec, ProductCodec) else 1
    return list(range(slices, codec.steps + 1, slices))


def as_float32(vectors: NDArray[np.generic], first: int, unit: bool) -> Float32:
    """Rows [n, dim] of any numbers as float32, at length 1 if `unit`; for errors they count from `first`."""
    # A copy in any case: PyTorch warns of files that are mapped, which cannot be written to.
    rows = np.array(vectors, dtype=np.float32, order="C")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InvalidVectors(f"Vector {first + int(np.argmin(finite))} holds a value that is not finite.")
    if not unit:
        return rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise InvalidVectors(f"Vector {first + int(np.argmin(lengths))} is zero and has no direction.")
    return np.asarray(rows / lengths, dtype=np.float32)


class _Nearest:
    """The k nearest to each query of all vectors added so far."""

    def __init__(self, queries: Float32, k: int) -> None:
        self._queries, self._k, self._seen = queries, k, 0
        self._heap = faiss.ResultHeap(len(queries), k)

    def add(self, vectors: Float32) -> None:
        distances, rows = faiss.knn(self._queries, vectors, min(self._k, len(vectors)))
        self._heap.add_result(distances, rows + self._seen)
        self._seen += len(vectors)

    def found(self) -> NDArray[np.int64]:
        """Rows [q, k], nearest first."""
        self._heap.finalize()
        rows: NDArray[np.int64] = self._heap.I
        return rows


@dataclass
class _Prefix:
    """Squared error and neighbours of what the first `steps` symbols decode to."""

    steps: int
    nearest: _Nearest
    unit: bool
    squared_error: float = 0.0

    def add(self, vectors: Float32, decoded: Float32) -> None:
        self.squared_error += float(np.square(vectors - decoded).sum(dtype=np.float64))
        # For cosine the directions count: what vectors of one length decode to has several.
        self.nearest.add(decoded / np.linalg.norm(decoded, axis=1, keepdims=True) if self.unit else decoded)

    def quality(self, nearest: NDArray[np.integer], n: int) -> Quality:
        is_nearest = self.nearest.found() == nearest[:, None]  # [q, k]
        recall = {r: float(is_nearest[:, :r].any(axis=1).mean()) for r in RECALL_AT}
        return Quality(self.steps, self.squared_error / n, recall)


def _check(
    codec: Codec,
    base: NDArray[np.generic],
    queries: NDArray[np.generic],
    neighbours: NDArray[np.integer] | None,
) -> None:
    for what, vectors in (("base", base), ("queries", queries)):
        if vectors.ndim != 2 or not len(vectors):
            raise InvalidVectors(f"The {what} of shape {list(vectors.shape)} hold no vectors [n, {codec.dim}].")
        if vectors.shape[1] != codec.dim:
            raise DimensionMismatch(
                f"The codec is for vectors of {codec.dim} numbers; those of the {what} have {vectors.shape[1]}."
            )
    if neighbours is None:
        return
    if neighbours.ndim != 2 or len(neighbours) != len(queries) or not neighbours.shape[1]:
        raise UnsupportedOption(
            f"The ground truth of shape {list(neighbours.shape)} is not one row of neighbours "
            f"for each of {len(queries)} queries."
        )
    if neighbours[:, 0].min() < 0 or neighbours[:, 0].max() >= len(base):
        raise UnsupportedOption(f"The ground truth names vectors beyond the {len(base)} of the base.")
