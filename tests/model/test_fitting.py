"""The additive decoder is the ridge regression it says it is, however the vectors come."""

import numpy as np
import torch

from model import NetworkCodec
from model.shortlist.fitting import fit_additive
from model.shortlist.network_pairs import exact_steps
from model.weights import Weights
from tests.model.builders import random_network, random_vectors


def fitted(network, x, codes, rows, ridge=16.0):
    """Tables by a fit to blocks of so many rows, the exact pair decoded in the plain form."""
    exact = exact_steps(network.config)

    def decode(block):
        with torch.no_grad():
            return network.decode(torch.from_numpy(block), exact).numpy()

    def blocks():
        return zip(*(np.split(part.numpy(), range(rows, len(x), rows)) for part in (x, codes)), strict=True)

    return fit_additive(Weights.of(network), decode, blocks, ridge).tables


def test_blocks_of_any_size_give_the_same_tables():
    network = random_network(ivf_lists=5)
    x = random_vectors(network, 1000)
    codes = torch.cat([torch.randint(0, 5, (1000, 1)), torch.randint(0, 8, (1000, 3))], dim=1)
    whole = fitted(network, x, codes, 1000)
    for rows in (1, 77, 4096):
        np.testing.assert_allclose(fitted(network, x, codes, rows), whole, rtol=1e-4, atol=1e-5)


def test_the_tables_leave_no_more_error_than_least_squares_does_within_the_ridge():
    """Of a network that adds its codebooks alone, the fit to vectors made of other tables finds those tables."""
    network = random_network(ivf_lists=0)
    with torch.no_grad():
        for step in network.steps:
            if step.has_network:
                step.out_projection.zero_()
    true = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    codes = torch.randint(0, 8, (2000, 3), generator=torch.Generator().manual_seed(1))
    x = sum(true[m][codes[:, m]] for m in range(3))
    # Two exact symbols are fitted last, alone: what one pass of each leaves is within the other's noise.
    tables = torch.from_numpy(fitted(network, x, codes, 500, ridge=1e-3))
    decoded = sum(tables[m][codes[:, m]] for m in range(3))
    assert float((decoded - x).square().mean()) < 0.1 * float((x - x.mean(dim=0)).square().mean())


def test_a_codec_fits_its_decoders_block_by_block():
    network = random_network(ivf_lists=5)
    x = random_vectors(network, 9000).numpy() * 2.5
    codec = NetworkCodec(network)
    codes = codec.encode(x)
    whole = fitted(network, network.normalise(torch.from_numpy(x)), torch.from_numpy(codes).long(), 9000)
    tables = codec.with_shortlist_decoders(x, codes).normalised_tables
    np.testing.assert_allclose(tables, whole, rtol=1e-3, atol=1e-4)
