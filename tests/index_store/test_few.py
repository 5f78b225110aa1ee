"""Few survivors of a filter are all scored: the answer is that of a scan of all lists, and slots are found by row."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pyroaring import BitMap

from index_store import Collection, Filter, SearchPlan, few, one_call, row_bits
from index_store.directions import at_length
from index_store.row_set import RowSet
from index_store.row_slots import RowSlots
from index_store.scan import plain, whole_view
from index_store.scan.slots import ascending_slots, ascending_slots_of_bits, ascending_slots_plain, places_of
from index_store.scan.tables import lookup_tables, weight
from index_store.segment import group_by_list
from index_store.storage import Storage
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.index_store.test_one_call import needs_no_byte_lookups
from tests.index_store.test_scan import random_scan


@pytest.fixture(scope="module", params=[("Euclid", 8), ("Dot", 8), ("Euclid", 0)], ids=str)
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    distance, lists = request.param
    folder = tmp_path_factory.mktemp("few")
    with store_at(folder) as store:
        collection = make_collection(store, folder, distance=distance, lists=lists)
        fill(collection, 700)
        encode_all(collection, 300)  # several segments
        collection.delete(range(0, 700, 9))
        yield collection


@settings(max_examples=30, deadline=None)
@given(survivors=st.sets(st.integers(0, 699), max_size=60), seed=st.integers(0, 99), count=st.integers(1, 40))
@pytest.mark.parametrize("are_many", [False, True])
def test_picked_codes_are_scored_as_a_scan_of_all_lists_scores_them(
    collection: Collection, are_many: bool, survivors: set[int], seed: int, count: int
) -> None:
    view = collection.view()
    assert view.lists is not None and view.coding is not None
    index = collection._held.indexes["default"]
    queries = clustered(3, DIM, seed)
    with mock.patch.object(few, "are_many", return_value=are_many):
        picked = few.pick(view, index.files.row_slots, BitMap(survivors))
    found = few.shortlist(index.config.distance, view, queries, picked, count)
    by_product = index.config.distance == "Dot"
    every = np.tile(np.arange(len(view.lists)), (3, 1))
    bases = weight(by_product) * view.lists.products(queries, every) * bool(view.coding.codec.ivf_lists)
    skipped = view.dead.union(RowSet.all_but(BitMap(survivors), view.stop))
    tables = lookup_tables(view.coding, queries, by_product)
    true = plain.scan(view.segments, every, bases.astype(np.float32), tables, not by_product, skipped, count)
    own = 0 if by_product else np.einsum("qd,qd->q", queries, queries)[:, None]
    assert_allclose(found.distances, true.distances + own, rtol=1e-4, atol=1e-4)
    assert np.array_equal(found.segments >= 0, true.segments >= 0)


@settings(max_examples=20, deadline=None)
@given(ids=st.sets(st.integers(0, 699), min_size=1, max_size=50), seed=st.integers(0, 99), rescore=st.booleans())
def test_as_many_hits_as_survive_come_back_and_no_others(
    collection: Collection, ids: set[int], seed: int, rescore: bool
) -> None:
    alive = {id for id in ids if id % 9}
    condition = Filter.parse({"must": [{"has_id": sorted(ids)}]})
    plan = SearchPlan(20, nprobe=1, rescore=rescore)  # nprobe does not matter: no list is probed
    (hits,) = collection.query(clustered(1, DIM, seed), plan, filter=condition)
    assert len(hits) == min(20, len(alive))
    assert {hit.id for hit in hits} <= alive
    (exact,) = collection.query(clustered(1, DIM, seed), SearchPlan(20, exact=True), filter=condition)
    if rescore and len(alive) <= 20:
        assert [hit.id for hit in hits] == [hit.id for hit in exact]
        # Products of long vectors may nearly cancel: what float32 rounds is of the size of the vectors then.
        assert_allclose([hit.score for hit in hits], [hit.score for hit in exact], rtol=1e-5, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(rows=st.sets(st.integers(5, 300), min_size=1, max_size=80), damage=st.none() | st.integers(0, 2000))
def test_a_row_is_found_at_its_slot_also_after_its_file_was_damaged(
    tmp_path_factory: pytest.TempPathFactory, rows: set[int], damage: int | None
) -> None:
    folder, held = tmp_path_factory.mktemp("slots"), np.array(sorted(rows), np.uint32)
    lists = np.random.default_rng(1).integers(0, 4, len(held))
    codes = np.zeros((len(held), 2), np.uint8)
    segment = group_by_list("a.seg", "", (5, 301), lists, codes, held, np.zeros(len(held), np.float32), 4)
    RowSlots(Storage(), folder).make(segment)
    (path,) = folder.iterdir()
    if damage is not None:
        body = bytearray(path.read_bytes())
        body[damage % len(body)] ^= 1
        path.write_bytes(body)
    asked = np.arange(5, 301)
    slots = RowSlots(Storage(), folder).of(segment, asked)
    assert np.array_equal(slots >= 0, np.isin(asked, held))
    assert np.array_equal(segment.rows[slots[slots >= 0]], asked[slots >= 0])
    some = asked[::3].astype(np.uint32)
    (chosen,) = ascending_slots(RowSlots(Storage(), folder).places((segment,)), some)
    assert np.array_equal(np.sort(segment.rows[chosen]), np.intersect1d(some, held))
    assert np.array_equal(few.lists_of(segment, chosen), segment.lists_of(chosen))
    every = np.arange(len(segment), dtype=np.uint32)
    assert np.array_equal(few.lists_of(segment, every), segment.lists_of(every))


@given(
    counts=st.lists(st.integers(0, 150), max_size=4),
    share=st.floats(0, 1),
    gap=st.integers(0, 9),
    first=st.integers(0, 700) | st.integers(0, 2**32 - 700),
    seed=st.integers(0, 2**32 - 1),
)
@example(counts=[150, 150, 130], share=0.01, gap=3, first=100, seed=1)  # so few that they are sorted one by one
def test_slots_in_order_are_the_plain_forms(counts: list[int], share: float, gap: int, first: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    maps = [np.where(random.random(n) < 0.7, random.permutation(n) + 1, 0).astype(np.uint32) for n in counts]
    firsts = [first + gap + sum(counts[:place]) + place * gap for place in range(len(counts))]
    stop = first + sum(counts) + gap * (len(counts) + 1)
    rows = (np.flatnonzero(random.random(stop - first) < share) + first).astype(np.uint32)
    order = random.permutation(len(counts))
    between = [(firsts[place], firsts[place] + counts[place]) for place in order]
    places = places_of([maps[place] for place in order], between, [counts[p] for p in order])
    found = ascending_slots(places, rows)
    plain = [
        ascending_slots_plain(maps[place], begin, rows[(rows >= begin) & (rows < end)], counts[place])
        for (begin, end), place in zip(between, order, strict=True)
    ]
    for slots, true in zip(found, plain, strict=True):
        assert np.array_equal(slots, true)
    if stop < 1 << 20:  # as bits, those beyond some row left out
        cut = first + len(rows) // 2
        bits = row_bits.bits_of(BitMap(rows), cut)
        for slots, true in zip(
            ascending_slots_of_bits(places, bits, len(rows)), ascending_slots(places, rows[rows < cut]), strict=True
        ):
            assert np.array_equal(slots, true)


def test_files_of_slots_go_with_their_segments(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 100)
        encode_all(collection, 25)
        while collection.merge():
            pass
        names = {path.name for path in tmp_path.rglob("slots/*")}
        assert names == {f"{segment.file}.rows" for segment in collection.view().segments}


@needs_no_byte_lookups
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 170), min_size=1, max_size=4),
    steps=st.integers(1, 17),
    codewords=st.sampled_from([2, 16, 256]),
    lists=st.integers(1, 9),
    has_bases=st.booleans(),
)
def test_a_compiled_scan_of_picked_codes_keeps_the_nearest_of_them(
    seed: int, sizes: list[int], steps: int, codewords: int, lists: int, has_bases: bool
) -> None:
    scan, rng = random_scan(seed, sizes, steps, codewords, lists, 1), np.random.default_rng(seed)
    segments, table, with_norms = scan["segments"], scan["tables"][0], scan["with_norms"]
    bases = rng.normal(size=lists if has_bases else 0).astype(np.float32)
    picked = [np.flatnonzero(rng.random(len(one)) < 0.5).astype(np.uint32) for one in segments]
    heap, places = np.zeros(scan["shortlist"], np.float32), np.zeros(scan["shortlist"], np.int64)
    where = np.array([slots.ctypes.data for slots in picked], np.uint64)
    whole_view.scan_picked(
        heap, places, where, np.array([len(slots) for slots in picked]), bases, table.ravel(), steps, codewords, lists,
        *whole_view.addresses_of(segments), with_norms,
    )  # fmt: skip
    every: dict[int, float] = {}
    for number, (segment, slots) in enumerate(zip(segments, picked, strict=True)):
        distances = table[np.arange(steps), segment.codes[slots]].sum(axis=1)
        distances += (segment.norm_low + segment.norm_step * segment.norms[slots]) if with_norms else 0
        distances += bases[segment.lists_of(slots)] if has_bases else 0
        every |= {
            (number << whole_view.SLOT_BITS) + int(slot): float(d) for slot, d in zip(slots, distances, strict=True)
        }
    kept = [place for place in places.tolist() if place >= 0]
    assert len(kept) == len(set(kept)) == min(len(every), len(places))
    assert_allclose(heap[: len(kept)], sorted(every.values())[: len(kept)], rtol=1e-4, atol=1e-4)
    assert_allclose(heap[: len(kept)], [every[place] for place in kept], rtol=1e-4, atol=1e-4)
    assert np.isinf(heap[len(kept) :]).all()


@needs_no_byte_lookups
@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("length", [None, 3])
def test_one_call_answers_for_few_survivors_as_stage_by_stage(
    tmp_path: Path, distance: str, lists: int, length: float | None
) -> None:
    with store_at(tmp_path) as store, mock.patch.object(one_call, "LEAST_A_SHARE", 2):
        collection = make_collection(store, tmp_path, distance=distance, lists=lists)
        vectors = clustered(600, DIM)
        vectors = vectors if length is None else at_length(length, vectors)
        collection.upsert(np.arange(600, dtype=np.uint64), {"default": vectors})
        encode_all(collection, 200)
        collection.delete(range(0, 600, 9))
        queries, plan = clustered(5, DIM, seed=8), SearchPlan(5)
        condition = Filter.parse({"must": [{"has_id": list(range(0, 600, 2))}]})
        with mock.patch.object(one_call, "nearest_picked", wraps=one_call.nearest_picked) as called:
            at_once = collection.query(queries, plan, filter=condition)
        assert called.called
        with mock.patch.object(one_call, "suits", return_value=False):
            by_stages = collection.query(queries, plan, filter=condition)
        assert [[hit.id for hit in hits] for hits in at_once] == [[hit.id for hit in hits] for hits in by_stages]
        assert_allclose(
            [[hit.score for hit in hits] for hits in at_once],
            [[hit.score for hit in hits] for hits in by_stages],
            rtol=1e-5, atol=1e-4,
        )  # fmt: skip
