"""Products of small matrices inside Numba functions: a tile of the result stays in registers while its sum runs.

PyTorch's operators cost microseconds each, which a few codes do not repay, and cannot be called from a Numba function.
Two element types, told apart by the arrays handed in:

    float32  plain
    uint16   the bits of bfloat16, two products an instruction where the processor has it; sums are float32

Rows come in groups of ROWS: buffers are padded to a multiple of it, columns and depth to one of LANES. The right-hand
matrix comes packed (`pack`) in panels of TILE columns, then of LANES columns, so that a tile reads one run of memory.
`instructions.py` has what a tile is made of.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from model.kernels.instructions import (
    LANES,
    ROWS,
    TILE,
    add_narrow,
    add_wide,
    convert_run,
    relu_narrow,
    relu_sum_run,
    relu_wide,
)


def pack(matrix: NDArray[np.float32], is_half: bool) -> NDArray[Any]:
    """A matrix [N, depth] whose product `rows · matrixᵀ` is wanted, as panels, padded with zeros: one dimension.

    A panel lists its columns' elements of depth 0, then of depth 1, …; in bfloat16 two depths at a time.
    """
    columns, depth = padded(matrix.shape[0]), padded(matrix.shape[1])
    whole = np.zeros((columns, depth), np.float32)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    elements = round_to_half(whole) if is_half else whole
    group = 2 if is_half else 1
    panels = [
        elements[begin : begin + width].reshape(width, depth // group, group).transpose(1, 0, 2).reshape(-1)
        for begin, width in _panels(columns)
    ]
    return np.concatenate(panels)


def padded(size: int) -> int:
    """The next multiple of LANES."""
    return -(-size // LANES) * LANES


def round_to_half(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 → the bits of the nearest bfloat16, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _panels(columns: int) -> list[tuple[int, int]]:
    wide = columns // TILE * TILE
    return [(begin, TILE) for begin in range(0, wide, TILE)] + [(at, LANES) for at in range(wide, columns, LANES)]


@njit(nogil=True, cache=True)
def add_product(out: Any, rows: Any, n: int, panels: Any) -> None:
    """out float32 [≥n, N] += rows [≥n, depth] · matrixᵀ for the first n rows, rounded up to a multiple of ROWS."""
    columns, depth = out.shape[1], rows.shape[1]
    wide = columns // TILE * TILE
    for column in range(0, wide, TILE):
        for row in range(0, n, ROWS):
            add_wide(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)
    for column in range(wide, columns, LANES):
        for row in range(0, n, ROWS):
            add_narrow(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)


@njit(nogil=True, cache=True)
def relu_product(out: Any, rows: Any, n: int, panels: Any) -> None:
    """out [≥n, N] = relu(rows [≥n, depth] · matrixᵀ), in the rows' element type; else as `add_product`."""
    columns, depth = out.shape[1], rows.shape[1]
    wide = columns // TILE * TILE
    for column in range(0, wide, TILE):
        for row in range(0, n, ROWS):
            relu_wide(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)
    for column in range(wide, columns, LANES):
        for row in range(0, n, ROWS):
            relu_narrow(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)


@njit(nogil=True, cache=True)
def relu_sum(out: Any, row: int, left: Any, left_row: int, right: Any, right_row: int) -> None:
    """A row of out [·, N] = relu(a row of left float32 [·, N] + a row of right float32 [·, N]), in out's element type.

    left may have more dimensions; its rows are then counted through.
    """
    columns = out.shape[1]
    for column in range(0, columns, LANES):
        relu_sum_run(
            out, row * columns + column, left, left_row * columns + column, right, right_row * columns + column
        )


def factor(buffer: Any, values: Any, n: int) -> Any:
    """The first n rows of values float32 [≥n, N] as a product's left factor, in the buffer's element type.

    In float32 that is `values` itself; else they are converted into the buffer [≥n, N].
    """
    if buffer.dtype == values.dtype:
        return values
    convert(buffer, values, n)
    return buffer


@overload(factor)
def _factor(buffer: Any, values: Any, n: Any) -> Any:
    """`factor` inside Numba functions, chosen by the arrays' types when they are compiled."""

    def same(buffer: Any, values: Any, n: Any) -> Any:
        return values

    def converted(buffer: Any, values: Any, n: Any) -> Any:
        convert(buffer, values, n)
        return buffer

    return same if buffer.dtype == values.dtype else converted


@njit(nogil=True, cache=True)
def convert(out: Any, values: Any, n: int) -> None:
    """The first n rows of values float32 [≥n, N] into out [≥n, N], in out's element type."""
    for place in range(0, n * values.shape[1], LANES):
        convert_run(out, values, place)
