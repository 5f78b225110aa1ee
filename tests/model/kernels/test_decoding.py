"""Decoding in one Numba function against the plain form, on random sizes and both element types."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from model.kernels import decoding, folding, threads
from model.kernels.packed import pack_network
from model.kernels.processor import HAS_BFLOAT16
from tests.model.builders import random_network
from tests.model.kernels.test_folded import SIZES

ELEMENTS = [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here"))]


def random_codes(sizes, n: int) -> torch.Tensor:
    symbols = torch.randint(0, sizes["codewords"], (n, sizes["steps"]))
    if not sizes["ivf_lists"]:
        return symbols
    return torch.cat([torch.randint(0, sizes["ivf_lists"], (n, 1)), symbols], dim=1)


@pytest.mark.parametrize("is_half", ELEMENTS)
@given(sizes=SIZES, n=st.sampled_from([0, 1, 5, 6, 7, 96, 97, 250]), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
@torch.no_grad()
def test_a_prefix_of_any_length_decodes_like_the_plain_form(is_half, sizes, n, seed):
    network = random_network(seed, **sizes)
    packed = pack_network(network, [folding.fold(step) for step in network.steps], is_half)
    if packed is None:  # a single step without a list has no network
        assert sizes["steps"] == 1
        assert not sizes["ivf_lists"]
        return
    torch.manual_seed(seed)
    codes = random_codes(sizes, n)
    lists, symbols = network.split(codes)
    start = network.start(lists, 0 if lists is None else n).numpy()
    for count in range(1, sizes["steps"] + 1):
        expected = network.restore(network.decode(codes, count)).numpy()
        tolerance = 0.03 * np.abs(expected).max(initial=1.0) if is_half else 1e-3
        assert_allclose(decoding.decode(packed, start, symbols.numpy(), count), expected, rtol=1e-4, atol=tolerance)


@torch.no_grad()
def test_threads_share_a_batch_without_changing_it():
    network = random_network(0, dim=20, embedding=20)
    packed = pack_network(network, [folding.fold(step) for step in network.steps])
    symbols = np.random.default_rng(0).integers(0, 8, (1000, 3))
    none, before = np.zeros((0, 20), np.float32), threads.threads()
    try:
        threads.set_threads(3)
        shared = decoding.decode(packed, none, symbols, 3)
        threads.set_threads(1)
        assert (shared == decoding.decode(packed, none, symbols, 3)).all()
    finally:
        threads.set_threads(before)
