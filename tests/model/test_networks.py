"""The plain form against the equations in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import NetworkCodec, beam_search
from tests.model import float64_reference as reference
from tests.model.builders import random_network, random_vectors

VARIANTS = {
    "with projections": {},
    "without projections": {"embedding": 12},
    "with lists": {"ivf_lists": 5},
    "without residual blocks": {"blocks": 0},
    "without pre-selection": {"candidates": 0},
    "with one step": {"steps": 1},
    "with a network that pre-selects": {"preselection_blocks": 2},
    "without the outer skip": {"outer_skip": False},
}


@pytest.mark.parametrize("sizes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("steps", [None, 1])
def test_the_plain_form_decodes_like_the_equations(sizes, steps):
    network = random_network(**sizes)
    codes = torch.randint(0, 5, (20, network.config.steps + bool(network.config.ivf_lists)))
    with torch.no_grad():
        decoded = network.restore(network.decode(codes, steps)).numpy()
    model = reference.as_float64(network)
    expected = np.stack([reference.decode(model, code, steps) for code in codes.numpy()])
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(("candidates", "beam"), [(0, 1), (0, 4), (2, 1), (3, 5), (8, 8)])
def test_the_plain_form_encodes_like_the_equations(sizes, candidates, beam):
    network = random_network(**sizes)
    candidates = candidates if network.config.candidates else 0
    x = random_vectors(network, 20) * network.std + network.mean
    with torch.no_grad():
        codes = beam_search.encode(network, network.normalise(x), candidates, beam).numpy()
    model = reference.as_float64(network)
    expected = np.stack([reference.encode(model, vector, candidates, beam) for vector in x.double().numpy()])
    np.testing.assert_array_equal(codes, expected)


@given(
    dim=st.integers(1, 9),
    steps=st.sampled_from([1, 2, 3, 64]),
    codewords=st.sampled_from([2, 3, 5, 17, 300]),
    sizes=st.fixed_dictionaries(
        {
            "blocks": st.integers(0, 2),
            "embedding": st.integers(1, 9),
            "hidden": st.integers(1, 5),
            "ivf_lists": st.sampled_from([0, 1, 4]),
            "outer_skip": st.booleans(),
            "preselection_blocks": st.integers(0, 2),
        }
    ),
    candidates=st.integers(0, 2),
    beam=st.integers(1, 2),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40)
def test_a_codec_of_any_size_is_as_good_as_the_equations(dim, steps, codewords, sizes, candidates, beam, seed):
    network = random_network(seed, dim=dim, steps=steps, codewords=codewords, candidates=2, beam=beam, **sizes)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            # Sixty-four random networks in a row would otherwise grow beyond what float32 can add up.
            tensor.mul_(0.1 if "concat" in name or "down" in name or "out_projection" in name else 1)
    codec = NetworkCodec(network)
    codec.compute_in_float32()  # sixty-four random networks in a row multiply bfloat16's rounding up
    x = (random_vectors(network, 4, seed) * network.std + network.mean).numpy()
    codes = codec.encode(x, candidates, beam, evaluated=candidates * beam)
    model = reference.as_float64(network)
    expected = np.stack([reference.decode(model, code) for code in codes])
    np.testing.assert_allclose(codec.decode(codes), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    found = np.square(expected - x).sum(axis=1)
    best = np.stack([reference.decode(model, reference.encode(model, v, candidates, beam)) for v in x.astype(float)])
    # A near-tie may part the two searches, so their errors are compared, and one vector of four may differ.
    assert np.isclose(found, np.square(best - x).sum(axis=1), rtol=1e-3, atol=1e-3).sum() >= 3


def test_a_step_may_have_65536_codewords():
    network = random_network(dim=2, steps=1, codewords=65536, embedding=1, hidden=1, candidates=3, beam=2)
    codec = NetworkCodec(network)
    x = random_vectors(network, 50)
    nearest = torch.cdist(x, network.steps[0].codebook).argmin(dim=1)
    codes = codec.encode((x * network.std + network.mean).numpy())
    assert codes.max() > 255
    assert (codes[:, 0] == nearest.numpy()).mean() > 0.95
