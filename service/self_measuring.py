"""Measures a collection's recall again whenever its points have grown by half, at low priority.

Measuring takes a core for seconds to minutes. While queries come it rests for most of the time, so that they do not
wait for a core, or find their codes thrown out of its cache.
"""

import logging
import threading
import time
from collections.abc import Callable

from index_store import Store
from index_store.errors import JobCancelled
from model.errors import QincoError
from service.encoding_worker import yield_to_queries

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
LIMIT, SAMPLE = 10, 500
RESTS = 9
"""Times as long as it worked, where queries came meanwhile."""


class SelfMeasuring:
    """A thread that looks every few seconds; a measurement under way ends when it is stopped."""

    def __init__(self, store: Store, asked: Callable[[], int]) -> None:
        """asked: how many queries there have been"""
        self._store, self._asked = store, asked
        self._seen, self._since = 0, 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-measuring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        yield_to_queries()
        while not self._stopping.wait(LOOK_EVERY_S):
            for name in self._store.collections():
                try:
                    self._look(name)
                except QincoError:  # deleted meanwhile, or not loaded: its routes say so
                    continue
                except Exception:  # the thread's edge: whatever fails, the others must still be measured
                    logger.exception("Measuring the recall of collection %s failed", name)

    def _look(self, name: str) -> None:
        collection = self._store.collection(name)
        for using in collection.config.vectors:
            if collection.recall_is_due(using):
                self._seen, self._since = self._asked(), time.perf_counter()
                found = collection.measure_recall(using, LIMIT, SAMPLE, self._rest_or_end)
                if found is not None:
                    logger.info("Measured a recall of %.3f on '%s' at limit %d", found.default, name, LIMIT)

    def _rest_or_end(self, share: float) -> None:
        if self._asked() != self._seen:
            self._stopping.wait(RESTS * (time.perf_counter() - self._since))
        if self._stopping.is_set():
            raise JobCancelled("The server is stopping.")
        self._seen, self._since = self._asked(), time.perf_counter()
