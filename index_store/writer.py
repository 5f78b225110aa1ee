"""One thread that writes, with group commit: whatever requests wait are written together, then all are answered."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index_store.filters import Filter
from index_store.points import StoredId

GROUP_BYTES = 64 << 20


@dataclass(frozen=True)
class Write:
    """A request that was checked: an upsert when it has vectors, else a delete by ids or by condition.

    vectors: name → as stored, [n, dim] · done: gets the operation's id, or the error
    """

    ids: Sequence[StoredId]
    vectors: Mapping[str, NDArray[np.generic]] | None = None
    payloads: Sequence[str | None] | None = None
    condition: Filter | None = None
    done: "Future[int]" = field(default_factory=Future)

    def size_bytes(self) -> int:
        """Roughly what it weighs."""
        return 64 * (1 + len(self.ids)) + sum(vectors.nbytes for vectors in (self.vectors or {}).values())


class Writer:
    """Hands groups of requests to `commit`, which returns an operation's id for each, or raises for all of them."""

    def __init__(self, name: str, commit: Callable[[list[Write]], list[int]]) -> None:
        self._commit = commit
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def write(self, request: Write) -> int:
        """Wait until a request is durable and visible; returns its operation's id."""
        self._waiting.put(request)
        return request.done.result()

    def close(self) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._write(group)

    def _next_group(self) -> tuple[list[Write], bool]:
        """Wait for a request and take whatever else is there, up to a size; and whether more may come."""
        group: list[Write] = []
        size = 0
        while size < GROUP_BYTES:
            try:
                request = self._waiting.get(block=not group)
            except queue.Empty:
                break
            if request is None:
                return group, False
            group.append(request)
            size += request.size_bytes()
        return group, True

    def _write(self, group: list[Write]) -> None:
        try:
            operations = self._commit(group)
        except BaseException as error:  # the thread's edge: whoever waits must learn of it
            for request in group:
                request.done.set_exception(error)
        else:
            for request, operation in zip(group, operations, strict=True):
                request.done.set_result(operation)
