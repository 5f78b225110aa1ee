"""Arrays are uploaded as JSON, .npy or a form; what is wrong is refused before anything is written."""

import json
import re
import socket

import numpy as np
import pytest

from service import upload_rows as upload
from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import NPY, count, npy, points, result, sentence
from tests.service.service_in_process import Client, wait_until

UUIDS = [f"00000000-0000-0000-0000-{i:012d}" for i in range(5)]


def stored(client: Client, collection: str, ids: list[object]) -> np.ndarray:
    found = result(client.post(f"{collection}/points", json={"ids": ids, "with_vector": True}))
    return np.array([point["vector"] for point in found], np.float32)


def test_an_npy_gets_ids_after_the_largest(client: Client, collection: str) -> None:
    vectors = clustered(30)
    first = result(client.post(f"{collection}/points/upload", content=npy(vectors[:10]), headers=NPY))
    assert (first["points"], first["first_id"], first["last_id"]) == (10, 0, 9)
    assert first["operation_id"] > 0
    second = result(client.post(f"{collection}/points/upload", content=npy(vectors[10:]), headers=NPY))
    assert (second["first_id"], second["last_id"]) == (10, 29)
    np.testing.assert_array_equal(stored(client, collection, list(range(30))), vectors)


def test_an_npy_is_written_in_durable_chunks(client: Client, collection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 7 * 4 * DIM)
    vectors = clustered(50)
    answer = result(client.post(f"{collection}/points/upload?first_id=100", content=npy(vectors), headers=NPY))
    assert (answer["points"], answer["first_id"], answer["last_id"]) == (50, 100, 149)
    np.testing.assert_array_equal(stored(client, collection, list(range(100, 150))), vectors)


def test_an_error_after_the_first_chunk_says_what_is_stored(
    client: Client, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 10 * 4 * DIM)
    vectors = clustered(30)
    vectors[25, 3] = np.nan
    told = sentence(client.post(f"{collection}/points/upload", content=npy(vectors), headers=NPY), 400)
    assert re.search(r"Point 25: number 3 is nan.* The first 20 points of this upload are stored", told)
    assert count(client, collection) == 20


@pytest.mark.parametrize("kind", ["float16", "uint8", "int8", ">f4"])
def test_other_numbers_are_read_as_float32(client: Client, collection: str, kind: str) -> None:
    vectors = np.abs(clustered(5)).astype(kind)
    result(client.post(f"{collection}/points/upload", content=npy(vectors), headers=NPY))
    np.testing.assert_array_equal(stored(client, collection, [0, 1, 2, 3, 4]), vectors.astype(np.float32))


def test_a_form_brings_ids_and_payload(client: Client, collection: str) -> None:
    payload = "".join(json.dumps({"n": i, "separator": "\u2028"}, ensure_ascii=False) + "\n" for i in range(5))
    files = {
        "payload": ("p.jsonl", payload.encode()),
        "ids": ("ids.txt", "\n".join(UUIDS).encode()),
        "vectors": ("v.npy", npy(clustered(5))),
    }
    answer = result(client.post(f"{collection}/points/upload", files=files))
    assert (answer["points"], answer["first_id"], answer["last_id"]) == (5, UUIDS[0], UUIDS[4])
    assert result(client.get(f"{collection}/points/{UUIDS[3]}"))["payload"]["n"] == 3
    numbers = {"ids": ("ids.npy", npy(np.array([2**64 - 1, 5], np.uint64))), "vectors": ("v.npy", npy(clustered(2)))}
    assert result(client.post(f"{collection}/points/upload", files=numbers))["first_id"] == 2**64 - 1


def test_a_form_without_ids_is_numbered(client: Client, collection: str) -> None:
    answer = result(
        client.post(f"{collection}/points/upload?first_id=7", files={"vectors": ("v.npy", npy(clustered(2)))})
    )
    assert (answer["first_id"], answer["last_id"]) == (7, 8)


def test_json_is_taken_in_each_form(client: Client, collection: str) -> None:
    columns = {"ids": [1, 2], "vectors": clustered(2).tolist(), "payloads": [{"a": 1}, {}]}
    for body in (points(clustered(3)), {"batch": columns}, columns):
        assert result(client.post(f"{collection}/points/upload", json=body))["points"] in (2, 3)
    assert count(client, collection) == 3


def test_uploads_at_the_same_time_never_number_alike(client: Client, collection: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def send(seed: int) -> int:
        body = npy(clustered(20, seed=seed))
        return int(result(client.post(f"{collection}/points/upload", content=body, headers=NPY))["first_id"])

    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(send, range(8)))
    assert sorted(firsts) == list(range(0, 160, 20))
    assert count(client, collection) == 160


def _lying_header(rows: int) -> bytes:
    return npy(clustered(2)).replace(b"(2, 16), ", f"({rows}, 16), ".encode(), 1)


OBJECTS = np.array([[{}] * DIM], dtype=object)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "ends within its header"),
        (b"no array", "not a .npy file"),
        (npy(clustered(2))[:60], "ends within its header"),
        (npy(clustered(2))[:-1], "promises 256 bytes; the body has 255"),
        (npy(clustered(2)) + b"x", "promises 256 bytes; the body has 257"),
        (_lying_header(10**15), "promises"),
        (npy(clustered(2).astype(np.float64)), "float64"),
        (npy(np.asfortranarray(clustered(4))), "Fortran"),
        (npy(clustered(2)[0]), "1 dimensions"),
        (npy(clustered(2, dim=5)), "vectors of 16 numbers; point 0 of this array has 5"),
        (npy(np.full((2, DIM), np.inf, np.float32)), "Point 0: number 0 is inf"),
        (np.lib.format.MAGIC_PREFIX + b"\x03\x00" + npy(clustered(2))[8:], "3.0"),
        (np.lib.format.MAGIC_PREFIX + b"\x02\x00" + b"\xff\xff\xff\xff", "header claims"),
    ],
)
def test_a_bad_npy_is_refused_and_changes_nothing(client: Client, collection: str, body: bytes, named: str) -> None:
    before = result(client.get(collection))
    assert named in sentence(client.post(f"{collection}/points/upload", content=body, headers=NPY), 400)
    assert result(client.get(collection)) == before


def test_objects_are_never_unpickled(client: Client, collection: str) -> None:
    import io

    file = io.BytesIO()
    np.save(file, OBJECTS, allow_pickle=True)
    told = sentence(client.post(f"{collection}/points/upload", content=file.getvalue(), headers=NPY), 400)
    assert "objects" in told
    assert count(client, collection) == 0


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({}, "vectors"),
        ({"vectors": b"no array"}, "not a .npy"),
        ({"vectors": npy(clustered(2)), "ids": npy(np.arange(3, dtype=np.uint64))}, "2 vectors, 'ids' 3"),
        ({"vectors": npy(clustered(2)), "ids": npy(np.array([1, -1]))}, "ids[1]"),
        ({"vectors": npy(clustered(2)), "ids": b"5\nx"}, "ids, line 1"),
        ({"vectors": npy(clustered(2)), "payload": b'{"a": 1}\n'}, "payload"),
        ({"vectors": npy(clustered(2)), "payload": b"{}\nnull\n{}\n"}, "payload"),
        ({"vectors": npy(clustered(2)), "payload": b"{}\n{\n"}, "'payload', line 2"),
        ({"vectors": npy(clustered(2)), "colours": b"1"}, "colours"),
        ({"vectors": npy(clustered(2))[:-4]}, "promises"),
    ],
)
def test_a_bad_form_is_refused_and_changes_nothing(
    client: Client, collection: str, parts: dict[str, bytes], named: str
) -> None:
    files = {name: (name, content) for name, content in parts.items()} or {"nothing": ("x", b"x")}
    assert named in sentence(client.post(f"{collection}/points/upload", files=files), 400)
    assert count(client, collection) == 0


def test_other_content_is_415(client: Client, collection: str) -> None:
    headers = {"Content-Type": "text/csv"}
    assert "text/csv" in sentence(client.post(f"{collection}/points/upload", content=b"1,2", headers=headers), 415)
    compressed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert "gzip" in sentence(client.post(f"{collection}/points/upload", content=b"{}", headers=compressed), 415)


def test_ids_must_not_run_over_the_end(client: Client, collection: str) -> None:
    body = npy(clustered(2))
    told = sentence(client.post(f"{collection}/points/upload?first_id={2**64 - 1}", content=body, headers=NPY), 422)
    assert "no room" in told


def test_an_upload_that_breaks_off_keeps_its_whole_chunks(
    client: Client, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 10 * 4 * DIM)
    body = npy(clustered(30))
    head = f"POST {collection}/points/upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: -5 * 4 * DIM])
        wait_until(lambda: count(client, collection) == 20)
    np.testing.assert_array_equal(stored(client, collection, list(range(20))), clustered(30)[:20])
    assert count(client, collection) == 20
