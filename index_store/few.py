"""Few survivors of a filter: all their codes are scored, found by their rows; no list is probed, so none is missed."""

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store import directions, metric
from index_store.answers import Float32
from index_store.candidates import NO_SEGMENT, Candidates, Found
from index_store.row_set import are_many
from index_store.row_slots import RowSlots
from index_store.scan.tables import lookup_tables, weight
from index_store.segment import Segment
from index_store.view import View

FEW = 100_000
"""Beyond, lists are read: a tenth of 700 000 codes are scored one by one in about the time of a probe that wide."""

NO_LISTS = np.zeros(0, np.int64)
Picked = tuple[NDArray[np.uint32], ...]
"""For each segment of a view the slots of the survivors that it holds."""


def survivors_in(view: View, survivors: BitMap) -> NDArray[np.uint32]:
    """The rows of survivors that have a vector in the view, ascending."""
    rows = np.asarray(survivors.to_array(), np.uint32)
    return rows[~view.dead.contains(rows)] if view.dead else rows


def pick(view: View, row_slots: RowSlots, survivors: BitMap) -> Picked:
    """Where the codes of survivors that the view has lie, ascending."""
    from index_store.scan.slots import ascending_slots, ascending_slots_of_bits

    places = row_slots.places(view.segments)
    if not are_many(len(survivors), view.stop):
        return ascending_slots(places, survivors_in(view, survivors))
    from index_store import row_bits

    bits = row_bits.bits_of(survivors, view.stop)
    if view.dead:
        both = min(8 * len(bits), len(view.dead.bits))
        bits.view(np.uint8)[:both] &= ~view.dead.bits[:both]
    return ascending_slots_of_bits(places, bits, len(survivors))


def lists_of(segment: Segment, slots: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The list of each of ascending slots [n]; where they are many, by where each list begins among them."""
    if len(slots) <= len(segment.offsets):
        return segment.lists_of(slots)
    begins = np.searchsorted(slots, segment.offsets.astype(slots.dtype))
    return np.repeat(np.arange(len(begins) - 1), np.diff(begins))


def shortlist(distance: str, view: View, queries: Float32, chosen: Picked, count: int) -> Candidates:
    """The `count` nearest of the picked codes for each query [q, dim] by the additive decoder."""
    from index_store.scan import picked

    assert view.lists is not None and view.coding is not None
    by_product = metric.is_inner_product(distance)
    if view.length is not None:
        queries, by_product = directions.lengthened(queries, view.length, view.lists), False
    tables = lookup_tables(view.coding, queries, by_product)
    heaps = (
        np.full((len(queries), count), np.inf, np.float32),
        np.full((len(queries), count), NO_SEGMENT, np.int32),
        np.zeros((len(queries), count), np.int64),
    )
    has_lists = view.coding.codec.ivf_lists > 0
    for number, (segment, slots) in enumerate(zip(view.segments, chosen, strict=True)):
        lists, bases = NO_LISTS, np.zeros((len(queries), 1), np.float32)
        if has_lists:
            lists, held = _distinct(lists_of(segment, slots), len(view.lists))
            bases = weight(by_product) * view.lists.products(queries, np.tile(held, (len(queries), 1)))
        low, step = (0.0, 0.0) if by_product else (segment.norm_low, segment.norm_step)
        picked.offer(
            number, segment.codes.T, segment.norms, np.float32(low), np.float32(step), slots,
            lists, bases.astype(np.float32), tables, heaps,
        )  # fmt: skip
    own = 0 if by_product else np.einsum("qd,qd->q", queries, queries)[:, None]
    return Candidates(*heaps).nearest(heaps[0] + own, count)


def _distinct(lists: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each one's place [n] among the lists that there are of them, and these; where they are many, among all."""
    if 4 * len(lists) >= count:
        return lists, np.arange(count)
    held, places = np.unique(lists, return_inverse=True)
    return places, held


def exactly(distance: str, queries: Float32, rows: NDArray[np.uint32], vectors: Float32, wanted: int) -> Found:
    """The nearest of some rows [n] with their vectors [n, dim] by brute force."""
    distances = np.concatenate([metric.direct_distances(distance, one[None], vectors[None]) for one in queries])
    return Found(distances, np.tile(rows.astype(np.int64), (len(queries), 1))).first(wanted)
