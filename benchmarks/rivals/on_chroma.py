"""Chroma, its own server over HTTP, HNSW with its defaults."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.turns import LIMIT, Ask, take_turns

AT_ONCE = 5000
START_S = 60


class Chroma:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        program = [str(Path(sys.executable).with_name("chroma")), "run", "--host", "127.0.0.1"]
        with (folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [*program, "--port", str(self._port), "--path", str(folder / "data")], stdout=log, stderr=log
            )
        self.pids = [self._server.pid]
        self._collection = self._connected().create_collection("base", configuration={"hnsw": {"space": "l2"}})

    def load(self, base: NDArray[np.float32]) -> None:
        for first in range(0, len(base), AT_ONCE):
            some = base[first : first + AT_ONCE]
            self._collection.add(ids=[str(first + place) for place in range(len(some))], embeddings=some)

    def client(self, queries: NDArray[np.float32]) -> Ask:
        collection = self._connected().get_collection("base")

        def ask(number: int) -> list[int]:
            found = collection.query(query_embeddings=queries[number : number + 1], n_results=LIMIT, include=[])
            return [int(one) for one in found["ids"][0]]

        return ask

    def settings(self) -> dict[Any, Callable[[], None]]:
        return {"HNSW, defaults": lambda: None}

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def _connected(self) -> Any:
        until = time.monotonic() + START_S
        while True:
            try:
                return chromadb.HttpClient("127.0.0.1", self._port)
            except Exception:  # it says in many ways that it has not begun to listen
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.2)


if __name__ == "__main__":
    take_turns(Chroma)
