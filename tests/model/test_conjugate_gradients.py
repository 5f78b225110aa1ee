"""Shortlist decoders of very many codewords, fitted without the matrix of their equations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import NetworkCodec
from model.shortlist import AdditiveDecoder, conjugate_gradients, fitting
from tests.model.builders import random_network, random_vectors


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(0, 400), M=st.integers(1, 6), K=st.integers(2, 40), ridge=st.sampled_from([0.5, 16.0]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_conjugate_gradients_find_the_solution_of_the_normal_equations(n, M, K, ridge, seed):
    generator = torch.Generator().manual_seed(seed)
    symbols = torch.randint(0, K, (n, M), generator=generator)
    targets = torch.randn((n, 5), generator=generator) * 3
    parts = (torch.split(part, 128) for part in (symbols, targets))
    blocks = [(some.numpy(), their.numpy()) for some, their in zip(*parts, strict=True)]
    like = np.zeros((M, K, 5), np.float32)
    direct = fitting._ridge_regression(blocks, like, ridge)
    found = conjugate_gradients.solve(blocks, like, ridge)
    least, reached = (
        _objective(torch.from_numpy(tables).double(), symbols, targets, ridge) for tables in (direct, found)
    )
    assert reached <= least * (1 + 1e-5) + 1e-6


def _objective(tables, symbols, targets, ridge):
    """What both minimise; tables may differ where it is flat."""
    left = targets - sum(table[symbols[:, m]] for m, table in enumerate(tables))
    return float(left.square().sum() + ridge * tables.square().sum())


@pytest.mark.parametrize(("steps", "codewords"), [(2, 65_536), (64, 256)])
def test_decoders_of_the_most_codewords_and_steps_are_fitted(steps, codewords):
    network = random_network(dim=4, steps=steps, codewords=codewords, embedding=4, hidden=4, blocks=1, beam=2)
    x = random_vectors(network, 400).numpy()
    codec = NetworkCodec(network)
    codes = codec.encode(x, beam=1)
    fitted = codec.with_shortlist_decoders(x, codes)
    assert fitted.additive_tables.shape == (steps, codewords, 4)
    start = codec.with_decoders(AdditiveDecoder(torch.stack([step.base for step in codec.operators.folded]).numpy()))
    before, after = (np.square(one.decode_additive(codes) - x).sum() for one in (start, fitted))
    assert after < 0.8 * before
