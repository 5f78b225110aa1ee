"""Compaction: which segments are worth merging, and one segment made of several.

Only neighbours in row order are merged, so every segment holds the live rows of one range and no two ranges overlap.
Sizes fall into tiers, each four times the last; four neighbours of a tier become one of the next. A query begins anew
with each list of each segment: one of 300 000 codes is scanned in a fifth less than six of 50 000.
"""

import math

import numpy as np

from index_store.lengths import together
from index_store.row_set import RowSet
from index_store.segment import Codes, Segment, norm_range, norms_to_values

FAN_IN = 4
SMALLEST_TIER = 1024
DEAD_SHARE = 0.3
_BLOCK = 1 << 20


def choose(segments: tuple[Segment, ...], dead: RowSet) -> tuple[int, int] | None:
    """The neighbours [first, stop) to merge now, or one segment of which over 30 % is dead; None when all is well."""
    tiers = [_tier(len(one)) for one in segments]
    for tier in sorted(set(tiers)):
        start = 0
        for place in range(len(segments) + 1):
            if place == len(segments) or tiers[place] > tier:
                if _is_worth_it(segments[start:place]):
                    return start, place
                start = place + 1
    for place, one in enumerate(segments):
        if dead and dead.contains(one.rows).sum() > DEAD_SHARE * len(one):
            return place, place + 1
    return None


def merged(file: str, segments: tuple[Segment, ...], dead: RowSet) -> Segment | None:
    """One segment of the live codes of neighbours, None when all are dead.

    Norms are stored again between the smallest and the largest of all: each merge adds at most half a step of that
    range (1/65535 of it), so after t merges a norm is off by at most (t + 1) / 2 steps.
    """
    alive = [~dead.contains(one.rows) for one in segments]
    before = [np.concatenate([[0], np.cumsum(mask)]) for mask in alive]  # live codes before each slot
    counts = np.stack(
        [b[one.offsets[1:]] - b[one.offsets[:-1]] for one, b in zip(segments, before, strict=True)]
    )  # [s, lists]
    offsets = np.zeros(counts.shape[1] + 1, np.int64)
    np.cumsum(counts.sum(axis=0), out=offsets[1:])
    total = int(offsets[-1])
    if not total:
        return None
    starts = offsets[:-1] + np.cumsum(counts, axis=0) - counts  # where each segment's part of each list begins
    low = min(one.norm_low for one in segments)
    low, step = norm_range(low, max(one.norm_low + 65_535 * one.norm_step for one in segments))
    codes: Codes = np.empty((total, segments[0].codes.shape[1]), segments[0].codes.dtype)
    rows, norms = np.empty(total, np.uint32), np.empty(total, np.uint16)
    for one, mask, b, start in zip(segments, alive, before, starts, strict=True):
        for begin in range(0, len(one), _BLOCK):
            slots = begin + np.flatnonzero(mask[begin : begin + _BLOCK])
            lists = one.lists_of(slots)
            target = start[lists] + b[slots] - b[one.offsets[lists]]
            codes[target], rows[target] = one.codes[slots], one.rows[slots]
            known = one.norm_low + one.norm_step * one.norms[slots].astype(np.float64)
            norms[target] = norms_to_values(known, low, step)
    first, last = segments[0], segments[-1]
    is_draft = any(one.is_draft for one in segments)
    lengths = together(one.lengths for one in segments)
    return Segment(
        file, first.model, first.first_row, last.stop_row, offsets, codes, rows, norms, low, step, is_draft, lengths
    )


def _is_worth_it(some: tuple[Segment, ...]) -> bool:
    """Enough of them, and not one large segment rewritten for the sake of a few small ones."""
    sizes = [len(one) for one in some]
    return len(some) >= FAN_IN and sum(sizes) >= 2 * max(sizes)


def _tier(count: int) -> int:
    return max(0, int(math.log(max(count, 1) / SMALLEST_TIER, FAN_IN)))
