"""A server with points in it, and what it takes: its memory, its disk, how long its answers take."""

import http.client
import json
import time
from pathlib import Path
from types import TracebackType

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.builders import clustered, tiny_codec
from tests.service.requests import NPY, npy, result, wait_until, wait_until_encoded
from tests.service.server_process import READY_S, ForkedServer
from tests.torture.killing import client_of

DIM = 32
COLLECTION = "/collections/c"


class Served:
    """A process of its own, with the model `tiny` and one collection."""

    def __init__(self, folder: Path, points: int, **settings: object) -> None:
        self.folder = folder
        self.server = ForkedServer(folder, **settings)
        self.client = client_of(self.server.url)
        result(self.client.put("/models/tiny", content=tiny_codec(folder, dim=DIM).read_bytes()))
        self.make(COLLECTION)
        if points:
            self.fill(COLLECTION, points)

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.server.kill()

    def restart(self, **settings: object) -> None:
        """With other settings, on the same data."""
        self.server.kill()
        self.client.close()
        self.server = ForkedServer(self.folder, **settings)
        self.client = client_of(self.server.url)

    def make(self, collection: str, distance: str = "Euclid") -> None:
        body = {"vectors": {"size": DIM, "distance": distance}, "codes": {"model": "tiny"}}
        result(self.client.put(collection, json=body))

    def fill(self, collection: str, points: int, first: int = 0) -> None:
        """Upload so many, and wait until they are encoded, and those that were so in haste once more."""
        url = f"{collection}/points/upload?first_id={first}"
        result(self.client.post(url, content=npy(clustered(points, DIM, seed=first)), headers=NPY))
        wait_until_encoded(self.client, collection)
        wait_until(lambda: result(self.client.get(collection))["codes"]["drafts"] == 0)

    def memory(self, peak: bool = False) -> int:
        """Resident bytes, now or at most since `forget_peak`."""
        line = "VmHWM:" if peak else "VmRSS:"
        for told in Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines():
            if told.startswith(line):
                return int(told.split()[1]) * 1024
        raise AssertionError("the server is gone")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")

    def disk(self) -> int:
        """Bytes that the data folder takes."""
        return sum(path.stat().st_size for path in (self.folder / "data").rglob("*") if path.is_file())

    def latencies(self, seconds: float) -> NDArray[np.float64]:
        """How long each query of one client took, in seconds; every one must be answered."""
        connection = http.client.HTTPConnection(self.server.url.removeprefix("http://"), timeout=READY_S)
        bodies = [json.dumps({"query": row.tolist(), "limit": 10}) for row in clustered(50, DIM, seed=3)]
        took, until = list[float](), time.perf_counter() + seconds
        while time.perf_counter() < until or len(took) < len(bodies):
            started = time.perf_counter()
            connection.request("POST", f"{COLLECTION}/points/query", bodies[len(took) % len(bodies)], JSON)
            answered = connection.getresponse()
            assert answered.status == 200, answered.read()
            answered.read()
            took.append(time.perf_counter() - started)
        connection.close()
        return np.array(took)


JSON = {"Content-Type": "application/json"}


def p99(took: NDArray[np.float64]) -> float:
    """In milliseconds."""
    return float(np.percentile(took, 99)) * 1e3


def is_alive(client: httpx.Client) -> bool:
    return client.get("/readyz").status_code == 200
