"""Bodies that lie about their size, never end, or hold what no vector does: refused before memory is taken for them."""

import http.client
import itertools
from pathlib import Path

from tests.torture.bombs import Body, bodies
from tests.torture.served import COLLECTION, Served

MIB = 1 << 20
MAX_BODY = 4 * MIB
PEAK, AFTER = 1.15, 1.15
ANSWERED_WITHIN_S = 120
"""A .pt is read by a process of its own, which takes as long to start as a server."""
STREAMED = [
    ("PUT", f"{COLLECTION}/points", "application/json"),
    ("POST", f"{COLLECTION}/points/query", "application/json"),
    ("POST", f"{COLLECTION}/points/upload", "application/x-npy"),
    ("PUT", "/models/bad", "application/octet-stream"),
    ("POST", f"{COLLECTION}/snapshots/upload", "application/octet-stream"),
]


def refused(folder: Path, rounds: int = 1, every: int = 1) -> tuple[int, float, float]:
    """How many bodies were refused; the most memory on the way, and what is left, as shares of what it was before.

    every: leaves others out, all but every so manieth
    """
    with Served(folder, 2000, max_body=MAX_BODY, max_upload=4 * MAX_BODY, body_timeout=5) as served:
        served.make("/collections/cosine", "Cosine")
        served.latencies(0.2)
        _refuse_all(served, every)  # what a first error takes for ever
        before, count = served.memory(), 0
        served.forget_peak()
        for _ in range(rounds):
            count += _refuse_all(served, every)
        peak, after = served.memory(peak=True), served.memory()
        bound = before + 3 * MAX_BODY  # a body at a time: its bytes, what they are parsed to, and what is made of that
        assert peak <= PEAK * bound, f"{peak / MIB:.0f} MiB at most, {before / MIB:.0f} before"
        assert after <= AFTER * before, f"{after / MIB:.0f} MiB after, {before / MIB:.0f} before"
        served.latencies(0.2)
    return count, peak / before, after / before


def _refuse_all(served: Served, every: int) -> int:
    streamed = ((f"chunks without end to {path}", method, path, kind, None) for method, path, kind in STREAMED)
    chosen = list(itertools.chain(bodies(), streamed))[::every]
    for what, method, path, kind, body in chosen:
        _refuse(served, what, method, path, kind, body)
    return len(chosen)


def _refuse(served: Served, what: str, method: str, path: str, kind: str, body: Body | None) -> None:
    """Send a body, or with None one that does not end."""
    connection = http.client.HTTPConnection(served.server.url.removeprefix("http://"), timeout=ANSWERED_WITHIN_S)
    try:
        content = itertools.repeat(b" " * 65536) if body is None else body
        connection.request(method, path, content, {"Content-Type": kind}, encode_chunked=body is None)
        status = connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        status = 400  # the connection was closed before the answer could be read
    finally:
        connection.close()
    assert 400 <= status < 500, f"{what}: answered {status}"
