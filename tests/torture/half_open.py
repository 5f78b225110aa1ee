"""Clients that begin a request and do not end it: others are answered, memory is bounded, and they are let go."""

import resource
import select
import socket
import time
from pathlib import Path

from tests.service.server_process import READY_S
from tests.torture.served import COLLECTION, Served, p99

GROWTH = 1.05
HEAD = f"POST {COLLECTION}/points/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BEGINNINGS = [b"", b"GET / HT", HEAD.encode(), f'{HEAD}Content-Length: 100\r\n\r\n{{"query"'.encode()]


def half_open(folder: Path, clients: int, seconds: float = 2, timeout_s: int = 5) -> tuple[float, float]:
    """p99 of queries in ms without such clients, and beside them; they must be let go after `timeout_s`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * clients + 1000), most))
    with Served(folder, 5000, body_timeout=timeout_s) as served:
        alone = served.latencies(seconds)
        before = served.memory()
        host, port = served.server.url.removeprefix("http://").split(":")
        opened = [socket.create_connection((host, int(port)), timeout=READY_S) for _ in range(clients)]
        for place, one in enumerate(opened):
            one.sendall(BEGINNINGS[place % len(BEGINNINGS)])
        beside = served.latencies(seconds)
        held = served.memory() - clients * 32 * 1024  # what a connection may take
        assert held <= GROWTH * before, f"{clients} half-open clients took {held / before:.2f} times the memory"
        left = _left_open(opened, timeout_s + READY_S)
        assert not left, f"{left} of {clients} half-open clients were not let go"
        assert len(served.latencies(0)), "the others are answered"
        for one in opened:
            one.close()
    return p99(alone), p99(beside)


def _left_open(opened: list[socket.socket], seconds: float) -> int:
    """How many are still open after so long, at most: a closed one gives an end, after an answer or without."""
    left, until = {one.fileno(): one for one in opened}, time.monotonic() + seconds
    poll = select.poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left and time.monotonic() < until:
        for descriptor, _ in poll.poll(200):
            try:
                is_over = not left[descriptor].recv(4096)
            except ConnectionError:
                is_over = True
            if is_over:
                poll.unregister(descriptor)
                del left[descriptor]
    return len(left)
