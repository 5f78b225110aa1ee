"""Filters match what brute force over the payloads matches, and refuse by name what they do not know."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models
from qdrant_client.local.payload_filters import check_filter

from index_store import Collection, Filter, SearchPlan, selection
from index_store.errors import InvalidFilter
from index_store.filters import Point
from index_store.stored_forms import stored_ids
from tests.builders import clustered
from tests.index_store.filter_strategies import PAYLOADS, filters
from tests.index_store.making import DIM, make_collection, store_at


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("filters")
    with store_at(folder) as store:
        yield make_collection(store, folder, lists=None)


@settings(max_examples=400)
@given(payload=PAYLOADS, point=st.one_of(st.integers(0, 20), st.uuids()), condition=filters())
def test_a_filter_means_what_it_means_to_qdrants_client(payload: Any, point: Any, condition: dict[str, Any]) -> None:
    theirs = check_filter(models.Filter.model_validate(condition), payload, _as_they_keep(point), {"": True})
    ours = Filter.parse(condition).matches(Point(stored_ids([point])[0], payload, frozenset({"default"})))
    assert ours == theirs


@settings(max_examples=30)
@given(payloads=st.lists(st.one_of(st.none(), PAYLOADS), min_size=1, max_size=12), condition=filters())
def test_the_rows_of_a_collection_that_match_are_those_whose_points_do(
    collection: Collection, payloads: list[Any], condition: dict[str, Any]
) -> None:
    collection.delete(Filter.parse({}))
    assert collection.count() == 0
    collection.upsert(range(len(payloads)), {"default": clustered(len(payloads), DIM)}, payloads)
    parsed = Filter.parse(condition)
    ids = stored_ids(range(len(payloads)))
    points = [Point(id, payload or {}, frozenset({"default"})) for id, payload in zip(ids, payloads, strict=True)]
    assert collection.count(parsed) == sum(map(parsed.matches, points))


def test_deleting_by_a_filter_leaves_the_others(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(9), {"default": clustered(9, DIM)}, [{"a": place % 3} for place in range(9)])
        collection.delete(Filter.parse({"must_not": [{"key": "a", "match": {"value": 1}}]}))
        assert [record.id for record in collection.retrieve(range(9))] == [1, 4, 7]


def test_payloads_too_many_to_name_are_narrowed_by_sqlite_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW_ROWS", 0)
    values: list[Any] = [1, 1.0, True, "1", [1], [[1]], {"b": 1}, None, "[", 2, "2024-01-01"]
    payloads = [{"a": value} for value in values]
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(11), {"default": clustered(11, DIM)}, payloads)
        for condition, count in (
            ({"key": "a", "match": {"value": 1}}, 2),
            ({"key": "a", "match": {"value": True}}, 1),
            ({"key": "a", "match": {"any": ["[", "1"]}}, 2),
            ({"key": "a", "match": {"any": []}}, 0),
            ({"key": "a.b", "match": {"value": 1}}, 1),
            ({"key": "a", "range": {"gte": 1, "lt": 2}}, 3),
            ({"key": "a", "range": {"gt": 2**60}}, 0),
            ({"key": "a", "range": {"gte": "2024-01-01"}}, 1),
            ({"should": [{"key": "a", "range": {"gt": 1}}]}, 1),
        ):
            assert collection.count(Filter.parse({"must": [condition]})) == count, condition


def _as_they_keep(point: Any) -> Any:
    return str(point) if isinstance(point, UUID) else point


def test_true_is_not_one_and_a_digit_is_not_its_number(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(4), {"default": clustered(4, DIM)}, [{"a": x} for x in (True, 1, "1", 1.0)])
        for point, value in enumerate((True, 1, "1")):
            condition = Filter.parse({"must": [{"key": "a", "match": {"value": value}}]})
            (hits,) = collection.query(clustered(1, DIM), SearchPlan(4), filter=condition)
            assert [hit.id for hit in hits] == [point]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"most": []}, "'most'"),
        ([], "a list"),
        ({"must": [{"key": "a", "match": {"text": 1}}]}, "'match.text'"),
        ({"must": [{"key": "a", "match": {"texts": "x"}}]}, "'texts'"),
        ({"must": [{"key": "a", "match": {"value": 1.5}}]}, "a float"),
        ({"must": [{"key": "a", "match": {"value": None}}]}, "null"),
        ({"must": [{"key": "a", "match": {"any": 3}}]}, "match.any"),
        ({"must": [{"key": "a", "match": {"value": 2**64}}]}, "64-bit"),
        ({"must": [{"key": "a", "match": 3}]}, "'match' on 'a'"),
        ({"must": [{"key": "a", "match": {}}]}, "exactly one"),
        ({"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}, "exactly one"),
        ({"must": [{}]}, "this one has none"),
        ({"must": [{"key": "a", "match": {"value": 1}, "range": {"gt": 1}}]}, "match and range"),
        ({"must": [{"key": "a", "geo_radius": {}}]}, "'geo_radius.radius'"),
        ({"must": [{"key": "a", "geo_radius": {"center": {"lon": 181, "lat": 0}, "radius": 1}}]}, "181"),
        ({"must": [{"key": "a", "geo_radius": {"center": {"lon": 1, "lat": 0}, "radius": -1}}]}, "'geo_radius.radius'"),
        ({"must": [{"key": "a", "geo_polygon": {"exterior": {"points": []}}}]}, "at least 4"),
        ({"must": [{"key": "a", "geo_bounding_box": {"top_left": 1}}]}, "'geo_bounding_box.top_left'"),
        ({"must": [{"is_empty": {"key": ""}}]}, "'key'"),
        ({"must": [{"key": "a", "is_null": "yes"}]}, "'is_null'"),
        ({"must": [{"key": "a", "range": {"gt": "tomorrow"}}]}, "'tomorrow'"),
        ({"must": [{"key": "a", "range": {"gt": "2024-01-01", "lt": 3}}]}, "'range.lt'"),
        ({"must": [{"key": "a", "range": {"gt": True}}]}, "'range.gt'"),
        ({"must": [{"key": "a", "values_count": {}}]}, "'values_count'"),
        ({"must": [{"key": "a", "values_count": {"gt": 1.5}}]}, "'values_count.gt'"),
        ({"must": [{"has_vector": 1}]}, "'has_vector'"),
        ({"must": [{"slice": {"total": 2, "index": 2}}]}, "'slice.index'"),
        ({"must": [{"slice": {"total": 0, "index": 0}}]}, "'slice.total'"),
        ({"must": [{"nested": {"key": "a"}}]}, "a filter is an object"),
        ({"must": [{"nested": {"key": "a", "filter": {}, "depth": 1}}]}, "'depth'"),
        ({"min_should": {"conditions": [], "min_count": 0}}, "'min_should.min_count'"),
        ({"must": [{"key": "a[x]", "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "a", "range": {"above": 1}}]}, "'above'"),
        ({"must": [{"key": 'a"b', "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "", "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "a.", "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "a", "match": {"value": 1}, "boost": 2}]}, "'boost'"),
        ({"must": [{"has_id": ["no uuid"]}]}, "has_id"),
        ({"must": [{"has_id": [1.5]}]}, "has_id"),
        ({"must": [{"has_id": [1]}] * 101}, "at most 100"),
        ({"min_should": {}}, "'min_should.conditions'"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_by_name(value: Any, told: str) -> None:
    with pytest.raises(InvalidFilter, match="(?i)" + re.escape(told)):
        Filter.parse(value)


def test_nesting_beyond_the_limit_is_refused_rather_than_overflowing() -> None:
    value: dict[str, Any] = {}
    for _ in range(500):
        value = {"must": [value | {"should": []}]}
    with pytest.raises(InvalidFilter, match="100"):
        Filter.parse(value)
