"""A batch of queries that codes alone answer, from the probe to the nearest decoded rows in one compiled call.

What `one_call.py` is where originals are read. `search.shortlist` and `search.rerank` are the plain form, and do what
this cannot: pair tables, filters that leave few, codecs of slices, and other devices.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from index_store import cascade
from index_store.answers import Float32
from index_store.candidates import Found
from index_store.cascade import Narrowing
from index_store.compiled_cascade import distances_into
from index_store.nearest_stored import insert
from index_store.one_call import CLOCK, Call, is_scanned_at_once, now, places_into
from index_store.plan import Effort, SearchTrace
from index_store.row_set import RowSet
from index_store.scan.whole_view import SLOT_BITS, addresses_of, at_address, row_at
from index_store.view import View

if TYPE_CHECKING:
    from index_store.search import Searched

STAGES = ("probe", "scan", "neural")
_NONE = Narrowing(np.zeros(0, np.int64), np.zeros(0, np.int64))


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    from model.warming import smallest_codec

    codec = smallest_codec()
    nothing, one, places = np.zeros((0, 1), np.float32), np.zeros(1, np.float32), np.zeros((0, 1), np.int64)
    _answer_into(
        nothing, places, places, np.zeros(3, np.int64), nothing, nothing, nothing, one[None], one, one[None], 1,
        (False, 0.0), False, 1, *addresses_of(()), np.zeros(0, np.uint8), codec.normalised_tables, *_NONE,
        codec.prepared.packed, CLOCK,
    )  # fmt: skip


def suits(view: View, effort: Effort) -> bool:
    """Whether the network alone judges what the scan of a view with codes keeps, and both run on the CPU."""
    assert view.coding is not None
    is_by_network = not effort.rescored and effort.rerank == effort.shortlist > 0
    return is_by_network and is_scanned_at_once(view) and cascade.suits(view.coding.codec)


def nearest(
    searched: Searched, view: View, queries: Float32, effort: Effort, skipped: RowSet, trace: SearchTrace
) -> Found:
    """The `wanted` rows nearest to each query [q, dim] by what their codes stand for."""
    call = Call(searched, view, queries, effort)
    codec: Any = call.codec
    narrowed = _NONE
    if effort.leaves_behind:
        narrowed = cascade.narrowing(codec.steps, effort.shortlist, effort.wanted)
    has_lists, packed = codec.ivf_lists > 0, codec.prepared.packed

    def answer_share(share: slice) -> tuple[bool, NDArray[np.int64]]:
        nanoseconds = np.zeros(len(STAGES), np.int64)
        _answer_into(
            call.distances[share], call.found[share], call.shortlist[share], nanoseconds, queries[share],
            call.products[share], call.entries[share], *call.model, has_lists, effort.nprobe, *call.addresses,
            skipped.bits, codec.normalised_tables, *narrowed, packed, CLOCK,
        )  # fmt: skip
        return True, nanoseconds

    return call.answered(answer_share, trace, STAGES)[0]


@njit(nogil=True, cache=True)
def _answer_into(
    distances: Any, found: Any, places: Any, nanoseconds: Any, queries: Any, products: Any, entries: Any,
    centroids: Any, squared: Any, tables: Any, codewords: int, compared: Any, has_lists: bool, nprobe: int,
    arrays: Any, counts: Any, norms: Any, skipped: Any, normalised_tables: Any, after: Any, kept: Any, packed: Any,
    clock: int,
) -> None:  # fmt: skip
    """What `nearest` says (writes distances, found, places, nanoseconds, products, entries)."""
    places_into(
        places, nanoseconds, queries, products, entries, centroids, squared, tables, codewords, compared, has_lists,
        nprobe, arrays, counts, norms, skipped, clock,
    )  # fmt: skip
    begun = now(clock)
    firsts = np.zeros(len(queries) + 1, np.int64)
    for query in range(len(queries)):
        firsts[query + 1] = firsts[query] + (places[query] >= 0).sum()
    by_product, length = compared
    symbols = np.empty((firsts[-1], normalised_tables.shape[0]), np.int64)
    starts = np.empty((firsts[-1] if has_lists else 0, queries.shape[1]), np.float32)
    for query in range(len(queries)):
        for at in range(firsts[query], firsts[query + 1]):
            place = places[query, at - firsts[query]]
            _symbols_into(symbols[at], place, arrays, counts)
            if has_lists:
                of_list = centroids[_list_of(place, arrays, len(centroids))]
                for d in range(starts.shape[1]):
                    starts[at, d] = (of_list[d] - packed.mean[d]) / np.float32(packed.std)
    judged = np.empty(len(symbols), np.float32)
    distances_into(judged, queries, firsts, symbols, starts, normalised_tables, after, kept, by_product, length, packed)
    distances[:] = np.inf
    found[:] = -1
    for query in range(len(queries)):
        held = 0
        for at in range(firsts[query], firsts[query + 1]):
            if judged[at] < np.inf:
                row = row_at(places[query, at - firsts[query]], arrays, counts)
                held = insert(distances[query], found[query], held, judged[at], row)
    nanoseconds[2] += now(clock) - begun


@njit(nogil=True, cache=True)
def _symbols_into(symbols: Any, place: Any, arrays: Any, counts: Any) -> None:
    """The code at a place (writes symbols [M])."""
    number = place >> SLOT_BITS
    codes = carray(at_address(arrays[number, 1]), (counts[number], symbols.shape[0]), np.uint8)
    for m in range(symbols.shape[0]):
        symbols[m] = codes[place - (number << SLOT_BITS), m]


@njit(nogil=True, cache=True)
def _list_of(place: Any, arrays: Any, list_count: int) -> Any:
    """The list whose codes are stored about a place: the last that begins there or before, among those with codes."""
    number = place >> SLOT_BITS
    offsets = carray(at_address(arrays[number, 0]), list_count + 1, np.int64)
    return np.searchsorted(offsets, place - (number << SLOT_BITS), side="right") - 1
