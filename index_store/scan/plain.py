"""The additive scan as it reads in the equation: distance = norm + base(list) + Σ_m table[m, code_m]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.candidates import NO_SEGMENT, Candidates
from index_store.row_set import RowSet
from index_store.segment import Segment


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Float32,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
) -> Candidates:
    """The `shortlist` nearest codes of the probed lists for each query; see the package for the arguments."""
    q = len(lists)
    kept = Candidates(
        np.full((q, shortlist), np.inf, np.float32),
        np.full((q, shortlist), NO_SEGMENT, np.int32),
        np.zeros((q, shortlist), np.int64),
    )
    for query in range(q):
        found = [
            (distance, number, slot)
            for number, segment in enumerate(segments)
            for one, base in zip(lists[query], bases[query], strict=True)
            if one >= 0
            for slot, distance in _score_list(segment, int(one), base, tables[query], with_norms, skipped)
        ]
        for place, (distance, number, slot) in enumerate(sorted(found)[:shortlist]):
            kept.distances[query, place] = distance
            kept.segments[query, place] = number
            kept.slots[query, place] = slot
    return kept


def _score_list(
    segment: Segment, one: int, base: np.float32, table: Float32, with_norms: bool, skipped: RowSet
) -> list[tuple[float, float]]:
    """(slot, distance) of each code of a list that is not skipped."""
    slots = np.arange(segment.offsets[one], segment.offsets[one + 1])
    slots = slots[~skipped.contains(segment.rows[slots])]
    codes = segment.codes[slots]  # [n, M]
    norms = segment.norm_low + segment.norm_step * segment.norms[slots] if with_norms else np.zeros(len(slots))
    products = table[np.arange(len(table)), codes]  # [n, M]
    return list(zip(slots.tolist(), (norms + base + products.sum(axis=1)).tolist(), strict=True))
