"""A collection that names no model trains one by itself, and all the while it answers and takes points."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.builders import clustered
from tests.service.requests import NPY, npy, result, sentence
from tests.service.service_in_process import Client, running, wait_until

DIM = 8
SETTINGS = {"train_at": 600, "train_budget": 1}
AUTO = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"bytes": 2}}
LATE_S = 900


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("auto"), **SETTINGS) as client:
        yield client


def codes_of(client: Client, collection: str) -> dict[str, Any]:
    codes: dict[str, Any] = result(client.get(collection))["codes"]
    return codes


def upload(client: Client, collection: str, vectors: np.ndarray, first_id: int = 0) -> None:
    content = npy(vectors)
    result(client.post(f"{collection}/points/upload?first_id={first_id}", content=content, headers=NPY))


def wait_until_trained(client: Client, times: int) -> list[dict[str, Any]]:
    """The trainings, the newest first, once so many have ended: what a collection shows is settled by then."""

    def trainings() -> list[dict[str, Any]]:
        return [one for one in result(client.get("/jobs"))["jobs"] if one["kind"] == "train"]

    wait_until(lambda: sum(one["ended"] is not None for one in trainings()) >= times, LATE_S)
    return trainings()


@pytest.mark.slow
def test_a_collection_that_names_no_model_ends_with_codes_of_its_own(service: Client) -> None:
    qdrant = QdrantClient(url=str(service.base_url), timeout=LATE_S)
    vectors = clustered(700, DIM, seed=3)
    config = models.VectorParams(size=DIM, distance=models.Distance.EUCLID)
    assert qdrant.create_collection("articles", vectors_config=config)
    collection = "/collections/articles"
    assert codes_of(service, collection)["auto"] == {"bytes": 16, "trains_at": 600}
    points = [models.PointStruct(id=id, vector=row.tolist()) for id, row in enumerate(vectors)]
    qdrant.upsert("articles", points[:599])
    states, kept = ["exact"], dict(enumerate(vectors[:599]))
    assert codes_of(service, collection)["state"] == "exact"
    qdrant.upsert("articles", points[599:])
    kept |= dict(enumerate(vectors))
    rng = np.random.default_rng(0)
    until = time.monotonic() + LATE_S
    while states[-1] != "ready":
        assert time.monotonic() < until, states
        state = codes_of(service, collection)["state"]
        states += [state] if state != states[-1] else []
        gone, come = int(rng.choice(list(kept))), 1000 + len(states) + int(rng.integers(1 << 40))
        qdrant.delete("articles", points_selector=[gone])
        kept.pop(gone)
        kept[come] = rng.normal(size=DIM).astype(np.float32)
        qdrant.upsert("articles", [models.PointStruct(id=come, vector=kept[come].tolist())])
        asked = int(rng.choice(list(kept)))
        found = qdrant.query_points("articles", query=kept[asked].tolist(), limit=1).points
        assert found[0].score < 1e-3
        assert gone not in {hit.id for hit in qdrant.query_points("articles", query=[0.0] * DIM, limit=900).points}
        time.sleep(0.05)  # the training has a low priority: without a pause this loop would slow it down
    assert states[:2] == ["exact", "training"] and "encoding" not in states[:2]
    (job,) = wait_until_trained(service, 1)
    codes = codes_of(service, collection)
    assert (codes["code_bytes"], codes["auto"]["bytes"]) == (16, 16)
    assert codes["auto"]["trains_at"] >= 10 * 690
    assert qdrant.count("articles").count == len(kept)
    model = codes["model"]
    assert result(service.get(f"/models/{model}"))["sha256"] == codes["sha256"]
    assert (job["collection"], job["state"], job["parameters"]["by_itself"]) == ("articles", "done", True)
    assert "used" in sentence(service.delete(f"/models/{model}"), 409)
    assert qdrant.delete_collection("articles")
    assert sentence(service.get(f"/models/{model}"), 404)
    qdrant.close()


@pytest.mark.slow
def test_at_ten_times_the_size_it_trains_again_and_keeps_the_better_codec(tmp_path: Path) -> None:
    collection = "/collections/a"
    with running(tmp_path, **SETTINGS) as client:
        result(client.put(collection, json=AUTO))
        upload(client, collection, clustered(600, DIM, seed=3))
        wait_until_trained(client, 1)
        first = codes_of(client, collection)
        assert (first["state"], first["auto"]["trains_at"]) == ("ready", 6000)
        upload(client, collection, clustered(5400, DIM, seed=4), first_id=600)
    with running(tmp_path, **SETTINGS) as client:  # it is remembered over a restart
        again = wait_until_trained(client, 2)[0]["result"]
        now = codes_of(client, collection)
        assert now["auto"]["trains_at"] == 60_000
        assert again["is_better"] is (again["mse"]["after"] < again["mse"]["before"])
        assert (now["model"] == again["model"]) is again["is_better"] is (now["sha256"] != first["sha256"])
        names = {one["name"] for one in result(client.get("/models"))["models"]}
        assert names == {now["model"]}  # the other one is gone


@pytest.mark.slow
def test_killed_while_it_trains_it_goes_on_at_the_next_start(tmp_path: Path) -> None:
    collection = "/collections/a"
    with running(tmp_path, **SETTINGS) as client:
        result(client.put(collection, json=AUTO))
        upload(client, collection, clustered(600, DIM, seed=3))
        wait_until(lambda: codes_of(client, collection)["state"] == "training")
    with running(tmp_path, **SETTINGS) as client:
        assert [job["state"] for job in wait_until_trained(client, 1)] == ["done"]
        assert codes_of(client, collection)["state"] == "ready"


def test_what_cannot_train_by_itself_is_refused_or_exact(service: Client) -> None:
    taxi, euclid = {"size": 4, "distance": "Manhattan"}, {"size": 4, "distance": "Euclid"}
    for body, named in [
        ({"vectors": taxi, "codes": {"model": "auto"}}, "Manhattan"),
        ({"vectors": euclid, "codes": {"originals": "none"}}, "originals"),
        ({"vectors": euclid, "codes": {"model": "none", "train_at": 5000}}, "codes.train_at"),
        ({"vectors": euclid, "codes": {"bytes": 65}}, "codes.bytes"),
    ]:
        response = service.put("/collections/refused", json=body)
        assert response.status_code in (400, 422)
        assert named in response.json()["status"]["error"]
    result(service.put("/collections/taxi", json={"vectors": taxi}))
    assert codes_of(service, "/collections/taxi")["auto"] is None


def test_the_size_of_codes_may_be_said_as_qdrant_says_it(service: Client) -> None:
    vectors = {"size": 128, "distance": "Cosine"}
    quantization = {"product": {"compression": "x32", "always_ram": True}}
    result(service.put("/collections/product", json={"vectors": vectors, "quantization_config": quantization}))
    info = result(service.get("/collections/product"))
    assert info["codes"]["auto"]["bytes"] == 16
    assert info["config"]["quantization_config"] == quantization
    large = {"vectors": vectors | {"size": 1536}, "quantization_config": {"product": {"compression": "x16"}}}
    result(service.put("/collections/large", json=large))
    info = result(service.get("/collections/large"))
    assert info["codes"]["auto"]["bytes"] == 32
    assert "x16" in info["warnings"][0]["message"]
    for other in ({"scalar": {"type": "int8"}}, {"product": {"compression": "x4"}}):
        told = sentence(service.put("/collections/no", json={"vectors": vectors, "quantization_config": other}), 400)
        assert "quantization_config" in told
