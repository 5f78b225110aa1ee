"""Work in the background, as the catalogue remembers it: what a restart cuts off is told as interrupted."""

import threading
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

from index_store.catalogue import Catalogue, JobRecord
from index_store.errors import JobNotFound, JobRunning

WAITING, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = STATES = (
    "waiting", "running", "done", "failed", "cancelled", "interrupted",
)  # fmt: skip
UNENDED = (WAITING, RUNNING)


class Jobs:
    """The jobs of one data folder. States are kept on disk, progress in memory."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._progress: dict[str, float] = {}
        for record in catalogue.jobs():
            if record.state in UNENDED:
                told = "The server ended before the job did: start it again."
                catalogue.put_job(replace(record, state=INTERRUPTED, ended=time.time(), error=told))

    def begin(self, kind: str, collection: str, parameters: dict[str, Any]) -> JobRecord:
        """Note a job that waits; raises JobRunning when the collection has one already."""
        with self._lock:
            for one in self._catalogue.jobs():
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
                self._catalogue.put_job(replace(record, state=RUNNING))
            return record.state == WAITING

    def end_waiting(self, id: str, state: str, error: str) -> bool:
        """End a job unless it runs already, or has ended; returns whether it did."""
        with self._lock:
            record = self.get(id)
            if record.state == WAITING:
                self._catalogue.put_job(replace(record, state=state, ended=time.time(), error=error))
            return record.state == WAITING

    def end(self, id: str, state: str, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        """Note how a job ended."""
        with self._lock:
            record = self.get(id)
            self._catalogue.put_job(replace(record, state=state, ended=time.time(), result=result, error=error))
            self._progress.pop(id, None)

    def note_progress(self, id: str, share: float) -> None:
        """Which share of a running job is done."""
        self._progress[id] = share

    def get(self, id: str) -> JobRecord:
        """One job; raises JobNotFound."""
        for record in self.all():
            if record.id == id:
                return record
        raise JobNotFound(f"There is no job '{id}'.")

    def all(self) -> list[JobRecord]:
        """The jobs of late, the newest first."""
        return [replace(one, progress=self._progress.get(one.id, one.progress)) for one in self._catalogue.jobs()]
