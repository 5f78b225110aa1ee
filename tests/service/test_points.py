"""Points are written, read, counted and deleted, in the forms that Qdrant has for it."""

from uuid import UUID

import numpy as np

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import count, points, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client

UUID_ID = "9b2f4c1e-0c4b-4d6f-8a57-0a6f3a3c9d11"


def test_points_come_back_as_they_went_in(client: Client, collection: str) -> None:
    vectors = clustered(20)
    answer = result(client.put(f"{collection}/points", json=points(vectors, {"colour": "red"})))
    assert answer["status"] == "completed"
    found = result(client.post(f"{collection}/points", json={"ids": [3, 99, 1], "with_vector": True}))
    assert [point["id"] for point in found] == [3, 1]
    assert found[0]["payload"] == {"colour": "red"}
    np.testing.assert_array_equal(np.float32(found[0]["vector"]), vectors[3])


def test_a_batch_of_columns_is_the_same_as_points(client: Client, collection: str) -> None:
    batch = {"ids": [7, UUID_ID], "vectors": clustered(2).tolist(), "payloads": [{"a": 1}, None]}
    result(client.put(f"{collection}/points", json={"batch": batch}))
    point = result(client.get(f"{collection}/points/{UUID(UUID_ID).hex}"))
    assert point["id"] == UUID_ID
    assert result(client.get(f"{collection}/points/7"))["payload"] == {"a": 1}


def test_one_point_that_is_not_there_is_404(client: Client, collection: str) -> None:
    assert "no point 5" in sentence(client.get(f"{collection}/points/5"), 404)
    assert "'abc'" in sentence(client.get(f"{collection}/points/abc"), 400)


def test_the_last_upsert_of_an_id_counts(client: Client, collection: str) -> None:
    for value in (1, 2):
        result(client.put(f"{collection}/points", json=points(clustered(3, seed=value), {"value": value})))
    assert count(client, collection) == 3
    assert result(client.get(f"{collection}/points/0"))["payload"] == {"value": 2}


def test_deleting_by_ids_and_by_filter(client: Client, collection: str) -> None:
    for id, colour in enumerate(["red", "red", "blue", "blue"]):
        body = {"points": [{"id": id, "vector": [float(id)] * DIM, "payload": {"colour": colour}}]}
        result(client.put(f"{collection}/points", json=body))
    blue = {"must": [{"key": "colour", "match": {"value": "blue"}}]}
    assert result(client.post(f"{collection}/points/count", json={"filter": blue}))["count"] == 2
    result(client.post(f"{collection}/points/delete", json={"points": [0, 77]}))
    result(client.post(f"{collection}/points/delete", json={"filter": blue}))
    left = result(client.post(f"{collection}/points", json={"ids": [0, 1, 2, 3]}))
    assert [point["id"] for point in left] == [1]


def test_payload_keys_are_chosen(client: Client, collection: str) -> None:
    payload = {"a": {"b": 1, "c": 2}, "d": 3}
    result(client.put(f"{collection}/points", json=points(clustered(1), payload)))

    def shown(selection: object) -> object:
        body = {"ids": [0], "with_payload": selection}
        return result(client.post(f"{collection}/points", json=body))[0]["payload"]

    assert shown(True) == payload
    assert shown(["a.b"]) == {"a": {"b": 1}}
    assert shown({"exclude": ["a.b"]}) == {"a": {"c": 2}, "d": 3}
    assert shown({"include": ["d"]}) == {"d": 3}
    assert shown(False) is None


def test_what_is_written_is_encoded_in_the_background(client: Client, collection: str) -> None:
    result(client.put(f"{collection}/points", json=points(clustered(200))))
    wait_until_encoded(client, collection)
    info = result(client.get(collection))
    assert info["segments_count"] >= 1
    assert info["indexed_vectors_count"] == 200
    assert info["codes"]["encoding_rate"] > 0
    assert info["codes"]["devices"]["encode"] == "cpu"


def test_without_originals_a_vector_is_the_decoded_code_and_the_answer_says_so(client: Client) -> None:
    body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny", "originals": "none"}}
    result(client.put("/collections/codes-alone", json=body))
    vectors = clustered(100)
    result(client.put("/collections/codes-alone/points", json=points(vectors)))
    wait_until_encoded(client, "/collections/codes-alone")
    response = client.get("/collections/codes-alone/points/5")
    assert response.headers["X-Vectors"] == "decoded"
    decoded = np.float32(result(response)["vector"])
    assert 0 < np.square(decoded - vectors[5]).sum() < np.square(vectors[5]).sum()
