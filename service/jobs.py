"""Work in the background: one job after another in one thread, each of which can be cancelled."""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from index_store import Collection, JobRecord, Store
from index_store.errors import JobCancelled, JobOver
from index_store.jobs import CANCELLED, DONE, FAILED, INTERRUPTED, STATES
from model.errors import QincoError
from service.encoding_worker import yield_to_queries
from service.metrics import Metrics

logger = logging.getLogger(__name__)

Report = Callable[[float], None]
Work = Callable[[Report], dict[str, Any]]

CANCELLED_SENTENCE = "Cancelled before it was done; it changed nothing."
STOPPED_SENTENCE = "The server was stopped before the job was done; it changed nothing. Start it again."


class Jobs:
    """Runs jobs for the routes, and notes in the store what becomes of them."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._records = store.jobs
        self._metrics = metrics
        self._cancelled: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1, "jobs", yield_to_queries)
        self._count()

    def begin(self, kind: str, collection: str, parameters: dict[str, Any], work: Work) -> JobRecord:
        """Begins `work`, which gives the job's result; raises JobRunning when the collection has a job already."""
        record = self._records.begin(kind, collection, parameters)
        self._count()
        self._pool.submit(self._run, record.id, work)
        return record

    def cancel(self, id: str) -> JobRecord:
        """Ends a job that waits; one that runs ends at its next step. Raises JobNotFound, JobOver."""
        record = self._records.get(id)
        if record.ended is not None:
            raise JobOver(f"The job '{id}' has ended already: it is {record.state}.")
        self._cancelled[id].set()
        self._records.end_waiting(id, CANCELLED, CANCELLED_SENTENCE)
        self._count()
        return self._records.get(id)

    def get(self, id: str) -> JobRecord:
        return self._records.get(id)

    def all(self) -> list[JobRecord]:
        return self._records.all()

    def close(self) -> None:
        """Ends the job at hand at its next step; it and those that wait are told as interrupted."""
        self._stopping.set()
        self._pool.shutdown()

    def _run(self, id: str, work: Work) -> None:
        if self._stopping.is_set():
            self._records.end_waiting(id, INTERRUPTED, STOPPED_SENTENCE)
        elif self._records.run(id):
            self._count()
            state, result, error = self._outcome(id, work)
            self._records.end(id, state, result, error)
            logger.info("Job %s ended: %s", id, state)
        self._cancelled.pop(id, None)
        self._count()

    def _outcome(self, id: str, work: Work) -> tuple[str, dict[str, Any] | None, str | None]:
        def report(share: float) -> None:
            if self._cancelled[id].is_set() or self._stopping.is_set():
                raise JobCancelled(CANCELLED_SENTENCE)
            self._records.note_progress(id, share)

        try:
            return DONE, work(report), None
        except JobCancelled:
            if self._cancelled[id].is_set():
                return CANCELLED, None, CANCELLED_SENTENCE
            return INTERRUPTED, None, STOPPED_SENTENCE
        except QincoError as error:
            return FAILED, None, str(error)
        except Exception as error:  # the thread's edge: whatever fails, the next job must still run
            logger.exception("Job %s failed", id)
            return FAILED, None, f"The service failed on this job ({type(error).__name__}); its log says more."

    def _count(self) -> None:
        counts = Counter(record.state for record in self._records.all())
        for state in STATES:
            self._metrics.gauge("qinco_jobs", state).set(counts[state])


def keeping_steps(collection: Collection, steps: int, using: str) -> Work:
    """The work of cutting a collection's codes to `steps`; its result says what that costs and saves."""

    def work(report: Report) -> dict[str, Any]:
        before = collection.info(using)
        collection.keep_steps(steps, using, report)
        now = collection.info(using)
        recall = collection.own_recall(using)
        return {
            "steps": now.steps,
            "code_bytes": {"before": before.code_bytes, "after": now.code_bytes},
            "ram_bytes": {"before": before.ram_bytes, "after": now.ram_bytes},
            "recall": None if recall is None else {"queries": "own points", **asdict(recall)},
        }

    return work
