"""A thread that looks at each collection every few seconds, and outlives whatever a look raises."""

import logging
import threading
from collections.abc import Callable

from index_store import Collection, Store
from model.errors import QincoError
from service.encoding_worker import yield_to_queries

logger = logging.getLogger(__name__)


class Watch:
    """Calls `look` with each collection in turn, at low priority; `stopping` is set when it is to end."""

    def __init__(self, name: str, store: Store, every_s: float, look: Callable[[Collection], None]) -> None:
        self.stopping = threading.Event()
        self._store, self._every_s, self._look = store, every_s, look
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the look under way has ended."""
        self.stopping.set()
        self._thread.join()

    def _run(self) -> None:
        yield_to_queries()
        while not self.stopping.wait(self._every_s):
            for name in self._store.collections():
                try:
                    self._look(self._store.collection(name))
                except QincoError:  # deleted meanwhile, busy with a job, or not loaded: its routes say so
                    continue
                except Exception:  # the thread's edge: whatever fails, the others must still be looked at
                    logger.exception("Looking at collection %s failed in %s", name, self._thread.name)
