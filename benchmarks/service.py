"""`python -m benchmarks.service MODEL [ROWS]`: queries over HTTP by 1, 8 and 64 clients, batches of 32, and an upload.

1 and 8 clients ask also with so few lists and originals that the nearest is still found 97 times in 100.

Clients are raw sockets in one thread of one process (`http_load.py`), on the same machine as the server, and count
against it. At half of what 8 clients reach, queries are due at regular times, and latency counts from then. The library
answers the same batches in this process. The upload goes into a collection without codes: the way of pending rows.
Writes benchmarks/results/service.json.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.http_load import Connection, Load, request, under_load
from benchmarks.machine import machine
from benchmarks.search import LIMIT, neighbours
from benchmarks.sift_store import COLLECTION, DATA, base, encoded
from service.cli.child_server import ChildServer, serving
from service.cli.demo import as_npy
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "service.json"
QUERIES, SECONDS, BATCH = 2000, 6.0, 32
CHEAP: dict[str, Any] = {"nprobe": 64, "quantization": {"oversampling": 9.6}}
UPLOADED = (100_000, 384)
PATH = f"/collections/{COLLECTION}/points/query"


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
    queries = np.load(DATA / "query.npy")[:QUERIES]
    truth = neighbours(queries.astype(np.float32), base(rows))[:, 0]
    bodies = [orjson.dumps({"query": query.tolist(), "limit": LIMIT}) for query in queries]
    figures: dict[str, Any] = {"machine": machine(), "model": model.stem, "vectors": rows, "limit": LIMIT}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "data").symlink_to(encoded(model, rows).resolve())
        with serving(Path(name)) as server:
            requests = [request(server.url, PATH, body) for body in bodies]
            client = Connection(server.url)
            figures["recall_at_1"] = recall(client, requests[:1000], truth)
            for clients in (1, 8, 64):
                figures[f"{clients} clients"] = under_load(Load(server.url, requests, clients, SECONDS))
            cheap = [
                request(server.url, PATH, orjson.dumps({**orjson.loads(body), "params": CHEAP})) for body in bodies
            ]
            figures["with fewer lists and originals"] = {
                **CHEAP,
                "recall_at_1": recall(client, cheap[:1000], truth),
                **{f"{clients} clients": under_load(Load(server.url, cheap, clients, SECONDS)) for clients in (1, 8)},
            }
            half = figures["8 clients"]["queries_per_s"] / 2
            figures["8 clients, half load"] = under_load(Load(server.url, requests, 8, SECONDS, half))
            joined = [b'{"searches":[' + b",".join(bodies[i : i + BATCH]) + b"]}" for i in range(0, len(bodies), BATCH)]
            batches = [request(server.url, f"{PATH}/batch", body) for body in joined]
            figures[f"batches of {BATCH}, 1 client"] = under_load(Load(server.url, batches, 1, SECONDS, queries=BATCH))
            figures["rss_mb"] = round(resident(server.pid) / 1e6)
        figures[f"batches of {BATCH}, in process"] = {"queries_per_s": library(encoded(model, rows), queries)}
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        figures["rss_mb of a server without collections"] = round(resident(server.pid) / 1e6)
        figures["upload of float32 .npy, MB/s"] = upload(server)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def recall(client: Connection, requests: list[bytes], truth: NDArray[np.int64]) -> float:
    """In what share of some requests the nearest is found first."""
    answers = [orjson.loads(client.ask(one)) for one in requests]
    nearest = [one["result"]["points"][0]["id"] for one in answers]
    return round(float(np.mean(np.array(nearest) == truth[: len(nearest)])), 4)


def library(folder: Path, queries: NDArray[np.uint8]) -> int:
    """Queries/s of the same batches without HTTP, with as many threads as the server takes."""
    from index_store import SearchPlan, Store  # after threads are shared

    store, done = Store.open(folder, threads=os.cpu_count() or 1), 0
    try:
        collection = store.collection(COLLECTION)
        asked = queries.astype(np.float32)
        collection.query(asked[:BATCH], SearchPlan(LIMIT))
        started = time.perf_counter()
        while time.perf_counter() - started < SECONDS:
            first = done % (len(asked) - BATCH)
            done += len(collection.query(asked[first : first + BATCH], SearchPlan(LIMIT)))
        return round(done / (time.perf_counter() - started))
    finally:
        store.close()


def upload(server: ChildServer) -> float:
    """MB/s of one .npy, from the first byte sent to the answer: durable and searchable."""
    config = {"vectors": {"size": UPLOADED[1], "distance": "Euclid"}, "codes": {"model": "none"}}
    body = as_npy(np.random.default_rng(0).normal(size=UPLOADED).astype(np.float32))
    httpx.put(f"{server.url}/collections/upload", json=config, timeout=60).raise_for_status()
    sent = request(server.url, "/collections/upload/points/upload?first_id=0", body, "application/x-npy")
    connection, started = Connection(server.url), time.perf_counter()
    connection.ask(sent)
    return round(len(body) / 1e6 / (time.perf_counter() - started), 1)


def resident(pid: int) -> int:
    """VmRSS in bytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024


if __name__ == "__main__":
    main()
