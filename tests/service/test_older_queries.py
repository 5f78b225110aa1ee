"""Qdrant's older calls find what the query that says the same finds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.builders import clustered
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client

DIM = 8
N = 60
QUERY = clustered(1, DIM, seed=3)[0].tolist()
EXACT = {"params": {"exact": True}, "limit": 5}
RED = {"filter": {"must": [{"key": "colour", "match": {"value": "red"}}]}}
PAIRS = [{"positive": 3, "negative": 4}, {"positive": 5, "negative": 6}]
SHOWN = {"offset": 2, "with_payload": True, "with_vector": True}
SECOND = {"using": "second"}
ELSEWHERE = {"lookup_from": {"collection": "older", "vector": "second"}}
LIKES = {"positive": [1, QUERY], "negative": [2]}
BEST = {"positive": [1], "strategy": "best_score"}
DISCOVERY = {"target": 1, "context": PAIRS}
# An older call, its body, and the query that says the same.
FORMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("search", {"vector": QUERY}, {"query": QUERY}),
    ("search", {"vector": QUERY} | SHOWN | RED, {"query": QUERY} | SHOWN | RED),
    ("search", {"vector": {"name": "second", "vector": QUERY}}, {"query": QUERY} | SECOND),
    ("search", {"vector": QUERY, "score_threshold": 9.0}, {"query": QUERY, "score_threshold": 9.0}),
    ("recommend", LIKES, {"query": {"recommend": LIKES}}),
    ("recommend", BEST | SECOND, {"query": {"recommend": BEST}} | SECOND),
    ("recommend", {"positive": [1]} | ELSEWHERE, {"query": {"recommend": {"positive": [1]}}} | ELSEWHERE),
    ("discover", DISCOVERY, {"query": {"discover": DISCOVERY}}),
    ("discover", {"context": PAIRS}, {"query": {"context": PAIRS}}),
]
IDS = [f"{call}-{place}" for place, (call, _, _) in enumerate(FORMS)]


@pytest.fixture
def older(client: Client) -> Iterator[str]:
    """A collection of two vectors a point, unnamed and `second`; every third point is red."""
    space = {"size": DIM, "distance": "Euclid"}
    body = {"vectors": {"": space, "second": space}, "codes": {"": {"model": "none"}, "second": {"model": "none"}}}
    result(client.put("/collections/older", json=body))
    sent = points(clustered(N, DIM))
    for point, other in zip(sent["points"], clustered(N, DIM, seed=9), strict=True):
        point["vector"] = {"": point["vector"], "second": other.tolist()}
        point["payload"] = {"colour": "red" if point["id"] % 3 == 0 else "blue"}
    result(client.put("/collections/older/points", json=sent))
    yield "/collections/older/points"
    result(client.delete("/collections/older"))


@pytest.mark.parametrize(("call", "body", "query"), FORMS, ids=IDS)
def test_an_older_call_finds_what_the_query_finds(
    client: Client, older: str, call: str, body: dict[str, Any], query: dict[str, Any]
) -> None:
    expected = result(client.post(f"{older}/query", json=EXACT | query))["points"]
    assert expected
    assert result(client.post(f"{older}/{call}", json=EXACT | body)) == expected
    several = {"searches": [EXACT | body, EXACT | body | {"limit": 2}]}
    both = result(client.post(f"{older}/{call}/batch", json=several))
    assert both == [expected, expected[:2]]


@pytest.mark.parametrize(("call", "body", "query"), [FORMS[0], FORMS[4]], ids=["search", "recommend"])
def test_an_older_call_finds_the_groups_that_the_query_finds(
    client: Client, older: str, call: str, body: dict[str, Any], query: dict[str, Any]
) -> None:
    by_colour = {"group_by": "colour", "group_size": 2} | EXACT
    expected = result(client.post(f"{older}/query/groups", json=by_colour | query))
    assert {group["id"] for group in expected["groups"]} == {"red", "blue"}
    assert result(client.post(f"{older}/{call}/groups", json=by_colour | body)) == expected


@pytest.mark.parametrize(
    ("call", "body", "told"),
    [
        ("search", {}, "vector"),
        ("search", {"vector": 5}, "vector"),
        ("search", {"query": QUERY, "vector": QUERY}, "Unknown parameter 'query'."),
        ("search", {"vector": QUERY[:3]}, "3"),
        ("search", {"vector": {"name": "third", "vector": QUERY}}, "third"),
        ("search", {"vector": QUERY, "prefetch": []}, "prefetch"),
        ("search", {"vector": {"name": "second", "vector": {"indices": [1], "values": [1.0]}}}, "sparse"),
        ("search", {"vector": {"name": "second", "vector": {"numbers": [1]}}}, "query"),
        ("recommend", {"positive": []}, "positive"),
        ("recommend", {"positive": [1], "strategy": "worst"}, "strategy"),
        ("discover", {}, "context"),
    ],
)
def test_what_is_wrong_is_told(client: Client, older: str, call: str, body: dict[str, Any], told: str) -> None:
    assert told in sentence(client.post(f"{older}/{call}", json=body), 400)


def test_a_search_of_a_batch_that_is_wrong_is_named(client: Client, older: str) -> None:
    body = {"searches": [{"vector": QUERY}, {"vector": np.zeros(DIM + 1).tolist()}]}
    assert "searches[1]" in sentence(client.post(f"{older}/search/batch", json=body), 400)
