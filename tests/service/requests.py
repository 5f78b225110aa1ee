"""What tests send again and again."""

import io
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.service.service_in_process import wait_until

NPY = {"Content-Type": "application/x-npy"}


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def points(vectors: NDArray[Any], payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of an upsert: ids from 0 on."""
    return {"points": [{"id": id, "vector": row.tolist(), "payload": payload} for id, row in enumerate(vectors)]}


def result(response: httpx.Response) -> Any:
    """The result of an answer that must be a success."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["status"] == "ok"
    assert body["time"] >= 0
    return body["result"]


def sentence(response: httpx.Response, status: int) -> str:
    """The sentence of a refusal that must have this status."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["time"] >= 0
    told = body["status"]["error"]
    assert isinstance(told, str)
    return told


def count(client: httpx.Client, collection: str) -> int:
    return int(result(client.post(f"{collection}/points/count", json={}))["count"])


def wait_until_encoded(client: httpx.Client, collection: str) -> None:
    wait_until(lambda: result(client.get(collection))["codes"]["pending"] == 0)
