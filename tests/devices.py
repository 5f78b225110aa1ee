"""Where the forms for GPUs run in tests: on a GPU where there is one, else on the CPU, Triton's in its interpreter."""

from importlib.util import find_spec

import pytest
import torch

HAS_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_CUDA else "cpu")

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="PyTorch finds no CUDA device")


def examples(interpreted: int) -> int:
    """How many examples a property is tried on: so many where they are interpreted, 20 times as many on a GPU."""
    return interpreted * 20 if HAS_CUDA else interpreted
