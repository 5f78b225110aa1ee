"""Products inside Numba functions against NumPy's, on random shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from model.kernels.instructions import ROWS
from model.kernels.processor import HAS_BFLOAT16
from model.kernels.tiles import add_product, convert, pack, padded, relu_product, round_to_half

ELEMENTS = [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here"))]
SHAPES = {"n": st.integers(0, 20), "columns": st.integers(1, 150), "depth": st.integers(1, 70)}


def _as_float(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values


def _operands(n: int, columns: int, depth: int, is_half: bool, seed: int):
    """Rows padded to whole groups, and a matrix, both rounded as the element type is."""
    generator = np.random.default_rng(seed)
    rows = np.zeros((-(-n // ROWS) * ROWS, padded(depth)), np.float32)
    rows[:n, :depth] = generator.standard_normal((n, depth))
    matrix = generator.standard_normal((columns, depth), dtype=np.float32)
    if is_half:
        return round_to_half(rows), _as_float(round_to_half(matrix))
    return rows, matrix


@pytest.mark.parametrize("is_half", ELEMENTS)
@given(**SHAPES, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_a_product_is_added_to_what_is_there(is_half, n, columns, depth, seed):
    rows, matrix = _operands(n, columns, depth, is_half, seed)
    before = np.random.default_rng(seed).standard_normal((len(rows), padded(columns)), dtype=np.float32)
    out = before.copy()
    add_product(out, rows, n, pack(matrix, is_half))
    expected = before[:n, :columns] + _as_float(rows)[:n, :depth] @ matrix.T
    assert_allclose(out[:n, :columns], expected, rtol=1e-5, atol=1e-4)
    assert (out[:, columns:] == before[:, columns:]).all()


@pytest.mark.parametrize("is_half", ELEMENTS)
@given(**SHAPES, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_a_product_is_cut_off_below_zero(is_half, n, columns, depth, seed):
    rows, matrix = _operands(n, columns, depth, is_half, seed)
    out = np.ones((len(rows), padded(columns)), rows.dtype)
    relu_product(out, rows, n, pack(matrix, is_half))
    expected = np.maximum(_as_float(rows)[:n, :depth] @ matrix.T, 0)
    assert_allclose(_as_float(out)[:n, :columns], expected, rtol=5e-3 if is_half else 1e-5, atol=1e-4)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here")
@given(n=st.integers(0, 5), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_numbers_are_rounded_to_the_nearest_bfloat16(n, seed):
    values = np.random.default_rng(seed).standard_normal((n, 32), dtype=np.float32)
    out = np.zeros((n, 32), np.uint16)
    convert(out, values, n)
    assert (out == round_to_half(values)).all()
