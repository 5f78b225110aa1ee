"""Beam search in one Numba function against the plain form, by the error of what it finds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import beam_search
from model.kernels import encoding, folding
from model.kernels.offers import Offers, keep_promising
from model.kernels.packed import pack_network, pack_search
from model.kernels.processor import HAS_BFLOAT16
from model.kernels.selection import smallest
from tests.model.builders import random_network, random_vectors
from tests.model.kernels.test_folded import SIZES

PACKABLE = SIZES.filter(lambda sizes: (sizes["steps"] > 1 or sizes["ivf_lists"]) and not sizes["preselection_blocks"])

EVALUATED = st.sampled_from([None, 1, 2, 5, 9])


def _errors(network, x, candidates, beam, is_half, evaluated=None):
    """Errors [n] of the plain form's codes and of the fast form's."""
    steps = [folding.fold(step) for step in network.steps]
    packed, search = pack_network(network, steps, is_half), pack_search(network, steps, is_half)
    lists = beam_search.nearest_list(network, x) if network.config.ivf_lists else None
    plain = beam_search.encode(network, x, candidates, beam, evaluated)
    fast = encoding.encode_tensors(network, packed, search, x, lists, candidates, beam, evaluated)
    return ((network.decode(codes) - x).square().sum(dim=1) for codes in (plain, fast))


@given(sizes=PACKABLE, n=st.integers(0, 40), evaluated=EVALUATED, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=80)
@torch.no_grad()
def test_in_float32_codes_are_as_good_as_the_plain_forms(sizes, n, evaluated, seed):
    network = random_network(seed, **sizes)
    x = random_vectors(network, n, seed)
    plain, fast = _errors(network, x, sizes["candidates"], sizes["beam"], False, evaluated)
    # Two codewords as near as float32 can tell may part the searches; more than one such vector is no tie.
    assert ((plain - fast).abs() > 1e-3 * (1 + plain)).sum() <= 1


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here")
@given(sizes=PACKABLE, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
@torch.no_grad()
def test_in_bfloat16_codes_are_nearly_as_good(sizes, seed):
    network = random_network(seed, **sizes)
    plain, fast = _errors(network, random_vectors(network, 300, seed), sizes["candidates"], sizes["beam"], is_half=True)
    assert fast.mean() <= 1.03 * plain.mean() + 1e-3


@pytest.mark.parametrize("steps", [1, 2])
@torch.no_grad()
def test_a_prefix_reads_the_whole_networks_tables(steps):
    network = random_network(3, dim=20, steps=4)
    folds = [folding.fold(step) for step in network.steps]
    whole, search = pack_network(network, folds, False), pack_search(network, folds, False)
    short, x = network.prefix(steps), random_vectors(network, 30)
    found = encoding.encode_tensors(short, whole, search, x, None, 4, 3)
    assert (found == beam_search.encode(short, x, 4, 3)).all()


@given(values=st.lists(st.integers(-9, 9), min_size=1, max_size=80), share=st.floats(0, 1))
@settings(deadline=None)
def test_the_smallest_are_found_and_the_first_of_equals(values, share):
    numbers = np.array(values, np.float32)
    count = max(1, round(share * len(values)))
    places = np.empty(count, np.int64)
    smallest(places, numbers, count)
    assert places.tolist() == sorted(np.argsort(numbers, kind="stable")[:count].tolist())


@given(n=st.integers(1, 300), share=st.floats(0, 1), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**31))
@settings(deadline=None)
def test_the_smallest_of_numbers_of_any_size_are_found(n, share, scale, seed):
    numbers = (scale * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)
    count = max(1, round(share * n))
    places = np.empty(count, np.int64)
    smallest(places, numbers, count)
    assert places.tolist() == sorted(np.argsort(numbers, kind="stable")[:count].tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0])
def test_of_numbers_that_cannot_be_told_apart_as_many_as_wanted_are_taken(value):
    offers = Offers(np.arange(8), np.arange(8), np.full(8, value, np.float32), np.zeros(8, np.float32))
    keep_promising(offers, np.zeros(3, np.int64), 2, 4, 3)
    assert offers.symbols[:6].tolist() == [0, 1, 2, 4, 5, 6]
