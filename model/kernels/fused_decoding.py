"""Decoding in one Triton kernel: a program takes some rows through all steps, and a call is one launch.

The same equations as `folded.decode`, its plain form. The rows' x̂ stays in registers where D fits a block; else it
goes through the output, a block at a time, which then is in the second-level cache. The widest layer never exists as a
whole: H_BLOCK of its columns are made, rectified and multiplied on at once, while the next weights are on their way.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.errors import OutOfResources

from model.kernels.fused_packed import FusedNetwork

MULTIPROCESSORS = 132
"""Of a large card; fewer rows than would keep these busy go in smaller programs."""


def decode(fused: FusedNetwork, codes: Tensor, steps: int) -> Tensor:
    """Vectors float32 [n, dim], in their own units, of the first `steps` symbols.

    codes int64 [n, M] ([n, 1 + M] with IVF), within bounds, where the network is
    """
    n, dim = len(codes), len(fused.mean)
    out = torch.empty((n, dim), dtype=torch.float32, device=codes.device)
    if not n:
        return out
    E = fused.tables.shape[2]
    is_in_registers = fused.base.shape[2] == fused.d_block
    rows = rows_a_program(n, 128 if E <= 128 and is_in_registers else 64)
    codes = codes.contiguous()
    launch(
        decode_rows, triton.cdiv(n, rows),
        out, codes, fused.centroids, fused.base, fused.tables, fused.mixes, fused.ups, fused.downs, fused.outs,
        fused.mean, fused.std, n, steps, codes.shape[1], fused.base.shape[1], dim,
        FIRST=fused.first, HAS_LISTS=len(fused.centroids) > 0, PROJECTS=fused.projects,
        D=fused.base.shape[2], E=E, H=fused.ups.shape[2], L=fused.blocks,
        D_BLOCK=fused.d_block, H_BLOCK=fused.h_block, ROWS=rows,
        stages=3, num_warps=8 if rows >= 64 else 4,
    )  # fmt: skip
    return out


def rows_a_program(n: int, most: int) -> int:
    """As many as keep every multiprocessor at work, a power of two from 16 to `most`."""
    rows = most
    while rows > 16 and n < rows * MULTIPROCESSORS:
        rows //= 2
    return rows


_fitting: dict[tuple[Any, ...], int] = {}


def launch(kernel: Any, programs: int, *arguments: Any, stages: int = 2, **constants: Any) -> None:
    """Launch a kernel with `stages` blocks of weights on their way, or as many as this card's multiprocessors hold."""
    key = (kernel.__name__, arguments[0].device, stages, *constants.items())
    for count in range(_fitting.get(key, stages), 0, -1):
        try:
            kernel[(programs,)](*arguments, num_stages=count, **constants)
        except OutOfResources:
            if count == 1:
                raise
        else:
            _fitting[key] = count
            return


@triton.jit
def residual_block(z, ups, downs, E: tl.constexpr, H: tl.constexpr, H_BLOCK: tl.constexpr):
    """z + V relu(U z): z float32 [rows, E], ups at U [H, E], downs at V [E, H]."""
    e, h = tl.arange(0, E), tl.arange(0, H_BLOCK)
    inner = z.to(ups.dtype.element_ty)
    for begin in range(0, H, H_BLOCK):
        up = tl.load(ups + (begin + h)[None, :] * E + e[:, None])  # [E, H_BLOCK], Uᵀ
        hidden = tl.maximum(tl.dot(inner, up, input_precision="ieee"), 0.0).to(inner.dtype)
        down = tl.load(downs + e[None, :] * H + (begin + h)[:, None])  # [H_BLOCK, E], Vᵀ
        z = tl.dot(hidden, down, z, input_precision="ieee")
    return z


@triton.jit(do_not_specialize=["n", "steps"])
def decode_rows(
    out,  # float32 [n, dim], written
    codes,  # int64 [n, width]
    centroids,  # [lists, dim]
    base,
    tables,
    mixes,
    ups,
    downs,
    outs,
    mean,
    std,
    n,
    steps,
    width,
    K,
    dim,
    FIRST: tl.constexpr,
    HAS_LISTS: tl.constexpr,
    PROJECTS: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    D_BLOCK: tl.constexpr,
    H_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS codes through all steps; names as in `FusedNetwork`."""
    IN_REGISTERS: tl.constexpr = D == D_BLOCK
    element = mixes.dtype.element_ty
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    e, d = tl.arange(0, E), tl.arange(0, D_BLOCK)
    alive = row < n
    decoded = tl.zeros([ROWS, D_BLOCK], tl.float32)
    for place in tl.static_range(0, D, D_BLOCK):
        inside = alive[:, None] & (place + d < dim)[None, :]
        if HAS_LISTS:
            one = tl.load(codes + row * width, mask=alive, other=0)
            start = tl.load(centroids + one[:, None] * dim + (place + d)[None, :], mask=inside, other=0.0)
            decoded = start.to(tl.float32)
        if FIRST == 1:
            symbol = tl.load(codes + row * width + HAS_LISTS, mask=alive, other=0).to(tl.int32)
            decoded += tl.load(base + symbol[:, None] * D + (place + d)[None, :])
        if not IN_REGISTERS:
            tl.store(out + row[:, None] * dim + (place + d)[None, :], decoded, mask=inside)
            decoded = tl.zeros([ROWS, D_BLOCK], tl.float32)
    for m in range(FIRST, steps):
        if not IN_REGISTERS:
            tl.debug_barrier()  # other warps wrote what is read here
        s = m - FIRST
        symbol = tl.load(codes + row * width + HAS_LISTS + m, mask=alive, other=0).to(tl.int32)
        z = tl.load(tables + (s * K + symbol)[:, None] * E + e[None, :])  # [ROWS, E]
        for begin in range(0, D, D_BLOCK):
            if not IN_REGISTERS:
                inside = alive[:, None] & (begin + d < dim)[None, :]
                decoded = tl.load(out + row[:, None] * dim + (begin + d)[None, :], mask=inside, other=0.0)
            mix = tl.load(mixes + (s * E + e)[None, :] * D + (begin + d)[:, None])  # [D_BLOCK, E], W_xᵀ
            z = tl.dot(decoded.to(element), mix, z, input_precision="ieee")
        for block in range(L):
            layer = (s * L + block) * E * H
            z = residual_block(z, ups + layer, downs + layer, E, H, H_BLOCK)
        if not IN_REGISTERS:
            tl.debug_barrier()  # other warps have read what is written here
        for begin in range(0, D, D_BLOCK):
            inside = alive[:, None] & (begin + d < dim)[None, :]
            if not IN_REGISTERS:
                decoded = tl.load(out + row[:, None] * dim + (begin + d)[None, :], mask=inside, other=0.0)
            decoded += tl.load(base + ((m * K + symbol) * D)[:, None] + (begin + d)[None, :])
            if PROJECTS:
                across = tl.load(outs + (s * D + begin + d)[None, :] * E + e[:, None])  # [E, D_BLOCK], P_oᵀ
                decoded = tl.dot(z.to(element), across, decoded, input_precision="ieee")
            else:
                decoded += z
            if not IN_REGISTERS:
                tl.store(out + row[:, None] * dim + (begin + d)[None, :], decoded, mask=inside)
    if not IN_REGISTERS:
        tl.debug_barrier()
    for last in range(0, D, D_BLOCK):
        inside = alive[:, None] & (last + d < dim)[None, :]
        if not IN_REGISTERS:
            decoded = tl.load(out + row[:, None] * dim + (last + d)[None, :], mask=inside, other=0.0)
        centre = tl.load(mean + last + d, mask=last + d < dim, other=0.0)
        tl.store(out + row[:, None] * dim + (last + d)[None, :], decoded * std + centre[None, :], mask=inside)
