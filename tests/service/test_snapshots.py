"""Snapshots over HTTP: taken, listed, downloaded, put back; and by Qdrant's own client."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient

from tests.builders import clustered
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client, wait_until


@pytest.fixture
def filled(client: Client, collection: str) -> Iterator[str]:
    result(client.put(f"{collection}/points", json=points(clustered(30))))
    yield collection
    for one in result(client.get(f"{collection}/snapshots")):
        client.delete(f"{collection}/snapshots/{one['name']}")


def count(client: Client, collection: str) -> int:
    return int(result(client.post(f"{collection}/points/count", json={}))["count"])


def test_a_snapshot_is_taken_listed_downloaded_and_deleted(client: Client, filled: str) -> None:
    made = result(client.post(f"{filled}/snapshots"))
    assert set(made) == {"name", "creation_time", "size", "checksum"}
    assert result(client.get(f"{filled}/snapshots")) == [made]
    archive = client.get(f"{filled}/snapshots/{made['name']}").content
    assert (len(archive), hashlib.sha256(archive).hexdigest()) == (made["size"], made["checksum"])
    assert result(client.delete(f"{filled}/snapshots/{made['name']}")) is True
    assert result(client.get(f"{filled}/snapshots")) == []
    sentence(client.get(f"{filled}/snapshots/{made['name']}"), 404)
    sentence(client.delete(f"{filled}/snapshots/{made['name']}"), 404)


def test_a_collection_is_put_back_by_name_or_by_upload_under_any_name(client: Client, filled: str) -> None:
    made = result(client.post(f"{filled}/snapshots"))
    archive = client.get(f"{filled}/snapshots/{made['name']}").content
    result(client.post(f"{filled}/points/delete", json={"points": list(range(20))}))
    assert count(client, filled) == 10
    body = {"location": made["name"], "checksum": made["checksum"], "priority": "snapshot"}
    assert result(client.put(f"{filled}/snapshots/recover", json=body)) is True
    assert count(client, filled) == 30
    other = "/collections/other"
    location = f"{filled.rpartition('/')[2]}/{made['name']}"
    result(client.put(f"{other}/snapshots/recover", json={"location": location}))
    assert count(client, other) == 30
    client.delete(other)
    sent = client.post(f"{other}/snapshots/upload?checksum={made['checksum']}", files={"snapshot": archive})
    assert result(sent) is True
    assert count(client, other) == 30
    assert not list(client.data.glob(".incoming-*"))
    client.delete(other)


def test_what_cannot_be_put_back_is_refused_and_the_collection_stays(client: Client, filled: str) -> None:
    made = result(client.post(f"{filled}/snapshots"))
    archive = bytearray(client.get(f"{filled}/snapshots/{made['name']}").content)
    archive[5000] ^= 1
    assert "checksum" in sentence(client.post(f"{filled}/snapshots/upload", files={"snapshot": bytes(archive)}), 400)
    sentence(client.post(f"{filled}/snapshots/upload?checksum={'0' * 64}", files={"snapshot": bytes(archive)}), 400)
    sentence(client.post(f"{filled}/snapshots/upload", files={"other": b"x"}), 400)
    sentence(client.post(f"{filled}/snapshots/upload?priority=replica", files={"snapshot": b"x"}), 400)
    for location in ("none", "../../x", "other/../../lock"):
        assert client.put(f"{filled}/snapshots/recover", json={"location": location}).status_code in (400, 404)
    for location in ("http://169.254.169.254/x", "file:///etc/passwd", "/etc/passwd"):
        refused = client.put(f"{filled}/snapshots/recover", json={"location": location})
        assert "fetches nothing" in sentence(refused, 400)
    assert "each collection" in sentence(client.post("/snapshots"), 400)
    sentence(client.post("/collections/missing/snapshots"), 404)
    sentence(client.get("/collections/missing/snapshots"), 404)
    assert count(client, filled) == 30
    assert not list(client.data.glob(".incoming-*"))


def test_without_waiting_the_work_goes_on_and_the_jobs_tell_what_came_of_it(client: Client, filled: str) -> None:
    def ended(kind: str) -> list[dict[str, Any]]:
        jobs = result(client.get("/jobs"))["jobs"]
        return [one for one in jobs if (one["kind"], one["collection"]) == (kind, filled.rpartition("/")[2])]

    assert client.post(f"{filled}/snapshots?wait=false").status_code == 202
    wait_until(lambda: len(ended("snapshot")) == 1)
    [made] = result(client.get(f"{filled}/snapshots"))
    assert (ended("snapshot")[0]["state"], ended("snapshot")[0]["result"]) == ("done", made)

    wrong = {"location": made["name"], "checksum": "0" * 64}
    assert client.put(f"{filled}/snapshots/recover?wait=false", json=wrong).status_code == 202
    wait_until(lambda: len(ended("restore")) == 1)
    assert ended("restore")[0]["state"] == "failed" and ended("restore")[0]["error"]


def test_qdrants_client_takes_and_recovers_snapshots(client: Client, filled: str) -> None:
    name = filled.rpartition("/")[2]
    qdrant = QdrantClient(url=str(client.base_url), timeout=60)
    made = qdrant.create_snapshot(name)
    assert made is not None
    assert [one.name for one in qdrant.list_snapshots(name)] == [made.name]
    qdrant.delete(name, list(range(30)))
    assert qdrant.recover_snapshot(name, made.name, checksum=made.checksum, priority="snapshot")  # type: ignore[arg-type]
    assert qdrant.count(name).count == 30
    assert qdrant.delete_snapshot(name, made.name)
    assert qdrant.list_full_snapshots() == []
    qdrant.close()
