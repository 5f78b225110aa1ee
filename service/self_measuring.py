"""Measures a collection's recall again whenever its points have grown by half, at low priority.

Measuring takes a core for seconds to minutes. While queries come it rests for most of the time, so that they do not
wait for a core, or find their codes thrown out of its cache.
"""

import logging
import time
from collections.abc import Callable

from index_store import Collection, Store
from index_store.errors import JobCancelled
from service.watch import Watch

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
LIMIT, SAMPLE = 10, 500
RESTS = 9
"""Times as long as it worked, where queries came meanwhile."""


class SelfMeasuring:
    """Looks every few seconds; a measurement under way ends when the watch is stopped."""

    def __init__(self, store: Store, asked: Callable[[], int]) -> None:
        """asked: how many queries there have been"""
        self._asked = asked
        self._seen, self._since = 0, 0.0
        self.watch = Watch("self-measuring", store, LOOK_EVERY_S, self._look)

    def _look(self, collection: Collection) -> None:
        for using in collection.config.vectors:
            if collection.codes.recall_is_due(using):
                self._seen, self._since = self._asked(), time.perf_counter()
                found = collection.codes.measure_recall(using, LIMIT, SAMPLE, self._rest_or_end)
                if found is not None:
                    logger.info("Measured a recall of %.3f on '%s' at limit %d", found.default, collection.name, LIMIT)

    def _rest_or_end(self, share: float) -> None:
        if self._asked() != self._seen:
            self.watch.stopping.wait(RESTS * (time.perf_counter() - self._since))
        if self.watch.stopping.is_set():
            raise JobCancelled("The server is stopping.")
        self._seen, self._since = self._asked(), time.perf_counter()
