"""Payloads, single vectors, pages of points and batches of changes, as Qdrant's paths and bodies have them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client

N = 10
RED = {"must": [{"key": "colour", "match": {"value": "red"}}]}


@pytest.fixture
def filled(client: Client, collection: str) -> str:
    """Ten points, all red."""
    result(client.put(f"{collection}/points", json=points(clustered(N), {"colour": "red", "a": {"b": 1, "c": 2}})))
    return collection


@pytest.fixture
def named(client: Client) -> Iterator[str]:
    path = "/collections/two-vectors"
    vectors = {name: {"size": 2, "distance": "Dot"} for name in ("title", "body")}
    result(client.put(path, json={"vectors": vectors}))
    yield path
    client.delete(path)


def payload(client: Client, collection: str, id: int = 1) -> Any:
    return result(client.get(f"{collection}/points/{id}"))["payload"]


def test_payloads_are_set_overwritten_deleted_and_cleared(client: Client, filled: str) -> None:
    call = f"{filled}/points/payload"
    told = result(client.post(call, json={"payload": {"size": 3, "colour": None}, "points": [1]}))
    assert told["status"] == "completed"
    assert payload(client, filled) == {"a": {"b": 1, "c": 2}, "size": 3}
    result(client.post(call, json={"payload": {"d": 4}, "key": "a", "filter": {"must": [{"has_id": [1]}]}}))
    result(client.post(f"{call}/delete", json={"keys": ["a.b", "size"], "points": [1]}))
    assert payload(client, filled) == {"a": {"c": 2, "d": 4}}
    result(client.put(call, json={"payload": {"new": True}, "points": [1]}))
    assert payload(client, filled) == {"new": True}
    result(client.post(f"{call}/clear", json={"filter": RED}))
    assert payload(client, filled) == {"new": True}
    assert payload(client, filled, 2) == {}


def test_pages_follow_one_another(client: Client, filled: str) -> None:
    first = result(client.post(f"{filled}/points/scroll", json={"limit": 4, "with_payload": ["a.b"]}))
    assert [point["id"] for point in first["points"]] == [0, 1, 2, 3]
    assert first["points"][0]["payload"] == {"a": {"b": 1}}
    assert "vector" not in first["points"][0]
    rest = result(
        client.post(f"{filled}/points/scroll", json={"offset": first["next_page_offset"], "with_vector": True})
    )
    assert [point["id"] for point in rest["points"]] == [4, 5, 6, 7, 8, 9]
    assert len(rest["points"][0]["vector"]) == DIM
    assert rest["next_page_offset"] is None


def test_points_may_lack_named_vectors(client: Client, named: str) -> None:
    some = [
        {"id": 1, "vector": {"title": [1, 2]}}, {"id": 2, "vector": {"title": [3, 4], "body": [5, 6]}},
        {"id": 3, "vector": {}},
    ]  # fmt: skip
    result(client.put(f"{named}/points", json={"points": some}))
    found = result(client.post(f"{named}/points", json={"ids": [1, 2, 3], "with_vector": True}))
    assert [point["vector"] for point in found] == [point["vector"] for point in some]
    hits = result(client.post(f"{named}/points/query", json={"query": [1, 1], "using": "body", "with_vector": True}))
    assert [(hit["id"], hit["vector"]) for hit in hits["points"]] == [(2, some[1]["vector"])]
    told = sentence(client.post(f"{named}/points/query", json={"query": 1, "using": "body"}), 404)
    assert "1" in told


def test_single_vectors_are_replaced_and_taken_away(client: Client, named: str) -> None:
    some = [{"id": i, "vector": {"title": [i, 1], "body": [i, 2]}, "payload": {"i": i}} for i in (1, 2)]
    result(client.put(f"{named}/points", json={"points": some}))
    result(client.put(f"{named}/points/vectors", json={"points": [{"id": 1, "vector": {"body": [9, 9]}}]}))
    result(client.post(f"{named}/points/vectors/delete", json={"points": [2], "vector": ["title"]}))
    found = result(client.post(f"{named}/points", json={"ids": [1, 2], "with_vector": ["body", "title"]}))
    assert [point["vector"] for point in found] == [{"body": [9, 9], "title": [1, 1]}, {"body": [2, 2]}]
    assert [point["payload"] for point in found] == [{"i": 1}, {"i": 2}]


def test_an_upsert_may_be_for_new_points_alone(client: Client, filled: str) -> None:
    some = points(clustered(N + 1, seed=2), {"colour": "blue"})
    result(client.put(f"{filled}/points", json=some | {"update_mode": "insert_only"}))
    assert (payload(client, filled, N), payload(client, filled)["colour"]) == ({"colour": "blue"}, "red")
    not_two = {"must_not": [{"has_id": [2]}]}
    result(client.put(f"{filled}/points", json=some | {"update_mode": "update_only", "update_filter": not_two}))
    assert [payload(client, filled, id)["colour"] for id in (1, 2)] == ["blue", "red"]


def test_a_batch_makes_its_changes_in_order(client: Client, filled: str) -> None:
    operations = [
        {"upsert": {"points": [{"id": 50, "vector": [1.0] * DIM, "payload": {"x": 1}}]}},
        {"set_payload": {"payload": {"y": 2}, "points": [50]}},
        {"delete_payload": {"keys": ["x"], "points": [50]}},
        {"overwrite_payload": {"payload": {"z": 3}, "points": [0]}},
        {"clear_payload": {"points": [1]}},
        {"update_vectors": {"points": [{"id": 2, "vector": [2.0] * DIM}]}},
        {"delete_vectors": {"points": [3], "vector": [""]}},
        {"delete": {"points": [4]}},
    ]
    told = result(client.post(f"{filled}/points/batch", json={"operations": operations}))
    ids = [one["operation_id"] for one in told]
    assert ids == sorted(set(ids)) and len(ids) == len(operations)
    found = result(client.post(f"{filled}/points", json={"ids": [50, 0, 1, 2, 3, 4], "with_vector": True}))
    assert [point["id"] for point in found] == [50, 0, 1, 2, 3]
    assert [point["payload"] for point in found[:3]] == [{"y": 2}, {"z": 3}, {}]
    assert found[3]["vector"] == [2.0] * DIM
    assert found[4]["vector"] == {}


def test_a_batch_with_a_malformed_operation_changes_nothing(client: Client, filled: str) -> None:
    operations: list[Any] = [{"delete": {"points": [1]}}, {"delete": {"pionts": [2]}}]
    told = sentence(client.post(f"{filled}/points/batch", json={"operations": operations}), 400)
    assert "operations[1]" in told and "pionts" in told
    assert payload(client, filled)
    operations[1] = {"clear_payload": {"points": [99]}}
    told = sentence(client.post(f"{filled}/points/batch", json={"operations": operations}), 404)
    assert "operations[1]" in told and "The 1 before it were made" in told


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "payload", {"payload": {}}, 400, "'points' or 'filter'"),
        ("POST", "payload", {"payload": {}, "points": []}, 400, "no points"),
        ("POST", "payload", {"payload": {}, "points": [99]}, 404, "99"),
        ("POST", "payload", {"payload": {"a": 1}, "points": [1], "key": "a..b"}, 400, "a..b"),
        ("POST", "payload", {"payload": [], "points": [1]}, 400, "payload"),
        ("POST", "payload/delete", {"keys": ["a["], "points": [1]}, 400, "a["),
        ("PUT", "vectors", {"points": [{"id": 1, "vector": [1.0]}]}, 400, "16"),
        ("PUT", "vectors", {"points": [{"id": 1, "vector": {}}]}, 400, "vector"),
        ("PUT", "vectors", {"points": []}, 400, "points"),
        ("PUT", "vectors", {"points": [{"id": 99, "vector": [1.0] * DIM}]}, 404, "99"),
        ("POST", "vectors/delete", {"points": [1], "vector": ["title"]}, 400, "title"),
        ("POST", "vectors/delete", {"points": [1], "vector": []}, 400, "no vectors"),
        ("POST", "scroll", {"limit": 0}, 422, "limit"),
        ("POST", "scroll", {"limit": 10**9}, 422, "limit"),
        ("POST", "scroll", {"offset": "x"}, 400, "offset"),
        ("POST", "scroll", {"with_payload": ["a["]}, 400, "a["),
        ("POST", "batch", {"operations": [{"upsert": {}, "delete": {}}]}, 400, "operations[0]"),
        ("POST", "batch", {"operations": [{"rename": {}}]}, 400, "rename"),
    ],
)
def test_what_cannot_be_changed_is_told(
    client: Client, filled: str, method: str, path: str, body: Any, status: int, named: str
) -> None:
    before = result(client.post(f"{filled}/points/scroll", json={"with_vector": True}))
    assert named in sentence(client.request(method, f"{filled}/points/{path}", json=body), status)
    assert result(client.post(f"{filled}/points/scroll", json={"with_vector": True})) == before
