"""Work in the background: jobs in two lanes, trainings and the rest, each of which can be cancelled.

A job that can go on after a restart waits in the catalogue until then; the others are told as interrupted.
"""

import logging
import shutil
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from index_store import JobRecord, Store, faults
from index_store.errors import JobCancelled, JobNotFound, JobOver
from index_store.jobs import CANCELLED, DONE, FAILED, INTERRUPTED, STATES
from model.errors import QincoError
from service.encoding_worker import yield_to_queries
from service.metrics import Metrics
from service.work import REPORT, TRAIN, Work, Workplace, work_of

logger = logging.getLogger(__name__)

CANCELLED_SENTENCE = "Cancelled before it was done: the collection is as it was."
STOPPED_SENTENCE = "The server was stopped before the job was done; it changed nothing. Start it again."


class Jobs:
    """Runs jobs for the routes, and notes in the store what becomes of them."""

    def __init__(self, store: Store, metrics: Metrics, workplace: Workplace) -> None:
        self._store, self._metrics, self._workplace = store, metrics, workplace
        self._records = store.jobs
        self._cancelled: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._stopping = threading.Event()
        # A training may take hours, and is another process: it keeps no other job waiting.
        self._lanes = {name: ThreadPoolExecutor(1, name, yield_to_queries) for name in ("trainings", "jobs")}
        for record in self._records.take_up(lambda one: work_of(one, workplace).goes_on):
            logger.info("Job %s (%s of %s) goes on", record.id, record.kind, record.collection)
            self._submit(record)
        self._forget_left_codes()
        self._sweep()
        self._count()

    def begin(self, kind: str, collection: str, parameters: dict[str, Any]) -> JobRecord:
        """Begins a job; raises JobRunning when the collection has one already."""
        record = self._records.begin(kind, collection, parameters)
        self._count()
        self._submit(record)
        return record

    def cancel(self, id: str) -> JobRecord:
        """Ends a job that waits; one that runs ends at its next step. Raises JobNotFound, JobOver."""
        record = self._records.get(id)
        if record.ended is not None:
            raise JobOver(f"The job '{id}' has ended already: it is {record.state}.")
        self._cancelled[id].set()
        if self._records.end_waiting(id, CANCELLED, CANCELLED_SENTENCE):
            self._give_up(id, work_of(record, self._workplace))
        self._count()
        return self._records.get(id)

    def get(self, id: str) -> JobRecord:
        return self._records.get(id)

    def all(self) -> list[JobRecord]:
        return self._records.all()

    def close(self) -> None:
        """Ends the jobs at hand at their next step; what can go on does so after the next start."""
        self._stopping.set()
        for lane in self._lanes.values():
            lane.shutdown()

    def _submit(self, record: JobRecord) -> None:
        lane = self._lanes["trainings" if record.kind == TRAIN else "jobs"]
        lane.submit(self._run, record.id, work_of(record, self._workplace))

    def _run(self, id: str, work: Work) -> None:
        if self._stopping.is_set():
            if not work.goes_on:
                self._records.end_waiting(id, INTERRUPTED, STOPPED_SENTENCE)
        elif self._records.run(id):
            self._count()
            state, result, error = self._outcome(id, work)
            if state == INTERRUPTED and work.goes_on:
                self._records.put_off(id)
            else:
                if state != DONE:
                    self._give_up(id, work)
                self._records.end(id, state, _with_log(result, self._records.get(id)), error)
                self._sweep()
            logger.info("Job %s ended: %s", id, state)
        self._cancelled.pop(id, None)
        self._count()

    def _outcome(self, id: str, work: Work) -> tuple[str, dict[str, Any] | None, str | None]:
        def report(share: float, figures: dict[str, Any] | None = None) -> None:
            if self._cancelled[id].is_set() or self._stopping.is_set():
                raise JobCancelled(CANCELLED_SENTENCE)
            self._records.note_progress(id, share, figures)

        try:
            return DONE, work.run(report), None
        except JobCancelled:
            if self._cancelled[id].is_set():
                return CANCELLED, None, CANCELLED_SENTENCE
            return INTERRUPTED, None, STOPPED_SENTENCE
        except QincoError as error:
            return FAILED, None, str(error)
        except Exception as error:  # the thread's edge: whatever fails, the next job must still run
            known = faults.of_file(error) if isinstance(error, OSError) else error
            if isinstance(known, QincoError):
                return FAILED, None, str(known)
            logger.exception("Job %s failed", id)
            return FAILED, None, f"The service failed on this job ({type(error).__name__}); its log says more."

    def _give_up(self, id: str, work: Work) -> None:
        try:
            work.give_up()
        except QincoError as error:  # a full disk, most likely
            logger.error("What job %s had begun stays until the next start: %s", id, error)

    def _forget_left_codes(self) -> None:
        """Codes that were being made for a job that is none any more: cancelled or failed just before a kill."""
        busy = {record.collection for record in self._records.unended()}
        for name in set(self._store.collections()) - busy:
            try:
                collection = self._store.collection(name)
                for vector in collection.config.vectors:
                    collection.codes.forget_encoding_anew(vector)
            except QincoError as error:  # told by its own routes
                logger.error("Could not look into collection %s: %s", name, error)

    def report(self, id: str) -> str:
        """The page on a training; raises JobNotFound, also where the job wrote none."""
        path = self._workplace.folder / self._records.get(id).id / REPORT
        if not path.exists():
            raise JobNotFound(f"The job '{id}' has no report: a training writes one when its codec is made.")
        return path.read_text(encoding="utf-8")

    def _sweep(self) -> None:
        """Delete what jobs that have ended leave in their folders but their reports, and those of forgotten jobs."""
        known = {record.id: record for record in self._records.all()}
        for folder in self._workplace.folder.iterdir() if self._workplace.folder.is_dir() else ():
            record = known.get(folder.name)
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif record.ended is not None:
                for path in folder.iterdir():
                    if path.name != REPORT:
                        path.unlink(missing_ok=True)

    def _count(self) -> None:
        counts = Counter(record.state for record in self._records.all())
        for state in STATES:
            self._metrics.gauge("qinco_jobs", state).set(counts[state])


def _with_log(result: dict[str, Any] | None, record: JobRecord) -> dict[str, Any] | None:
    """The result of a job with the figures as they went, where it told any."""
    return result if result is None or not record.log else {**result, "log": list(record.log)}
