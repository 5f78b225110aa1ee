"""Filters match what brute force over the payloads matches, and refuse by name what they do not know."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index_store import Collection, Filter, SearchPlan
from index_store.errors import InvalidFilter
from tests.builders import clustered
from tests.index_store.making import DIM, make_collection, store_at

SCALARS = st.one_of(
    st.booleans(), st.integers(-2, 2), st.sampled_from(["1", "a", "ä", "true", "'; DROP TABLE points", ""]), st.none()
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.floats(-2, 2, width=16))
PAYLOADS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["a", "b", "a.b", "k\\ey", "ö"]),
        st.one_of(
            VALUES,
            st.dictionaries(st.sampled_from(["b", "a"]), VALUES, max_size=2),
            st.lists(st.dictionaries(st.just("b"), VALUES), max_size=2),
        ),
        max_size=3,
    ),
)
KEYS = st.sampled_from(["a", "b", "a.b", '"a.b"', "a[].b", "k\\ey", "ö", "a[]"])
ASKED = st.one_of(st.booleans(), st.integers(-2, 2), st.sampled_from(["1", "a", "ä", "true", ""]))
CONDITIONS = st.one_of(
    st.builds(lambda key, value: {"key": key, "match": {"value": value}}, KEYS, ASKED),
    st.builds(lambda key, values: {"key": key, "match": {"any": values}}, KEYS, st.lists(ASKED, max_size=3)),
    st.builds(lambda key, values: {"key": key, "match": {"except": values}}, KEYS, st.lists(ASKED, max_size=3)),
    st.builds(
        lambda key, name, bound: {"key": key, "range": {name: bound}},
        KEYS, st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(-2, 2),
    ),
    st.builds(lambda ids: {"has_id": ids}, st.lists(st.integers(0, 30), max_size=4)),
)  # fmt: skip
FILTERS = st.recursive(
    st.fixed_dictionaries({}, optional={"must": st.lists(CONDITIONS, max_size=2)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            clause: st.lists(st.one_of(CONDITIONS, inner.filter(bool)), max_size=3)
            for clause in ("must", "should", "must_not")
        },
    ),
    max_leaves=4,
)


def elements(payload: Any, key: str) -> list[Any]:
    """What stands at a key: an array's elements, or the one value; arrays on the way only where the key says []."""
    known: dict[str, list[Any]] = {"a.b": ["a", "b"], '"a.b"': ["a.b"], "a[].b": ["a", [], "b"], "a[]": ["a"]}
    parts = known.get(key, [key])
    found = [payload]
    for part in parts:
        if part == []:
            found = [inner for value in found if isinstance(value, list) for inner in value]
        else:
            found = [value[part] for value in found if isinstance(value, dict) and part in value]
    return [inner for value in found for inner in (value if isinstance(value, list) else [value])]


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def matches(condition: dict[str, Any], point: int, payload: Any) -> bool:
    """Brute force, in Python."""
    if "has_id" in condition:
        return point in condition["has_id"]
    if "key" not in condition:
        must, should, must_not = (condition.get(name, []) for name in ("must", "should", "must_not"))
        return (
            all(matches(one, point, payload) for one in must)
            and (not should or any(matches(one, point, payload) for one in should))
            and not any(matches(one, point, payload) for one in must_not)
        )
    found = elements(payload, condition["key"])
    if "range" in condition:
        ((name, bound),) = condition["range"].items()
        tests = {"gt": lambda x: x > bound, "gte": lambda x: x >= bound, "lt": lambda x: x < bound}
        test = tests.get(name, lambda x: x <= bound)
        return any(test(x) for x in found if isinstance(x, (int, float)) and not isinstance(x, bool))
    ((kind, asked),) = condition["match"].items()
    asked = [asked] if kind == "value" else asked
    if kind == "except":
        scalars = [x for x in found if isinstance(x, (bool, int, float, str))]
        return any(not any(same(x, one) for one in asked) for x in scalars)
    return any(same(x, one) for x in found for one in asked)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("filters")
    with store_at(folder) as store:
        yield make_collection(store, folder, lists=None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=12), condition=FILTERS)
def test_a_filter_matches_what_brute_force_matches(
    collection: Collection, payloads: list[Any], condition: dict[str, Any]
) -> None:
    collection.delete_matching(Filter.parse({}))
    assert collection.count() == 0
    collection.upsert(range(len(payloads)), {"default": clustered(len(payloads), DIM)}, payloads)
    parsed = Filter.parse(condition)
    expected = [i for i, payload in enumerate(payloads) if matches(condition, i, payload)]
    assert collection.count(parsed) == len(expected)
    collection.delete_matching(parsed)
    assert [r.id for r in collection.retrieve(range(len(payloads)))] == [
        i for i in range(len(payloads)) if i not in expected
    ]


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
        ({"must": [{"key": "a", "match": {"text": "x"}}]}, "'text'"),
        ({"must": [{"key": "a", "match": {"value": 1.5}}]}, "a float"),
        ({"must": [{"key": "a", "match": {"value": None}}]}, "null"),
        ({"must": [{"key": "a", "match": {"any": 3}}]}, "match.any"),
        ({"must": [{"key": "a", "match": {"value": 2**64}}]}, "64-bit"),
        ({"must": [{"key": "a", "match": 3}]}, "'match' on 'a'"),
        ({"must": [{"key": "a", "match": {}}]}, "exactly one"),
        ({"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}, "exactly one"),
        ({"must": [{}]}, "'match', 'range' or 'has_id'"),
        ({"must": [{"key": "a", "geo_radius": {}}]}, "'geo_radius'"),
        ({"must": [{"is_empty": {"key": "a"}}]}, "'is_empty'"),
        ({"must": [{"key": "a", "range": {"gt": "2020-01-01"}}]}, "'range.gt'"),
        ({"must": [{"key": "a", "range": {"above": 1}}]}, "'above'"),
        ({"must": [{"key": 'a"b', "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "", "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "a.", "match": {"value": 1}}]}, "'key'"),
        ({"must": [{"match": {"value": 1}}]}, "'key'"),
        ({"must": [{"key": "a", "match": {"value": 1}, "boost": 2}]}, "'boost'"),
        ({"must": [{"has_id": ["no uuid"]}]}, "has_id"),
        ({"must": [{"has_id": [1.5]}]}, "has_id"),
        ({"must": [{"has_id": [1]}] * 101}, "at most 100"),
        ({"min_should": {}}, "'min_should'"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_by_name(value: Any, told: str) -> None:
    with pytest.raises(InvalidFilter, match=told.replace(".", r"\.")):
        Filter.parse(value)


def test_nesting_beyond_the_limit_is_refused_rather_than_overflowing() -> None:
    value: dict[str, Any] = {}
    for _ in range(500):
        value = {"must": [value | {"should": []}]}
    with pytest.raises(InvalidFilter, match="100"):
        Filter.parse(value)
