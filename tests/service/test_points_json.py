"""Vectors in JSON become float32 as NumPy rounds them, or are refused with their place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from model.errors import InvalidVectors, QincoError
from service.errors import MalformedRequest
from service.points_json import as_array

SMALL = st.floats(-3e38, 3e38) | st.integers(-(10**30), 10**30)


@given(rows=st.integers(1, 5).flatmap(lambda dim: st.lists(st.lists(SMALL, min_size=dim, max_size=dim), min_size=1)))
def test_numbers_are_rounded_as_numpy_rounds_them(rows: list[list[float]]) -> None:
    found = as_array(rows, len(rows[0]))
    assert_array_equal(found.view(np.uint32), np.array(rows, np.float32).view(np.uint32))


@pytest.mark.parametrize(
    ("bad", "told"),
    [(1e39, "Point 1: number 2 is inf"), (10**400, "float32 cannot hold"), (True, "Point 1: a vector holds numbers")],
)
def test_what_is_no_number_of_float32_is_refused(bad: Any, told: str) -> None:
    kind: type[QincoError] = MalformedRequest if bad is True else InvalidVectors
    with pytest.raises(kind, match=told):
        as_array([[1.0, 2, 3], [1.0, 2, bad]], 3)
