"""Queries that codes alone answer are answered in one compiled call as stage by stage."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pyroaring import BitMap

from index_store import Collection, SearchPlan, SearchTrace, call_of_codes, one_call, search
from index_store.plan import Effort
from index_store.row_set import RowSet
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.index_store.test_one_call import needs_no_byte_lookups

pytestmark = needs_no_byte_lookups


def told(collection: Collection, queries: Any, plan: SearchPlan) -> list[Any]:
    """The scores of each query's hits."""
    return [[hit.score for hit in hits] for hits in collection.query(queries, plan)]


@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("asked", [1, 11])
def test_one_call_answers_as_stage_by_stage(tmp_path: Path, distance: str, lists: int, asked: int) -> None:
    with store_at(tmp_path) as store, mock.patch.object(one_call, "LEAST_A_SHARE", 2):
        collection = make_collection(store, tmp_path, distance=distance, lists=lists)
        vectors = fill(collection, 700)
        encode_all(collection, 300)
        collection.delete(range(0, 700, 5))
        collection.upsert([900], {"default": vectors[:1]})  # pending
        queries = clustered(asked, DIM, seed=9)
        everything = SearchPlan(7, rescore=False, nprobe=10_000, shortlist=700, rerank=700)
        by_default = SearchPlan(300, rescore=False, nprobe=10_000)  # all are looked at, and then left behind
        for plan in (everything, by_default):
            trace = SearchTrace()
            collection.query(queries, plan, trace=trace)
            with mock.patch.object(call_of_codes, "nearest", wraps=call_of_codes.nearest) as called:
                found = told(collection, queries, plan)
            assert called.call_count == 1
            assert trace.seconds.keys() == {"probe", "scan", "neural", "pending", "payload"}
            with mock.patch.object(search, "_in_one_call", return_value=None):
                assert_allclose(found, told(collection, queries, plan), rtol=1e-4, atol=1e-3)


def test_without_originals_it_is_the_same_call(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, originals="none")
        vectors = fill(collection, 300)
        encode_all(collection)
        with mock.patch.object(call_of_codes, "nearest", wraps=call_of_codes.nearest) as called:
            assert [len(hits) for hits in collection.query(vectors[:5], SearchPlan(3))] == [3] * 5
        assert called.call_count == 1


def test_lists_that_hold_too_few_codes_leave_places_empty(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        encode_all(collection)
        index, view = collection._held.indexes["default"], collection.view()
        assert view.lists is not None
        effort = Effort(20, len(view.lists), 40, 40, 0, leaves_behind=True)
        dead = view.dead.union(RowSet.all_but(BitMap(range(4, 9)), view.stop))
        queries = clustered(3, DIM, seed=2)
        found = call_of_codes.nearest(index.searched, view, queries, effort, dead, SearchTrace())
        assert [sorted(rows[rows >= 0].tolist()) for rows in found.rows] == [[4, 5, 6, 7, 8]] * 3
        assert np.isfinite(found.distances).sum(axis=1).tolist() == [5] * 3


def test_pair_tables_come_between_where_they_narrow(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 300)
        encode_all(collection)
        trace = SearchTrace()
        collection.query(vectors[:2], SearchPlan(3, rescore=False, rerank=20, shortlist=100), trace=trace)
        assert "pairwise" in trace.seconds
