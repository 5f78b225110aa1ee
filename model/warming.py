"""Compiling the kernels for CPUs, or loading what was compiled, before a vector has to wait for it."""

from functools import cache

import numpy as np

from model.codec import NetworkCodec
from model.config import CodecConfig
from model.networks import QINCo2


@cache
def warm_kernels() -> None:
    """Encode and decode one vector with the smallest network there is.

    On a machine that has not run these kernels yet that takes half a minute of one core, and Python waits meanwhile;
    later processes read the compiled code from Numba's cache in a tenth of a second.
    """
    codec = NetworkCodec(QINCo2(CodecConfig(dim=2, steps=2, codewords=2, embedding=1, hidden=1, candidates=2, beam=2)))
    codec.decode(codec.encode(np.zeros((1, 2), np.float32)))
