"""`python -m benchmarks.upsert`: what an upsert of points in JSON costs the server, beside parsing the same body alone.

Requests of 1 000 points of 384 numbers, as clients send float32, by PUT …/points into a collection without codes: until
they are durable and searchable. Each is followed by `orjson.loads` of the same bytes in this process. CPU time is that
of all threads of the server. Medians; writes benchmarks/results/upsert.json.
"""

import json
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import orjson

from benchmarks.http_load import Connection, request
from benchmarks.machine import machine
from service.cli.child_server import serving

RESULT = Path(__file__).parent / "results" / "upsert.json"
POINTS, DIM, REQUESTS = 1000, 384, 20
PATH = "/collections/upsert"


def main() -> None:
    rng = np.random.default_rng(0)
    upserts, upsert_cpu, parses = [], [], []
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        config = {"vectors": {"size": DIM, "distance": "Cosine"}, "codes": {"model": "none"}}
        httpx.put(f"{server.url}{PATH}", json=config, timeout=60).raise_for_status()
        connection = Connection(server.url)
        for number in range(REQUESTS):
            body = body_of(number * POINTS, rng.normal(size=(POINTS, DIM)).astype(np.float32))
            sent = request(server.url, f"{PATH}/points?wait=true", body, method="PUT")
            began, cpu = time.perf_counter(), cpu_seconds(server.pid)
            connection.ask(sent)
            upserts.append(time.perf_counter() - began)
            upsert_cpu.append(cpu_seconds(server.pid) - cpu)
            began = time.perf_counter()
            orjson.loads(body)
            parses.append(time.perf_counter() - began)
    upsert_s, cpu_s, parse_s = (float(np.median(some)) for some in (upserts, upsert_cpu, parses))
    figures = {
        "machine": machine(), "points": POINTS, "dim": DIM, "body_mb": round(len(body) / 1e6, 2),
        "upsert_ms": round(1000 * upsert_s, 1), "upsert_cpu_ms": round(1000 * cpu_s, 1),
        "orjson_ms": round(1000 * parse_s, 1), "ratio": round(upsert_s / parse_s, 2),
        "cpu_ratio": round(cpu_s / parse_s, 2),
    }  # fmt: skip
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def body_of(first: int, vectors: np.ndarray) -> bytes:
    """Points with ids from `first` on."""
    points = [{"id": first + place, "vector": vector} for place, vector in enumerate(vectors)]
    return orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have run for."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return 1e-9 * sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


if __name__ == "__main__":
    main()
