"""Models are stored, described, given back and deleted."""

import hashlib
from pathlib import Path

from tests.builders import tiny_codec
from tests.service.requests import result, sentence
from tests.service.service_in_process import Client


def test_a_model_comes_back_as_it_went_in(client: Client, tmp_path: Path) -> None:
    file = tiny_codec(tmp_path, lists=0).read_bytes()
    digest = hashlib.sha256(file).hexdigest()
    record = result(client.put(f"/models/plain?sha256={digest.upper()}", content=file))
    assert (record["name"], record["sha256"], record["steps"], record["ivf_lists"]) == ("plain", digest, 4, 0)
    assert result(client.get("/models/plain")) == record
    assert record in result(client.get("/models"))["models"]
    assert client.get("/models/plain/file").content == file
    assert "plain" in sentence(client.put("/models/plain", content=file), 409)
    assert result(client.delete("/models/plain")) is True
    assert sentence(client.get("/models/plain/file"), 404)


def test_nothing_of_a_refused_file_is_left(client: Client) -> None:

    assert sentence(client.put("/models/bad", content=b"x" * 10_000), 400)
    assert not list(client.data.glob(".incoming-*"))
