"""Ten times the queries that a server can answer: it answers those it takes as fast as ever, and refuses the others.

First at the default of `QINCO_MAX_WAIT`, with a crowd: those that are accepted are answered before stock clients give
up. Then with half of what a query takes alone, so that none waits for another. Then an upload beside one client's
queries, which must not wait for it either. Who sends all this is on the same machine, and counts against the server.
"""

import json
import resource
import threading
import time
from pathlib import Path

import numpy as np

from tests.builders import clustered
from tests.service.requests import NPY, npy, result
from tests.torture.load import AS_FAST_AS_ANSWERED, Load, load
from tests.torture.served import COLLECTION, DIM, Served, is_alive, p99

TIMES, CONNECTIONS, CROWD = 10, 200, 3000
POINTS, UPLOADED = 60_000, 200_000
SLOWER, GROWTH, READY_S, CLIENTS_WAIT_S = 2.0, 1.05, 5.0, 5.0
# As dear as a usual query of some hundred thousand points, so that searching takes long and not HTTP.
PARAMS = {"nprobe": 1000, "shortlist": 2000, "rerank": 1000, "quantization": {"rescore": False}}


def overloaded(folder: Path, seconds: float) -> dict[str, float]:
    """Figures; raises AssertionError, with them, where they are worse than promised."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, CROWD + 1000), most))
    with Served(folder, POINTS) as served:
        _asked(served, 1)
        usual_ms = float(np.median(_asked(served, 2).took[200])) * 1e3
        can_do = _asked(served, 2, connections=4).rate
        crowd = _asked(served, seconds, TIMES * can_do, CROWD)
        served.restart(max_wait=max(1, round(usual_ms / 2)))
        unloaded = _p99_ms(_asked(served, seconds))
        beside = _p99_ms(_beside_an_upload(served, seconds))
        _asked(served, 2, TIMES * can_do, CONNECTIONS)  # what a first overload takes for ever
        before = served.memory()
        over = _asked(served, seconds, TIMES * can_do, CONNECTIONS)
        ready_s = _ready_after(served)
        grown = served.memory() / before
    figures = {
        "usual query, ms": usual_ms, "can do, queries/s": can_do,
        "asked for by default": crowd.rate, "accepted by default": len(crowd.took[200]) / crowd.seconds,
        "p99 of those, s": _p99_ms(crowd) / 1e3, "asked for": over.rate,
        "accepted": len(over.took[200]) / over.seconds, "p99 unloaded, ms": unloaded, "p99 of accepted": _p99_ms(over),
        "p99 beside an upload": beside, "memory grown": grown, "ready after, s": ready_s, "asking, cores": over.cores,
    }  # fmt: skip
    promised = {
        "answers other than 200 and 429": set(over.took) == {200, 429} and set(crowd.took) <= {200, 429},
        "refusals do not say when to ask again": not over.refused_without_retry_after,
        "memory grows": grown <= GROWTH,
        "it is not ready again": ready_s <= READY_S,
        "clients give up by default": _p99_ms(crowd) <= CLIENTS_WAIT_S * 1e3,
        "accepted queries wait": _p99_ms(over) <= SLOWER * unloaded,
        "an upload keeps queries waiting": beside <= SLOWER * unloaded,
    }
    broken = [what for what, is_kept in promised.items() if not is_kept]
    assert not broken, f"{'; '.join(broken)}: {told(figures)}"
    return figures


def told(figures: dict[str, float]) -> str:
    """Figures in a line."""
    return ", ".join(f"{what} {figure:.4g}" for what, figure in figures.items())


def _asked(served: Served, seconds: float, rate: float = AS_FAST_AS_ANSWERED, connections: int = 1) -> Load:
    host, port = served.server.url.removeprefix("http://").split(":")
    requests = []
    for query in clustered(50, DIM, seed=3):
        body = json.dumps({"query": query.tolist(), "limit": 10, "params": PARAMS})
        head = f"POST {COLLECTION}/points/query HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return load((host, int(port)), requests, seconds, rate, connections)


def _beside_an_upload(served: Served, seconds: float) -> Load:
    """Queries of one client while points are uploaded to another collection, again and again."""
    body, is_over = npy(clustered(UPLOADED, DIM, seed=8)), threading.Event()
    served.make("/collections/other")

    def upload() -> None:
        while not is_over.is_set():
            result(served.client.post("/collections/other/points/upload?first_id=0", content=body, headers=NPY))

    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        return _asked(served, seconds)
    finally:
        is_over.set()
        uploading.join()
        result(served.client.delete("/collections/other"))


def _ready_after(served: Served) -> float:
    """Seconds until it is ready and answers a query."""
    ended = time.monotonic()
    while not is_alive(served.client) or 200 not in _asked(served, 0.01).took:
        time.sleep(0.05)
    return time.monotonic() - ended


def _p99_ms(asked: Load) -> float:
    return p99(np.array(asked.took[200]))
