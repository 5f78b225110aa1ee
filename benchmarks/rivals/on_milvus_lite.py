"""Milvus Lite, in a process of its own that its client starts, with the index that it chooses by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from benchmarks.rivals.turns import LIMIT, Ask, take_turns

AT_ONCE = 5000


class MilvusLite:
    def __init__(self, folder: Path) -> None:
        self.pids: list[int] = []
        self._client = MilvusClient(str(folder / "milvus.db"))

    def load(self, base: NDArray[np.float32]) -> None:
        schema = MilvusClient.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=base.shape[1])
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="L2")
        self._client.create_collection("base", schema=schema, index_params=index)
        for first in range(0, len(base), AT_ONCE):
            some = base[first : first + AT_ONCE]
            rows = [{"id": first + place, "vector": vector} for place, vector in enumerate(some.tolist())]
            self._client.insert("base", rows)
        self._client.flush("base")
        self._client.load_collection("base")

    def client(self, queries: NDArray[np.float32]) -> Ask:
        def ask(number: int) -> list[int]:
            found = self._client.search("base", data=[queries[number].tolist()], limit=LIMIT)
            return [int(hit["id"]) for hit in found[0]]

        return ask

    def settings(self) -> dict[Any, Callable[[], None]]:
        return {"AUTOINDEX": lambda: None}

    def close(self) -> None:
        self._client.close()


if __name__ == "__main__":
    take_turns(MilvusLite)
