"""Collections are made as Qdrant's clients make them; what has no effect is said."""

import numpy as np
import pytest

from tests.builders import clustered
from tests.service.conftest import DIM, MODEL
from tests.service.requests import points, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client

VECTORS = {"size": DIM, "distance": "Cosine"}


def test_a_collection_with_codes_describes_them(client: Client, collection: str) -> None:
    info = result(client.get(collection))
    assert info["status"] == "green"
    assert info["points_count"] == 0
    assert info["config"]["params"]["vectors"] == {"size": DIM, "distance": "Euclid", "datatype": "float32"}
    assert info["codes"]["model"] == MODEL
    assert len(info["codes"]["sha256"]) == 64
    assert info["codes"]["float32_bytes"] == 4 * DIM
    assert info["codes"]["state"] == "ready"
    assert info["warnings"] == []


def test_without_codes_it_is_exact_until_it_trains_by_itself(client: Client) -> None:
    result(client.put("/collections/plain", json={"vectors": VECTORS}))
    info = result(client.get("/collections/plain"))
    assert (info["codes"]["model"], info["codes"]["state"]) == ("none", "exact")
    assert info["codes"]["auto"] == {"bytes": 16, "trains_at": 10_000}
    assert info["warnings"] == []


def test_exactness_that_was_asked_for_needs_no_warning(client: Client) -> None:
    result(client.put("/collections/exact", json={"vectors": VECTORS, "codes": {"model": "none"}}))
    assert result(client.get("/collections/exact"))["warnings"] == []


def test_codes_may_come_in_metadata(client: Client) -> None:
    metadata = {"codes": {"model": MODEL, "beam": 2}, "owner": "me"}
    result(client.put("/collections/by-metadata", json={"vectors": VECTORS, "metadata": metadata}))
    info = result(client.get("/collections/by-metadata"))
    assert (info["codes"]["model"], info["codes"]["beam"]) == (MODEL, 2)
    assert info["config"]["metadata"] == metadata


def test_settings_of_another_kind_of_index_are_reported_and_change_nothing(client: Client) -> None:
    given = {"hnsw_config": {"m": 4}, "optimizers_config": {"indexing_threshold": 7}, "shard_number": 2}
    result(
        client.put(
            "/collections/given", json={"vectors": VECTORS | {"on_disk": True}, "codes": {"model": "none"}} | given
        )
    )
    info = result(client.get("/collections/given"))
    assert info["config"]["hnsw_config"]["m"] == 4
    assert info["config"]["optimizer_config"]["indexing_threshold"] == 7
    assert info["config"]["params"]["shard_number"] == 2
    assert info["config"]["params"]["vectors"]["on_disk"] is True
    told = info["warnings"][0]["message"]
    assert all(name in told for name in (*given, "vectors.on_disk"))


def test_named_vectors_have_codes_of_their_own(client: Client) -> None:
    vectors = {"title": {"size": DIM, "distance": "Dot"}, "body": {"size": 3, "distance": "Manhattan"}}
    body = {"vectors": vectors, "codes": {"title": {"model": MODEL}, "body": {"model": "none"}}}
    result(client.put("/collections/named", json=body))
    info = result(client.get("/collections/named"))
    assert info["codes"]["title"]["model"] == MODEL
    assert info["config"]["params"]["vectors"]["body"]["distance"] == "Manhattan"
    point = {"id": 1, "vector": {"title": [1.0] * DIM, "body": [1, 2, 3]}}
    result(client.put("/collections/named/points", json={"points": [point]}))
    hits = result(client.post("/collections/named/points/query", json={"query": [1, 2, 4], "using": "body"}))["points"]
    assert (hits[0]["id"], hits[0]["score"]) == (1, 1.0)
    told = client.put("/collections/named/points", json={"points": [{"id": 2, "vector": {"titel": [1.0] * DIM}}]})
    assert "no vector 'titel'" in sentence(told, 400)


def test_collections_are_listed_and_deleted(client: Client) -> None:
    assert result(client.get("/collections/gone/exists")) == {"exists": False}
    result(client.put("/collections/gone", json={"vectors": VECTORS}))
    assert {"name": "gone"} in result(client.get("/collections"))["collections"]
    assert result(client.get("/collections/gone/exists")) == {"exists": True}
    assert result(client.delete("/collections/gone")) is True
    assert "gone" in sentence(client.get("/collections/gone"), 404)


def test_deleting_what_is_not_there_is_false_because_clients_delete_before_they_create(client: Client) -> None:
    assert result(client.delete("/collections/never-was")) is False


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 400, "vectors"),
        ({"vectors": {"size": 0, "distance": "Dot"}}, 422, "vectors.size"),
        ({"vectors": {"size": "16", "distance": "Dot"}}, 400, "vectors.size"),
        ({"vectors": {"size": 16, "distance": "Hamming"}}, 400, "vectors.distance"),
        ({"vectors": VECTORS, "vektors": 1}, 400, "vektors"),
        ({"vectors": VECTORS | {"sice": 1}}, 400, "vectors.sice"),
        ({"vectors": VECTORS, "quantization_config": {"scalar": {"type": "int8"}}}, 400, "quantization_config"),
        ({"vectors": VECTORS | {"multivector_config": {"comparator": "max_sim"}}}, 400, "multivector_config"),
        ({"vectors": VECTORS, "sparse_vectors": {"s": {}}}, 400, "sparse_vectors"),
        ({"vectors": {}, "sparse_vectors": {"s": {}}}, 400, "vectors are dense"),
        ({"vectors": VECTORS, "quantization_config": {"binary": {"always_ram": True}}}, 400, "codes of 16 bytes"),
        ({"vectors": VECTORS, "sharding_method": "custom"}, 400, "one here"),
        ({"vectors": VECTORS, "strict_mode_config": {"enabled": True}}, 400, "QINCO_MAX_"),
        ({"vectors": VECTORS, "metadata": []}, 400, "an object"),
        ({"vectors": {"default": VECTORS}}, 400, "'vectors.default'"),
        ({"vectors": {"default": VECTORS, "": VECTORS}}, 400, "'vectors.default'"),
        ([], 400, "an object"),
        ({"vectors": VECTORS, "codes": {"model": "unknown"}}, 404, "unknown"),
        ({"vectors": {"size": 5, "distance": "Dot"}, "codes": {"model": MODEL}}, 400, "5"),
        ({"vectors": {"size": DIM, "distance": "Manhattan"}, "codes": {"model": MODEL}}, 400, "Manhattan"),
        ({"vectors": VECTORS, "codes": {"model": MODEL, "bytes": 8}}, 400, "codes.bytes"),
        ({"vectors": VECTORS, "codes": {"model": "none", "bytes": 8}}, 400, "codes.bytes"),
        ({"vectors": VECTORS, "codes": {"model": "none", "beam": 8}}, 400, "codes.beam"),
        ({"vectors": VECTORS, "codes": {"model": MODEL, "originals": "float64"}}, 400, "codes.originals"),
        ({"vectors": VECTORS, "codes": {"title": {"model": MODEL}}}, 400, "codes.title"),
        ({"vectors": VECTORS, "metadata": {"codes": {"modell": MODEL}}}, 400, "metadata.codes.modell"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(client: Client, body: object, status: int, named: str) -> None:
    assert named in sentence(client.put("/collections/refused", json=body), status)
    assert result(client.get("/collections/refused/exists")) == {"exists": False}


def test_a_name_is_taken_once(client: Client, collection: str) -> None:
    assert "already" in sentence(client.put(collection, json={"vectors": VECTORS}), 409)


def test_what_says_no_more_than_nothing_is_taken(client: Client) -> None:
    body = {"vectors": VECTORS, "sharding_method": "auto", "strict_mode_config": {"enabled": False}}
    result(client.put("/collections/nothing-more", json=body))
    assert result(client.delete("/collections/nothing-more"))


def test_the_rule_for_names_is_told_in_words(client: Client) -> None:
    assert "letters, digits" in sentence(client.put("/collections/a b", json={"vectors": VECTORS}), 400)


@pytest.mark.parametrize("name", [".hidden", "a b", "x" * 256, "..", "ä"])
def test_names_are_plain(client: Client, name: str) -> None:
    assert client.put(f"/collections/{name}", json={"vectors": VECTORS}).status_code in (400, 404, 405, 422)


def test_vectors_unlike_the_training_data_are_warned_of(client: Client, collection: str) -> None:
    assert result(client.get(collection))["codes"]["relative_error"] is None
    far = 3 * np.roll(clustered(300, DIM, seed=3), 5, axis=1)
    result(client.put(f"{collection}/points", json=points(far)))
    wait_until_encoded(client, collection)
    info = result(client.get(collection))
    codes = info["codes"]
    assert codes["relative_error"] == codes["recent_mse"] / codes["training_mse"] > 1.5
    assert "another kind" in info["warnings"][0]["message"]
    line = f'qinco_encode_relative_error{{collection="{collection.rpartition("/")[2]}"}}'
    lines = client.get("/metrics").text.splitlines()
    told = next(one for one in lines if one.startswith(line))
    assert float(told.split()[1]) > 1.5
