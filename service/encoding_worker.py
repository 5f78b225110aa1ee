"""One background thread that turns pending vectors into segments, and merges segments when idle."""

import logging
import os
import sys
import threading
import time

from index_store import Collection, Store
from index_store.errors import CollectionNotFound
from service.metrics import Metrics

logger = logging.getLogger(__name__)

# Waiting for work ends at once by `wake`; the pause only bounds what a lost wake-up costs.
IDLE_S = 1.0
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 30.0
# Behind queries when both want the same core (nice, 0 … 19).
NICENESS = 10


class EncodingWorker:
    """Encodes the oldest pending rows of each collection in turn, a batch at a time."""

    def __init__(self, store: Store, batch_rows: int, metrics: Metrics) -> None:
        self._store = store
        self._batch_rows = batch_rows
        self._metrics = metrics
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
        _yield_to_queries()
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            self._work.clear()
            try:
                if not self._encode_round() and not self._merge_round():
                    self._work.wait(IDLE_S)
                backoff_s = FIRST_BACKOFF_S
            except Exception:  # the thread's edge: whatever fails, later batches must still be tried
                logger.exception("Encoding failed; trying again in %.1f s", backoff_s)
                self._stopping.wait(backoff_s)
                backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)

    def _encode_round(self) -> int:
        return sum(self._encode(name) for name in self._store.collections() if not self._stopping.is_set())

    def _encode(self, name: str) -> int:
        started = time.perf_counter()
        label = self._metrics.collection_label(name)
        try:
            encoded = self._store.collection(name).encode_pending(self._batch_rows)
        except CollectionNotFound:  # deleted meanwhile
            return 0
        except Exception:
            self._metrics.counter("qinco_encode_failures_total", label).inc()
            raise
        if encoded:
            self._metrics.counter("qinco_encoded_total", label).inc(encoded)
            self._metrics.histogram("qinco_encode_seconds", label).observe(time.perf_counter() - started)
        return encoded

    def _merge_round(self) -> int:
        """Merges one collection's segments at most, so that new vectors do not wait long."""
        for name in self._store.collections():
            try:
                merged = 0 if self._stopping.is_set() else self._collection(name).merge()
            except CollectionNotFound:
                continue
            if merged:
                self._metrics.counter("qinco_merged_segments_total", self._metrics.collection_label(name)).inc(merged)
                return merged
        return 0

    def _collection(self, name: str) -> Collection:
        return self._store.collection(name)


def _yield_to_queries() -> None:
    """Lowers this thread's priority; only Linux gives a thread one of its own, inherited by the threads it starts."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
