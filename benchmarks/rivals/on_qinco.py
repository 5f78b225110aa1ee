"""This service, over HTTP: codes in RAM, originals on disk; once with its defaults, once with what 97 % take."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.http_load import Connection, request
from benchmarks.rivals.turns import LIMIT, Ask, take_turns
from benchmarks.sift_store import COLLECTION
from service.cli.child_server import serving

DATA = "QINCO_BENCH_ENCODED"
"""The folder that `benchmarks.sift_store` made: encoding takes minutes, and is not what is compared here."""
CHOICES: dict[str, dict[str, Any] | None] = {
    "defaults": None,
    "64 lists, 128 read": {"nprobe": 64},
    "48 lists, 96 read": {"nprobe": 48, "shortlist": 96, "quantization": {"oversampling": 9.6}},
}


class Qinco:
    def __init__(self, folder: Path) -> None:
        self._folder, self._running = folder, ExitStack()
        (folder / "empty").mkdir()
        self._server = self._running.enter_context(serving(folder / "empty"))
        self.pids = [self._server.pid]
        self._params: dict[str, Any] | None = None

    def load(self, base: NDArray[np.float32]) -> None:
        self._running.close()
        (self._folder / "full").mkdir()
        (self._folder / "full" / "data").symlink_to(Path(os.environ[DATA]).resolve())
        self._server = self._running.enter_context(serving(self._folder / "full"))
        self.pids[:] = [self._server.pid]

    def client(self, queries: NDArray[np.float32]) -> Ask:
        connection = Connection(self._server.url)
        asked = {"limit": LIMIT} | ({} if self._params is None else {"params": self._params})
        path = f"/collections/{COLLECTION}/points/query"
        bodies = [orjson.dumps(asked | {"query": query.tolist()}) for query in queries]
        requests = [request(self._server.url, path, body) for body in bodies]

        def ask(number: int) -> list[int]:
            body = connection.ask(requests[number])
            return [point["id"] for point in orjson.loads(body)["result"]["points"]]

        return ask

    def settings(self) -> dict[Any, Callable[[], None]]:
        return {name: partial(self._search_with, params) for name, params in CHOICES.items()}

    def close(self) -> None:
        self._running.close()

    def _search_with(self, params: dict[str, Any] | None) -> None:
        self._params = params


if __name__ == "__main__":
    take_turns(Qinco)
