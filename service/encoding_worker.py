"""One background thread: pending vectors → segments, payload indexes; when idle better codes, and merging."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from index_store import Collection, Store
from index_store.errors import CollectionNotFound, DamagedData
from index_store.priority import stand_back
from service.metrics import Metrics

logger = logging.getLogger(__name__)

# Waiting for work ends at once by `wake`; the pause only bounds what a lost wake-up costs.
IDLE_S = 1.0
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 30.0
# Batches are sized to take about this long on the machine at hand: stopping waits for one, queries compete with it.
BATCH_S = 2.0
FIRST_BATCH_ROWS = 256
LEAST_BATCH_ROWS = 16
# Behind queries when both want the same core (nice, 0 … 19).
NICENESS = 10


@dataclass
class _Pace:
    """How one collection is dealt with: rows a batch, and after a failure when to try again."""

    rows: int
    retry_at: float = 0.0
    backoff_s: float = 0.0


class EncodingWorker:
    """Encodes the oldest pending rows of each collection in turn, a batch at a time; one that fails waits alone."""

    def __init__(self, store: Store, max_rows: int, metrics: Metrics) -> None:
        self._store = store
        self._max_rows = max_rows
        self._metrics = metrics
        self._paces: dict[str, _Pace] = {}
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="encoding", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the batch at hand; what is left stays pending and is encoded after the next start."""
        self._stopping.set()
        self._work.set()
        self._thread.join()

    def wake(self) -> None:
        """Says that there is something to encode."""
        self._work.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        yield_to_queries()
        while not self._stopping.is_set():
            self._work.clear()
            done = self._round(self._encode) + self._round(self._index)
            if not done and not self._round(self._refine) and not self._round(self._merge):
                self._work.wait(IDLE_S)

    def _round(self, work: Callable[[str, Collection, _Pace], int]) -> int:
        """Does `work` for each collection that is not waiting after a failure; returns how much was done in all."""
        names = self._store.collections()
        self._paces = {name: self._paces.get(name) or _Pace(min(FIRST_BATCH_ROWS, self._max_rows)) for name in names}
        due = [name for name in names if self._paces[name].retry_at <= time.monotonic()]
        return sum(self._attempt(work, name) for name in due if not self._stopping.is_set())

    def _attempt(self, work: Callable[[str, Collection, _Pace], int], name: str) -> int:
        pace = self._paces[name]
        try:
            done = work(name, self._store.collection(name), pace)
            pace.backoff_s = 0.0
            return done
        except (CollectionNotFound, DamagedData):  # deleted meanwhile, or not loaded; its routes say so
            return 0
        except Exception:  # the thread's edge: whatever fails, the others must still be encoded
            pace.backoff_s = min(pace.backoff_s * 2 or FIRST_BACKOFF_S, LAST_BACKOFF_S)
            pace.retry_at = time.monotonic() + pace.backoff_s
            logger.exception("Encoding of collection %s failed; trying again in %.1f s", name, pace.backoff_s)
            self._metrics.counter("qinco_encode_failures_total", self._metrics.collection_label(name)).inc()
            return 0

    def _encode(self, name: str, collection: Collection, pace: _Pace) -> int:
        started = time.perf_counter()
        encoded = collection.encode_pending(pace.rows)
        if encoded:
            seconds = time.perf_counter() - started
            pace.rows = min(self._max_rows, max(LEAST_BATCH_ROWS, int(encoded / seconds * BATCH_S)))
            label = self._metrics.collection_label(name)
            self._metrics.counter("qinco_encoded_total", label).inc(encoded)
            self._metrics.histogram("qinco_encode_seconds", label).observe(seconds)
        return encoded

    def _index(self, name: str, collection: Collection, pace: _Pace) -> int:
        return collection.index_payloads()

    def _refine(self, name: str, collection: Collection, pace: _Pace) -> int:
        return 0 if self._work.is_set() else collection.refine(pace.rows)

    def _merge(self, name: str, collection: Collection, pace: _Pace) -> int:
        if self._work.is_set():  # new vectors came: they go first
            return 0
        began, created = time.perf_counter(), time.time()
        merged = collection.merge()
        if merged:
            told = {"segments": merged, "seconds": round(time.perf_counter() - began, 3)}
            self._store.jobs.note_done("merge", name, created, told)
            self._metrics.counter("qinco_merged_segments_total", self._metrics.collection_label(name)).inc(merged)
        return merged


def yield_to_queries() -> None:
    """Lowers this thread's priority, and that of threads it starts."""
    stand_back(NICENESS)
