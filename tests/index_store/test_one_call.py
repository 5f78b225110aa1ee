"""Queries answered in one compiled call are answered as stage by stage."""

from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from index_store import Collection, SearchPlan, SearchTrace, one_call, search
from index_store.directions import at_length
from index_store.one_call import _probe_into
from index_store.originals import Opened, Originals
from index_store.plan import Effort
from index_store.scan import plain, processor, whole_view
from index_store.scan.heaps import in_order, replace_worst
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.index_store.test_scan import random_scan

needs_no_byte_lookups = pytest.mark.skipif(
    processor.has_byte_lookups(), reason="codes lie in columns here, for another scan"
)


@settings(max_examples=60, deadline=None)
@given(seen=st.lists(st.integers(0, 30), max_size=60), size=st.integers(1, 20))
def test_a_heap_keeps_the_least_that_it_has_seen_in_order(seen: list[int], size: int) -> None:
    heap, places = np.full(size, np.inf, np.float32), np.full(size, -1, np.int64)
    for place, distance in enumerate(seen):
        if distance < heap[0]:
            replace_worst(heap, places, np.float32(distance), place, size)
    in_order(heap, places)
    kept = sorted(seen)[:size]
    assert heap.tolist() == [*kept, *[np.inf] * (size - len(kept))]
    assert [seen[place] for place in places.tolist() if place >= 0] == kept
    assert len(set(places.tolist()) - {-1}) == len(kept)


@settings(max_examples=40, deadline=None)
@given(lists=st.integers(1, 60), by_product=st.booleans(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_the_nearest_lists_come_in_order(lists: int, by_product: bool, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    products, squared = rng.normal(size=lists).astype(np.float32), rng.gamma(2, 3, lists).astype(np.float32)
    probed = np.zeros(data.draw(st.integers(1, lists)), np.int64)
    _probe_into(probed, np.zeros(len(probed), np.float32), products, squared, by_product)
    distances = -products if by_product else squared - 2 * products
    assert len(set(probed.tolist())) == len(probed)
    assert_array_equal(distances[probed], np.sort(distances)[: len(probed)])


@needs_no_byte_lookups
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 170), min_size=1, max_size=4),
    steps=st.integers(1, 17),
    codewords=st.sampled_from([2, 16, 256]),
    lists=st.integers(1, 9),
)
def test_a_scan_of_all_segments_keeps_what_the_plain_one_keeps(
    seed: int, sizes: list[int], steps: int, codewords: int, lists: int
) -> None:
    scan = random_scan(seed, sizes, steps, codewords, lists, 1)
    addresses = whole_view.addresses_of(scan["segments"])
    heap, places = np.zeros(scan["shortlist"], np.float32), np.zeros(scan["shortlist"], np.int64)
    whole_view.scan_lists(
        heap, places, scan["lists"][0], scan["bases"][0], scan["tables"][0].ravel(), steps, codewords, lists,
        *addresses, scan["with_norms"], scan["skipped"].bits,
    )  # fmt: skip
    assert_allclose(heap, plain.scan(**scan).distances[0], rtol=1e-4, atol=1e-4)
    every = plain.scan(**{**scan, "shortlist": 700})
    rows = [
        scan["segments"][number].rows[slot]
        for number, slot in zip(every.segments[0], every.slots[0], strict=True) if number >= 0
    ]  # fmt: skip
    known = dict(zip(rows, every.distances[0], strict=False))
    found = [whole_view.row_at(place, addresses.arrays, addresses.counts) for place in places]
    kept = [row for row in found if row >= 0]
    assert found == [*kept, *[-1] * (len(found) - len(kept))]
    assert len(set(kept)) == len(kept)
    assert_allclose(heap[: len(kept)], [known[row] for row in kept], rtol=1e-4, atol=1e-4)


@needs_no_byte_lookups
@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("asked", [1, 5])
@pytest.mark.parametrize("length", [None, 3])
def test_the_shortlist_is_the_plain_one(
    tmp_path: Path, distance: str, lists: int, asked: int, length: float | None
) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=lists)
        vectors = clustered(600, DIM)
        vectors = vectors if length is None else at_length(length, vectors)
        collection.upsert(np.arange(600, dtype=np.uint64), {"default": vectors})
        encode_all(collection, 200)
        index, view = collection._held.indexes["default"], collection.view()
        queries = index.forms.prepare_queries(clustered(asked, DIM, seed=8))
        assert view.lists is not None
        assert (view.length is None) == (length is None and distance != "Cosine")
        effort = Effort(5, len(view.lists), 20, 20, 20)
        with mock.patch.object(Originals, "opened", return_value=Opened({})):
            found, is_rescored = one_call.nearest(index.searched, view, queries, effort, view.dead, SearchTrace())
        assert not is_rescored  # where no file of originals is open
        every = search.shortlist(
            index.searched, view, queries, replace(effort, shortlist=600), view.dead, SearchTrace()
        )
        for rows, all_rows, distances in zip(found.rows, search.rows_of(view, every), every.distances, strict=True):
            known = dict(zip(all_rows.tolist(), distances, strict=True))
            assert len(set(rows.tolist())) == 20
            assert_allclose([known[row] for row in rows.tolist()], distances[:20], rtol=1e-4, atol=1e-4)


def scores(collection: Collection, queries: Any, plan: SearchPlan) -> list[list[float]]:
    return [[hit.score for hit in hits] for hits in collection.query(queries, plan)]


@needs_no_byte_lookups
@pytest.mark.parametrize("kept_as", ["float32", "uint8", "int8", "float16"])
@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
@pytest.mark.parametrize("lists", [8, 0])
def test_one_call_answers_as_stage_by_stage(tmp_path: Path, distance: str, lists: int, kept_as: str) -> None:
    with store_at(tmp_path) as store, mock.patch.object(one_call, "LEAST_A_SHARE", 2):
        collection = make_collection(store, tmp_path, distance=distance, lists=lists, originals=kept_as)
        vectors = np.rint(np.clip(20 * np.abs(clustered(700, DIM, 1)) + 1, 0, 120)).astype(np.float32)
        collection.upsert(np.arange(700, dtype=np.uint64), {"default": vectors})
        encode_all(collection, 300)
        collection.delete(range(0, 700, 5))
        collection.upsert([900], {"default": vectors[:1]})  # pending
        for queries in (vectors[:1] + 0.5, vectors[50:61] + 0.5):
            for plan in (SearchPlan(7, oversampling=200.0), SearchPlan(40, oversampling=20.0)):  # all: codes may tie
                trace = SearchTrace()
                told = scores(collection, queries, plan)
                collection.query(queries, plan, trace=trace)
                assert trace.seconds.keys() >= {"probe", "scan", "exact"}
                with mock.patch.object(search, "_in_one_call", return_value=None):
                    assert_allclose(told, scores(collection, queries, plan), rtol=1e-4, atol=1e-3)


@needs_no_byte_lookups
def test_a_share_that_no_thread_has_begun_is_answered_here(tmp_path: Path) -> None:
    class Busy(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            return Future()  # nobody ever begins it

    with store_at(tmp_path) as store, mock.patch.object(one_call, "LEAST_A_SHARE", 2):
        collection = make_collection(store, tmp_path)
        queries = fill(collection, 300)[:20]
        encode_all(collection)
        searched, view = collection._held.indexes["default"].searched, collection.view()
        assert view.lists is not None
        asked = (view, queries, Effort(1, len(view.lists), 20, 20, 20), view.dead, SearchTrace())
        shared, _ = one_call.nearest(replace(searched, pool=Busy(), threads=3), *asked)
        alone, _ = one_call.nearest(replace(searched, pool=None), *asked)
        assert_array_equal(shared.rows, alone.rows)


@needs_no_byte_lookups
def test_originals_whose_files_are_not_open_are_read_all_the_same(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 300)
        encode_all(collection)
        with mock.patch.object(Originals, "opened", return_value=Opened({})):
            found = collection.query(vectors[:20], SearchPlan(1))
        assert [hits[0].id for hits in found] == list(range(20))


def test_the_files_of_originals_are_open_once_a_query_has_asked(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 300)
        assert collection._held.indexes["default"].originals.opened().descriptors.min() >= 0
