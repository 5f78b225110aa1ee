"""The port opens at once; readiness comes when everything is loaded, and goes when the worker has died."""

import threading
from pathlib import Path
from typing import Any

import pytest

from index_store import Store
from service import serving
from tests.service.requests import result, sentence
from tests.service.service_in_process import Client, starting, wait_until


def test_until_it_is_loaded_it_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_open = threading.Event()

    class SlowStore(Store):
        @classmethod
        def open(cls, *arguments: Any, **options: Any) -> Store:
            may_open.wait(30)
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


def test_the_document_of_the_api_is_served(client: Client) -> None:
    assert "/collections/{collection_name}/points/query" in client.get("/openapi.json").json()["paths"]
