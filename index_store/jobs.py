"""Work in the background, as the catalogue remembers it: what a restart cuts off goes on, or is told as interrupted."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from index_store.catalogue import Catalogue, JobRecord
from index_store.errors import DiskFull, DiskUnavailable, JobNotFound, JobRunning

logger = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = STATES = (
    "waiting", "running", "done", "failed", "cancelled", "interrupted",
)  # fmt: skip
UNENDED = (WAITING, RUNNING)
MOST_LINES = 400
MOST_SMALL = 100


class Jobs:
    """The jobs of one data folder. States are kept on disk, progress in memory.

    What becomes of a job is held in memory where the disk takes nothing just then, and noted once it does: after a
    restart, a job that waited and one that ran are the same.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.RLock()
        self._progress: dict[str, float] = {}
        self._logs: dict[str, list[dict[str, Any]]] = {}
        self._small: deque[JobRecord] = deque(maxlen=MOST_SMALL)
        self._unwritten: dict[str, JobRecord] = {}

    def take_up(self, goes_on: Callable[[JobRecord], bool]) -> list[JobRecord]:
        """The jobs that an earlier process left unended and that go on, waiting again, the oldest first.

        The others are told as interrupted.
        """
        waiting = []
        with self._lock:
            for record in reversed([one for one in self._catalogue.jobs() if one.state in UNENDED]):
                if goes_on(record):
                    waiting.append(replace(record, state=WAITING))
                    self._catalogue.put_job(waiting[-1])
                else:
                    told = "The server ended before the job did: start it again."
                    self._catalogue.put_job(replace(record, state=INTERRUPTED, ended=time.time(), error=told))
        return waiting

    def unended(self) -> list[JobRecord]:
        """The jobs that wait or run."""
        return [one for one in self.all() if one.state in UNENDED]

    def begin(self, kind: str, collection: str, parameters: dict[str, Any]) -> JobRecord:
        """Note a job that waits; raises JobRunning when the collection has one already."""
        with self._lock:
            for one in self._known():
                if one.collection == collection and one.state in UNENDED:
                    raise JobRunning(f"The collection '{collection}' has a job already, {one.id}: wait, or cancel it.")
            record = JobRecord(uuid4().hex, kind, collection, parameters, WAITING, 0.0, time.time())
            self._catalogue.put_job(record)
            return record

    def run(self, id: str) -> bool:
        """Note that a job runs now; False when it was ended while it waited."""
        with self._lock:
            record = self.get(id)
            if record.state == WAITING:
                self._put(replace(record, state=RUNNING))
            return record.state == WAITING

    def end_waiting(self, id: str, state: str, error: str) -> bool:
        """End a job unless it runs already, or has ended; returns whether it did."""
        with self._lock:
            record = self.get(id)
            if record.state == WAITING:
                self._put(replace(record, state=state, ended=time.time(), error=error))
            return record.state == WAITING

    def note_done(self, kind: str, collection: str, created: float, result: dict[str, Any]) -> None:
        """Note work that is no job of its own and is done: merges, snapshots. It is forgotten with the process."""
        self._note(JobRecord(uuid4().hex, kind, collection, {}, DONE, 1.0, created, time.time(), result))

    def note_failed(self, kind: str, collection: str, created: float, error: str) -> None:
        """The same of work that could not be done."""
        self._note(JobRecord(uuid4().hex, kind, collection, {}, FAILED, 0.0, created, time.time(), None, error))

    def _note(self, record: JobRecord) -> None:
        with self._lock:
            self._small.append(record)

    def put_off(self, id: str) -> None:
        """Let a job that runs wait again, for the next process."""
        with self._lock:
            self._put(replace(self.get(id), state=WAITING))

    def end(self, id: str, state: str, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        """Note how a job ended."""
        with self._lock:
            record = self.get(id)
            self._put(replace(record, state=state, ended=time.time(), result=result, error=error))
            self._progress.pop(id, None)
            self._logs.pop(id, None)

    def note_progress(self, id: str, share: float, figures: dict[str, Any] | None = None) -> None:
        """Which share of a running job is done, and what else is known of it."""
        self._progress[id] = share
        if figures is not None:
            log = [*self._logs.get(id, []), {"at": time.time(), **figures}]
            self._logs[id] = log if len(log) <= MOST_LINES else log[1:-1:2] + log[-1:]  # longer ago, less often

    def get(self, id: str) -> JobRecord:
        """One job; raises JobNotFound."""
        for record in self.all():
            if record.id == id:
                return record
        raise JobNotFound(f"There is no job '{id}'.")

    def all(self) -> list[JobRecord]:
        """The jobs of late, the newest first."""
        asked_for = [self._as_it_goes(one) for one in self._known()]
        with self._lock:
            small = list(self._small)
        return sorted(asked_for + small, key=lambda one: one.created, reverse=True) if small else asked_for

    def _known(self) -> list[JobRecord]:
        with self._lock:
            self._write()
            return [self._unwritten.get(one.id, one) for one in self._catalogue.jobs()]

    def _put(self, record: JobRecord) -> None:
        self._unwritten[record.id] = record
        self._write()

    def _write(self) -> None:
        for id, record in list(self._unwritten.items()):
            try:
                self._catalogue.put_job(record)
            except (DiskFull, DiskUnavailable) as error:
                logger.error("Job %s is %s, which the disk did not take: %s", id, record.state, error)
            else:
                del self._unwritten[id]

    def _as_it_goes(self, record: JobRecord) -> JobRecord:
        log = self._logs.get(record.id, [])
        figures = log[-1] if log else None
        return replace(record, progress=self._progress.get(record.id, record.progress), figures=figures, log=tuple(log))
