"""The fast form against the plain form, on random sizes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model import beam_search
from model.kernels import folded, folding
from tests.model.builders import random_network, random_vectors

SIZES = st.fixed_dictionaries(
    {
        "dim": st.integers(1, 20),
        "steps": st.integers(1, 5),
        "codewords": st.sampled_from([4, 7, 16]),
        "blocks": st.integers(0, 3),
        "embedding": st.integers(1, 20),
        "hidden": st.integers(1, 9),
        "ivf_lists": st.sampled_from([0, 1, 6]),
        "candidates": st.sampled_from([0, 1, 3, 4]),
        "beam": st.integers(1, 4),
        "outer_skip": st.booleans(),
        "preselection_blocks": st.integers(0, 2),
    }
)


@given(sizes=SIZES, n=st.integers(0, 40), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
@torch.no_grad()
def test_the_fast_form_decodes_like_the_plain_one(sizes, n, seed):
    network = random_network(seed, **sizes)
    steps = [folding.fold(step) for step in network.steps]
    highest = min(sizes["codewords"], sizes["ivf_lists"] or sizes["codewords"])
    codes = torch.randint(0, highest, (n, sizes["steps"] + bool(sizes["ivf_lists"])))
    for count in range(1, sizes["steps"] + 1):
        assert_close(folded.decode(network, steps, codes, count), network.decode(codes, count), rtol=1e-4, atol=1e-4)


@given(sizes=SIZES, n=st.integers(0, 40), evaluated=st.sampled_from([None, 1, 2, 5, 9]), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
@torch.no_grad()
def test_the_fast_form_finds_codes_as_good_as_the_plain_one(sizes, n, evaluated, seed):
    network = random_network(seed, **sizes)
    steps = [folding.fold(step) for step in network.steps]
    tables = [folded.encoding_tables(step) for step in network.steps]
    x = random_vectors(network, n, seed)
    lists = beam_search.nearest_list(network, x) if sizes["ivf_lists"] else None
    plain = beam_search.encode(network, x, sizes["candidates"], sizes["beam"], evaluated)
    fast = folded.encode(network, steps, tables, x, lists, sizes["candidates"], sizes["beam"], evaluated)
    errors = [(network.decode(codes) - x).square().sum(dim=1) for codes in (plain, fast)]
    differ = (errors[0] - errors[1]).abs() > 1e-3 * (1 + errors[0])
    # Two codewords as near as float32 can tell may part the searches; more than one such vector is no tie.
    assert differ.sum() <= 1
