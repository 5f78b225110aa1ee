"""What a training begins with: codebooks made by k-means along the paths of a beam."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import preset_config
from model.training.initialise import continued, initial_network, k_means, nearest, progressive_k_means, shrunk
from model.training.objective import error


def test_progressive_k_means_finds_clusters_in_many_dimensions():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 128)).astype(np.float32)
    x = np.repeat(centres, 60, axis=0) + 0.3 * rng.normal(size=(1200, 128)).astype(np.float32)
    found = progressive_k_means(x, 20, 10, seed=0)
    distances = np.square(x[:, None] - found[None]).sum(axis=2).min(axis=1)
    assert np.median(distances) < 1.2 * 128 * 0.3**2


def test_codewords_of_few_vectors_are_drawn_towards_zero_which_serves_others_better():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(8, 64)).astype(np.float32)
    x, others = (
        0.5 * directions[rng.integers(8, size=n)] + rng.normal(size=(n, 64)).astype(np.float32) for n in (400, 2000)
    )
    fitted = k_means(x, 64, 10, seed=0)
    few, many = shrunk(fitted, x), shrunk(fitted, np.repeat(x, 1000, axis=0))
    left = {name: np.square(others - c[nearest(c, others)]).sum(1).mean() for name, c in
            {"as fitted": fitted, "shrunk": few}.items()}  # fmt: skip
    assert left["shrunk"] < 0.98 * left["as fitted"]
    np.testing.assert_allclose(many, fitted, rtol=0.01)


@pytest.mark.parametrize(("F", "K", "beam"), [(1, 8, 4), (3, 8, 5), (2, 2, 5)])
def test_the_paths_that_are_followed_are_the_nearest(F, K, beam):
    rng = np.random.default_rng(0)
    paths, codebook = rng.normal(size=(50, F, 6)).astype(np.float32), rng.normal(size=(K, 6)).astype(np.float32)
    left = (paths[:, :, None] - codebook).reshape(50, F * K, 6)
    nearest_first = np.sort(np.square(left).sum(axis=2), axis=1)[:, : min(beam, F * K)]
    followed = continued(paths, codebook, beam)
    np.testing.assert_allclose(np.sort(np.square(followed).sum(axis=2), axis=1), nearest_first, rtol=1e-5)


def test_codebooks_made_for_a_beam_serve_a_beam_search_better():
    rng = np.random.default_rng(0)
    uneven = rng.normal(size=(64, 64)) * (0.9 ** np.arange(64))[:, None]
    x, others = ((rng.normal(size=(n, 64)) @ uneven).astype(np.float32) for n in (1000, 500))
    config = replace(preset_config("XS", 64, 8, 0), codewords=32, candidates=4)
    left = {}
    for beam in (1, 5):
        network = initial_network(replace(config, beam=beam), x, seed=0)
        apart = network.normalise(torch.from_numpy(others))
        left[beam] = error(network, apart, None, 4, 5) * float(network.std) ** 2
    assert left[5] < 0.95 * left[1]
