"""The port opens at once; readiness comes when everything is loaded, and goes when the worker has died."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from index_store import Store
from service import serving
from tests.builders import clustered
from tests.service.conftest import DIM, checkpoint
from tests.service.requests import points, result, sentence, wait_until_encoded
from tests.service.service_in_process import READY_S, Client, running, starting, wait_until


def test_until_it_is_loaded_it_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_open = threading.Event()

    class SlowStore(Store):
        @classmethod
        def open(cls, *arguments: Any, **options: Any) -> Store:
            may_open.wait(READY_S)
            return Store.open(*arguments, **options)

    monkeypatch.setattr(serving, "Store", SlowStore)
    with starting(tmp_path) as client:
        wait_until(lambda: "loaded" in client.get("/readyz").text)
        assert client.get("/readyz").status_code == client.get("/healthz").status_code == 503
        assert client.get("/livez").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/").json()["title"] == "qinco-server"
        assert "starting" in sentence(client.get("/collections"), 503)
        may_open.set()
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/healthz").status_code == 200
        assert result(client.get("/collections")) == {"collections": []}


def test_a_collection_that_could_not_be_loaded_is_described_as_red_and_the_others_are_served(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        for name in ("spoilt", "sound"):
            body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "none"}}
            result(client.put(f"/collections/{name}", json=body))
            result(client.put(f"/collections/{name}/points", json=points(clustered(3, DIM))))
        folder = client.data / "collections"
    with closing(sqlite3.connect(client.data / "catalogue.sqlite3")) as catalogue:
        ((spoilt,),) = catalogue.execute("SELECT folder FROM collections WHERE name = 'spoilt'").fetchall()
    (folder / spoilt / "vectors/default/originals/00000000.vec").unlink()
    with running(tmp_path) as client:
        told = result(client.get("/collections/spoilt"))
        assert (told["status"], told["points_count"], told["config"]["params"]["vectors"]["size"]) == ("red", None, DIM)
        assert "00000000.vec" in told["optimizer_status"]["error"]
        theirs = QdrantClient(url=str(client.base_url), check_compatibility=False, timeout=READY_S)
        assert theirs.get_collection("spoilt").status == "red"
        assert client.post("/collections/spoilt/points/count", json={}).status_code == 503
        assert result(client.get("/collections/sound"))["status"] == "green"
        assert result(client.delete("/collections/spoilt")) is True
        assert client.get("/collections/spoilt").status_code == 404


def test_the_document_of_the_api_is_served(client: Client) -> None:
    assert "/collections/{collection_name}/points/query" in client.get("/openapi.json").json()["paths"]


def test_once_ready_every_stage_of_a_query_has_been_run(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        assert client.put("/models/tiny", content=checkpoint(tmp_path)).status_code == 200
        body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
        result(client.put("/collections/c", json=body))
        result(client.put("/collections/c/points", json=points(clustered(100))))
        wait_until_encoded(client, "/collections/c")
    with running(tmp_path) as client:
        devices = result(client.get("/collections/c"))["codes"]["devices"]
        assert devices.keys() >= {"probe", "scan", "neural", "exact", "payload"}
