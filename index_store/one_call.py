"""A batch of queries from the probe to the rescored rows in one compiled call, where nothing stands between the two.

Stage by stage, the interpreter takes a quarter of a query's time, and each time it comes back from compiled work it
waits for its lock while other threads of a service hold it. The stages are those of `search.py`, which is the plain
form and does what this cannot: other devices, codes of two bytes, filters that leave few, candidates that are decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from index_store import metric
from index_store.answers import Float32
from index_store.candidates import Found
from index_store.directions import LEAST_COSINE, TINY
from index_store.gather import pread
from index_store.lists import Lists
from index_store.nearest_stored import COMPILED, SQUARED, distance_to, insert
from index_store.originals import HEADER_BYTES, STRIPE_ROWS
from index_store.plan import Effort, SearchTrace
from index_store.row_set import RowSet
from index_store.scan.cpu import LEAST_A_SHARE
from index_store.scan.heaps import in_order, replace_worst
from index_store.scan.products import products_into
from index_store.scan.whole_view import addresses_of, row_at, scan_lists, scan_picked
from index_store.view import View

if TYPE_CHECKING:
    from index_store.few import Picked
    from index_store.search import Searched

CLOCK = time.CLOCK_MONOTONIC
STAGES = ("probe", "scan", "exact")
"""What `nanoseconds` counts, in order; in `call_of_codes.py` the last is another."""

_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    nothing, one, places = np.zeros((0, 1), np.float32), np.zeros(1, np.float32), np.zeros((0, 1), np.int64)
    arrays, counts, norms = addresses_of(())
    _answer_into(
        nothing, places, places, np.zeros(3, np.int64), nothing, nothing, nothing, one[None], one, one[None], 1,
        (False, 0.0), False, 1, arrays, counts, norms, np.zeros(0, np.uint8), SQUARED, 0, np.zeros(0, np.int32),
        np.zeros(1, np.uint8), CLOCK,
    )  # fmt: skip
    _answer_picked_into(
        nothing, places, places, np.zeros(3, np.int64), nothing, nothing, nothing, one[None], one, one[None], 1,
        (False, 0.0), False, np.zeros(0, np.uint64), np.zeros(0, np.int64), arrays, counts, norms, SQUARED, 0,
        np.zeros(0, np.int32), np.zeros(1, np.uint8), CLOCK,
    )  # fmt: skip


def suits(searched: Searched, view: View) -> bool:
    """Whether a view with codes, read on the CPU, can be searched so."""
    return searched.way_of_comparing is not None and is_scanned_at_once(view)


def is_scanned_at_once(view: View) -> bool:
    """Whether one compiled function reads the lists of all segments."""
    return isinstance(view.lists, Lists) and view.addresses is not None


def nearest(
    searched: Searched, view: View, queries: Float32, effort: Effort, skipped: RowSet, trace: SearchTrace
) -> tuple[Found, bool]:
    """The `wanted` nearest rows to each query [q, dim], and whether these are they.

    If not, they are the shortlist, to be rescored in the plain way: an original's file was not open, or is gone.
    """
    call = Call(searched, view, queries, effort)
    kinds = call.kinds
    has_lists = call.codec.ivf_lists > 0

    def answer_share(share: slice) -> tuple[bool, NDArray[np.int64]]:
        nanoseconds, opened = np.zeros(len(STAGES), np.int64), searched.originals.opened()  # files stay open meanwhile
        is_whole = _answer_into(
            call.distances[share], call.found[share], call.shortlist[share], nanoseconds, queries[share],
            call.products[share], call.entries[share], *call.model, has_lists, effort.nprobe, *call.addresses,
            skipped.bits, *kinds, opened.descriptors, np.empty(searched.originals.row_bytes, np.uint8), CLOCK,
        )  # fmt: skip
        return bool(is_whole), nanoseconds

    return call.answered(answer_share, trace)


def nearest_picked(
    searched: Searched, view: View, queries: Float32, effort: Effort, picked: Picked, trace: SearchTrace
) -> tuple[Found, bool]:
    """The same of picked codes alone, all of which are scored."""
    call = Call(searched, view, queries, effort)
    kinds = call.kinds
    has_lists = call.codec.ivf_lists > 0
    where = np.array([slots.ctypes.data for slots in picked], np.uint64)
    counts = np.array([len(slots) for slots in picked], np.int64)

    def answer_share(share: slice) -> tuple[bool, NDArray[np.int64]]:
        nanoseconds, opened = np.zeros(len(STAGES), np.int64), searched.originals.opened()
        is_whole = _answer_picked_into(
            call.distances[share], call.found[share], call.shortlist[share], nanoseconds, queries[share],
            call.products[share], call.entries[share], *call.model, has_lists, where, counts, *call.addresses,
            *kinds, opened.descriptors, np.empty(searched.originals.row_bytes, np.uint8), CLOCK,
        )  # fmt: skip
        return bool(is_whole), nanoseconds

    return call.answered(answer_share, trace)


Share = Callable[[slice], tuple[bool, NDArray[np.int64]]]


class Call:
    """What a compiled call is given, and where it writes."""

    def __init__(self, searched: Searched, view: View, queries: Float32, effort: Effort) -> None:
        lists, addresses = view.lists, view.addresses
        assert isinstance(lists, Lists) and addresses is not None and view.coding is not None
        self.searched, self.addresses, self.codec = searched, addresses, view.coding.codec
        q, wanted = len(queries), min(effort.wanted, effort.shortlist)
        tables = view.coding.tables
        self.distances, self.found = np.empty((q, wanted), np.float32), np.empty((q, wanted), np.int64)
        self.shortlist = np.empty((q, effort.shortlist), np.int64)
        self.products, self.entries = np.empty((q, len(lists)), np.float32), np.empty((q, len(tables)), np.float32)
        compared = (metric.is_inner_product(searched.distance), view.length or 0.0)
        self.model = (lists.centroids, lists.squared, tables, self.codec.codewords, compared)

    @property
    def kinds(self) -> tuple[int, int]:
        """How originals are compared, and kept."""
        kind = self.searched.way_of_comparing
        assert kind is not None
        return kind, COMPILED.index(self.searched.kept_as)

    def answered(self, share: Share, trace: SearchTrace, stages: tuple[str, ...] = STAGES) -> tuple[Found, bool]:
        """Have all queries answered, by several threads where they are many."""
        q, searched = len(self.found), self.searched
        shares = min(searched.threads, q // LEAST_A_SHARE)
        if searched.pool is None or shares < 2:
            answered = [share(slice(0, q))]
        else:
            parts = [slice(q * part // shares, q * (part + 1) // shares) for part in range(shares)]
            others = [searched.pool.submit(share, part) for part in parts[1:]]
            answered = [share(parts[0])]
            for part, other in zip(parts[1:], others, strict=True):  # one that waits behind a long scan is done here
                answered.append(share(part) if other.cancel() else other.result())
        for stage, *nanoseconds in zip(stages, *(spent.tolist() for _, spent in answered), strict=True):
            trace.add(stage, 1e-9 * max(nanoseconds))
        if all(is_whole for is_whole, _ in answered):
            return Found(self.distances, self.found), True
        return Found(np.zeros(self.shortlist.shape, np.float32), self.shortlist), False


@njit(nogil=True, cache=True)
def _answer_into(
    distances: Any, found: Any, shortlist: Any, nanoseconds: Any, queries: Any, products: Any, entries: Any,
    centroids: Any, squared: Any, tables: Any, codewords: int, compared: Any, has_lists: bool, nprobe: int,
    arrays: Any, counts: Any, norms: Any, skipped: Any, kind: int, kept_as: int, descriptors: Any, original: Any,
    clock: int,
) -> bool:  # fmt: skip
    """What `nearest` says (writes distances, found, shortlist, nanoseconds); false where an original was not read."""
    places_into(
        shortlist, nanoseconds, queries, products, entries, centroids, squared, tables, codewords, compared,
        has_lists, nprobe, arrays, counts, norms, skipped, clock,
    )  # fmt: skip
    for query in range(len(queries)):
        for place in range(shortlist.shape[1]):
            shortlist[query, place] = row_at(shortlist[query, place], arrays, counts)
    begun = now(clock)
    is_whole = _rescored_into(distances, found, shortlist, queries, kind, kept_as, descriptors, original)
    nanoseconds[2] += now(clock) - begun
    return is_whole


@njit(nogil=True, cache=True)
def _rescored_into(
    distances: Any, found: Any, shortlist: Any, queries: Any, kind: int, kept_as: int, descriptors: Any, original: Any
) -> bool:
    """The nearest of a shortlist by their originals (writes distances, found); false where one was not read."""
    distances[:] = np.inf
    found[:] = -1
    for query in range(len(queries)):
        kept = 0
        for row in shortlist[query]:
            if row < 0:
                break
            if not _read_into(original, row, descriptors):
                return False
            distance = _distance(kind, kept_as, queries[query], original)
            kept = insert(distances[query], found[query], kept, distance, row)
    return True


@njit(nogil=True, cache=True)
def _answer_picked_into(
    distances: Any, found: Any, shortlist: Any, nanoseconds: Any, queries: Any, products: Any, entries: Any,
    centroids: Any, squared: Any, tables: Any, codewords: int, compared: Any, has_lists: bool, picked: Any,
    picked_counts: Any, arrays: Any, counts: Any, norms: Any, kind: int, kept_as: int, descriptors: Any,
    original: Any, clock: int,
) -> bool:  # fmt: skip
    """The same as `_answer_into` of picked codes alone, which lie where `scan_picked` says."""
    heap, places = np.empty(shortlist.shape[1], np.float32), np.empty(shortlist.shape[1], np.int64)
    by_product, length = compared
    steps = entries.shape[1] // codewords
    begun = now(clock)
    products_into(entries, tables, queries)
    if length or has_lists:
        products_into(products, centroids, queries)
    for query in range(len(queries)):
        with_norms, weight = not by_product, np.float32(-1 if by_product else -2)
        if length:
            nearest = _nearest_list(products[query], squared, by_product)
            with_norms, weight = True, _weight(length, queries[query], products[query, nearest], squared[nearest])
        for place in range(entries.shape[1]):
            entries[query, place] *= weight
        for one in range(products.shape[1] if has_lists else 0):
            products[query, one] *= weight
        scan_picked(
            heap, places, picked, picked_counts, products[query, : products.shape[1] if has_lists else 0],
            entries[query], steps, codewords, len(centroids), arrays, counts, norms, with_norms,
        )  # fmt: skip
        for place in range(len(places)):
            shortlist[query, place] = row_at(places[place], arrays, counts)
    scanned = now(clock)
    is_whole = _rescored_into(distances, found, shortlist, queries, kind, kept_as, descriptors, original)
    nanoseconds[1], nanoseconds[2] = scanned - begun, now(clock) - scanned
    return is_whole


@njit(nogil=True, cache=True)
def _nearest_list(products: Any, squared: Any, by_product: bool) -> Any:
    best, least = 0, np.float32(np.inf)
    for one in range(len(products)):
        distance = -products[one] if by_product else squared[one] - 2 * products[one]
        if distance < least:
            best, least = one, distance
    return best


@njit(nogil=True, cache=True)
def places_into(
    places: Any, nanoseconds: Any, queries: Any, products: Any, entries: Any, centroids: Any, squared: Any,
    tables: Any, codewords: int, compared: Any, has_lists: bool, nprobe: int, arrays: Any, counts: Any, norms: Any,
    skipped: Any, clock: int,
) -> None:  # fmt: skip
    """Where the nearest codes lie, nearest first, −1 for none (writes places [q, s], products, entries)."""
    heap = np.empty(places.shape[1], np.float32)
    nearness, lists = np.empty(nprobe, np.float32), np.empty(nprobe, np.int64)
    bases = np.zeros(nprobe, np.float32)
    by_product, length = compared  # the one of all vectors, 0 where they have several
    steps = entries.shape[1] // codewords
    begun = now(clock)
    products_into(products, centroids, queries)
    nanoseconds[0] += now(clock) - begun
    begun = now(clock)
    products_into(entries, tables, queries)
    nanoseconds[1] += now(clock) - begun
    for query in range(len(queries)):
        begun = now(clock)
        _probe_into(lists, nearness, products[query], squared, by_product)
        probed = now(clock)
        with_norms, weight = not by_product, np.float32(-1 if by_product else -2)
        if length:
            nearest = lists[0]
            with_norms, weight = True, _weight(length, queries[query], products[query, nearest], squared[nearest])
        if has_lists:
            for place in range(nprobe):
                bases[place] = weight * products[query, lists[place]]
        for place in range(entries.shape[1]):
            entries[query, place] *= weight
        scan_lists(
            heap, places[query], lists, bases, entries[query], steps, codewords, len(centroids), arrays, counts, norms,
            with_norms, skipped,
        )  # fmt: skip
        nanoseconds[0] += probed - begun
        nanoseconds[1] += now(clock) - probed


@njit(nogil=True, cache=True)
def _weight(length: float, query: Any, product: Any, squared: Any) -> Any:
    """−2 times what lengthens a query, as `directions.py` has it, by its product with its nearest centroid."""
    own = np.float32(0)
    for one in query:
        own += one * one
    own = np.sqrt(max(own, np.float32(TINY)))
    cosine = product / (own * np.sqrt(max(squared, np.float32(TINY))))
    return np.float32(-2 * length / (own * min(np.float32(1), max(np.float32(LEAST_COSINE), cosine))))


@njit(nogil=True, cache=True)
def _probe_into(lists: Any, nearness: Any, products: Any, squared: Any, by_product: bool) -> None:
    """The lists nearest to a query, nearest first (writes lists, nearness [p])."""
    count = lists.shape[0]
    nearness[:] = np.inf
    for one in range(len(products)):
        distance = -products[one] if by_product else squared[one] - 2 * products[one]
        if distance < nearness[0]:
            replace_worst(nearness, lists, distance, one, count)
    in_order(nearness, lists)


@njit(nogil=True, cache=True)
def _read_into(original: Any, row: Any, descriptors: Any) -> bool:
    """Read a row's original (writes original [bytes]); false where its file is not open, or ends early."""
    stripe = row // STRIPE_ROWS
    if stripe >= len(descriptors) or descriptors[stripe] < 0:
        return False
    size = len(original)
    at = HEADER_BYTES + (row - stripe * STRIPE_ROWS) * size
    return bool(pread(descriptors[stripe], original.ctypes.data, size, at) == size)


@njit(nogil=True, cache=True)
def _distance(kind: int, kept_as: int, query: Any, original: Any) -> Any:
    """Of a query and the bytes of an original, kept as that one of COMPILED."""
    if kept_as == 0:
        return distance_to(kind, query, original.view(np.float32))
    if kept_as == 1:
        return distance_to(kind, query, original)
    return distance_to(kind, query, original.view(np.int8))


@njit(nogil=True, cache=True)
def now(clock: int) -> Any:
    """Nanoseconds of a clock."""
    told = np.empty(2, np.int64)
    _clock_gettime(clock, told.ctypes.data)
    return told[0] * 1_000_000_000 + told[1]
