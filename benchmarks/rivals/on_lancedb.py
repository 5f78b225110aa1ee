"""LanceDB in process: IVF with product quantisation, the best ten times as many judged by their vectors on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.rivals.turns import LIMIT, Ask, take_turns

REFINE = 10


class LanceDB:
    def __init__(self, folder: Path) -> None:
        self.pids: list[int] = []
        self._database = lancedb.connect(str(folder))

    def load(self, base: NDArray[np.float32]) -> None:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.ravel()), base.shape[1])
        rows = pa.table({"id": pa.array(np.arange(len(base))), "vector": vectors})
        self._table = self._database.create_table("base", rows)
        self._table.create_index(metric="l2", vector_column_name="vector", index_type="IVF_PQ")

    def client(self, queries: NDArray[np.float32]) -> Ask:
        def ask(number: int) -> list[int]:
            search = self._table.search(queries[number]).refine_factor(REFINE).select(["id"]).limit(LIMIT)
            return list(search.to_arrow()["id"].to_pylist())

        return ask

    def settings(self) -> dict[Any, Callable[[], None]]:
        return {f"IVF_PQ, refine {REFINE}": lambda: None}

    def close(self) -> None:
        """Nothing was started."""


if __name__ == "__main__":
    take_turns(LanceDB)
