"""`python -m benchmarks.service MODEL [ROWS]`: queries over HTTP by 1, 8 and 64 clients, batches of 32, and an upload.

Clients are threads of this process, on the same machine as the server, and count against it. At half of what 8 clients
reach, queries are due at regular times, and latency counts from then. The upload goes into a collection without codes:
the way of pending rows. Writes benchmarks/results/service.json.
"""

import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from benchmarks.machine import machine
from benchmarks.search import LIMIT, neighbours
from benchmarks.sift_store import COLLECTION, DATA, base, encoded
from service.cli.child_server import ChildServer, serving
from service.cli.demo import as_npy

RESULT = Path(__file__).parent / "results" / "service.json"
QUERIES, SECONDS, BATCH = 2000, 6.0, 32
UPLOADED = (100_000, 384)
PATH = f"/collections/{COLLECTION}/points/query"


def main() -> None:
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
    queries = np.load(DATA / "query.npy")[:QUERIES]
    truth = neighbours(queries.astype(np.float32), base(rows))[:, 0]
    bodies = [orjson.dumps({"query": query.tolist(), "limit": LIMIT}) for query in queries]
    figures: dict[str, Any] = {"machine": machine(), "model": model.stem, "vectors": rows, "limit": LIMIT}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "data").symlink_to(encoded(model, rows).resolve())
        with serving(Path(name)) as server:
            answers = [orjson.loads(one) for one in Client(server).send_all(PATH, bodies[:1000])]
            nearest = [one["result"]["points"][0]["id"] for one in answers]
            figures["recall_at_1"] = round(float(np.mean(np.array(nearest) == truth[:1000])), 4)
            for clients in (1, 8, 64):
                figures[f"{clients} clients"] = under_load(server, clients, bodies, None)
            half = figures["8 clients"]["queries_per_s"] / 2
            figures["8 clients, half load"] = under_load(server, 8, bodies, half)
            figures[f"batches of {BATCH}, 1 client"] = batches(server, bodies)
            figures["rss_mb"] = round(resident(server.pid) / 1e6)
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        figures["rss_mb of a server without collections"] = round(resident(server.pid) / 1e6)
        figures["upload of float32 .npy, MB/s"] = upload(server)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


class Client:
    """One connection that is kept."""

    def __init__(self, server: ChildServer) -> None:
        url = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(str(url.hostname), int(url.port or 0), timeout=60)

    def send(self, method: str, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """The answer's body; anything but 200 ends the run."""
        self._connection.request(method, path, body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {read[:200]!r}")
        return read

    def send_all(self, path: str, bodies: list[bytes]) -> list[bytes]:
        """POST one after another."""
        return [self.send("POST", path, body) for body in bodies]


def under_load(server: ChildServer, clients: int, bodies: list[bytes], rate: float | None) -> dict[str, float]:
    """Queries/s, p50 and p99 of so many clients; as fast as answers come, or so many queries a second in all."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    begin = time.perf_counter() + 0.2

    def ask(number: int) -> None:
        client, place = Client(server), number
        time.sleep(max(0.0, begin - time.perf_counter()))
        while True:
            due = time.perf_counter() if rate is None else begin + place / rate
            if due > begin + SECONDS:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            client.send("POST", PATH, bodies[place % len(bodies)])
            latencies[number].append(time.perf_counter() - due)
            place += clients

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = np.concatenate(latencies)
    p50, p99 = np.percentile(every, [50, 99]) * 1000
    per_second = len(every) / (time.perf_counter() - begin)
    return {"queries_per_s": round(per_second), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def batches(server: ChildServer, bodies: list[bytes]) -> dict[str, float]:
    """Queries/s in batches, one after another."""
    joined = [b'{"searches":[' + b",".join(bodies[i : i + BATCH]) + b"]}" for i in range(0, len(bodies), BATCH)]
    client, done, started = Client(server), 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        client.send("POST", f"{PATH}/batch", joined[done % len(joined)])
        done += 1
    return {"queries_per_s": round(done * BATCH / (time.perf_counter() - started))}


def upload(server: ChildServer) -> float:
    """MB/s of one .npy, from the first byte sent to the answer: durable and searchable."""
    client = Client(server)
    config = {"vectors": {"size": UPLOADED[1], "distance": "Euclid"}, "codes": {"model": "none"}}
    client.send("PUT", "/collections/upload", orjson.dumps(config))
    body = as_npy(np.random.default_rng(0).normal(size=UPLOADED).astype(np.float32))
    started = time.perf_counter()
    client.send("POST", "/collections/upload/points/upload?first_id=0", body, "application/x-npy")
    return round(len(body) / 1e6 / (time.perf_counter() - started), 1)


def resident(pid: int) -> int:
    """VmRSS in bytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024


if __name__ == "__main__":
    main()
