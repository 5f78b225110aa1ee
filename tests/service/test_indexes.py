"""Payload indexes over HTTP: declared, described, asked for and forgotten."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.service.requests import points, result, sentence
from tests.service.service_in_process import READY_S, Client, running

COLLECTION = "/collections/c"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("indexes")) as client:
        yield client


@pytest.fixture(autouse=True)
def collection(client: Client) -> None:
    client.delete(COLLECTION)
    result(client.put(COLLECTION, json={"vectors": {"size": 4, "distance": "Dot"}, "codes": {"model": "none"}}))
    body = points(np.ones((30, 4)))
    for place, point in enumerate(body["points"]):
        point["payload"] = {"n": place, "word": f"w{place % 3}"}
    result(client.put(f"{COLLECTION}/points", json=body))


def count(client: Client, condition: dict[str, Any]) -> int:
    return int(result(client.post(f"{COLLECTION}/points/count", json={"filter": {"must": [condition]}}))["count"])


def test_an_index_is_told_with_the_points_that_have_a_value(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_store.payload_indexes.indexes.LEAST_RUN", 1)
    body = {"field_name": "n", "field_schema": {"type": "integer", "lookup": True}}
    assert result(client.put(f"{COLLECTION}/index?wait=true", json=body))["status"] == "completed"
    schema = result(client.get(COLLECTION))["payload_schema"]
    assert schema == {"n": {"data_type": "integer", "params": {"type": "integer", "lookup": True}, "points": 30}}
    assert count(client, {"key": "n", "range": {"gte": 20}}) == 10
    for _ in range(2):
        assert result(client.delete(f"{COLLECTION}/index/n"))["status"] == "completed"
    assert result(client.get(COLLECTION))["payload_schema"] == {}
    assert count(client, {"key": "n", "range": {"gte": 20}}) == 10


def test_filters_on_keys_without_an_index_are_warned_of_and_counted(client: Client) -> None:
    def counted() -> float:
        line = 'qinco_unindexed_filters_total{collection="c"} '
        found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
        return float(found[0].removeprefix(line))

    result(client.put(f"{COLLECTION}/index", json={"field_name": "n", "field_schema": "integer"}))
    before = counted()
    assert count(client, {"key": "n", "match": {"value": 3}}) == 1
    assert counted() == before
    assert not any("payload index" in one["message"] for one in result(client.get(COLLECTION))["warnings"])
    assert count(client, {"key": "word", "match": {"value": "w1"}}) == 10
    assert counted() == before + 1
    assert any("index: word." in one["message"] for one in result(client.get(COLLECTION))["warnings"])


def test_an_index_that_nobody_waits_for_is_acknowledged(client: Client) -> None:
    body = {"field_name": "n", "field_schema": "integer"}
    assert result(client.put(f"{COLLECTION}/index", json=body))["status"] == "acknowledged"


def test_what_an_index_cannot_be_is_refused_by_name(client: Client) -> None:
    def told(**body: Any) -> str:
        return sentence(client.put(f"{COLLECTION}/index", json=body), 400)

    assert "'decimal'" in told(field_name="n", field_schema="decimal")
    assert "'a..b'" in told(field_name="a..b", field_schema="keyword")
    assert "stemmer" in told(field_name="n", field_schema={"type": "text", "stemmer": {"type": "snowball"}})
    assert "one of keyword" in told(field_name="n")
    assert "'field_name'" in told(field_schema="keyword")
    assert result(client.get(COLLECTION))["payload_schema"] == {}


def test_qdrants_client_makes_and_forgets_indexes(client: Client) -> None:
    theirs = QdrantClient(url=str(client.base_url), check_compatibility=False, timeout=READY_S)
    theirs.create_payload_index("c", "word", models.PayloadSchemaType.KEYWORD, wait=True)
    options = models.TextIndexParams(type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD)
    theirs.create_payload_index("c", "title", options)
    schema = theirs.get_collection("c").payload_schema
    assert {key: one.data_type for key, one in schema.items()} == {"word": "keyword", "title": "text"}
    theirs.delete_payload_index("c", "word")
    assert list(theirs.get_collection("c").payload_schema) == ["title"]
    theirs.close()


def test_an_index_outlives_its_collection_being_closed(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        result(client.put(COLLECTION, json={"vectors": {"size": 4, "distance": "Dot"}, "codes": {"model": "none"}}))
        result(client.put(f"{COLLECTION}/index", json={"field_name": "a[].b", "field_schema": "keyword"}))
    with running(tmp_path) as client:
        assert list(result(client.get(COLLECTION))["payload_schema"]) == ["a[].b"]
