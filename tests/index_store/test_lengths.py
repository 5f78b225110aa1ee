"""Whether vectors are of one length, by parts as at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.answers import Float32
from index_store.lengths import Lengths, together
from tests.builders import clustered

DIM = 16


def of_lengths(lengths: list[float]) -> Float32:
    vectors = clustered(len(lengths), DIM)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(directions * np.array(lengths)[:, None], np.float32)


@settings(deadline=None)
@given(lengths=st.lists(st.floats(0.5, 2), min_size=2, max_size=40), cut=st.integers(1, 39))
def test_parts_together_are_as_the_whole(lengths: list[float], cut: int) -> None:
    vectors = of_lengths(lengths)
    cut = min(cut, len(vectors) - 1)
    whole, parts = Lengths.of(vectors), together([Lengths.of(vectors[:cut]), Lengths.of(vectors[cut:])])
    assert parts is not None
    assert (parts.count, parts.low, parts.high) == (whole.count, whole.low, whole.high)
    assert parts.mean == pytest.approx(whole.mean, rel=1e-6)
    assert parts.deviation == pytest.approx(whole.deviation, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("lengths", "one"),
    [
        ([3.0] * 50, 3.0),
        ([3.0, 3.01] * 25, 3.005),  # rounded on the way, say
        ([3.0] * 500 + [2.8], 3.0),  # one of another length, but not far from it
        ([3.0] * 500 + [2.0], None),
        ([2.9, 3.1] * 25, None),
        ([0.0] * 5, None),
    ],
)
def test_one_length_is_that_of_all(lengths: list[float], one: float | None) -> None:
    assert Lengths.of(of_lengths(lengths)).one == (one if one is None else pytest.approx(one, rel=1e-3))


def test_what_is_not_known_of_some_is_not_known_of_all() -> None:
    known = Lengths.of(of_lengths([1.0, 1.0]))
    assert together([known, None]) is None
    assert together([]) is None
    assert together([known]) == known
