"""The scan for GPUs: Triton's form keeps what PyTorch's keeps; what is held on a device is what the host holds."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from index_store.row_set import RowSet
from index_store.scan import keys, plain, torch_form
from index_store.scan.resident import Residents
from tests.devices import DEVICE, examples, needs_triton
from tests.index_store.test_scan import random_scan


@needs_triton
@settings(max_examples=examples(6))
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=2),
    steps=st.integers(1, 17),
    codewords=st.sampled_from([2, 16, 256, 300]),
    lists=st.integers(1, 3),
    queries=st.integers(1, 2),
    has_ties=st.booleans(),
)
def test_the_triton_scan_keeps_what_the_torch_scan_keeps(
    monkeypatch, seed, sizes, steps, codewords, lists, queries, has_ties
):
    from index_store.scan import triton_form

    monkeypatch.setattr(triton_form, "LEAST_KEPT", 16)
    monkeypatch.setattr(triton_form, "PROGRAMS", 3)
    scan = random_scan(seed, sizes, steps, codewords, lists, queries)
    if has_ties:  # sums of whole numbers are the same in any order, so that equals are equal
        scan["tables"], scan["bases"] = np.rint(scan["tables"]), np.rint(scan["bases"])
        scan["with_norms"] = False
    expected = plain.scan(**scan)
    scan["tables"] = torch.from_numpy(scan["tables"]).to(DEVICE)
    for form in (torch_form, triton_form):
        found = form.scan(**scan)
        assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-4)
        if has_ties:
            assert_array_equal(found.segments, expected.segments)
            assert_array_equal(found.slots, expected.slots)


@needs_triton
def test_the_triton_scan_takes_lists_longer_than_what_it_keeps_and_more_programs_than_lists(monkeypatch):
    from index_store.scan import triton_form

    monkeypatch.setattr(triton_form, "LEAST_KEPT", 8)
    scan = random_scan(4, [60], 3, 256, 2, 1)
    scan |= {"lists": np.array([[1, 0]]), "bases": np.zeros((1, 2), np.float32), "shortlist": 5, "skipped": RowSet()}
    expected = plain.scan(**scan)
    found = triton_form.scan(**{**scan, "tables": torch.from_numpy(scan["tables"]).to(DEVICE)})
    assert_array_equal(found.slots, expected.slots)


def test_queries_are_taken_in_shares_where_their_codes_are_many(monkeypatch):
    scan = random_scan(1, [120, 90], 4, 16, 3, 4)
    expected = plain.scan(**scan)
    monkeypatch.setattr(torch_form, "MOST_CODES", 100)
    found = torch_form.scan(**{**scan, "tables": torch.from_numpy(scan["tables"]).to(DEVICE)})
    assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-4)


@given(
    distances=st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=50),
)
def test_keys_are_in_the_order_of_distances_and_of_equals_in_that_of_places(distances):
    given_ = np.array(distances, np.float32) + np.float32(0)  # no −0, which equals 0 and has another key
    made = keys.keys_of(torch.from_numpy(given_), torch.arange(len(given_)))
    order = np.argsort(made.numpy(), kind="stable")
    assert_array_equal(order, np.argsort(given_, kind="stable"))


@settings(deadline=None)
@given(
    sets=st.lists(st.sets(st.integers(0, 700), max_size=60), min_size=1, max_size=6),
    share=st.sampled_from([1, 16]),
)
def test_a_set_of_rows_arrives_whole_whatever_was_there_before(sets, share):
    held = Residents(DEVICE)
    rows = [RowSet().with_rows(np.array(sorted(one), np.int64)) for one in sets]
    for one in (*rows, rows[0]):
        assert_array_equal(held.bits(one).cpu().numpy(), one.bits)


def test_only_what_changed_in_a_set_of_rows_is_sent(monkeypatch):
    held, sent = Residents(DEVICE), []
    upload = Residents._upload
    monkeypatch.setattr(Residents, "_upload", lambda self, array: (sent.append(array.nbytes), upload(self, array))[1])
    first = RowSet().with_rows(np.arange(0, 80_000, 3))
    second = first.with_rows(np.array([4, 5, 40_000, 80_100]))
    before = held.bits(first).clone()
    sent.clear()
    assert_array_equal(held.bits(second).cpu().numpy(), second.bits)
    assert sum(sent) < len(second.bits) / 20
    assert (held.bits(first) == before).all()  # a query may still read it


def test_a_segment_leaves_the_device_with_its_last_holder():
    held = Residents(DEVICE)
    segment = random_scan(2, [30], 4, 16, 3, 1)["segments"][0]
    there = held.segment(segment)
    assert held.segment(segment) is there
    assert len(held._segments) == 1
    del segment
    gc.collect()
    assert not len(held._segments)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_a_device_holds_of_a_segment_is_what_the_host_holds(kind):
    segment = random_scan(2, [30], 4, 256 if kind is np.uint8 else 60_000, 3, 1)["segments"][0]
    there = Residents(DEVICE).segment(segment)
    assert_array_equal(there.codes.cpu().numpy().view(kind).T, segment.codes)
    assert_array_equal(there.norms.cpu().numpy().view(np.uint16), segment.norms)
    assert_array_equal(there.rows.cpu().numpy().view(np.uint32), segment.rows)
