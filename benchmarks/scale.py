"""`python -m benchmarks.scale MODEL [ROWS…]`: start, queries and memory of a server as one collection grows.

Sizes beyond the 700 000 vectors of SIFT are made by perturbing them. The collection has payloads and an index over
them; codes are found with a beam of one, since encoding is not what is measured. Each size is a server started on what
the size before left, three times, after once that may compile: seconds until it is ready, its first queries, the median
query of one client, medians; resident memory, the least, and the slope of that a vector. Writes
benchmarks/results/scale.json; the data stays in runs/scale-MODEL (some 350 bytes a vector), so that a later run goes on
from there: with a smaller size than it has, remove it first.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.http_load import Connection, request
from benchmarks.machine import machine
from benchmarks.service import PATH, resident
from benchmarks.sift_store import COLLECTION, DATA, RUNS, base
from service.cli.child_server import ChildServer, serving
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "scale.json"
SIZES = (100_000, 1_000_000)
AT_ONCE, ENCODED_AT_ONCE = 20_000, 100_000
NOISE = 4.0  # a component of SIFT is 0 to 255, and 40 in the mean
GROUPS = 1000
QUERIES, STARTS = 500, 3
RESTED, PAUSE_S = 10, 0.5  # which query comes after a pause, as the first does


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, sizes = Path(sys.argv[1]), [int(size) for size in sys.argv[2:]] or list(SIZES)
    folder = RUNS / f"scale-{model.stem}"
    figures: dict[str, Any] = {"machine": machine(), "model": model.stem, "sizes": {}}
    before: tuple[int, float] | None = None
    for size in sorted(sizes):
        grow(folder, model, size)
        measured(folder)
        starts = [measured(folder) for _ in range(STARTS)]
        told = figures["sizes"][str(size)] = {
            key: round(float(np.median([one[key] for one in starts])), 2) for key in starts[0]
        }
        told["rss_mb"] = min(one["rss_mb"] for one in starts)
        if before is not None:
            told["rss_bytes_a_vector_more"] = round((told["rss_mb"] - before[1]) * 1e6 / (size - before[0]), 1)
        before = size, told["rss_mb"]
        print(size, told, file=sys.stderr, flush=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def grow(folder: Path, model: Path, size: int) -> None:
    """Let the collection have so many points, encoded, merged and indexed."""
    from index_store import CodesConfig, CollectionConfig, IndexSchema, Store, VectorConfig  # after threads are shared

    store = Store.open(folder, threads=os.cpu_count() or 1, max_pending=1 << 31)
    try:
        if COLLECTION not in store.collections():
            store.put_model("codec", model)
            codes = CodesConfig("codec", "uint8", 1, 1)
            config = CollectionConfig({"default": VectorConfig(base(1).shape[1], "Euclid")}, {"default": codes})
            store.create_collection(COLLECTION, config).create_payload_index("group", IndexSchema("integer"))
        collection = store.collection(COLLECTION)
        for first in range(collection.count(), size, AT_ONCE):
            ids = np.arange(first, min(first + AT_ONCE, size), dtype=np.uint64)
            payloads = [{"group": one % GROUPS} for one in ids.tolist()]
            collection.upsert(ids, {"default": vectors(ids)}, payloads)
            if collection.info().pending >= ENCODED_AT_ONCE:
                collection.encode_pending(ENCODED_AT_ONCE)
        while collection.encode_pending(ENCODED_AT_ONCE) or collection.merge() or collection.index_payloads():
            pass
    finally:
        store.close()


def vectors(ids: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The vectors of these ids: SIFT's own, then the same again and again with noise added."""
    own = base(1 << 62)
    real = own[np.asarray(ids % len(own), np.int64)].astype(np.float32)
    if int(ids[-1]) < len(own):
        return real
    noise = np.random.default_rng(int(ids[0])).normal(0, NOISE, real.shape)
    return np.where((ids < len(own))[:, None], real, np.clip(np.rint(real + noise), 0, 255)).astype(np.float32)


def measured(folder: Path) -> dict[str, float]:
    """What a server says and takes that is started on a folder."""
    queries = np.load(DATA / "query.npy")[:QUERIES].astype(np.float32)
    bodies = [orjson.dumps({"query": query.tolist(), "limit": 10}) for query in queries]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "data").symlink_to(folder.resolve())
        started = time.perf_counter()
        with serving(Path(name)) as server:
            ready_s = time.perf_counter() - started
            took = _asked(server, bodies)
            rss = resident(server.pid)
    return {
        "ready_s": round(ready_s, 2),
        "first_query_ms": round(took[0], 2),
        "tenth_query_ms": round(took[9], 2),
        "rested_query_ms": round(took[RESTED], 2),
        "query_p50_ms": round(float(np.median(took[RESTED + 1 :])), 2),
        "rss_mb": round(rss / 1e6, 1),
    }


def _asked(server: ChildServer, bodies: list[bytes]) -> list[float]:
    """Milliseconds of each query, one after another."""
    connection, took = Connection(server.url), []
    connection.ask(request(server.url, "/readyz", b"", method="GET"))  # whose first request costs either side a little
    for place, asked in enumerate([request(server.url, PATH, body) for body in bodies]):
        time.sleep(PAUSE_S if place == RESTED else 0)
        started = time.perf_counter()
        connection.ask(asked)
        took.append((time.perf_counter() - started) * 1e3)
    return took


if __name__ == "__main__":
    main()
