"""One thread that writes, with group commit: whatever requests wait are written together, then all are answered."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from index_store.changes import Change
from index_store.deferred import ConditionalUpsert, ReplaceVectors
from index_store.priority import stand_back
from model.errors import QincoError

GROUP_BYTES = 64 << 20
NICENESS = 5
"""Two cores that also encode have no third for an upload's writes: beside these one client's p99 was 1.5 to 2.4 times
that alone, and is 1.1 to 1.6 (2026-11-22). More would keep single upserts waiting where queries take all there is."""

Deferred = ConditionalUpsert | ReplaceVectors


@dataclass(frozen=True)
class Write:
    """A request that was checked. `done` gets the operation's id, or the error."""

    change: Change | Deferred
    done: "Future[int]" = field(default_factory=Future)

    @property
    def is_alone(self) -> bool:
        """Whether it is to be written with no others, because it depends on the points as they are."""
        return isinstance(self.change, Deferred)


Outcome = int | QincoError


class Writer:
    """Hands groups of requests to `commit`, which returns an operation's id or an error for each, or raises for all."""

    def __init__(self, name: str, commit: Callable[[Sequence[Change | Deferred]], Sequence[Outcome]]) -> None:
        self._commit = commit
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._next: Write | None = None  # taken from the queue, and to be written with the next group
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def write(self, *changes: Change | Deferred) -> list[int]:
        """Wait until changes are durable and visible, in this order; returns their operations' ids.

        Raises the first error; the changes after it are made all the same.
        """
        requests = [Write(change) for change in changes]
        for request in requests:
            self._waiting.put(request)
        return [request.done.result() for request in requests]

    def close(self) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        stand_back(NICENESS)
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._write(group)

    def _next_group(self) -> tuple[list[Write], bool]:
        """Wait for a request and take whatever else may be written with it; and whether more may come."""
        group = [] if self._next is None else [self._next]
        self._next = None
        size = sum(request.change.size_bytes() for request in group)
        while size < GROUP_BYTES and not (group and group[0].is_alone):
            try:
                request = self._waiting.get(block=not group)
            except queue.Empty:
                break
            if request is None:
                return group, False
            if group and request.is_alone:
                self._next = request
                break
            group.append(request)
            size += request.change.size_bytes()
        return group, True

    def _write(self, group: Sequence[Write]) -> None:
        try:
            outcomes = self._commit([request.change for request in group])
        except BaseException as error:  # the thread's edge: whoever waits must learn of it
            for request in group:
                request.done.set_exception(error)
        else:
            for request, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, QincoError):
                    request.done.set_exception(outcome)
                else:
                    request.done.set_result(outcome)
