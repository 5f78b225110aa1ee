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
from tests.service.server_process import READY_S, ForkedServer, ServerProcess

COLLECTION = "/collections/c"


def client_of(server: ServerProcess | ForkedServer) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=READY_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    one = ServerProcess(tmp_path_factory.mktemp("server"))
    try:
        one.wait_until_ready()
        with client_of(one) as client:
            result(client.put(COLLECTION, json={"vectors": {"size": 16, "distance": "Euclid"}}))
        yield one
    finally:
        one.kill()


def test_a_second_server_on_the_folder_names_the_first(server: ServerProcess) -> None:
    second = ServerProcess(server.log.parent)
    assert second.process.wait(READY_S) == 1
    told = [line for line in server.log.read_text().splitlines() if "in use" in line]
    assert f"process {server.process.pid}:" in told[-1]


def test_what_a_user_can_mend_is_told_in_one_line(tmp_path: Path) -> None:
    """The other commands and mistakes are tried in one process, by test_command_line and test_cli_odd_input."""
    ended = _command(["serve"], {"QINCO_PROT": "1"}, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == "Unknown variable QINCO_PROT. Did you mean QINCO_PORT?\n"


def test_points_written_by_command_are_found_by_command(server: ServerProcess, tmp_path: Path) -> None:
    _ingest_and_query(server.url, tmp_path)


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
        timeout=READY_S,
        check=False,
    )


def test_sigterm_stops_in_order_and_nothing_acknowledged_is_lost(server: ServerProcess) -> None:
    acknowledged, has_begun, written = [0], threading.Event(), "/collections/written"
    with client_of(server) as client:
        result(client.put(written, json={"vectors": {"size": 16, "distance": "Dot"}}))

    def write() -> None:
        with client_of(server) as client:
            for n in range(1, 10_000):
                body = {"points": [{"id": n, "vector": clustered(1)[0].tolist()}]}
                try:
                    if client.put(f"{written}/points", json=body).status_code != 200:
                        return
                except httpx.TransportError:
                    return
                acknowledged[0] = n
                has_begun.set()

    writing = threading.Thread(target=write)
    writing.start()
    assert has_begun.wait(READY_S)
    writing.join(0.2)
    assert server.terminate() == 0
    writing.join()
    again = ForkedServer(server.log.parent)
    try:
        with client_of(again) as client:
            assert count(client, written) >= acknowledged[0] > 0
    finally:
        again.kill()
    log = server.log.read_text()
    assert "Stopping, on SIGTERM" in log
    assert "Traceback" not in log
