"""Compiling the kernels for CPUs, or loading what was compiled, before a vector has to wait for it."""

from functools import cache

import numpy as np

from model.codec import NetworkCodec
from model.config import CodecConfig
from model.shortlist import AdditiveDecoder
from model.shortlist.row_sums import add_to_rows
from model.weights import Weights, shapes


@cache
def warm_kernels() -> None:
    """Encode one vector with the smallest codec, and decode it by each decoder.

    On a machine that has not run these kernels yet that takes half a minute of one core, and Python waits meanwhile;
    later processes read the compiled code from Numba's cache in a tenth of a second.
    """
    codec = smallest_codec()
    codes = codec.encode(np.zeros((1, 2), np.float32))
    for decode in (codec.decode, codec.decode_additive, codec.decode_pairwise):
        decode(codes)
    add_to_rows(np.zeros((4, 2), np.float32), codes.astype(np.int64), np.zeros((1, 2), np.float32), 2)  # in fitting


def smallest_codec() -> NetworkCodec:
    """The smallest that there is: two dimensions, two steps of two codewords."""
    config = CodecConfig(dim=2, steps=2, codewords=2, embedding=1, hidden=1, candidates=2, beam=2)
    weights = Weights(config, {name: np.ones(shape, np.float32) for name, shape in shapes(config).items()})
    return NetworkCodec(weights, AdditiveDecoder(np.zeros((2, 2, 2), np.float32)))
