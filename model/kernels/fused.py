"""The Triton kernels as the codec calls them, and whether they can be called at all. Triton is imported only then."""

import logging
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from model.kernels.folding import FoldedStep
from model.kernels.fused_packed import FusedNetwork, fuse
from model.networks import QINCo2

logger = logging.getLogger(__name__)

LEAST_CAPABILITY = (7, 0)
"""Cards since Volta, of 2017, have tensor cores, and Triton compiles for them."""


@dataclass(frozen=True)
class FusedKernels:
    """The kernels over one network; those of its prefixes are the same."""

    network: FusedNetwork

    def decode(self, codes: Tensor, steps: int) -> Tensor:
        """See `fused_decoding.decode`."""
        from model.kernels import fused_decoding

        return fused_decoding.decode(self.network, codes, steps)

    def fits(self, plain: QINCo2, candidates: int, beam: int) -> bool:
        """See `fused_encoding.fits`."""
        from model.kernels import fused_encoding

        return fused_encoding.fits(self.network, plain, candidates, beam)

    def encode(self, plain: QINCo2, x: Tensor, lists: Tensor | None, candidates: int, beam: int) -> Tensor:
        """See `fused_encoding.encode`."""
        from model.kernels import fused_encoding

        return fused_encoding.encode(self.network, plain, x, lists, candidates, beam)


def are_available(device: torch.device) -> bool:
    """Whether Triton compiles for this device, and can compile what it calls the driver with."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY and _reaches_driver()


@cache
def _reaches_driver() -> bool:
    """Whether Triton's first step on a machine succeeds, for which it needs a C compiler and a folder to write to."""
    from triton.runtime import driver

    try:
        driver.active.get_current_device()
    except Exception as error:  # whatever it is: PyTorch's operators do the same, slower
        logger.warning("Triton's kernels are left out, PyTorch's operators take their place: %s", error)
        return False
    return True


def kernels_for(network: QINCo2, steps: list[FoldedStep]) -> FusedKernels | None:
    """The kernels over a network where it is; None where they cannot run, or do not fit it."""
    if not are_available(network.mean.device):
        return None
    made = fuse(network, steps)
    return None if made is None else FusedKernels(made)
