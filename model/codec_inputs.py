"""What a codec is given, looked at before anything is computed with it: each is refused by a sentence of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.config import CodecConfig
from model.errors import DimensionMismatch, InvalidCodes, InvalidVectors, UnsupportedOption
from model.kernels.folding import Array
from model.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor


def check_search(config: CodecConfig, candidates: int, beam: int) -> None:
    """Raise UnsupportedOption where a codec cannot encode with this A and B."""
    if not 0 <= candidates <= config.codewords:
        raise UnsupportedOption(f"Pre-selection keeps 0 (all) to {config.codewords} codewords, not {candidates}.")
    if candidates and not config.candidates:
        raise UnsupportedOption(
            f"This codec was trained without pre-selection, so candidates={candidates} is not possible; use 0."
        )
    if not 1 <= beam <= config.codewords:
        raise UnsupportedOption(f"The beam must be 1 to {config.codewords} hypotheses, not {beam}.")


def checked_vectors(config: CodecConfig, x: NDArray[np.float32] | Tensor) -> Array:
    """Vectors [n, dim] as they came, arrays in float32; a tensor is looked at where it is.

    Raises InvalidVectors, DimensionMismatch.
    """
    vectors: Array = x if is_tensor(x) else np.asarray(x, dtype=np.float32)
    if vectors.ndim != 2:
        raise InvalidVectors(f"Vectors come as an array [n, {config.dim}], not of shape {list(vectors.shape)}.")
    if vectors.shape[1] != config.dim:
        raise DimensionMismatch(f"This codec is for vectors of {config.dim} numbers; these have {vectors.shape[1]}.")
    is_finite = vectors.isfinite() if is_tensor(vectors) else np.isfinite(vectors)
    if not is_finite.all():
        row = int((~is_finite.all(1)).nonzero()[0][0])
        raise InvalidVectors(f"Vector {row} holds a value that is not finite.")
    return vectors


def checked_codes(config: CodecConfig, codes: NDArray[np.integer] | Tensor) -> Array:
    """Codes as int64 arrays [n, steps], [n, 1 + steps] with IVF, or the tensor that came. Raises InvalidCodes."""
    given: Array = codes if is_tensor(codes) else np.asarray(codes).astype(np.int64)
    first = 1 if config.ivf_lists else 0
    width = first + config.steps
    is_real = is_tensor(given) and given.is_floating_point()
    if given.ndim != 2 or given.shape[1] != width or is_real:
        raise InvalidCodes(f"Codes come as integers [n, {width}], not {given.dtype} of shape {list(given.shape)}.")
    if len(given):  # where they are: to look at what is on a GPU means to wait for it
        symbols, lists = given[:, first:], given[:, :first]
        if symbols.min() < 0 or symbols.max() >= config.codewords:
            raise InvalidCodes(f"Symbols go from 0 to {config.codewords - 1}.")
        if first and (lists.min() < 0 or lists.max() >= config.ivf_lists):
            raise InvalidCodes(f"Lists go from 0 to {config.ivf_lists - 1}.")
    return given
