"""Bodies beyond their limit get 413, whether they say their size or not, and change nothing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import clustered
from tests.service.requests import NPY, count, npy, result, sentence
from tests.service.service_in_process import READY_S, Client, running

MAX_BODY, MAX_UPLOAD = 20_000, 100_000
COLLECTION = "/collections/c"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("small"), max_body=MAX_BODY, max_upload=MAX_UPLOAD) as client:
        result(client.put(COLLECTION, json={"vectors": {"size": 16, "distance": "Dot"}}))
        yield client


def _in_pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("path", [f"{COLLECTION}/points", "/collections/new"])
def test_json_beyond_the_limit_is_413(small: Client, path: str) -> None:
    told = sentence(small.put(path, content=b" " * (MAX_BODY + 1), headers=JSON), 413)
    assert f"limit of {MAX_BODY} bytes" in told


def test_a_chunked_body_is_counted_while_it_streams(small: Client) -> None:
    told = sentence(small.put(f"{COLLECTION}/points", content=_in_pieces(10 * MAX_BODY), headers=JSON), 413)
    assert f"limit of {MAX_BODY} bytes" in told
    assert count(small, COLLECTION) == 0


def test_a_body_without_end_is_cut_off(small: Client) -> None:
    with socket.create_connection((small.base_url.host, small.base_url.port or 80)) as endless:
        head = f"PUT {COLLECTION}/points HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        endless.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(10_000):
                endless.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
        except OSError:
            return  # the connection was closed while sending, as it should be
        assert b" 413 " in endless.recv(4096)


def test_uploads_and_models_have_a_limit_of_their_own(small: Client) -> None:
    vectors = clustered(MAX_BODY // 64 + 1)
    assert result(small.post(f"{COLLECTION}/points/upload", content=npy(vectors), headers=NPY))["points"] == len(
        vectors
    )
    before = count(small, COLLECTION)
    too_many = npy(clustered(MAX_UPLOAD // 64 + 1))
    sentence(small.post(f"{COLLECTION}/points/upload", content=too_many, headers=NPY), 413)
    sentence(small.post(f"{COLLECTION}/points/upload", content=iter([too_many]), headers=NPY), 413)
    sentence(small.post(f"{COLLECTION}/points/upload", files={"vectors": ("v", too_many)}), 413)
    sentence(small.put("/models/big", content=b" " * (MAX_UPLOAD + 1)), 413)
    sentence(small.put("/models/big", content=_in_pieces(2 * MAX_UPLOAD)), 413)
    assert count(small, COLLECTION) == before
    assert not list(Path(small.data).glob(".incoming-*"))


def test_a_header_that_promises_too_much_is_refused_before_its_rows_arrive(small: Client) -> None:
    lie = npy(clustered(2)).replace(b"(2, 16), ", b"(99999, 16), ", 1)
    assert "promises" in sentence(small.post(f"{COLLECTION}/points/upload", content=iter([lie]), headers=NPY), 413)
    assert "promises" in sentence(small.post(f"{COLLECTION}/points/query/array", content=iter([lie]), headers=NPY), 413)


def test_a_body_that_stops_coming_is_408_and_the_others_are_answered(tmp_path: Path) -> None:
    with running(tmp_path, body_timeout=1) as client:
        slow = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        slow.sendall(b"PUT /collections/c HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        assert client.get("/readyz").status_code == 200
        slow.settimeout(READY_S)
        with slow.makefile("rb") as whole:
            answered = whole.read()
        slow.close()
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"Nothing of the body came for 1 s" in answered
