"""Arrays that may be PyTorch's, for whoever does not import it unless somebody else has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.kernels.folding import Array

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T", bound=np.generic)


def is_tensor(values: Any) -> TypeGuard[Tensor]:
    """Whether these are PyTorch's, which then has been imported."""
    return hasattr(values, "data_ptr")


def on_host(values: Array) -> NDArray[Any]:
    """As NumPy's, copied only from a GPU."""
    array: NDArray[Any] = values.cpu().numpy() if is_tensor(values) else values
    return array


def codes_on_host(codes: Array) -> NDArray[np.int64]:
    """As the kernels read them: of other integers they would be compiled once more."""
    return np.asarray(on_host(codes), np.int64)


def like(given: Array, values: NDArray[T]) -> NDArray[T] | Tensor:
    """As a tensor where a tensor was given."""
    if not is_tensor(given):
        return values
    import torch

    return torch.from_numpy(values)
