"""The instructions of the kernels' innermost loops, as LLVM takes them: tiles of products, conversions, sums.

Numba makes no use of a whole register file by itself: a tile's sums would go to memory and back in every round.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from model.kernels.processor import HAS_AVX512

LANES = 16
ROWS = 6
TILE = 64 if HAS_AVX512 else 16
"""With ROWS rows the sums fill 24 of the 32 registers of AVX-512, 12 of the 16 of AVX2."""

CHUNK = 22 * ROWS
"""Rows that go through a network together, 132: with D = 128 their layers fill half of 512 KB of cache.

A batch of 128 then reads the weights once: 29 µs a code where chunks of 96 took 32 (AVX2, 2026-11-21, least of 25).
"""

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


def _relu_sum(_context: Any, out: Any, out_at: Any, left: Any, left_at: Any, right: Any, right_at: Any) -> Any:
    """LANES sums of two runs, cut off below zero, in out's element type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, first, second = (_data(context, builder, signature.args[i], args[i], args[i + 1]) for i in (0, 2, 4))
        vector = ir.VectorType(_F32, LANES)
        zero = ir.Constant(vector, [0.0] * LANES)
        run = builder.fadd(builder.load(first, typ=vector, align=4), builder.load(second, typ=vector, align=4))
        run = builder.select(builder.fcmp_ordered(">", run, zero), run, zero)
        _store(builder, run, target, signature.args[0])
        return context.get_dummy_value()

    return types.void(out, types.int64, left, types.int64, right, types.int64), generate


def _conversion(_context: Any, out: Any, values: Any, at: Any) -> Any:
    """LANES numbers from `at` on, in out's element type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _data(context, builder, signature.args[0], args[0], args[2])
        source = _data(context, builder, signature.args[1], args[1], args[2])
        run = builder.load(source, typ=ir.VectorType(_F32, LANES), align=4)
        _store(builder, run, target, signature.args[0])
        return context.get_dummy_value()

    return types.void(out, values, types.int64), generate


def _store(builder: Any, run: Any, target: Any, array_type: Any) -> None:
    """LANES float32 numbers to where `target` points, in an array's element type."""
    is_half = array_type.dtype == types.uint16
    run = builder.fptrunc(run, ir.VectorType(_BFloat(), LANES)) if is_half else run
    builder.store(run, target, align=2 if is_half else 4)


convert_run: Any = intrinsic(_conversion)
relu_sum_run: Any = intrinsic(_relu_sum)
add_wide, add_narrow = _tile(TILE, is_relu=False), _tile(LANES, is_relu=False)
relu_wide, relu_narrow = _tile(TILE, is_relu=True), _tile(LANES, is_relu=True)
