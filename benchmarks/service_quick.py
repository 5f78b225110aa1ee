"""`make bench-quick`: seconds to encode the bundled example, latency of a single query, and RAM per vector.

It writes benchmarks/results/service_quick.json. Linux only: resident memory is read from /proc.
"""

import json
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
from index_store import SearchPlan, Store
from service.cli.child_server import ChildServer, serving
from service.cli.connection import ask
from service.cli.demo import COLLECTION, EXAMPLE, LIMIT, PATH, as_npy, read_example, upload_model

RESULT = Path(__file__).parent / "results" / "service_quick.json"
ROWS_AT_ONCE = 5_000
SIZES = (20_000, 60_000, 100_000)
LATENCY_QUERIES = 500
EFFORT = {"nprobe": 32, "shortlist": 400, "rerank": 60}

Int8 = NDArray[np.int8]


def main() -> None:
    example = read_example(EXAMPLE)
    vectors = np.load(example.vectors)
    queries = example.queries[:LATENCY_QUERIES]
    figures: dict[str, Any] = {"machine": machine(), "dim": vectors.shape[1], "search": EFFORT}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as server, httpx.Client(base_url=server.url, timeout=600) as client:
            upload_model(client, example)
            figures["encoding"] = time_encoding(client, vectors)
            over_http = partial(query_over_http, client)
            figures[f"http_{len(vectors)}"] = percentiles(over_http, queries)
            figures["memory"] = memory_slope(client, server, vectors)
            figures[f"http_{SIZES[-1]}"] = percentiles(over_http, queries)
        figures[f"in_process_{SIZES[-1]}"] = time_in_process(folder / "data", queries)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def time_encoding(client: httpx.Client, vectors: Int8) -> dict[str, float]:
    """Seconds from the first byte sent until every vector can be searched, and until every one is encoded."""
    started = time.perf_counter()
    size = {"size": vectors.shape[1], "distance": "Cosine"}
    ask(client, "PUT", PATH, json={"vectors": size, "codes": {"model": COLLECTION}})
    upload(client, vectors, 0)
    uploaded = time.perf_counter() - started
    wait_for_codes(client)
    encoded = time.perf_counter() - started
    return {"vectors": len(vectors), "uploaded_s": round(uploaded, 2), "encoded_s": round(encoded, 2)}


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
    body = {"query": query.tolist(), "limit": LIMIT, "params": EFFORT}
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


def memory_slope(client: httpx.Client, server: ChildServer, vectors: Int8) -> dict[str, Any]:
    """Resident bytes of the server at several sizes, and their slope: what one more vector costs."""
    random = np.random.default_rng(0)
    stored, measured = len(vectors), []
    for size in SIZES:
        while stored < size:
            noise = random.normal(0, 8, (ROWS_AT_ONCE, vectors.shape[1]))
            perturbed = np.clip(vectors[random.integers(len(vectors), size=ROWS_AT_ONCE)] + noise, -127, 127)
            upload(client, np.rint(perturbed).astype(np.int8), stored)
            stored += ROWS_AT_ONCE
        code_bytes = wait_for_codes(client)["code_bytes"]
        measured.append({"vectors": stored, **resident(server.pid)})
    slope = np.polyfit([at["vectors"] for at in measured], [at["rss_bytes"] for at in measured], 1)[0]
    return {"code_bytes": code_bytes, "rss_bytes_per_vector": round(float(slope), 1), "at": measured}


def resident(pid: int) -> dict[str, int]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    keys = {"rss_bytes": "VmRSS", "anonymous_bytes": "RssAnon"}
    return {name: int(status[key].split()[0]) * 1024 for name, key in keys.items()}


def time_in_process(data: Path, queries: Int8) -> dict[str, float]:
    """The same queries without HTTP, on the folder that the server left."""
    plan = SearchPlan(limit=LIMIT, **EFFORT)  # type: ignore[arg-type]
    store = Store.open(data)
    try:
        collection = store.collection(COLLECTION)
        return percentiles(lambda query: collection.query(query.astype(np.float32)[None], plan), queries)
    finally:
        store.close()


if __name__ == "__main__":
    main()
