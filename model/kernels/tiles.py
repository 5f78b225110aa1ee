"""Products of small matrices inside Numba functions: a tile of the result stays in registers while its sum runs.

PyTorch's operators cost microseconds each, which a few codes do not repay, and cannot be called from a Numba function.
Two element types, told apart by the arrays handed in:

    float32  plain
    uint16   the bits of bfloat16, two products an instruction where the processor has it; sums are float32

Rows come in groups of ROWS: buffers are padded to a multiple of it, columns and depth to one of LANES. The right-hand
matrix comes packed (`pack`) in panels of TILE columns, then of LANES columns, so that a tile reads one run of memory.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from model.kernels.processor import HAS_AVX512

LANES = 16
ROWS = 6
TILE = 64 if HAS_AVX512 else 16
"""With ROWS rows the sums fill 24 of the 32 registers of AVX-512, 12 of the 16 of AVX2."""

_WIDTH = 16 if HAS_AVX512 else 8  # float32 in a register
_F32, _I32, _I64, _POINTER = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.PointerType()


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


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
            _add_wide(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)
    for column in range(wide, columns, LANES):
        for row in range(0, n, ROWS):
            _add_narrow(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)


@njit(nogil=True, cache=True)
def relu_product(out: Any, rows: Any, n: int, panels: Any) -> None:
    """out [≥n, N] = relu(rows [≥n, depth] · matrixᵀ), in the rows' element type; else as `add_product`."""
    columns, depth = out.shape[1], rows.shape[1]
    wide = columns // TILE * TILE
    for column in range(0, wide, TILE):
        for row in range(0, n, ROWS):
            _relu_wide(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)
    for column in range(wide, columns, LANES):
        for row in range(0, n, ROWS):
            _relu_narrow(out, row * columns + column, columns, rows, row * depth, depth, panels, column * depth)


@njit(nogil=True, cache=True)
def convert(out: Any, values: Any, n: int) -> None:
    """The first n rows of values float32 [≥n, N] into out [≥n, N], in out's element type."""
    for place in range(0, n * values.shape[1], LANES):
        _convert_run(out, values, place)


def _tile(columns: int, is_relu: bool) -> Any:
    """The intrinsic that makes a tile of ROWS rows and so many columns."""

    def typed(
        _context: Any, out: Any, out_at: Any, out_stride: Any, rows: Any, rows_at: Any, depth: Any, panels: Any, at: Any
    ) -> Any:
        arguments = (out, types.int64, types.int64, rows, types.int64, types.int64, panels, types.int64)
        is_half = rows.dtype == types.uint16

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out_p, rows_p, panels_p = (
                _data(context, builder, signature.args[i], args[i], args[at]) for i, at in ((0, 1), (3, 4), (6, 7))
            )
            _emit_tile(builder, out_p, args[2], rows_p, panels_p, args[5], columns, is_relu, is_half)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return intrinsic(typed)


def _data(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """A pointer to the element `at` of a contiguous array."""
    typed = context.make_array(array_type)(context, builder, array).data
    first = builder.inttoptr(builder.ptrtoint(typed, _I64), _POINTER)  # llvmlite's own are bound to their element
    return _offset(builder, first, context.get_data_type(array_type.dtype), at)


def _offset(builder: Any, pointer: Any, element: Any, count: Any) -> Any:
    """The pointer `count` elements further on."""
    return builder.gep(pointer, [count], source_etype=element)


def _emit_tile(
    builder: Any,
    out: Any,
    out_stride: Any,
    rows: Any,
    panel: Any,
    depth: Any,
    columns: int,
    is_relu: bool,
    is_half: bool,
) -> None:
    """The tile's instructions: its sums are loaded (or zero), go round the loop over depth, and are stored."""
    registers = columns // _WIDTH
    vector = ir.VectorType(_F32, _WIDTH)
    group = 2 if is_half else 1
    element = ir.IntType(16) if is_half else _F32
    groups = builder.udiv(depth, _I64(group))
    row_starts = [_offset(builder, rows, element, builder.mul(depth, _I64(r))) for r in range(ROWS)]
    out_type = element if is_relu else _F32
    out_starts = [_offset(builder, out, out_type, builder.mul(out_stride, _I64(r))) for r in range(ROWS)]

    def out_place(r: int, v: int) -> Any:
        return _offset(builder, out_starts[r], out_type, _I64(v * _WIDTH))

    zero = ir.Constant(vector, [0.0] * _WIDTH)
    first = [
        [zero if is_relu else builder.load(out_place(r, v), typ=vector, align=4) for v in range(registers)]
        for r in range(ROWS)
    ]
    before = builder.block
    loop, after = builder.append_basic_block("depth"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(_I64)
    sums = [[builder.phi(vector) for _ in range(registers)] for _ in range(ROWS)]
    step = builder.mul(index, _I64(columns * group))
    right_type = ir.VectorType(_I32, _WIDTH) if is_half else vector
    rights = [
        builder.load(
            _offset(builder, panel, element, builder.add(step, _I64(v * _WIDTH * group))),
            typ=right_type,
            align=4,
        )
        for v in range(registers)
    ]
    new: list[list[Any]] = []
    for r in range(ROWS):
        left = _broadcast(builder, row_starts[r], index, is_half)
        new.append([_multiply_add(builder, left, rights[v], sums[r][v], is_half) for v in range(registers)])
    following = builder.add(index, _I64(1))
    builder.cbranch(builder.icmp_unsigned("<", following, groups), loop, after)
    index.add_incoming(_I64(0), before)
    index.add_incoming(following, loop)
    for r in range(ROWS):
        for v in range(registers):
            sums[r][v].add_incoming(first[r][v], before)
            sums[r][v].add_incoming(new[r][v], loop)
    builder.position_at_end(after)
    for r in range(ROWS):
        for v in range(registers):
            result = new[r][v]
            if is_relu:
                result = builder.select(builder.fcmp_ordered(">", result, zero), result, zero)
                result = builder.fptrunc(result, ir.VectorType(_BFloat(), _WIDTH)) if is_half else result
            builder.store(result, out_place(r, v), align=2 if is_relu and is_half else 4)


def _broadcast(builder: Any, row: Any, index: Any, is_half: bool) -> Any:
    """An element of a row, or two neighbours in bfloat16, in all places of a register."""
    single = _I32 if is_half else _F32
    value = builder.load(_offset(builder, row, single, index), typ=single, align=4)
    vector = ir.VectorType(single, _WIDTH)
    lone = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    mask = ir.Constant(ir.VectorType(_I32, _WIDTH), [0] * _WIDTH)
    return builder.shuffle_vector(lone, ir.Constant(vector, ir.Undefined), mask)


def _multiply_add(builder: Any, left: Any, right: Any, total: Any, is_half: bool) -> Any:
    vector = total.type
    if is_half:
        halves = ir.VectorType(_BFloat(), 2 * _WIDTH)
        kind = ir.FunctionType(vector, [vector, halves, halves])
        function = _declared(builder, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        return builder.call(function, [total, builder.bitcast(left, halves), builder.bitcast(right, halves)])
    kind = ir.FunctionType(vector, [vector] * 3)
    function = _declared(builder, kind, f"llvm.fma.v{_WIDTH}f32")
    return builder.call(function, [left, right, total])


def _declared(builder: Any, kind: Any, name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]


def _conversion(_context: Any, out: Any, values: Any, at: Any) -> Any:
    """LANES numbers from `at` on, in out's element type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _data(context, builder, signature.args[0], args[0], args[2])
        source = _data(context, builder, signature.args[1], args[1], args[2])
        run = builder.load(source, typ=ir.VectorType(_F32, LANES), align=4)
        is_half = signature.args[0].dtype == types.uint16
        run = builder.fptrunc(run, ir.VectorType(_BFloat(), LANES)) if is_half else run
        builder.store(run, target, align=2 if is_half else 4)
        return context.get_dummy_value()

    return types.void(out, values, types.int64), generate


_convert_run: Any = intrinsic(_conversion)
_add_wide, _add_narrow = _tile(TILE, is_relu=False), _tile(LANES, is_relu=False)
_relu_wide, _relu_narrow = _tile(TILE, is_relu=True), _tile(LANES, is_relu=True)
