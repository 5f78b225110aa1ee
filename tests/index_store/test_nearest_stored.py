"""The nearest of stored vectors: the compiled form finds what the plain one finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from index_store.nearest_stored import (
    COMPILED,
    NORMALISED,
    PRODUCT,
    SQUARED,
    nearest_stored,
    nearest_stored_plain,
    way_of_comparing,
)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([SQUARED, PRODUCT, NORMALISED]),
    dtype=st.sampled_from(COMPILED),
    q=st.integers(0, 4),
    s=st.integers(0, 30),
    dim=st.integers(1, 40),
    wanted=st.integers(0, 33),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_compiled_form_finds_what_the_plain_one_finds(
    kind: int, dtype: str, q: int, s: int, dim: int, wanted: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.normal(scale=20, size=(q, dim)).astype(np.float32)
    rows = np.where(rng.random((q, s)) < 0.2, -1, rng.permutation(q * s).reshape(q, s))
    stored = rng.integers(1, 100, (int((rows >= 0).sum()), dim)).astype(dtype)
    expected, expected_rows = nearest_stored_plain(kind, queries, rows, stored, wanted)
    distances, found = nearest_stored(kind, queries, rows, stored, wanted)
    assert_allclose(distances, expected, rtol=1e-4, atol=1e-2)
    assert ((found >= 0) == (expected_rows >= 0)).all()
    whole, every = nearest_stored_plain(kind, queries, rows, stored, s)
    for query in range(q):  # near-equals may swap places: a row's own distance is what it is found with
        known = dict(zip(every[query].tolist(), whole[query].tolist(), strict=True))
        told = [known[row] for row in found[query].tolist()]
        assert_allclose(distances[query], told, rtol=1e-4, atol=1e-2)


def test_of_equals_the_earlier_comes_first_and_none_is_lost() -> None:
    rows = np.array([[4, 2, -1, 9, 7]])
    stored = np.ones((4, 3), np.uint8)
    distances, found = nearest_stored(SQUARED, np.zeros((1, 3), np.float32), rows, stored, 3)
    assert found.tolist() == [[4, 2, 9]]
    assert distances.tolist() == [[3, 3, 3]]


def test_what_is_not_compiled_is_compared_otherwise() -> None:
    assert way_of_comparing("Manhattan", "float32", False) is None
    assert way_of_comparing("Euclid", "float16", False) is None
    assert way_of_comparing("Cosine", "uint8", True) == NORMALISED
    assert way_of_comparing("Dot", "int8", False) == PRODUCT
