"""Checkpoints as their authors published them: sent, used by a collection, and its vectors found by their codes."""

import hashlib

import numpy as np
import pytest

from tests.index_store.test_conversion import authors_file
from tests.model.test_fixtures import FIXTURES, NAMES
from tests.service.requests import points, result, wait_until_encoded
from tests.service.service_in_process import Client

QUERIES = 20


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_the_authors_is_served(client: Client, name: str) -> None:
    file = authors_file(name).read_bytes()
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        vectors = np.unique(arrays["x"].astype(np.float32), axis=0)[:500]
    record = result(client.put(f"/models/{name}", content=file))
    assert record["converted_from"] == hashlib.sha256(file).hexdigest()
    assert record["dim"] == vectors.shape[1]
    collection = f"/collections/{name}"
    body = {"vectors": {"size": record["dim"], "distance": "Euclid"}, "codes": {"model": name}}
    assert result(client.put(collection, json=body)) is True
    result(client.put(f"{collection}/points", json=points(vectors)))
    wait_until_encoded(client, collection)
    told = result(client.get(collection))
    assert (told["codes"]["state"], told["codes"]["steps"]) == ("ready", record["steps"])
    query = {"limit": 10, "params": {"nprobe": 1 << 20, "shortlist": 500}}
    places = np.linspace(0, len(vectors) - 1, QUERIES, dtype=int)
    found = [
        [hit["id"] for hit in result(client.post(f"{collection}/points/query", json=asked))["points"]]
        for place in places
        for asked in [query | {"query": vectors[place].tolist()}]
    ]
    assert [ids[0] for ids in found] == places.tolist()
    by_codes = query | {"params": query["params"] | {"quantization": {"rescore": False}}}  # type: ignore[operator]
    hits = 0
    for place in places:
        answer = result(client.post(f"{collection}/points/query", json=by_codes | {"query": vectors[place].tolist()}))
        hits += place in {hit["id"] for hit in answer["points"]}
    assert hits >= QUERIES * 0.6
    result(client.delete(collection))
    assert result(client.delete(f"/models/{name}")) is True
