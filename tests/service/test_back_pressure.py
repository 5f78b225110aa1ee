"""While too many vectors are pending, uploads wait and single upserts are told to come back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.encoding_worker import EncodingWorker
from tests.builders import clustered
from tests.service.conftest import DIM, checkpoint
from tests.service.requests import NPY, count, npy, points, result, sentence
from tests.service.service_in_process import running, wait_until

MAX_PENDING = 1000


def test_an_upload_waits_for_the_encoder_where_an_upsert_gets_429(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_encode, encode = threading.Event(), EncodingWorker._encode

    def when_it_may(self: EncodingWorker, *arguments: Any) -> int:
        return encode(self, *arguments) if may_encode.is_set() else 0

    monkeypatch.setattr(EncodingWorker, "_encode", when_it_may)
    with running(tmp_path, max_pending=MAX_PENDING) as client, ThreadPoolExecutor() as pool:
        client.put("/models/tiny", content=checkpoint(tmp_path))
        body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
        result(client.put("/collections/c", json=body))
        sent = npy(clustered(3 * MAX_PENDING))
        uploading = pool.submit(client.post, "/collections/c/points/upload", content=sent, headers=NPY)
        wait_until(lambda: count(client, "/collections/c") == MAX_PENDING)
        refused = client.put("/collections/c/points", json=points(clustered(5)))
        assert "wait to be encoded" in sentence(refused, 429)
        assert int(refused.headers["Retry-After"]) >= 1
        assert result(client.post("/collections/c/points/delete", json={"points": [5]}))
        assert not uploading.done()
        may_encode.set()
        assert result(uploading.result())["points"] == 3 * MAX_PENDING
        assert count(client, "/collections/c") == 3 * MAX_PENDING - 1
