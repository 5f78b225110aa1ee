"""Measured recall over HTTP and on the command line, and target_recall, which chooses by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from index_store import Store
from service.self_measuring import SelfMeasuring
from tests.builders import clustered, tiny_codec
from tests.service.command_line import Run, runner
from tests.service.requests import NPY, npy, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client, running, wait_until

COLLECTION = "/collections/c"
DIM = 16


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("recall")
    with running(folder) as client:
        result(client.put("/models/tiny", content=tiny_codec(folder, dim=DIM, lists=8).read_bytes()))
        body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
        result(client.put(COLLECTION, json=body))
        result(client.post(f"{COLLECTION}/points/upload", content=npy(clustered(600, DIM)), headers=NPY))
        wait_until_encoded(client, COLLECTION)
        yield client


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_a_target_is_reached_exactly_until_recall_was_measured_and_by_numbers_after(client: Client) -> None:
    query = {"query": clustered(1, DIM, 3)[0].tolist(), "limit": 5, "params": {"target_recall": 0.9}}
    first = client.post(f"{COLLECTION}/points/query", json=query).json()
    assert first["usage"]["search"] == {"target_recall": 0.9, "exact": True, "measured": None}
    job = client.post(f"{COLLECTION}/recall", json={"sample": 50, "limit": 5})
    assert job.status_code == 202
    wait_until(lambda: result(client.get(f"/jobs/{job.json()['result']['id']}"))["ended"] is not None)
    told = result(client.get(COLLECTION))["codes"]["recall"]
    assert (told["limit"], told["sample"], told["queries"], told["points"]) == (5, 50, "own points", 600)
    line = f'qinco_collection_recall{{collection="c"}} {told["recall"]}'
    assert line in client.get("/metrics").text
    then = client.post(f"{COLLECTION}/points/query", json=query).json()
    chosen = then["usage"]["search"]
    assert not chosen["exact"] and chosen["measured"]["recall"] >= 0.9 and chosen["measured"]["limit"] == 5
    assert chosen["rerank"] == chosen["shortlist"] == 5 * chosen["oversampling"]
    assert len(then["result"]["points"]) == 5
    plain = client.post(f"{COLLECTION}/points/query", json=query | {"params": {}}).json()
    assert "usage" not in plain
    batch = {"searches": [query, query | {"params": {}}, query]}
    told = client.post(f"{COLLECTION}/points/query/batch", json=batch).json()["usage"]["search"]
    assert told == [chosen, None, chosen], "each query of a batch has its own"
    plain = client.post(f"{COLLECTION}/points/query/batch", json={"searches": [{"query": query["query"]}]}).json()
    assert "usage" not in plain
    prefetching = {"prefetch": [query, query], "query": {"fusion": "rrf"}}
    assert client.post(f"{COLLECTION}/points/query", json=prefetching).json()["usage"]["search"] == [chosen, chosen]
    once = {"prefetch": [query], "query": query["query"]}
    assert client.post(f"{COLLECTION}/points/query", json=once).json()["usage"]["search"] == chosen
    groups = query | {"group_by": "n"}
    assert client.post(f"{COLLECTION}/points/query/groups", json=groups).json()["usage"]["search"]


def test_a_target_beside_numbers_by_hand_is_refused(client: Client) -> None:
    def told(**params: object) -> str:
        body = {"query": [0.0] * DIM, "params": {"target_recall": 0.9, **params}}
        return sentence(client.post(f"{COLLECTION}/points/query", json=body), 400)

    assert "'nprobe'" in told(nprobe=3)
    assert "'quantization'" in told(quantization={"rescore": False})
    body = {"query": [0.0] * DIM, "params": {"target_recall": 1.5}}
    assert "target_recall" in sentence(client.post(f"{COLLECTION}/points/query", json=body), 422)


def test_what_cannot_be_measured_is_refused(client: Client) -> None:
    result(
        client.put("/collections/exact", json={"vectors": {"size": 4, "distance": "Dot"}, "codes": {"model": "none"}})
    )
    assert "its recall is 1" in sentence(client.post("/collections/exact/recall", json={}), 400)
    assert "'sample'" in sentence(client.post(f"{COLLECTION}/recall", json={"sample": 1}), 422)


def test_the_command_prints_what_a_target_takes(client: Client, run: Run) -> None:
    done = run("recall", "c", "--sample", "20", "--limit", "3", "--url", str(client.base_url))
    assert done.status == 0, done.err
    assert "target_recall" in done.out and "0.95" in done.out and "By default" in done.out


def test_recall_is_measured_by_itself_once_enough_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_store.targets.LEAST_MEASURED", 100)
    monkeypatch.setattr("service.self_measuring.LOOK_EVERY_S", 0.05)
    with running(tmp_path) as client:
        result(client.put("/models/tiny", content=tiny_codec(tmp_path, dim=DIM, lists=8).read_bytes()))
        body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
        result(client.put(COLLECTION, json=body))
        result(client.post(f"{COLLECTION}/points/upload", content=npy(clustered(300, DIM)), headers=NPY))
        wait_until(lambda: result(client.get(COLLECTION))["codes"]["recall"] is not None)


def test_measuring_rests_nine_times_as_long_as_it_worked_while_queries_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, rests = [0], list[float]()
    measuring = SelfMeasuring(cast(Store, None), lambda: asked[0])
    monkeypatch.setattr(measuring.watch.stopping, "wait", rests.append)
    monkeypatch.setattr("service.self_measuring.time.perf_counter", lambda: 2.0)
    measuring._rest_or_end(0.0)
    assert not rests, "nobody asked"
    asked[0] = 1
    monkeypatch.setattr("service.self_measuring.time.perf_counter", lambda: 2.5)
    measuring._rest_or_end(0.1)
    assert rests == [4.5]
    measuring._rest_or_end(0.2)
    assert rests == [4.5], "nobody asked since"
