"""PATCH changes how a collection is searched by default, how it encodes, and its metadata; all durably."""

from pathlib import Path
from typing import Any

import pytest

from tests.builders import clustered
from tests.service.conftest import DIM, checkpoint
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client, running


def test_changes_survive_a_restart(tmp_path: Path) -> None:
    body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}, "metadata": {"a": 1, "b": 2}}
    changes: list[dict[str, Any]] = [
        {"search": {"nprobe": 3, "quantization": {"rescore": False}}, "metadata": {"a": None, "c": 3}},
        {"codes": {"beam": 2, "candidates": 4}, "search": {"nprobe": None, "exact": True}},
        {"hnsw_config": {"m": 7}, "vectors": {"": {"on_disk": True}}, "params": {"replication_factor": 2}},
    ]
    with running(tmp_path) as client:
        result(client.put("/models/tiny", content=checkpoint(tmp_path)))
        result(client.put("/collections/c", json=body))
        for change in changes:
            assert result(client.patch("/collections/c", json=change)) is True
        before = result(client.get("/collections/c"))
    with running(tmp_path) as client:
        info = result(client.get("/collections/c"))
        assert info["search"] == {"exact": True, "quantization": {"rescore": False}} == before["search"]
        assert (info["codes"]["beam"], info["codes"]["candidates"]) == (2, 4)
        assert info["config"]["metadata"] == {"b": 2, "c": 3}
        assert info["config"]["hnsw_config"]["m"] == 7
        assert info["config"]["params"]["replication_factor"] == 2
        assert info["config"]["params"]["vectors"]["on_disk"] is True


def test_queries_that_say_nothing_search_as_the_collection_says(client: Client, collection: str) -> None:
    result(client.put(f"{collection}/points", json=points(clustered(20))))
    result(client.patch(collection, json={"search": {"indexed_only": False, "quantization": {"ignore": True}}}))
    result(client.patch(collection, json={"search": {"exact": True}}))
    query = {"query": [0.5] * DIM, "limit": 3}
    exact = result(client.post(f"{collection}/points/query", json=query | {"params": {"exact": True}}))
    assert result(client.post(f"{collection}/points/query", json=query)) == exact


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"serach": {}}, 400, "serach"),
        ({"search": {"nprobe": 0}}, 422, "search.nprobe"),
        ({"codes": {"beam": 0}}, 422, "beam"),
        ({"codes": {"model": "tiny"}}, 400, "model"),
        ({"codes": {"title": {"beam": 2}}}, 400, "codes.title"),
        ({"vectors": {"title": {"on_disk": True}}}, 400, "vectors.title"),
        ({"metadata": {"codes": {"beam": 2}}}, 400, "metadata.codes"),
        ({"quantization_config": {"scalar": {"type": "int8"}}}, 400, "quantization_config"),
        ({"strict_mode_config": {"enabled": True}}, 400, "strict_mode_config"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_name(
    client: Client, collection: str, body: Any, status: int, named: str
) -> None:
    before = result(client.get(collection))["config"]
    assert named in sentence(client.patch(collection, json=body), status)
    assert result(client.get(collection))["config"] == before


def test_an_unknown_collection_cannot_be_changed(client: Client) -> None:
    assert "unknown" in sentence(client.patch("/collections/unknown", json={}), 404)
