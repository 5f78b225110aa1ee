"""A service in this process, shared by the tests of a file, each with collections of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import tiny_codec
from tests.service.service_in_process import Client, running

DIM = 16
MODEL = "tiny"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a ready service that has the model `tiny`."""
    folder = tmp_path_factory.mktemp("service")
    with running(folder) as client:
        assert client.put(f"/models/{MODEL}", content=checkpoint(folder)).status_code == 200
        yield client


@pytest.fixture
def collection(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """The path of an empty collection with codes, made for one test."""
    path = f"/collections/{abs(hash(request.node.name))}"
    body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": MODEL}}
    assert client.put(path, json=body).status_code == 200
    yield path
    client.delete(path)


def checkpoint(folder: Path) -> bytes:
    return tiny_codec(folder, dim=DIM).read_bytes()
