"""Requests at a rate, over many connections, whether or not earlier ones are answered; and what became of them."""

import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
AS_FAST_AS_ANSWERED = float("inf")


@dataclass
class Load:
    """What became of it. `took`: seconds from sending to the whole answer, by status."""

    seconds: float = 0.0
    took: dict[int, list[float]] = field(default_factory=dict)
    refused_without_retry_after: int = 0
    cores: float = 0.0  # what sending took of this machine

    @property
    def rate(self) -> float:
        """Requests a second."""
        return sum(map(len, self.took.values())) / self.seconds


@dataclass
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""

    def is_answered(self) -> bool:
        """Reads what came; whether the answer is whole."""
        self.received += self.socket.recv(65536)
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        return bool(end) and length is not None and len(body) >= int(length[1])


def load(address: tuple[str, int], requests: Sequence[bytes], seconds: float, rate: float, connections: int) -> Load:
    """Sends so many requests a second; less, where all connections still wait for answers.

    requests: whole, heads and bodies, sent in turn
    """
    told, place, poll = Load(), 0, select.epoll()
    idle = [_Connection(socket.create_connection(address, timeout=60)) for _ in range(connections)]
    waiting: dict[int, _Connection] = {}
    for one in idle:
        poll.register(one.socket.fileno(), select.EPOLLIN)
    began, due, used_s = time.perf_counter(), time.perf_counter(), time.thread_time()
    try:
        while waiting or time.perf_counter() < began + seconds:
            now = time.perf_counter()
            while idle and due <= now < began + seconds:
                one = idle.pop()
                one.sent_at, one.received = time.perf_counter(), b""
                one.socket.sendall(requests[place % len(requests)])
                waiting[one.socket.fileno()] = one
                due, place = due + 1 / rate, place + 1
            due = max(due, now) if not idle else due
            for descriptor, _ in poll.poll(max(0.0, due - now) if idle else 1.0):
                one = waiting[descriptor]
                if one.is_answered():
                    _note(told, one)
                    idle.append(waiting.pop(descriptor))
        told.seconds = time.perf_counter() - began
        told.cores = (time.thread_time() - used_s) / told.seconds
        return told
    finally:
        poll.close()
        for one in [*idle, *waiting.values()]:
            one.socket.close()


def _note(told: Load, one: _Connection) -> None:
    status = int(one.received[9:12])
    told.took.setdefault(status, []).append(time.perf_counter() - one.sent_at)
    told.refused_without_retry_after += status == 429 and b"retry-after:" not in one.received.lower()
