"""A codec is trained on a collection's vectors by a job, in a process of its own, while the collection is used."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from index_store import JobRecord
from index_store.catalogue import Catalogue
from index_store.errors import DiskFull, JobCancelled
from index_store.storage import Storage
from service.training import child, process
from tests.builders import clustered
from tests.service.requests import NPY, npy, result, sentence, wait_until_encoded
from tests.service.service_in_process import Client, running, wait_until

DIM = 8
ROWS = 800
EXACT = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "none"}}


def filled(client: Client, name: str) -> str:
    """The path of a collection without codes, and 800 points in it."""
    path = f"/collections/{name}"
    result(client.put(path, json=EXACT))
    result(client.post(f"{path}/points/upload", content=npy(clustered(ROWS, DIM, seed=3)), headers=NPY))
    return path


def begun(client: Client, collection: str, name: str, budget: str = "1s", **body: Any) -> dict[str, Any]:
    response = client.post(f"{collection}/train", json={"bytes": 2, "time_budget": budget, "name": name, **body})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()["result"]
    return job


def told(client: Client, job: dict[str, Any]) -> Any:
    return result(client.get(f"/jobs/{job['id']}"))


def ended(client: Client, job: dict[str, Any]) -> Any:
    wait_until(lambda: told(client, job)["ended"] is not None)
    return told(client, job)


def children() -> set[int]:
    """The processes that this one has started."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_a_codec_is_trained_stored_and_applied_while_queries_go_on(client: Client) -> None:
    collection, vectors = filled(client, "trained"), clustered(ROWS, DIM, seed=3)
    job = begun(client, collection, "made-here")
    assert job["parameters"] == {
        "using": "", "bytes": 2, "preset": "XS", "time_budget_s": 1.0, "name": "made-here", "apply": True,
        "by_itself": False,
    }  # fmt: skip
    states, figures = set(), None
    while told(client, job)["ended"] is None:
        states.add(result(client.get(collection))["codes"]["state"])
        figures = told(client, job)["figures"] or figures
        hits = result(client.post(f"{collection}/points/query", json={"query": vectors[5].tolist()}))["points"]
        assert hits[0]["id"] == 5
        time.sleep(0.05)  # the training has a low priority: without a pause this loop would slow it down
    done = told(client, job)
    assert (done["state"], done["error"]) == ("done", None)
    assert (done["result"]["model"], done["result"]["applied"]) == ("made-here", True)
    assert "training" in states
    line = next(one for one in done["log"] if one["stage"] == "training")
    assert {"epoch", "epochs", "loss", "training_mse", "validation_mse", "vectors_per_s", "eta_s"} <= line.keys()
    wait_until_encoded(client, collection)
    codes = result(client.get(collection))["codes"]
    assert (codes["model"], codes["code_bytes"], codes["state"]) == ("made-here", 2, "ready")
    assert result(client.get("/models/made-here"))["sha256"] == done["result"]["sha256"]
    page = client.get(f"/jobs/{job['id']}/report")
    assert page.headers["content-type"].startswith("text/markdown")
    assert "made-here" in page.text and "**this codec**" in page.text
    wait_until(lambda: {path.name for path in (client.data / "jobs" / job["id"]).iterdir()} == {"report.md"})
    assert "already" in sentence(client.post(f"{collection}/train", json={"name": "made-here"}), 409)
    result(client.delete(collection))


def test_cancelling_ends_the_process_and_leaves_nothing(client: Client) -> None:
    collection = filled(client, "cancelled")
    before = children()
    job = begun(client, collection, "never", "1h")
    wait_until(lambda: (told(client, job)["figures"] or {}).get("stage") not in (None, "sampling"))
    assert len(children() - before) == 1
    result(client.delete(f"/jobs/{job['id']}"))
    assert ended(client, job)["state"] == "cancelled"
    assert children() == before
    wait_until(lambda: not any((client.data / "jobs" / job["id"]).iterdir()))
    assert "'never'" in sentence(client.get("/models/never"), 404)
    assert "report" in sentence(client.get(f"/jobs/{job['id']}/report"), 404)
    assert result(client.get(collection))["codes"]["state"] == "exact"
    result(client.delete(collection))


def test_a_process_that_is_killed_fails_its_job_and_says_so(client: Client) -> None:
    collection = filled(client, "killed")
    before = children()
    job = begun(client, collection, "never", "1h")
    wait_until(lambda: len(children() - before) == 1)
    os.kill((children() - before).pop(), signal.SIGKILL)
    failed = ended(client, job)
    assert failed["state"] == "failed" and "memory" in failed["error"]
    assert "training failed" in result(client.get(collection))["warnings"][0]["message"]
    result(client.delete(collection))


def test_what_cannot_be_trained_is_refused_at_once(client: Client) -> None:
    result(client.put("/collections/few", json=EXACT))
    path = "/collections/few/train"
    assert "0 vectors" in sentence(client.post(path, json={"name": "x"}), 400)
    assert "'name'" in sentence(client.post(path, json={}), 400)
    assert "30m" in sentence(client.post(path, json={"name": "x", "time_budget": "soon"}), 400)
    assert "preset" in sentence(client.post(path, json={"name": "x", "preset": "XXL"}), 400)
    assert "bytes" in sentence(client.post(path, json={"name": "x", "bytes": 65}), 422)
    assert "'title'" in sentence(client.post(path, json={"name": "x", "using": "title"}), 400)
    assert sentence(client.post("/collections/missing/train", json={"name": "x"}), 404)
    lean = {"vectors": {"size": 16, "distance": "Dot"}, "codes": {"model": "tiny", "originals": "none"}}
    result(client.put("/collections/lean", json=lean))
    assert "no originals" in sentence(client.post("/collections/lean/train", json={"name": "x"}), 400)
    taxi = {"vectors": {"size": 2, "distance": "Manhattan"}}
    result(client.put("/collections/taxi", json=taxi))
    assert "Manhattan" in sentence(client.post("/collections/taxi/train", json={"name": "x"}), 400)


def test_vectors_that_teach_nothing_fail_the_job_with_a_sentence(client: Client) -> None:
    result(client.put("/collections/same", json=EXACT))
    same = np.ones((600, DIM), np.float32)
    result(client.post("/collections/same/points/upload", content=npy(same), headers=NPY))
    failed = ended(client, begun(client, "/collections/same", "nothing"))
    assert failed["state"] == "failed"
    assert "same" in failed["error"] or "one value" in failed["error"]


@pytest.mark.parametrize("fails_below", ["jobs", "models"])
def test_a_training_that_the_disk_has_no_room_for_fails_with_a_sentence_and_leaves_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, fails_below: str
) -> None:
    collection = filled(client, f"full-{fails_below}")
    write_at, put_job = Storage.write_at, Catalogue.put_job
    is_full = threading.Event()

    def write_if_it_may(self: Storage, path: Path, *rest: Any) -> None:
        if fails_below in path.parts:
            is_full.set()  # from now on for the catalogue, too
            raise DiskFull("The disk is full.")
        write_at(self, path, *rest)

    def put_if_it_may(self: Catalogue, job: JobRecord) -> None:
        if is_full.is_set():
            raise DiskFull("The disk is full.")
        put_job(self, job)

    monkeypatch.setattr(Storage, "write_at", write_if_it_may)
    monkeypatch.setattr(Storage, "link", lambda self, source, target: write_if_it_may(self, target))
    monkeypatch.setattr(Catalogue, "put_job", put_if_it_may)
    job = begun(client, collection, f"none-{fails_below}")
    failed = ended(client, job)
    assert (failed["state"], failed["error"]) == ("failed", "The disk is full.")
    left = {"jobs": set(), "models": {"report.md"}}[fails_below]
    wait_until(lambda: {path.name for path in (client.data / "jobs" / job["id"]).iterdir()} == left)
    assert sentence(client.get(f"/models/none-{fails_below}"), 404)
    asked = {"query": clustered(ROWS, DIM, seed=3)[5].tolist()}
    assert result(client.post(f"{collection}/points/query", json=asked))["points"][0]["id"] == 5
    assert "full" in sentence(client.post(f"{collection}/train", json={"name": "x"}), 507)
    monkeypatch.undo()
    assert ended(client, job)["state"] == "failed"
    result(client.delete(collection))


def test_a_training_that_says_nothing_is_ended_all_the_same() -> None:
    with subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE) as silent:
        with pytest.raises(JobCancelled):
            list(process._lines(silent, Mock(side_effect=[None, JobCancelled("It is to end.")])))
        silent.kill()


def test_what_a_training_says_is_heard_line_by_line() -> None:
    program = "import time; print('{\"a\": 1}'); print('{\"b\": ', end='', flush=True); time.sleep(0.1); print('2}')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as talking:
        assert list(process._lines(talking, lambda: None)) == [{"a": 1}, {"b": 2}]


def test_a_training_whose_process_cannot_write_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    np.save(tmp_path / "vectors.npy", clustered(600, DIM))
    (tmp_path / "recipe.json").write_text("{}")
    monkeypatch.setattr(child, "train", full)
    monkeypatch.setattr(child, "_be_modest", lambda allowed: None)
    monkeypatch.setattr(child, "_end_with_the_input", lambda: None)
    child.main(tmp_path, 1 << 30, "cpu")
    (told,) = capsys.readouterr().out.splitlines()
    assert "No space left on device" in json.loads(told)["refused"]


@pytest.mark.slow
def test_a_server_that_stops_takes_the_training_up_after_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        collection = filled(client, "a")
        others = children()
        job = begun(client, collection, "later", "3s", apply=False)
        wait_until(lambda: (told(client, job)["figures"] or {}).get("stage") == "training")
        trainings = children() - others
    assert trainings and not children() & trainings
    with running(tmp_path) as client:
        assert told(client, job)["state"] in ("waiting", "running")
        assert "has a job already" in sentence(client.post(f"{collection}/train", json={"name": "x"}), 409)
        done = ended(client, job)
        assert (done["state"], done["result"]["applied"]) == ("done", False)
        assert result(client.get(collection))["codes"]["state"] == "exact"
