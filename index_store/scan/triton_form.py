"""The additive scan for CUDA in Triton: one program reads some of a query's lists and keeps the best in registers.

Each program holds a sorted run of keys (`keys.py`). A block of codes is looked up and summed; where any comes before
the worst key, the block is sorted the other way, the smaller of each pair of both runs is kept, which are the smallest
of all, and the run is sorted again. Rows are read only of codes that would be kept. The table look-ups go to the
first-level cache, where a query's tables (8 KB for 8 bytes) stay. One `topk` over what the programs kept ends it:
nothing is copied back before.
"""

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from index_store.answers import Float32
from index_store.candidates import Candidates
from index_store.row_set import RowSet
from index_store.scan.keys import ABSENT, candidates_of, starts_of
from index_store.scan.resident import residents
from index_store.segment import Segment

LEAST_KEPT = 256
MOST_KEPT = 2048
"""Keys that a program keeps, and codes that it looks up together: a power of two between these."""

PROGRAMS = 2048
"""Programs a launch aims at: several for each multiprocessor of a large card."""


def fits(shortlist: int) -> bool:
    """Whether a program can keep so many."""
    return shortlist <= MOST_KEPT


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Tensor,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
) -> Candidates:
    """The same as `torch_form.scan`, for a shortlist that `fits`."""
    (q, p), (_, M, K) = lists.shape, tables.shape
    device, held = tables.device, residents(tables.device)
    bits = held.bits(skipped)
    kept = max(LEAST_KEPT, triton.next_power_of_2(shortlist))
    per_strip = -(-p // min(p, max(1, PROGRAMS // max(1, q))))
    strips = -(-p // per_strip)
    keys = torch.full((q, max(1, len(segments)), strips, kept), ABSENT, dtype=torch.int64, device=device)
    probed = torch.from_numpy(np.ascontiguousarray(lists)).to(device)
    added = torch.from_numpy(np.ascontiguousarray(bases, np.float32)).to(device)
    tables = tables.contiguous()
    for number, (segment, start) in enumerate(zip(segments, starts_of(segments), strict=True)):
        if not q or not len(segment):
            continue
        one = held.segment(segment)
        low, step = (one.norm_low, one.norm_step) if with_norms else (0.0, 0.0)
        scan_lists[(q * strips,)](
            keys[:, number], one.codes, one.rows, one.norms, one.offsets, probed, added, tables, bits,
            len(one), start, p, per_strip, strips, keys.stride(0), K, len(bits), low, step,
            M=M, KEPT=kept, WITH_NORMS=with_norms, ABSENT=ABSENT, num_warps=4 if kept <= 512 else 8,
        )  # fmt: skip
    return candidates_of(keys.view(q, -1).topk(shortlist, dim=1, largest=False).values, segments)


@triton.jit(do_not_specialize=["n", "start", "p", "per_strip", "strips", "query_stride", "K", "bit_bytes"])
def scan_lists(
    keys,  # int64 [q, ·, strips, KEPT] of one segment, written
    codes,  # uint8 or int16 [M, n]
    rows,  # int32 [n]
    norms,  # int16 [n]
    offsets,  # int64 [lists + 1]
    lists,  # int64 [q, p]
    bases,  # float32 [q, p]
    tables,  # float32 [q, M, K]
    bits,  # uint8 [bit_bytes]
    n,
    start,
    p,
    per_strip,
    strips,
    query_stride,
    K,
    bit_bytes,
    low,
    step,
    M: tl.constexpr,
    KEPT: tl.constexpr,
    WITH_NORMS: tl.constexpr,
    ABSENT: tl.constexpr,
):
    """One query's lists from strip · per_strip on: the KEPT smallest keys, ascending."""
    query = (tl.program_id(0) // strips).to(tl.int64)
    strip = tl.program_id(0) % strips
    lanes = tl.arange(0, KEPT)
    best = tl.full([KEPT], ABSENT, tl.int64)
    worst = tl.full([], ABSENT, tl.int64)
    table = tables + query * M * K
    for place in range(strip * per_strip, tl.minimum(strip * per_strip + per_strip, p)):
        one = tl.load(lists + query * p + place)
        begin = tl.load(offsets + tl.maximum(one, 0))
        end = tl.where(one < 0, begin, tl.load(offsets + tl.maximum(one, 0) + 1))
        base = tl.load(bases + query * p + place) + low
        for first in range(begin, end, KEPT):
            slots = first + lanes
            present = slots < end
            distances = tl.zeros([KEPT], tl.float32) + base
            if WITH_NORMS:
                distances += step * (tl.load(norms + slots, mask=present, other=0).to(tl.int32) & 0xFFFF).to(tl.float32)
            for m in tl.static_range(M):
                symbols = tl.load(codes + n.to(tl.int64) * m + slots, mask=present, other=0).to(tl.int32) & 0xFFFF
                distances += tl.load(table + m * K + symbols, mask=present, other=0.0)
            as_int = distances.to(tl.int32, bitcast=True)
            as_int = as_int ^ ((as_int >> 31) & 0x7FFFFFFF)
            found = (as_int.to(tl.int64) << 32) | (slots + start)
            near = present & (found < worst)
            row = tl.load(rows + slots, mask=near, other=0).to(tl.int64) & 0xFFFFFFFF
            within = near & ((row >> 3) < bit_bytes)
            held = tl.load(bits + (row >> 3), mask=within, other=0).to(tl.int32)
            found = tl.where(near & (((held >> (row & 7).to(tl.int32)) & 1) == 0), found, ABSENT)
            if tl.min(found, axis=0) < worst:
                best = tl.sort(tl.minimum(best, tl.sort(found, descending=True)))
                worst = tl.max(best, axis=0)
    tl.store(keys + query * query_stride + strip * KEPT + lanes, best)
