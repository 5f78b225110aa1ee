"""The server as a process: it stops in order, refuses a folder in use, and says in one line why it does not start."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders import clustered
from tests.service.requests import count, result
from tests.service.server_process import ServerProcess

COLLECTION = "/collections/c"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    one = ServerProcess(tmp_path_factory.mktemp("server"))
    try:
        one.wait_until_ready()
        with httpx.Client(base_url=one.url) as client:
            result(client.put(COLLECTION, json={"vectors": {"size": 16, "distance": "Dot"}}))
        yield one
    finally:
        one.kill()


def test_a_second_server_on_the_folder_names_the_first(server: ServerProcess) -> None:
    second = ServerProcess(server.log.parent)
    assert second.process.wait(60) == 1
    assert f"{server.process.pid}" in server.log.read_text().splitlines()[-1]


def test_sigterm_stops_in_order_and_nothing_acknowledged_is_lost(server: ServerProcess) -> None:
    acknowledged = [0]

    def write() -> None:
        with httpx.Client(base_url=server.url) as client:
            for n in range(1, 10_000):
                body = {"points": [{"id": n, "vector": clustered(1)[0].tolist()}]}
                try:
                    if client.put(f"{COLLECTION}/points", json=body).status_code != 200:
                        return
                except httpx.TransportError:
                    return
                acknowledged[0] = n

    writing = threading.Thread(target=write)
    writing.start()
    writing.join(0.5)
    assert server.terminate() == 0
    writing.join()
    again = ServerProcess(server.log.parent)
    try:
        again.wait_until_ready()
        with httpx.Client(base_url=again.url) as client:
            assert count(client, COLLECTION) >= acknowledged[0] > 0
    finally:
        again.kill()
    log = again.log.read_text()
    assert "Stopping, on SIGTERM" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["serve"], {"QINCO_PROT": "1"}, "Unknown variable QINCO_PROT. Did you mean QINCO_PORT?"),
        (["serve", "--port", "70000"], {}, "Setting 'port': input should be less than or equal to 65535."),
        (["serve", "--config", "missing.toml"], {}, "The settings file missing.toml cannot be read: "),
        (["query", "c", "--id", "1", "--url", "http://127.0.0.1:9"], {}, "No answer from http://127.0.0.1:9"),
        (["train", "missing.npy", "--out", "no/folder"], {}, "There is no folder no to write folder into."),
        (["ingest", "missing.npy", "--collection", "c"], {}, "missing.npy cannot be read"),
        (
            ["train", "missing.npy", "--out", "x", "--time-budget", "soon"],
            {},
            "--time-budget is a number with s, m or h",
        ),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], told: str
) -> None:
    ended = _command(arguments, variables, tmp_path)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_points_written_by_command_are_found_by_command(server: ServerProcess, tmp_path: Path) -> None:
    del server  # its folder is served by a server of this test's own
    own = ServerProcess(tmp_path)
    try:
        own.wait_until_ready()
        with httpx.Client(base_url=own.url) as client:
            result(client.put(COLLECTION, json={"vectors": {"size": 16, "distance": "Euclid"}}))
        _ingest_and_query(own.url, tmp_path)
    finally:
        own.kill()


def _ingest_and_query(url: str, folder: Path) -> None:
    import json

    import numpy as np

    vectors = clustered(50)
    np.save(folder / "v.npy", vectors[:20].astype(np.float64))
    records = np.zeros(20, dtype=[("dim", "<i4"), ("vector", "<f4", (16,))])
    records["dim"], records["vector"] = 16, vectors[20:40]
    records.tofile(folder / "v.fvecs")
    lines = [{"id": 40 + i, "vector": row.tolist(), "payload": {"i": i}} for i, row in enumerate(vectors[40:])]
    (folder / "v.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "query.json").write_text(json.dumps(vectors[33].tolist()))
    ingest = ["ingest", "v.npy", "v.fvecs", "v.jsonl", "--collection", "c", "--first-id", "0", "--json", "--url", url]
    ended = _command(ingest, {}, folder)
    assert json.loads(ended.stdout) == {"points": 50}, ended.stderr
    assert "v.npy: 20 of 20" in ended.stderr
    ended = _command(["query", "c", "--vector", "query.json", "--json", "--url", url, "--limit", "2"], {}, folder)
    assert json.loads(ended.stdout)[0]["id"] == 33, ended.stderr
    assert "payload" in _command(["query", "c", "--id", "45", "--url", url], {}, folder).stdout


def _command(arguments: list[str], variables: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    import os

    repository = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("QINCO_")}
    return subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", *arguments],
        env=environment | variables | {"PYTHONPATH": str(repository)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
