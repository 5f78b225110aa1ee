"""One folder, one server: a second says at once who has it, and takes over in whatever way the first ended."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.builders import clustered
from tests.index_store.making import fill, make_collection, store_at
from tests.service.requests import count, points, result
from tests.service.server_process import READY_S, ForkedServer, ServerProcess
from tests.service.service_in_process import wait_until

PATH = "/collections/c"
LONG_S = 600


def test_a_second_server_is_refused_while_the_first_ends_what_is_under_way(tmp_path: Path) -> None:
    first = ForkedServer(tmp_path, grace=LONG_S)
    try:
        with httpx.Client(base_url=first.url, timeout=READY_S) as client:
            result(client.put(PATH, json={"vectors": {"size": 16, "distance": "Dot"}}))
        with _begun(first, json.dumps(points(clustered(3))).encode()) as (connection, rest):
            first.process.terminate()
            wait_until(lambda: "Stopping, on SIGTERM" in first.log.read_text())
            with pytest.raises(AssertionError, match=f"in use by process {first.process.pid}:"):
                ForkedServer(tmp_path)
            connection.sendall(rest)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert first.terminate() == 0
        second = ForkedServer(tmp_path)
        try:
            with httpx.Client(base_url=second.url, timeout=READY_S) as client:
                assert count(client, PATH) == 3
        finally:
            second.kill()
    finally:
        first.kill()


@contextmanager
def _begun(server: ForkedServer, body: bytes) -> Iterator[tuple[socket.socket, bytes]]:
    """An upsert that the server has begun to read: the connection, and the half of the body that is to come."""
    url, half = urlsplit(server.url), len(body) // 2
    head = f"PUT {PATH}/points HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with socket.create_connection((str(url.hostname), url.port or 80), READY_S) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:half])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        yield connection, body[half:]


def test_a_server_that_is_killed_while_it_starts_hinders_no_other(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path, name="c"), 30)
    killed = ServerProcess(tmp_path)
    lock = tmp_path / "data/lock"
    wait_until(lambda: lock.read_text().strip() == str(killed.process.pid) or killed.process.poll() is not None)
    killed.kill()
    server = ForkedServer(tmp_path)
    try:
        with httpx.Client(base_url=server.url, timeout=READY_S) as client:
            assert count(client, PATH) == 30
    finally:
        server.kill()
