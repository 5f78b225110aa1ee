"""`make bench-quick`: seconds to encode the bundled example, latency of a single query, and RAM per vector.

It writes benchmarks/results/service_quick.json; where a ratio is a fifth worse than that file has recorded for a
processor of the same instructions it fails, and leaves the file as it is. Linux only: resident memory is read from
/proc.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.ratios import instructions, ratios, worsened, yardstick
from service.cli.child_server import serving
from service.cli.connection import ask
from service.cli.demo import COLLECTION, EXAMPLE, LIMIT, PATH, Example, as_npy, read_example, upload_model
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "service_quick.json"
DIM = 384
ROWS_AT_ONCE = 10_000
SIZES = (20_000, 200_000)
STARTS = 3
LATENCY_QUERIES = 500

Int8 = NDArray[np.int8]


def main() -> None:
    example = read_example(EXAMPLE)
    queries = example.queries[:LATENCY_QUERIES]
    figures: dict[str, Any] = {"machine": machine(), "dim": DIM, "limit": LIMIT, "search": "defaults"}
    with tempfile.TemporaryDirectory() as name:
        with serving(Path(name)) as server, httpx.Client(base_url=server.url, timeout=600) as client:
            upload_model(client, example)
            figures["encoding"] = time_encoding(client, np.load(example.vectors))
            figures["http"] = percentiles(partial(query_over_http, client), queries)
        figures["in_process"] = time_in_process(Path(name) / "data", queries)
    with tempfile.TemporaryDirectory() as name:
        figures["memory"] = memory_slope(Path(name), example)
    figures["yardstick"] = yardstick()
    figures["ratios"] = {name: round(ratio, 3) for name, ratio in ratios(figures).items()}
    print(json.dumps(figures, indent=2))
    recorded = json.loads(RESULT.read_text())["recorded"] if RESULT.exists() else {}
    if worse := worsened(recorded.get(instructions(), {}), figures["ratios"]):
        raise SystemExit("\n".join([f"Slower, or larger, than recorded with {instructions()}:", *worse]))
    figures["recorded"] = {**recorded, instructions(): figures["ratios"]}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")


def time_encoding(client: httpx.Client, vectors: Int8) -> dict[str, float]:
    """Seconds from the first byte sent until every vector can be searched, and until every one is encoded."""
    started = time.perf_counter()
    create(client, {})
    upload(client, vectors, 0)
    uploaded = time.perf_counter() - started
    wait_for_codes(client)
    encoded = time.perf_counter() - started
    return {"vectors": len(vectors), "uploaded_s": round(uploaded, 2), "encoded_s": round(encoded, 2)}


def create(client: httpx.Client, encoding: dict[str, int]) -> None:
    vectors = {"size": DIM, "distance": "Cosine"}
    ask(client, "PUT", PATH, json={"vectors": vectors, "codes": {"model": COLLECTION, **encoding}})


def upload(client: httpx.Client, vectors: Int8, first_id: int) -> None:
    headers, params = {"Content-Type": "application/x-npy"}, {"first_id": first_id}
    path = f"{PATH}/points/upload"
    ask(client, "POST", path, content=as_npy(vectors), headers=headers, params=params)


def wait_for_codes(client: httpx.Client) -> dict[str, Any]:
    """The collection's `codes`, once nothing is pending."""
    while True:
        codes: dict[str, Any] = ask(client, "GET", PATH)["codes"]
        if codes["pending"] == 0:
            return codes
        time.sleep(0.05)


def query_over_http(client: httpx.Client, query: Int8) -> None:
    body = {"query": query.tolist(), "limit": LIMIT}
    ask(client, "POST", f"{PATH}/points/query", json=body)


def percentiles(search: Callable[[Int8], object], queries: Int8) -> dict[str, float]:
    """Milliseconds of one query at a time, from one client."""
    for query in queries[:20]:
        search(query)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - started)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"queries": len(queries), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def memory_slope(folder: Path, example: Example) -> dict[str, Any]:
    """Resident bytes of a server just started on collections of several sizes: what one more vector costs.

    A start leaves out what encoding has allocated and given back, many times more than these codes; the least of
    several starts is taken. The vectors are encoded with the smallest beam: their codes are as long as any others.
    """
    measured, stored = [], 0
    for size in SIZES:
        with serving(folder) as server, httpx.Client(base_url=server.url, timeout=600) as client:
            if not stored:
                upload_model(client, example)
                create(client, {"beam": 1, "candidates": 1})
            while stored < size:
                upload(client, perturbed(example, seed=stored), stored)
                stored += ROWS_AT_ONCE
            code_bytes = wait_for_codes(client)["code_bytes"]
        measured.append({"vectors": stored, "rss_bytes": min(resident_after_start(folder) for _ in range(STARTS))})
    slope = np.polyfit([at["vectors"] for at in measured], [at["rss_bytes"] for at in measured], 1)[0]
    return {"code_bytes": code_bytes, "rss_bytes_per_vector": round(float(slope), 1), "at": measured}


def perturbed(example: Example, seed: int) -> Int8:
    """ROWS_AT_ONCE vectors near those of the example."""
    random = np.random.default_rng(seed)
    vectors = np.load(example.vectors, mmap_mode="r")
    near = vectors[random.integers(len(vectors), size=ROWS_AT_ONCE)]
    return np.rint(np.clip(near + random.normal(0, 8, near.shape), -127, 127)).astype(np.int8)


def resident_after_start(folder: Path) -> int:
    """VmRSS of a server that has just become ready on a folder."""
    with serving(folder) as server:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) * 1024


def time_in_process(data: Path, queries: Int8) -> dict[str, float]:
    """The same queries without HTTP, on the folder that the server left."""
    share_threads(os.cpu_count() or 1)
    from index_store import SearchPlan, Store  # only now: threads are shared before anything heavy is imported

    plan = SearchPlan(limit=LIMIT)
    store = Store.open(data)
    try:
        collection = store.collection(COLLECTION)
        return percentiles(lambda query: collection.query(query.astype(np.float32)[None], plan), queries)
    finally:
        store.close()


if __name__ == "__main__":
    main()
