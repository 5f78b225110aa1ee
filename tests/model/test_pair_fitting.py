"""The paper's pairwise decoder, fitted: better than additive tables where it was, and beyond only if it shrinks."""

import pytest
import torch

from model.shortlist.pair_fitting import fit_pairs, quantised_lists
from model.training.objective import encode, nearest_lists
from tests.model.builders import random_network


def encoded(lists: int, n: int = 3000):
    network = random_network(codewords=16, ivf_lists=lists)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        codes = torch.randint(0, 16, (n, 3), generator=generator)
        if lists:
            codes = torch.cat([torch.randint(0, lists, (n, 1), generator=generator), codes], dim=1)
        x = network.decode(codes) + 0.3 * torch.randn(n, 12, generator=generator)
        codes = encode(network, x, nearest_lists(network, x), 4, 4)
    return network, x, codes


def mse(decoded, x):
    return float((decoded - x).square().sum(dim=1).mean())


@pytest.mark.parametrize("lists", [0, 40])
def test_pairs_that_shrink_are_better_than_additive_tables_on_vectors_they_never_saw(lists):
    network, x, codes = encoded(lists)
    train, test = slice(0, 2000), slice(2000, 3000)
    generator = torch.Generator().manual_seed(0)
    list_codes = torch.zeros(0, 0, dtype=torch.int64)
    if lists:
        populations = torch.bincount(codes[train, 0], minlength=lists)
        list_codes = quantised_lists(network.centroids, populations, 16, generator, symbols=2)
    with torch.no_grad():
        full, shrunk = (fit_pairs(network, x[train], codes[train], list_codes, 6, shrink) for shrink in (0.0, 4.0))
        on_seen = [mse(pairs.decode(network, codes[train]), x[train]) for pairs in (full, shrunk)]
        beyond = [mse(pairs.decode(network, codes[test]), x[test]) for pairs in (full, shrunk)]
    assert on_seen[0] < on_seen[1] < beyond[1] < beyond[0]


def test_one_table_of_pairs_is_the_mean_of_each_cell():
    network, x, codes = encoded(0)
    pairs = fit_pairs(network, x, codes, torch.zeros(0, 0, dtype=torch.int64), 1)
    a, b = pairs.columns[0].tolist()
    inside = (codes[:, a] == codes[0, a]) & (codes[:, b] == codes[0, b])
    expected = x[inside].mean(dim=0)
    torch.testing.assert_close(pairs.decode(network, codes)[0], expected, rtol=1e-4, atol=1e-5)
    best = fit_pairs(network, x, codes, torch.zeros(0, 0, dtype=torch.int64), 2)
    assert mse(best.decode(network, codes), x) < mse(pairs.decode(network, codes), x)


def test_lists_are_quantised_so_that_near_ones_share_symbols():
    centroids = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).repeat_interleave(10, 0) * 10
    centroids += torch.randn(80, 4, generator=torch.Generator().manual_seed(1)) * 0.01
    populations = torch.ones(80, dtype=torch.int64)
    populations[-1] = 0
    codes = quantised_lists(centroids, populations, 32, torch.Generator().manual_seed(2))
    assert codes.shape == (80, 5)
    assert 0 <= int(codes.min()) <= int(codes.max()) < 32
    first = codes.view(8, 10, 5)[:, :, 0]
    assert all(set(first[a].tolist()).isdisjoint(first[b].tolist()) for a in range(8) for b in range(a))
