"""Clients that cost next to nothing: raw sockets, requests made beforehand, all in one thread of a process of its own.

A service is measured on the machine that its clients run on. `http.client` sends head and body apart, which wakes the
server twice; these take a system call to send and one to receive.
"""

import multiprocessing
import select
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

LONGEST_WAIT_S = 60.0
_END_OF_HEAD, _LENGTH = b"\r\n\r\n", b"content-length: "


@dataclass(frozen=True)
class Load:
    """What so many clients are to ask: each as soon as it has its answer, or at `rate` queries a second in all.

    requests: whole requests, as `request` makes them, of so many `queries` each; client n begins with the n-th
    """

    url: str
    requests: list[bytes]
    clients: int
    seconds: float
    rate: float | None = None
    queries: int = 1


def request(url: str, path: str, body: bytes, kind: str = "application/json", method: str = "POST") -> bytes:
    """A request, head and body in one."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def under_load(load: Load) -> dict[str, float]:
    """Queries/s, p50 and p99, and the CPU time that a query took of the clients' process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # spawned: nothing of this process is in its way
        return pool.apply(measure, (load,))


def measure(load: Load) -> dict[str, float]:
    """The same in this process."""
    latencies: list[float] = []
    connections = [Connection(load.url) for _ in range(load.clients)]
    asking = {one.socket.fileno(): one for one in connections}
    poll = select.epoll()
    for descriptor in asking:
        poll.register(descriptor, select.EPOLLIN)
    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + load.seconds
    idle = [(begin if load.rate is None else begin + n / load.rate, n, one) for n, one in enumerate(connections)]
    idle.reverse()  # the next that is due comes last
    under_way: dict[int, tuple[float, int]] = {}
    while idle or under_way:
        while idle and idle[-1][0] <= time.perf_counter():
            due, place, connection = idle.pop()
            connection.send(load.requests[place % len(load.requests)])
            under_way[connection.socket.fileno()] = due, place
        wait_s = max(0.0, idle[-1][0] - time.perf_counter()) if idle else LONGEST_WAIT_S
        for descriptor, _ in poll.poll(wait_s):
            connection = asking[descriptor]
            if connection.receive() is None:
                continue
            due, place = under_way.pop(descriptor)
            now = time.perf_counter()
            latencies.append(now - due)
            place += load.clients
            due = now if load.rate is None else begin + place / load.rate
            if due < end:
                idle.append((due, place, connection))
        if load.rate is not None:
            idle.sort(key=lambda one: -one[0])
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return {
        "queries_per_s": round(load.queries * len(latencies) / took),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "client_cpu_ms": round(1000 * cpu / len(latencies), 3),
    }


class Connection:
    """One that is kept; a request at a time. Raises RuntimeError for any answer but 200."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.socket = socket.create_connection((str(place.hostname), int(place.port or 80)), LONGEST_WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, whole: bytes) -> None:
        """Begin a request."""
        self.socket.sendall(whole)

    def receive(self) -> bytes | None:
        """Wait for a part of the answer; the body once it is whole."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise RuntimeError("The server closed the connection.")
        self._received += part
        head, found, body = self._received.partition(_END_OF_HEAD)
        if not found:
            return None
        at = head.lower().index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{head[:60]!r}: {body[:200]!r}")
        self._received = b""
        return body

    def ask(self, whole: bytes) -> bytes:
        """Send a request, wait for its answer's body."""
        self.send(whole)
        while (body := self.receive()) is None:
            pass
        return body
