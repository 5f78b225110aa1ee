"""Points come in the order of a payload's value, and are counted by value."""

from typing import Any

import pytest

from tests.builders import clustered
from tests.service.requests import result, sentence
from tests.service.service_in_process import Client

PAYLOADS: list[Any] = [
    {"n": 3, "tag": "a"}, {"n": [1, 7], "tag": ["a", "b"]}, {"n": -2.5, "tag": True}, {"tag": 1}, None,
    {"n": "2024-01-02", "tag": "550E8400E29B41D4A716446655440000"}, {"n": "2024-01-01T00:00:00Z", "tag": "a"},
    {"n": True, "tag": "550e8400-e29b-41d4-a716-446655440000"}, {"n": {"m": 1}, "tag": 1.5},
]  # fmt: skip


@pytest.fixture
def filled(client: Client, collection: str) -> str:
    rows = zip(clustered(len(PAYLOADS)).tolist(), PAYLOADS, strict=True)
    some = [{"id": id, "vector": row, "payload": payload} for id, (row, payload) in enumerate(rows)]
    result(client.put(f"{collection}/points", json={"points": some}))
    return collection


def order(client: Client, collection: str, order_by: Any, **more: Any) -> list[tuple[int, Any]]:
    page = result(client.post(f"{collection}/points/scroll", json={"order_by": order_by, **more}))
    assert page["next_page_offset"] is None
    return [(point["id"], point["order_value"]) for point in page["points"]]


def test_points_come_in_the_order_of_a_value(client: Client, filled: str) -> None:
    numbers = [(2, -2.5), (1, 1), (0, 3), (1, 7)]
    dates = [(6, 1704067200000000), (5, 1704153600000000)]
    assert order(client, filled, "n") == numbers + dates
    assert order(client, filled, {"key": "n", "direction": "desc"}) == (numbers + dates)[::-1]
    assert order(client, filled, {"key": "n", "start_from": 2}, limit=2) == [(0, 3), (1, 7)]
    assert order(client, filled, {"key": "n", "start_from": "2024-01-01T12:00:00"}) == dates[1:]
    few = {"must_not": [{"has_id": [1, 5, 6]}]}
    assert order(client, filled, {"key": "n", "direction": "desc"}, filter=few) == [(0, 3), (2, -2.5)]
    assert order(client, filled, "n.m") == [(8, 1)]


def test_points_are_counted_by_value(client: Client, filled: str) -> None:
    hits = result(client.post(f"{filled}/facet", json={"key": "tag"}))["hits"]
    assert [(hit["value"], hit["count"]) for hit in hits] == [
        ("a", 3), ("550e8400-e29b-41d4-a716-446655440000", 2), (True, 1), (1, 1), ("b", 1)
    ]  # fmt: skip
    only = {"must": [{"key": "tag", "match": {"value": "b"}}]}
    hits = result(client.post(f"{filled}/facet", json={"key": "tag", "filter": only, "limit": 1, "exact": True}))
    assert hits == {"hits": [{"value": "a", "count": 1}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("points/scroll", {"order_by": "n", "offset": 3}, 400, "start_from"),
        ("points/scroll", {"order_by": "a["}, 400, "a["),
        ("points/scroll", {"order_by": {"key": "n", "start_from": "soon"}}, 400, "soon"),
        ("points/scroll", {"order_by": {"key": "n", "direction": "up"}}, 400, "direction"),
        ("facet", {}, 400, "key"),
        ("facet", {"key": "a["}, 400, "a["),
        ("facet", {"key": "a", "limit": 0}, 422, "limit"),
    ],
)
def test_what_cannot_be_ordered_or_counted_is_told(
    client: Client, collection: str, path: str, body: Any, status: int, named: str
) -> None:
    assert named in sentence(client.post(f"{collection}/{path}", json=body), status)
