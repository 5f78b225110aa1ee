"""A collection is encoded anew by another model over HTTP: a job that is told of, cancelled, and taken up."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from index_store import CodesConfig, Store, reencoding
from tests.builders import clustered, tiny_codec
from tests.service.requests import count, points, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client, running, wait_until

DIM = 16
VECTORS = {"size": DIM, "distance": "Euclid"}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencoding, "FIRST_BATCH_ROWS", 50)
    monkeypatch.setattr(reencoding, "MOST_BATCH_ROWS", 50)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Encoding anew stops before its end until this event is set, and reports meanwhile."""
    opened = threading.Event()
    switch, encode_anew = reencoding.switch, Store.reencode

    def held_up(self: Store, name: str, using: str, codes: CodesConfig, report: Callable[[float], None]) -> None:
        def wait_first(*told: Any) -> None:
            _wait(opened, report)
            switch(*told)

        monkeypatch.setattr(reencoding, "switch", wait_first)
        encode_anew(self, name, using, codes, report)

    monkeypatch.setattr(Store, "reencode", held_up)
    yield opened
    opened.set()


def _wait(opened: threading.Event, report: Callable[[float], None]) -> None:
    while not opened.wait(0.01):
        report(0.99)


def put_other(client: Client, folder: Path) -> None:
    content = tiny_codec(folder, dim=DIM, steps=6, seed=4).read_bytes()
    assert client.put("/models/other", content=content).status_code in (200, 409)


def begun(client: Client, collection: str, **body: Any) -> dict[str, Any]:
    response = client.post(f"{collection}/reencode", json={"model": "other", **body})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()["result"]
    return job


def told(client: Client, job: dict[str, Any]) -> Any:
    return result(client.get(f"/jobs/{job['id']}"))


def test_it_serves_by_the_old_codes_until_all_the_new_ones_are_there(
    client: Client, collection: str, tmp_path: Path, gate: threading.Event
) -> None:
    put_other(client, tmp_path)
    vectors = clustered(400, DIM, seed=3)
    result(client.put(f"{collection}/points", json=points(vectors)))
    wait_until_encoded(client, collection)
    job = begun(client, collection, beam=6)
    assert job["parameters"] == {"using": "", "model": "other", "candidates": None, "beam": 6}
    wait_until(lambda: told(client, job)["progress"] == 0.99)
    now = told(client, job)
    assert now["figures"]["stage"] == "encoding" and now["figures"]["vectors_per_s"] > 0 and len(now["log"]) > 1
    codes = result(client.get(collection))["codes"]
    assert (codes["model"], codes["state"], codes["steps"]) == ("tiny", "encoding", 4)
    result(client.put(f"{collection}/points", json={"points": [{"id": 7, "vector": [50.0] * DIM}]}))
    for id, vector in ((7, [50.0] * DIM), (8, vectors[8].tolist())):
        hits = result(client.post(f"{collection}/points/query", json={"query": vector, "limit": 1}))["points"]
        assert hits[0]["id"] == id
    gate.set()
    wait_until(lambda: told(client, job)["ended"] is not None)
    done = told(client, job)
    assert (done["state"], done["error"]) == ("done", None)
    assert done["result"]["model"] == {"before": "tiny", "after": "other"}
    assert done["result"]["code_bytes"] == {"before": 4, "after": 6}
    assert 0 < done["result"]["recall"]["from_codes"] <= 1
    assert done["log"][-1]["stage"] == "encoding"
    wait_until_encoded(client, collection)
    codes = result(client.get(collection))["codes"]
    assert (codes["model"], codes["state"], codes["steps"]) == ("other", "ready", 6)
    assert count(client, collection) == 400
    assert "used" in sentence(client.delete("/models/other"), 409)


def test_cancelled_it_changes_nothing(client: Client, collection: str, tmp_path: Path, gate: threading.Event) -> None:
    put_other(client, tmp_path)
    result(client.put(f"{collection}/points", json=points(clustered(300, DIM, seed=3))))
    wait_until_encoded(client, collection)
    job = begun(client, collection)
    wait_until(lambda: told(client, job)["progress"] == 0.99)
    result(client.delete(f"/jobs/{job['id']}"))
    wait_until(lambda: told(client, job)["ended"] is not None)
    assert told(client, job)["state"] == "cancelled"
    codes = result(client.get(collection))["codes"]
    assert (codes["model"], codes["state"], codes["pending"]) == ("tiny", "ready", 0)


def test_what_cannot_be_is_refused_at_once(client: Client, collection: str, tmp_path: Path) -> None:
    put_other(client, tmp_path)
    path = f"{collection}/reencode"
    assert "'missing'" in sentence(client.post(path, json={"model": "missing"}), 404)
    assert "'title'" in sentence(client.post(path, json={"model": "other", "using": "title"}), 400)
    assert "either" in sentence(client.post(path, json={"model": "other", "steps": 2}), 400)
    assert "either" in sentence(client.post(path, json={}), 400)
    assert "'beam'" in sentence(client.post(path, json={"steps": 2, "beam": 4}), 400)
    assert "beam" in sentence(client.post(path, json={"model": "other", "beam": 99}), 400)
    lean = "/collections/lean"
    result(client.put(lean, json={"vectors": VECTORS, "codes": {"model": "tiny", "originals": "none"}}))
    assert "no originals" in sentence(client.post(f"{lean}/reencode", json={"model": "other"}), 400)
    result(client.delete(lean))


def test_a_server_that_stops_takes_it_up_after_the_next_start(tmp_path: Path, gate: threading.Event) -> None:
    with running(tmp_path) as client:
        client.put("/models/tiny", content=tiny_codec(tmp_path, dim=DIM).read_bytes())
        put_other(client, tmp_path)
        result(client.put("/collections/a", json={"vectors": VECTORS, "codes": {"model": "tiny"}}))
        result(client.put("/collections/a/points", json=points(clustered(300, DIM, seed=3))))
        wait_until_encoded(client, "/collections/a")
        job = begun(client, "/collections/a")
        wait_until(lambda: told(client, job)["progress"] == 0.99)
    gate.set()
    with running(tmp_path) as client:
        wait_until(lambda: told(client, job)["ended"] is not None)
        assert told(client, job)["state"] == "done"
        assert result(client.get("/collections/a"))["codes"]["model"] == "other"
