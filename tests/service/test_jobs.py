"""A collection's rate is lowered by a job: told while it runs, cancelled, and remembered over a restart."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from index_store.codes import Codes
from tests.builders import clustered, tiny_codec
from tests.service.requests import points, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client, running, wait_until

DIM = 16


def begun(client: Client, collection: str, steps: int = 2, **more: Any) -> dict[str, Any]:
    """The job of lowering a collection's rate."""
    response = client.post(f"{collection}/reencode", json={"steps": steps, **more})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()["result"]
    return job


def ended(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """A job once it has ended."""
    wait_until(lambda: result(client.get(f"/jobs/{job['id']}"))["ended"] is not None)
    told: dict[str, Any] = result(client.get(f"/jobs/{job['id']}"))
    return told


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Jobs report and report until this event is set."""
    event = threading.Event()

    def keep_steps(self: Codes, steps: int, using: str, report: Callable[[float], None]) -> None:
        while not event.wait(0.01):
            report(0.25)

    monkeypatch.setattr(Codes, "keep_steps", keep_steps)
    yield event
    event.set()


def test_a_rate_is_lowered_and_the_job_says_what_is_left(client: Client, collection: str) -> None:
    vectors = clustered(600, DIM, seed=3)
    result(client.put(f"{collection}/points", json=points(vectors)))
    wait_until_encoded(client, collection)
    job = begun(client, collection)
    assert (job["kind"], job["collection"]) == ("reencode", collection.rpartition("/")[2])
    assert job["parameters"] == {"steps": 2, "using": ""}
    done = ended(client, job)
    assert (done["state"], done["progress"], done["error"]) == ("done", 1, None)
    told = done["result"]
    assert (told["steps"], told["code_bytes"]) == (2, {"before": 4, "after": 2})
    assert told["ram_bytes"]["before"] - told["ram_bytes"]["after"] == 2 * 600
    assert (told["recall"]["queries"], told["recall"]["limit"], told["recall"]["sample"]) == ("own points", 10, 200)
    assert 0 < told["recall"]["from_codes"] <= told["recall"]["with_defaults"] <= 1
    codes = result(client.get(collection))["codes"]
    assert (codes["steps"], codes["code_bytes"], codes["ram_bytes_per_vector"]) == (2, 2, 8)
    hits = result(client.post(f"{collection}/points/query", json={"query": vectors[7].tolist()}))["points"]
    assert hits[0]["id"] == 7
    assert done in result(client.get("/jobs"))["jobs"]
    assert 'qinco_jobs{state="done"}' in client.get("/metrics").text


def test_a_rate_that_cannot_be_is_refused_at_once(client: Client, collection: str) -> None:
    assert "from 1 to 4" in sentence(client.post(f"{collection}/reencode", json={"steps": 5}), 422)
    assert "steps" in sentence(client.post(f"{collection}/reencode", json={"steps": 0}), 422)
    assert "4 steps already" in sentence(client.post(f"{collection}/reencode", json={"steps": 4}), 409)
    assert "'steps'" in sentence(client.post(f"{collection}/reencode", json={}), 400)
    assert "'model'" in sentence(client.post(f"{collection}/reencode", json={"steps": 2, "model": "tiny"}), 400)
    assert "'title'" in sentence(client.post(f"{collection}/reencode", json={"steps": 2, "using": "title"}), 400)
    assert sentence(client.post("/collections/missing/reencode", json={"steps": 2}), 404)
    assert sentence(client.get("/jobs/missing"), 404)
    assert sentence(client.delete("/jobs/missing"), 404)
    exact = "/collections/exact"
    result(client.put(exact, json={"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "none"}}))
    assert "without codes" in sentence(client.post(f"{exact}/reencode", json={"steps": 2}), 400)
    result(client.delete(exact))


def test_a_job_is_cancelled_while_it_waits_or_runs(client: Client, collection: str, held_up: threading.Event) -> None:
    other = "/collections/other"
    result(client.put(other, json={"vectors": {"size": DIM, "distance": "Dot"}, "codes": {"model": "tiny"}}))
    first, second = begun(client, collection), begun(client, other)
    wait_until(lambda: result(client.get(f"/jobs/{first['id']}"))["progress"] == 0.25)
    assert first["id"] in sentence(client.post(f"{collection}/reencode", json={"steps": 1}), 409)
    assert result(client.get(f"/jobs/{second['id']}"))["state"] == "waiting"
    for job in (second, first):
        result(client.delete(f"/jobs/{job['id']}"))
        assert ended(client, job)["state"] == "cancelled"
        assert "cancelled" in sentence(client.delete(f"/jobs/{job['id']}"), 409)
    assert result(client.get(collection))["codes"]["steps"] == 4
    held_up.set()
    third = ended(client, begun(client, collection))
    assert third["state"] == "done"
    assert third["result"]["recall"] is None  # it holds nothing
    result(client.delete(other))


def test_a_job_that_fails_says_why_and_the_next_one_runs(
    client: Client, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ArithmeticError("a secret")

    with monkeypatch.context() as patched:
        patched.setattr(Codes, "keep_steps", fail)
        told = ended(client, begun(client, collection))
    assert (told["state"], told["result"]) == ("failed", None)
    assert "ArithmeticError" in told["error"] and "secret" not in told["error"]
    assert ended(client, begun(client, collection))["state"] == "done"


def test_a_server_that_stops_interrupts_its_jobs_and_says_so_after(tmp_path: Path, held_up: threading.Event) -> None:
    with running(tmp_path) as client:
        client.put("/models/tiny", content=tiny_codec(tmp_path, dim=DIM).read_bytes())
        for name in ("a", "b"):
            body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
            result(client.put(f"/collections/{name}", json=body))
        jobs = [begun(client, f"/collections/{name}") for name in ("a", "b")]
        wait_until(lambda: result(client.get(f"/jobs/{jobs[0]['id']}"))["state"] == "running")
    with running(tmp_path) as client:
        for job in jobs:
            told = result(client.get(f"/jobs/{job['id']}"))
            assert told["state"] == "interrupted"
            assert "again" in told["error"]
            assert result(client.get(f"/collections/{job['collection']}"))["codes"]["steps"] == 4
        assert 'qinco_jobs{state="interrupted"} 2.0' in client.get("/metrics").text
