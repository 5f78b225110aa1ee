"""The additive scan where a codec on a GPU is: Triton's form, or PyTorch's where Triton is missing or would not fit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from index_store.answers import Float32
from index_store.candidates import Candidates
from index_store.row_set import RowSet
from index_store.scan import torch_form
from index_store.segment import Segment
from model.kernels import fused


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Tensor,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
) -> Candidates:
    """The same as `torch_form.scan`."""
    if fused.are_available(tables.device):
        from index_store.scan import triton_form

        if triton_form.fits(shortlist):
            return triton_form.scan(segments, lists, bases, tables, with_norms, skipped, shortlist)
    return torch_form.scan(segments, lists, bases, tables, with_norms, skipped, shortlist)
