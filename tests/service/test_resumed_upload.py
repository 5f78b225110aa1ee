"""An upload with a name goes on from where it broke off: after a lost connection, and after SIGKILL."""

import json
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store import uploads
from service import upload_rows
from service.points_json import Ids, Points
from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import NPY, count, npy, result, sentence
from tests.service.server_process import ForkedServer
from tests.service.service_in_process import Client, wait_until

CHUNK = 10


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_rows, "CHUNK_BYTES", CHUNK * 4 * DIM)


def send(client: httpx.Client, collection: str, body: bytes, **parameters: object) -> httpx.Response:
    shown = {key: str(value) for key, value in parameters.items()}
    return client.post(f"{collection}/points/upload", params=shown, content=body, headers=NPY)


def how_far(client: httpx.Client, collection: str, key: str = "k") -> httpx.Response:
    return client.get(f"{collection}/points/upload", params={"upload": key})


def break_off(client: httpx.Client, path: str, body: bytes, at: int) -> socket.socket:
    """Begin a request that announces the whole body, and stop after `at` bytes; the connection is still open."""
    url = urlsplit(str(client.base_url))
    connection = socket.create_connection((url.hostname, url.port or 80))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:at])
    return connection


@pytest.fixture
def broken(client: Client, collection: str) -> np.ndarray:
    """The 35 vectors of an upload `k` that broke off after 20, numbered after a first point of id 100."""
    vectors = clustered(35)
    send(client, collection, npy(clustered(1, seed=9)), first_id=100)
    body = npy(vectors)
    with break_off(client, f"{collection}/points/upload?upload=k", body, len(body) - 10 * 4 * DIM):
        wait_until(lambda: count(client, collection) == 21)
    return vectors


def resumed(client: httpx.Client, collection: str, body: bytes, **parameters: object) -> httpx.Response:
    """Sent again, once the server has noticed that the other connection is gone."""
    answers = []

    def is_free() -> bool:
        answers.append(send(client, collection, body, upload="k", **parameters))
        return not (answers[-1].status_code == 409 and "Another request" in answers[-1].text)

    wait_until(is_free)
    return answers[-1]


def stored(client: httpx.Client, collection: str, first: int, n: int) -> np.ndarray:
    ids = list(range(first, first + n))
    found = result(client.post(f"{collection}/points", json={"ids": ids, "with_vector": True}))
    assert [one["id"] for one in found] == ids
    return np.array([one["vector"] for one in found], np.float32)


def test_how_far_it_came_is_told(client: Client, collection: str, broken: np.ndarray) -> None:
    told = result(how_far(client, collection))
    assert told.pop("operation_id") > 0
    own = zlib.crc32(broken[:20].astype(np.float32).tobytes())
    assert told == {"points": 20, "total": 35, "first_id": 101, "last_id": 120, "vectors_crc32": own}
    assert "'other'" in sentence(how_far(client, collection, "other"), 404)
    sentence(how_far(client, collection, "no/name"), 400)


@pytest.mark.parametrize("offset", [0, 13, 20])
def test_the_same_again_or_the_rest_of_it_goes_on(
    client: Client, collection: str, broken: np.ndarray, offset: int
) -> None:
    before = {one["id"]: one["version"] for one in _hits(client, collection)}
    answer = result(resumed(client, collection, npy(broken[offset:]), offset=offset))
    assert (answer["points"], answer["first_id"], answer["last_id"]) == (35, 101, 135)
    np.testing.assert_array_equal(stored(client, collection, 101, 35), broken)
    after = {one["id"]: one["version"] for one in _hits(client, collection)}
    assert len(after) == 36
    assert all(after[id] == version for id, version in before.items()), "what was stored is not written again"


def _hits(client: Client, collection: str) -> list[dict[str, int]]:
    body = {"query": [0.0] * DIM, "limit": 50}
    return list(result(client.post(f"{collection}/points/query", json=body))["points"])


def test_a_whole_upload_sent_again_changes_nothing(client: Client, collection: str) -> None:
    body = npy(clustered(25))
    first = result(send(client, collection, body, upload="whole"))
    assert result(send(client, collection, body, upload="whole")) == first
    assert result(send(client, collection, npy(clustered(25)[20:]), upload="whole", offset=20)) == first
    assert count(client, collection) == 25


@pytest.mark.parametrize(
    ("rows", "parameters", "named"),
    [
        (slice(30, 35), {"offset": 30}, "20 points are stored"),
        (slice(0, 34), {}, "one of 35 points; with this body it would have 34"),
        (slice(0, 35), {"first_id": 5}, "numbered from 101"),
        (slice(34, None, -1), {}, "began with other vectors"),
    ],
)
def test_what_does_not_go_on_with_it_is_refused(
    client: Client, collection: str, broken: np.ndarray, rows: slice, parameters: dict[str, int], named: str
) -> None:
    body = npy(np.ascontiguousarray(broken[rows]))
    told = resumed(client, collection, body, **parameters)
    assert named in sentence(told, 409)
    assert "The first 20 points of this upload are stored." in told.text
    assert count(client, collection) == 21


def test_an_offset_needs_a_name(client: Client, collection: str) -> None:
    assert "'upload'" in sentence(send(client, collection, npy(clustered(2)), offset=1), 400)
    assert "'upload'" in sentence(send(client, collection, npy(clustered(2)), upload="../etc"), 400)
    assert "'offset'" in sentence(send(client, collection, npy(clustered(2)), upload="k", offset=-1), 422)


def test_two_requests_never_send_one_upload_at_once(client: Client, collection: str) -> None:
    body = npy(clustered(30))
    with break_off(client, f"{collection}/points/upload?upload=k", body, len(body) - 5):
        wait_until(lambda: count(client, collection) == 20)
        assert "Another request" in sentence(send(client, collection, body, upload="k"), 409)
        assert result(send(client, collection, body, upload="k2"))["first_id"] == 30, "another name is another upload"


def test_ids_and_payloads_that_come_along_are_resumed_too(client: Client, collection: str) -> None:
    ids = [str(UUID(int=at)) for at in range(30)]
    vectors = clustered(30)
    columns = {"ids": ids, "vectors": vectors.tolist(), "payloads": [{"n": at} for at in range(30)]}
    spoilt = vectors.copy()
    spoilt[25] = np.inf
    lines = "".join(json.dumps(one) + "\n" for one in columns["payloads"])

    def form(array: np.ndarray, first: int = 0) -> dict[str, tuple[str, bytes]]:
        parts = {"vectors": npy(array[first:]), "ids": "\n".join(ids[first:]).encode()}
        return {name: (name, part) for name, part in parts.items()} | {
            "payload": ("p", "".join(lines.splitlines(True)[first:]).encode())
        }

    url = f"{collection}/points/upload"
    assert result(client.post(f"{url}?upload=f", files=form(vectors)))["points"] == 30
    assert result(client.post(f"{url}?upload=f&offset=15", files=form(vectors, 15)))["last_id"] == ids[-1]
    assert "brings ids of its own" in sentence(send(client, collection, npy(vectors), upload="f"), 409)
    answer = result(client.post(f"{url}?upload=j", json=columns))
    assert result(client.post(f"{url}?upload=j", json=columns)) == answer
    for other in ({"ids": ids[::-1]}, {"payloads": [{"n": 0}] * 30}):
        assert "began with other" in sentence(client.post(f"{url}?upload=j", json=columns | other), 409)
    assert result(client.get(f"{collection}/points/{ids[29]}"))["payload"] == {"n": 29}


@given(
    n=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 12)),
    ids=st.sampled_from(["numbers", "array", "list"]),
    has_payloads=st.booleans(),
    change=st.sampled_from(["vectors", "a vector", "ids", "payloads"]),
    names=st.lists(st.sampled_from(["default", "a", "b"]), min_size=1, unique=True),
    has_all=st.booleans(),
)
def test_a_checksum_is_of_the_rows_however_they_arrive(
    n: int, cuts: list[int], ids: str, has_payloads: bool, change: str, names: list[str], has_all: bool
) -> None:
    numbers = np.arange(n, dtype=np.uint64)
    payloads: list[dict[str, Any] | None] | None = [{"b": at, "a": None} for at in range(n)] if has_payloads else None
    given, others = numbers, numbers + np.uint64(1)
    own: list[Ids] = [list(map(int, given)), list(map(int, others))] if ids == "list" else [given, others]
    at = {name: np.arange(0, n, 1 if has_all else seed) for seed, name in enumerate(names, start=1)}
    vectors = {name: clustered(n, seed=seed)[at[name]] for seed, name in enumerate(names)}
    whole = Points(own[0], vectors, payloads, None if has_all else at)
    told = 0
    places = sorted({0, n, *(cut for cut in cuts if cut < n)})
    for start, stop in pairwise(places):
        told = upload_rows._checksum(whole.part(start, stop), ids == "numbers", told)
    assert told == upload_rows._checksum(whole, ids == "numbers", 0)
    other = {
        "vectors": replace(whole, vectors={name: some + 1 for name, some in vectors.items()}),
        "a vector": replace(whole, vectors={**vectors, names[-1]: vectors[names[-1]] + 1}),
        "ids": replace(whole, ids=own[1]),
        "payloads": replace(whole, payloads=payloads and [{"b": -1}, *payloads[1:]]),
    }[change]
    is_told = "vector" in change or (has_payloads if change == "payloads" else has_payloads or ids != "numbers")
    assert (upload_rows._checksum(other, ids == "numbers", 0) != told) == is_told


def test_json_uploads_refuse_what_they_do_not_do_and_place_named_vectors(client: Client) -> None:
    path = "/collections/two-names"
    vector = {"size": 2, "distance": "Dot"}
    none = {"model": "none"}
    body = {"vectors": {"a": vector, "b": vector}, "codes": {"a": none, "b": none}}
    assert client.put(path, json=body).status_code == 200
    points = [{"id": at, "vector": {"ab"[at % 2]: [at, 1]}} for at in range(30)]
    for option in ("update_mode", "update_filter"):
        value = "insert_only" if option == "update_mode" else {}
        told = client.post(f"{path}/points/upload", json={"points": points, option: value})
        assert option in sentence(told, 400)
    assert result(client.post(f"{path}/points/upload?upload=k", json={"points": points}))["points"] == 30
    found = result(client.post(f"{path}/points", json={"ids": list(range(30)), "with_vector": True}))
    assert [one["vector"] for one in found] == [one["vector"] for one in points]
    client.delete(path)


def test_only_so_many_uploads_are_remembered(client: Client, collection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 2)
    for key in ("a", "b", "c"):
        send(client, collection, npy(clustered(2)), upload=key)
    assert [how_far(client, collection, key).status_code for key in ("a", "b", "c")] == [404, 200, 200]


def test_an_upload_that_a_kill_cut_off_is_resumed_by_the_next_process(tmp_path: Path) -> None:
    """Ids stay those that were promised, though others were numbered in between."""
    vectors, path = clustered(900), "/collections/c"
    body = npy(vectors)
    server = ForkedServer(tmp_path, max_pending=1000)  # 250 rows a chunk
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            declared = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "none"}}
            assert client.put(path, json=declared).status_code == 200
            connection = break_off(client, f"{path}/points/upload?upload=k", body, len(body) - 300 * 4 * DIM)
            wait_until(lambda: count(client, path) == 500)
            server.kill()
            connection.close()
        server = ForkedServer(tmp_path, max_pending=1000)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            told = result(how_far(client, path))
            assert (told["points"], told["total"], told["first_id"]) == (500, 900, 0)
            assert result(send(client, path, npy(clustered(3, seed=1))))["first_id"] == 900
            answer = result(send(client, path, npy(vectors[told["points"] :]), upload="k", offset=told["points"]))
            assert (answer["points"], answer["first_id"], answer["last_id"]) == (900, 0, 899)
            np.testing.assert_array_equal(stored(client, path, 0, 900), vectors)
            assert count(client, path) == 903
    finally:
        server.kill()


def test_many_named_uploads_at_once_are_all_whole(client: Client, collection: str) -> None:
    def one(seed: int) -> int:
        answer = result(send(client, collection, npy(clustered(25, seed=seed)), upload=f"u{seed}"))
        return int(answer["first_id"])

    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(one, range(8)))
    assert sorted(firsts) == list(range(0, 200, 25))
    for seed, first in enumerate(firsts):
        np.testing.assert_array_equal(stored(client, collection, first, 25), clustered(25, seed=seed))
