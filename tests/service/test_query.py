"""Queries in each form find the nearest points."""

import io

import numpy as np
import pytest

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import NPY, npy, points, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client

N = 300


@pytest.fixture
def filled(client: Client, collection: str) -> str:
    """A collection with N encoded points; every tenth is red."""
    body = points(clustered(N))
    for point in body["points"]:
        point["payload"] = {"colour": "red" if point["id"] % 10 == 0 else "blue"}
    result(client.put(f"{collection}/points", json=body))
    wait_until_encoded(client, collection)
    return collection


def nearest(vector: np.ndarray, limit: int = 10) -> list[int]:
    return np.argsort(np.square(clustered(N) - vector).sum(axis=1))[:limit].tolist()


def test_exact_search_finds_the_nearest(client: Client, filled: str) -> None:
    query = clustered(1, seed=5)[0]
    body = {"query": query.tolist(), "params": {"exact": True}, "with_payload": ["colour"], "with_vector": True}
    hits = result(client.post(f"{filled}/points/query", json=body))["points"]
    assert [hit["id"] for hit in hits] == nearest(query)
    distance = float(np.linalg.norm(clustered(N)[hits[0]["id"]] - query))
    assert hits[0]["score"] == pytest.approx(distance, rel=1e-4)
    assert hits[0]["version"] >= 0
    assert hits[0]["payload"]["colour"] in ("red", "blue")
    np.testing.assert_array_equal(np.float32(hits[0]["vector"]), clustered(N)[hits[0]["id"]])


def test_full_effort_with_rescoring_is_exact(client: Client, filled: str) -> None:
    query = clustered(1, seed=6)[0]
    params = {"nprobe": 8, "shortlist": N, "rerank": N, "quantization": {"rescore": True, "oversampling": N / 10}}
    body = {"query": {"nearest": query.tolist()}, "params": params}
    assert [hit["id"] for hit in result(client.post(f"{filled}/points/query", json=body))["points"]] == nearest(query)


def test_an_offset_leaves_out_the_nearest(client: Client, filled: str) -> None:
    query = clustered(1, seed=7)[0]
    body = {"query": query.tolist(), "limit": 3, "offset": 2, "params": {"exact": True}}
    hits = result(client.post(f"{filled}/points/query", json=body))["points"]
    assert [hit["id"] for hit in hits] == nearest(query)[2:5]


def test_a_search_by_id_leaves_its_own_point_out(client: Client, filled: str) -> None:
    body = {"query": 4, "limit": 3, "offset": 1, "params": {"exact": True}}
    hits = result(client.post(f"{filled}/points/query", json=body))["points"]
    assert [hit["id"] for hit in hits] == nearest(clustered(N)[4])[2:5]
    assert "no point 4000" in sentence(client.post(f"{filled}/points/query", json=body | {"query": 4000}), 404)


def test_a_filter_and_a_threshold_narrow_the_hits(client: Client, filled: str) -> None:
    query = clustered(1, seed=8)[0]
    red = {"must": [{"key": "colour", "match": {"value": "red"}}]}
    hits = result(client.post(f"{filled}/points/query", json={"query": query.tolist(), "filter": red, "limit": 30}))[
        "points"
    ]
    assert len(hits) == 30
    assert all(hit["id"] % 10 == 0 for hit in hits)
    body = {"query": query.tolist(), "filter": red, "limit": 30, "score_threshold": hits[4]["score"]}
    assert len(result(client.post(f"{filled}/points/query", json=body))["points"]) == 5


def test_a_batch_answers_each_query_with_its_own_parameters(client: Client, filled: str) -> None:
    queries = clustered(3, seed=9)
    searches = [{"query": query.tolist(), "limit": 2 + i, "params": {"exact": True}} for i, query in enumerate(queries)]
    answers = result(client.post(f"{filled}/points/query/batch", json={"searches": searches}))
    for i, (query, one) in enumerate(zip(queries, answers, strict=True)):
        assert [hit["id"] for hit in one["points"]] == nearest(query, 2 + i)


def test_a_batch_may_hold_more_queries_than_may_wait(client: Client, filled: str) -> None:
    searches = [{"query": clustered(1)[0].tolist(), "limit": 1}] * 1100
    assert len(result(client.post(f"{filled}/points/query/batch", json={"searches": searches}))) == 1100


def test_an_array_of_queries_is_answered_by_arrays(client: Client, filled: str) -> None:
    queries = clustered(150, seed=10)
    response = client.post(f"{filled}/points/query/array?limit=5&exact=true", content=npy(queries), headers=NPY)
    assert response.status_code == 200, response.text
    with np.load(io.BytesIO(response.content), allow_pickle=False) as found:
        assert found["ids"].tolist() == [nearest(query, 5) for query in queries]
        assert found["scores"].shape == (150, 5)


def test_where_an_array_has_fewer_hits_there_is_minus_one_and_nan(client: Client, collection: str) -> None:
    result(client.put(f"{collection}/points", json=points(clustered(2))))
    response = client.post(f"{collection}/points/query/array?limit=3", content=npy(clustered(1)), headers=NPY)
    with np.load(io.BytesIO(response.content), allow_pickle=False) as found:
        assert found["ids"][0, 2] == -1
        assert np.isnan(found["scores"][0, 2])


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"query": [1.0] * 3}, 400, "16"),
        ({"query": ["x"] * DIM}, 400, "numbers"),
        ({"query": [1e39] * DIM}, 400, "finite"),
        ({"query": {"recommend": {"positive": [4000]}}}, 404, "4000"),
        ({"query": {"recommend": {}}}, 400, "recommend"),
        ({"query": {"recommend": {"strategy": "best_score"}}}, 400, "recommend"),
        ({"query": {"discover": {"target": [1.0] * DIM}}}, 400, "discover.context"),
        ({"query": {"context": []}}, 400, "context"),
        ({"query": {"formula": {"mult": []}}}, 400, "formula"),
        ({"query": {"text": "x", "model": "m"}}, 400, "texts"),
        ({"query": {"image": "x", "model": "m"}}, 400, "images"),
        ({"query": {"relevance_feedback": {}}}, 400, "relevance feedback"),
        ({"query": {"sample": "best"}}, 400, "sample"),
        ({"query": {"nearest": [1.0] * DIM, "sample": "random"}}, 400, "one of them"),
        ({"query": {"fusion": "rrf"}}, 400, "prefetch"),
        ({"query": {"rrf": {"weights": [1.0]}}, "prefetch": [{}, {}]}, 400, "weights"),
        ({"query": {"order_by": "a["}}, 400, "a["),
        ({"query": {"nearest": [1.0] * DIM, "mmr": {"diversity": 2}}}, 422, "diversity"),
        ({"query": 1, "lookup_from": {"collection": "unknown"}}, 404, "unknown"),
        ({"prefetch": [{"quary": 1}]}, 400, "quary"),
        ({"prefetch": [{}] * 65}, 422, "prefetch"),
        ({"prefetch": [{"prefetch": [{}] * 40}, {"prefetch": [{}] * 40}]}, 422, "prefetches at most"),
        ({"query": {"indices": [1], "values": [1.0]}}, 400, "query"),
        ({"query": [[1.0] * DIM]}, 400, "multi-vectors"),
        ({"query": [1.0] * DIM, "limit": 0}, 422, "limit"),
        ({"query": [1.0] * DIM, "limit": 10**9}, 422, "limit"),
        ({"query": [1.0] * DIM, "limitt": 5}, 400, "limitt"),
        ({"query": [1.0] * DIM, "using": "title"}, 400, "no vector 'title'; its only vector has no name"),
        ({"query": [1.0] * DIM, "params": {"nprobe": 0}}, 422, "params.nprobe"),
        ({"query": [1.0] * DIM, "params": {"nprobes": 1}}, 400, "params.nprobes"),
        ({"query": [1.0] * DIM, "params": {"indexed_only": True}}, 400, "params.indexed_only"),
        ({"query": [1.0] * DIM, "filter": {"must": [{"key": "a", "geo_radius": {}}]}}, 400, "geo_radius"),
        ({"query": [1.0] * DIM, "with_vector": ["title"]}, 400, "title"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    client: Client, collection: str, body: object, status: int, named: str
) -> None:
    assert named in sentence(client.post(f"{collection}/points/query", json=body), status)


def test_the_query_of_a_batch_that_cannot_be_answered_is_told_by_its_place(client: Client, collection: str) -> None:
    searches = [{"query": [1.0] * DIM}, {"query": [1.0] * 3}]
    told = sentence(client.post(f"{collection}/points/query/batch", json={"searches": searches}), 400)
    assert told == "searches[1]: Parameter 'query': this collection holds vectors of 16 numbers, not 3."


def test_the_example_that_is_none_is_told_by_its_place(client: Client, collection: str) -> None:
    body = {"query": {"recommend": {"positive": [[1.0] * DIM, [1.0]]}}}
    assert "'query.recommend.positive[1]'" in sentence(client.post(f"{collection}/points/query", json=body), 400)


def test_vectors_are_asked_for_by_either_of_qdrants_names(client: Client, filled: str) -> None:
    for name in ("with_vector", "with_vectors"):
        body = {"query": [1.0] * DIM, "limit": 1, name: True}
        assert len(result(client.post(f"{filled}/points/query", json=body))["points"][0]["vector"]) == DIM
        assert len(result(client.post(f"{filled}/points", json={"ids": [1], name: True}))[0]["vector"]) == DIM
        assert len(result(client.post(f"{filled}/points/scroll", json={"limit": 1, name: True}))["points"]) == 1
    both = {"query": [1.0] * DIM, "with_vector": True, "with_vectors": False}
    assert "with_vectors" in sentence(client.post(f"{filled}/points/query", json=both), 400)


def test_parameters_of_the_url_are_checked_too(client: Client, collection: str) -> None:
    body = {"query": [1.0] * DIM}
    assert "'timeot'" in sentence(client.post(f"{collection}/points/query?timeot=3", json=body), 400)
    assert "timeout" in sentence(client.post(f"{collection}/points/query?timeout=0", json=body), 422)
    assert result(client.post(f"{collection}/points/query?timeout=3&consistency=majority", json=body))
