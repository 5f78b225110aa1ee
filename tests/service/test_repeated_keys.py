"""What is said twice in one object is refused, since one of the two would be lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bodies import parse_json
from service.repeated_keys import repeated_key, repeated_key_plain
from tests.service.requests import sentence
from tests.service.service_in_process import Client

SOME_KEYS = st.sampled_from(["a", "b", "a:b", '"', "\\", "é"])
LEAVES = st.none() | st.integers(-3, 3) | SOME_KEYS
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(SOME_KEYS, inner), max_size=3).map(tuple),
    max_leaves=12,
)


def _written(value: Any) -> str:
    """JSON in which a tuple of pairs is an object, which may have a key twice."""
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(key)} :{_written(one)}" for key, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)


def _has_one(value: Any) -> bool:
    if isinstance(value, tuple):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_has_one(one) for _, one in value)
    return isinstance(value, list) and any(map(_has_one, value))


@given(BODIES)
def test_a_key_is_repeated_where_some_object_has_it_twice(value: Any) -> None:
    body = _written(value).encode()
    assert (repeated_key_plain(body) is not None) == _has_one(value)
    assert repeated_key(body, json.loads(body)) == repeated_key_plain(body)


def test_objects_behind_other_values_are_counted_too() -> None:
    assert parse_json(b'[1, {"a": 1}, {"a": ":"}]') == [1, {"a": 1}, {"a": ":"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("count", b'{"filter": {"must": [], "must": {"key": "a", "match": {"value": 1}}}}'),
        ("delete", b'{"points": [1], "points": [2]}'),
        ("scroll", b'{"limit": 1, "limit": 2}'),
    ],
)
def test_what_is_said_twice_is_refused(client: Client, collection: str, path: str, body: bytes) -> None:
    answer = client.post(f"{collection}/points/{path}", content=body, headers={"Content-Type": "application/json"})
    assert "twice" in sentence(answer, 400)
