"""ProductCodec: vectors cut into equal slices, each with a codec of its own (PQ-QINCo), after a rotation or none.

QINCo (Huijben et al., ICML 2024, section 5.4) composes with product quantisation for long codes. The rotation is the
orthonormal matrix of OPQ: x Rᵀ is cut, and what the slices decode to is turned back by R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from model.codec import Codes, Float32, NetworkCodec
from model.codecs_in_ram import size_bytes
from model.errors import DimensionMismatch, InvalidCodes, InvalidVectors
from model.kernels.folding import Array
from model.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor


class ProductCodec:
    """The same face as `NetworkCodec`; codes are those of the slices side by side, so `steps` counts all symbols.

    rotation R [dim, dim], None for none
    """

    ivf_lists = 0
    centroids = None
    coarse = None

    def __init__(self, slices: Sequence[NetworkCodec], rotation: Float32 | None = None, sha256: str = "") -> None:
        first = slices[0]
        self.slices, self.sha256 = tuple(slices), sha256
        self.device = first.device
        self.rotation = rotation
        self.dim = sum(one.dim for one in slices)
        self.steps = sum(one.steps for one in slices)
        self.codewords = first.codewords
        self.default_candidates, self.default_beam = first.default_candidates, first.default_beam

    @overload
    def encode(
        self, x: Float32, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Codes: ...
    @overload
    def encode(
        self, x: Tensor, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Tensor: ...
    def encode(
        self, x: Float32 | Tensor, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Codes | Tensor:
        """Codes of vectors [n, dim] → int32 [n, steps]; see `NetworkCodec.encode`."""
        vectors = self._rotated(x)
        parts = zip(self.slices, self._cut(vectors), strict=True)
        codes = [one.encode(part, candidates, beam, evaluated) for one, part in parts]
        joined: Codes | Tensor = _joined(codes)
        return joined

    @overload
    def decode(self, codes: NDArray[np.integer], steps: int | None = None) -> Float32: ...
    @overload
    def decode(self, codes: Tensor, steps: int | None = None) -> Tensor: ...
    def decode(self, codes: NDArray[np.integer] | Tensor, steps: int | None = None) -> Float32 | Tensor:
        """Codes → float32 [n, dim]; `steps` must be a whole number of steps of each slice. Raises InvalidCodes."""
        own = None if steps is None else self._steps_a_slice(steps)
        return self._decode_with(lambda one, part: one.decode(part, own), codes)

    @overload
    def decode_additive(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_additive(self, codes: Tensor) -> Tensor: ...
    def decode_additive(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """See `NetworkCodec.decode_additive`."""
        return self._decode_with(lambda one, part: one.decode_additive(part), codes)

    @overload
    def decode_pairwise(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_pairwise(self, codes: Tensor) -> Tensor: ...
    def decode_pairwise(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """See `NetworkCodec.decode_pairwise`: the first two symbols of every slice are decoded exactly."""
        return self._decode_with(lambda one, part: one.decode_pairwise(part), codes)

    def prefix(self, steps: int) -> ProductCodec:
        """The codec of the first symbols of each slice, `steps` in all; see `NetworkCodec.prefix`."""
        own = self._steps_a_slice(steps)
        return ProductCodec([one.prefix(own) for one in self.slices], self.rotation, self.sha256)

    def prefix_columns(self, steps: int) -> NDArray[np.int64]:
        """Which columns of a whole code make up the code of `prefix(steps)`."""
        own, starts = self._steps_a_slice(steps), self._starts()
        return np.concatenate([start + np.arange(own) for start in starts])

    def with_shortlist_decoders(self, x: Float32, codes: Codes | None = None) -> ProductCodec:
        """The same codec with additive tables fitted to vectors [n, dim]; see `NetworkCodec`."""
        parts = self._cut(self._rotated(x))
        own = [None] * len(parts) if codes is None else self._cut_codes(codes)
        fitted = [
            one.with_shortlist_decoders(np.ascontiguousarray(part), some)
            for one, part, some in zip(self.slices, parts, own, strict=True)
        ]
        return ProductCodec(fitted, self.rotation, self.sha256)

    @property
    def has_additive(self) -> bool:
        return all(one.has_additive for one in self.slices)

    @property
    def has_pairwise(self) -> bool:
        return all(one.has_pairwise for one in self.slices)

    @property
    def additive_tables(self) -> Float32:
        """Tables [steps, codewords, dim] whose rows sum to `decode_additive`: a slice's are zero outside of it."""
        tables = np.zeros((self.steps, self.codewords, self.dim), np.float32)
        row = column = 0
        for one in self.slices:
            tables[row : row + one.steps, :, column : column + one.dim] = one.additive_tables
            row, column = row + one.steps, column + one.dim
        return tables if self.rotation is None else tables @ self.rotation

    @property
    def size_bytes(self) -> int:
        """RAM of all slices and the rotation."""
        return size_bytes([self])

    def arrays(self) -> Iterator[Array]:
        """See `NetworkCodec.arrays`."""
        if self.rotation is not None:
            yield self.rotation
        for one in self.slices:
            yield from one.arrays()

    def _rotated(self, x: Float32 | Tensor) -> Array:
        vectors: Array = x if is_tensor(x) else np.asarray(x, dtype=np.float32)
        if vectors.ndim != 2:
            raise InvalidVectors(f"Vectors come as an array [n, {self.dim}], not of shape {list(vectors.shape)}.")
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(f"This codec is for vectors of {self.dim} numbers; these have {vectors.shape[1]}.")
        return vectors if self.rotation is None else vectors @ _where(vectors, self.rotation).T

    def _cut(self, vectors: Array) -> list[Array]:
        return _between([one.dim for one in self.slices], vectors)

    def _cut_codes(self, codes: NDArray[np.int32]) -> list[Codes]:
        return np.split(codes, self._starts()[1:], axis=1)

    def _starts(self) -> list[int]:
        """The column at which each slice's symbols begin."""
        return [sum(one.steps for one in self.slices[:place]) for place in range(len(self.slices))]

    def _steps_a_slice(self, steps: int) -> int:
        most = min(one.steps for one in self.slices)
        own, rest = divmod(steps, len(self.slices))
        if rest or not 1 <= own <= most:
            raise InvalidCodes(
                f"This codec has {len(self.slices)} slices of {most} steps: a prefix has a multiple of "
                f"{len(self.slices)} symbols, up to {self.steps}, not {steps}."
            )
        return own

    def _decode_with(
        self, form: Callable[[NetworkCodec, Array], Array], codes: NDArray[np.integer] | Tensor
    ) -> Float32 | Tensor:
        given: Array = codes if is_tensor(codes) else np.asarray(codes).astype(np.int64)
        if given.ndim != 2 or given.shape[1] != self.steps:
            raise InvalidCodes(f"Codes come as integers [n, {self.steps}], not of shape {list(given.shape)}.")
        parts = _between([one.steps for one in self.slices], given)
        decoded = _joined([form(one, part) for one, part in zip(self.slices, parts, strict=True)])
        turned: Float32 | Tensor = decoded if self.rotation is None else decoded @ _where(decoded, self.rotation)
        return turned


def _between(widths: list[int], rows: Array) -> list[Array]:
    """Rows [n, Σ widths] cut into slices of these widths."""
    stops = np.cumsum([0, *widths]).tolist()
    return [rows[:, begin:stop] for begin, stop in pairwise(stops)]


def _joined(parts: list[Array]) -> Array:
    if not is_tensor(parts[0]):
        return np.concatenate(parts, axis=1)
    import torch

    return torch.cat(parts, dim=1)


def _where(values: Array, matrix: Float32) -> Array:
    """The matrix as a tensor where `values` are, if these are one."""
    if not is_tensor(values):
        return matrix
    import torch

    return torch.from_numpy(matrix).to(values)
