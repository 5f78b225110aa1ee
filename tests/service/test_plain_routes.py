"""The short way of plain queries gives what the general way gives: answers, refusals, and what is counted."""

from typing import Any

import numpy as np
import orjson
import pytest

from tests.builders import clustered
from tests.service.conftest import DIM, MODEL
from tests.service.requests import points, result, wait_until_encoded
from tests.service.service_in_process import Client

VECTOR = clustered(1, DIM, seed=5)[0].tolist()
GENERAL = {"timeout": 60}  # a parameter in the URL, which only the general way reads


@pytest.fixture(scope="module")
def filled(client: Client) -> str:
    """A collection of 200 points."""
    path = "/collections/plain"
    result(client.put(path, json={"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": MODEL}}))
    body = points(clustered(200, DIM))
    for point in body["points"]:
        point["payload"] = {"colour": "red" if point["id"] % 10 == 0 else "blue", "n": {"id": point["id"]}}
    result(client.put(f"{path}/points", json=body))
    wait_until_encoded(client, path)
    return path


def both_ways(client: Client, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Status and body of an answer, less its time, which both ways must agree in."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    told = []
    for params in ({}, GENERAL):
        headers.setdefault("content-type", "application/json")
        answer = client.post(path, content=content, params=params, headers=headers)
        shown = answer.json()
        assert shown.pop("time") >= 0
        told.append((answer.status_code, shown))
    assert told[0] == told[1]
    return told[0]


RED = {"must": [{"key": "colour", "match": {"value": "red"}}]}
GOOD: list[dict[str, Any]] = [
    {},
    {"limit": 3},
    {"limit": None, "with_payload": None, "with_vector": None, "filter": None, "params": None, "prefetch": None},
    {"limit": 3, "offset": 2, "with_payload": True},
    {"with_payload": ["n.id"], "filter": RED},
    {"with_payload": {"exclude": ["n"]}, "filter": {}, "using": None},
    {"with_payload": {"include": ["colour"]}, "with_vector": False, "using": ""},
    {"with_vector": True, "limit": 2},
    {"params": {"nprobe": 2, "quantization": {"rescore": False}}},
    {"params": {"hnsw_ef": 64, "exact": True}, "score_threshold": 1e4},
    {"params": {"target_recall": 0.9}},
    {"prefetch": [{"query": VECTOR, "limit": 20}], "limit": 5},
]


@pytest.mark.parametrize("rest", GOOD)
def test_both_ways_find_the_same(client: Client, filled: str, rest: dict[str, Any]) -> None:
    for query in (VECTOR, {"nearest": VECTOR}, [int(10 * x) for x in VECTOR]):
        status, told = both_ways(client, f"{filled}/points/query", {"query": query, **rest})
        assert status == 200
        assert told["result"]["points"]


ODD: list[Any] = [
    {"query": VECTOR[1:]},
    {"query": [*VECTOR[1:], None]},
    {"query": [*VECTOR[1:], True]},
    {"query": [*VECTOR[1:], "1"]},
    {"query": [*VECTOR[1:], 1e39]},
    {"query": [*VECTOR[1:], 1 << 63]},
    {"query": [3e38] * DIM},
    {"query": [VECTOR]},
    {"query": []},
    {"query": 7},
    {"query": 7000},
    {"query": "x"},
    {"query": {"nearest": VECTOR, "more": 1}},
    {"query": {"nearest": None}},
    {"query": VECTOR, "limit": 0},
    {"query": VECTOR, "limit": 1_000_000},
    {"query": VECTOR, "limit": "3"},
    {"query": VECTOR, "limit": True},
    {"query": VECTOR, "nonsense": 1},
    {"query": VECTOR, "using": "other"},
    {"query": VECTOR, "with_payload": ["a["]},
    {"query": VECTOR, "filter": {"must": 3}},
    {"query": VECTOR, "filter": {"nonsense": []}},
    {"query": VECTOR, "params": {"nprobe": 0}},
    {"query": VECTOR, "params": {"indexed_only": True}},
    {"query": VECTOR, "shard_key": "a"},
    {"query": VECTOR, "lookup_from": {"collection": "none"}},
    {},
    [],
    None,
    b"{",
    b"",
    b'{"query": [NaN]}',
    orjson.dumps({"query": VECTOR, "limit": 3})[:-1] + b',"limit":4}',
]


@pytest.mark.parametrize("body", ODD)
def test_both_ways_say_the_same_of_what_is_odd(client: Client, filled: str, body: Any) -> None:
    both_ways(client, f"{filled}/points/query", body)
    if not isinstance(body, bytes):
        both_ways(client, f"{filled}/points/query/batch", {"searches": [{"query": VECTOR}, body]})
        both_ways(client, f"{filled}/points/query/batch", {"searches": body})


def test_both_ways_say_the_same_of_bodies_that_are_not_read(client: Client, filled: str) -> None:
    body = {"query": VECTOR}
    assert both_ways(client, "/collections/none/points/query", body)[0] == 404
    assert both_ways(client, f"{filled}/points/query", body, **{"content-type": "text/plain"})[0] == 415
    assert both_ways(client, f"{filled}/points/query", body, **{"content-encoding": "gzip"})[0] == 415
    assert both_ways(client, f"{filled}/points/query", body, **{"content-type": "application/json; charset=utf-8"})


def test_a_batch_is_answered_in_its_order_whatever_its_queries_share(client: Client, filled: str) -> None:
    rests: list[dict[str, Any]] = [
        {"limit": 2},
        {"limit": 3},
        {"limit": 2},
        {"limit": 3, "filter": RED},
        {"limit": 2, "with_payload": True},
    ]
    queries = clustered(70 * len(rests), DIM, seed=8).tolist()
    searches = [{"query": query, **rests[n % len(rests)]} for n, query in enumerate(queries)]
    status, told = both_ways(client, f"{filled}/points/query/batch", {"searches": searches})
    assert status == 200
    assert [len(one["points"]) for one in told["result"]] == [len_ for _ in range(70) for len_ in (2, 3, 2, 3, 2)]


def test_a_plain_query_takes_the_short_way(client: Client, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.query.read_body", lambda *_: pytest.fail("the general way was taken"))
    for _ in range(2):
        assert len(result(client.post(f"{filled}/points/query", json={"query": VECTOR, "limit": 3}))["points"]) == 3
    body = {"searches": [{"query": {"nearest": VECTOR}, "with_payload": True}]}
    assert len(result(client.post(f"{filled}/points/query/batch", json=body))) == 1


def test_a_change_of_the_defaults_is_heeded_by_queries_seen_before(client: Client, filled: str) -> None:
    body = {"query": VECTOR, "limit": 5}
    both_ways(client, f"{filled}/points/query", body)
    result(client.patch(filled, json={"search": {"exact": True}}))
    status, told = both_ways(client, f"{filled}/points/query", body)
    result(client.patch(filled, json={"search": {"exact": None}}))
    distances = np.linalg.norm(clustered(200, DIM) - np.array(VECTOR), axis=1)
    assert status == 200
    assert [hit["id"] for hit in told["result"]["points"]] == np.argsort(distances)[:5].tolist()


def test_both_ways_are_counted_under_the_same_names(client: Client, filled: str) -> None:
    series = 'route="/collections/{collection_name}/points/query",status="200"'

    def counted() -> float:
        lines = [line for line in client.get("/metrics").text.splitlines() if series in line and "_total" in line]
        return float(lines[0].rpartition(" ")[2])

    before = counted()
    both_ways(client, f"{filled}/points/query", {"query": VECTOR})
    assert counted() == before + 2
