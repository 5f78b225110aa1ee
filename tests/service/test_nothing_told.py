"""Neither keys, nor payloads, nor vectors stand in logs, metrics or tracebacks, whatever is sent and whatever fails."""

import logging
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from service.logs import JsonLines, TextLines
from tests.builders import clustered
from tests.service.requests import points, result
from tests.service.service_in_process import READY_S, running

KEY, READER, MARK = "key-8f3a-secret", "reader-77b1-secret", "payload-c0ffee-mark"


def test_neither_keys_nor_payloads_nor_vectors_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    vectors = clustered(3)
    numbers = [str(number) for number in vectors.ravel().tolist()]
    with running(tmp_path, api_key=SecretStr(KEY), read_only_api_key=SecretStr(READER)) as client:
        client.headers["api-key"] = KEY
        body = {"vectors": {"size": 16, "distance": "Euclid"}, "codes": {"model": "none"}}
        result(client.put("/collections/c", json=body))
        result(client.put("/collections/c/points", json=points(vectors, {"secret": MARK})))
        wrong = {"points": [{"id": MARK, "vector": vectors[0].tolist(), "payload": {"secret": MARK}}]}
        assert client.put("/collections/c/points", json=wrong).status_code == 400
        assert client.put("/collections/c/points", json={}, headers={"api-key": f"wrong{MARK}"}).status_code == 401

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr("index_store.Collection.count", fail)
        condition = {"must": [{"key": "secret", "match": {"value": MARK}}]}
        failed = client.post("/collections/c/points/count", json={"filter": condition})
        assert failed.status_code == 500
        told = httpx.get(f"{client.base_url}/metrics", headers={"api-key": KEY}, timeout=READY_S).text + failed.text
    written = [form.format(record) for record in caplog.records for form in (TextLines(), JsonLines())]
    assert any("a bug" in line for line in written), "the traceback of a bug is logged"
    for text in [told, *written]:
        assert not any(secret in text for secret in (KEY, READER, MARK, *numbers))
