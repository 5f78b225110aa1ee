"""Bad points get a sentence and a 4xx, and change nothing."""

from typing import Any

import pytest

from tests.builders import clustered
from tests.service.conftest import DIM, MODEL, checkpoint
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client

GOOD = [1.0] * DIM


def _points(*more: Any) -> dict[str, Any]:
    return {"points": [{"id": 1, "vector": GOOD}, *more]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (_points({"id": 2, "vector": [1.0] * 3}), "Point 1: this collection holds vectors of 16 numbers, not 3"),
        (_points({"id": 2, "vector": [*GOOD[1:], 1e39]}), "Point 1: number 15 is inf"),
        (_points({"id": 2, "vector": [*GOOD[1:], None]}), "Point 1"),
        (_points({"id": 2, "vector": [*GOOD[1:], "1.0"]}), "Point 1"),
        (_points({"id": 2, "vector": [*GOOD[1:], True]}), "Point 1"),
        (_points({"id": 2, "vector": [GOOD]}), "oint 1"),
        (_points({"id": 2, "vector": {"title": GOOD}}), "no vector 'title'; its only vector has no name"),
        (_points({"id": 2, "vector": {"text": "a word", "model": "some"}}), "not embedded"),
        (_points({"id": 2, "vector": {"indices": [1], "values": [1.0]}}), "sparse"),
        (_points({"id": 2}), "Point 1 has no 'vector'"),
        (_points({"vector": GOOD}), "Point 1 has no 'id'"),
        (_points({"id": -1, "vector": GOOD}), "points[1]"),
        (_points({"id": 2**64, "vector": GOOD}), "points[1]"),
        (_points({"id": 1.5, "vector": GOOD}), "points[1]"),
        (_points({"id": True, "vector": GOOD}), "points[1]"),
        (_points({"id": "no-uuid", "vector": GOOD}), "points[1]"),
        (_points({"id": 2, "vector": GOOD, "payload": []}), "payload"),
        (_points({"id": 2, "vector": GOOD, "paylod": {}}), "points[1].paylod"),
        (_points() | {"shard_key": "a"}, "shard_key"),
        (_points() | {"update_mode": "insert"}, "update_mode"),
        (_points() | {"unknown": 1}, "unknown"),
        ({"batch": {"ids": [1, 2], "vectors": [GOOD]}}, "'batch.ids' has 2 entries, 'batch.vectors' 1"),
        ({"batch": {"ids": [1], "vectors": [GOOD], "payloads": [{}, {}]}}, "batch.payloads"),
        ({"batch": {"ids": [1]}}, "batch.vectors"),
        ({"points": {}}, "points"),
        ({}, "points"),
        ([], "object"),
    ],
)
def test_a_bad_point_refuses_the_whole_request(client: Client, collection: str, body: Any, named: str) -> None:
    result(client.put(f"{collection}/points", json=points(clustered(2))))
    before = _state(client, collection)
    assert named in sentence(client.put(f"{collection}/points", json=body), 400)
    assert _state(client, collection) == before


@pytest.mark.parametrize("body", [b"{", b"", b'{"points": [{"id": 1, "vector": [NaN]}]}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(client: Client, collection: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert "not JSON" in sentence(client.put(f"{collection}/points", content=body, headers=headers), 400)


def test_a_zero_vector_has_no_cosine(client: Client) -> None:
    result(client.put("/collections/cosine", json={"vectors": {"size": 2, "distance": "Cosine"}}))
    told = sentence(client.put("/collections/cosine/points", json={"points": [{"id": 1, "vector": [0, 0]}]}), 400)
    assert "zero" in told.lower()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("PUT", "/points"), ("POST", "/points"), ("GET", "/points/1"), ("POST", "/points/delete"),
        ("POST", "/points/count"), ("POST", "/points/query"), ("POST", "/points/query/batch"),
        ("POST", "/points/query/array"), ("POST", "/points/upload"),
        ("POST", "/points/scroll"), ("POST", "/points/payload"), ("PUT", "/points/payload"), ("PUT", "/points/vectors"),
        ("POST", "/points/payload/delete"), ("POST", "/points/payload/clear"), ("POST", "/points/vectors/delete"),
        ("POST", "/points/batch"),
    ],
)  # fmt: skip
def test_an_unknown_collection_is_404(client: Client, method: str, path: str) -> None:
    response = client.request(method, f"/collections/unknown{path}", json={} if method != "GET" else None)
    assert "unknown" in sentence(response, 404)


@pytest.mark.parametrize("body", [{}, {"points": [1], "filter": {}}, {"points": ["x"]}, {"points": 1}, {"ids": [1]}])
def test_a_delete_must_say_plainly_what(client: Client, collection: str, body: Any) -> None:
    result(client.put(f"{collection}/points", json=points(clustered(2))))
    before = _state(client, collection)
    assert sentence(client.post(f"{collection}/points/delete", json=body), 400)
    assert _state(client, collection) == before


def test_a_corrupt_checkpoint_is_refused(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    good = checkpoint(tmp_path_factory.mktemp("codec"))
    for bad in (b"", b"no checkpoint", good[:-10], good[: len(good) // 2]):
        assert sentence(client.put("/models/corrupt", content=bad), 400)
    assert "sha" in sentence(client.put(f"/models/corrupt?sha256={'0' * 64}", content=good), 400).lower()
    assert "corrupt" in sentence(client.get("/models/corrupt"), 404)
    assert [model["name"] for model in result(client.get("/models"))["models"]] == [MODEL]


def test_a_model_in_use_stays(client: Client, collection: str) -> None:
    assert MODEL in sentence(client.delete(f"/models/{MODEL}"), 409)
    assert result(client.get(f"/models/{MODEL}"))["dim"] == DIM


def test_a_path_that_is_not_there_is_told(client: Client) -> None:
    assert "/openapi.json" in sentence(client.get("/nothing"), 404)
    assert "Grafana" in sentence(client.get("/dashboard"), 400)
    assert "PATCH" in sentence(client.request("PATCH", "/collections"), 405)


def _state(client: Client, collection: str) -> Any:
    """All that a change would change; encoding goes on by itself."""
    info = result(client.get(collection))
    return (
        info["points_count"],
        info["codes"]["tombstones"],
        result(client.post(f"{collection}/points", json={"ids": [0, 1, 2]})),
    )
