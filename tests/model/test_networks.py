"""The plain form against the equations in float64."""

import numpy as np
import pytest
import torch

from model import beam_search
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
