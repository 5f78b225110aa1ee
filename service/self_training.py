"""Collections that train codecs by themselves: looks which have enough vectors, and begins a job for each."""

import logging

from index_store import Collection, Store
from index_store import SelfTraining as Settings
from service.jobs import Jobs
from service.vector_names import DEFAULT
from service.watch import Watch
from service.work import TRAIN

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PRESET = "XS"
_LONGEST_PREFIX = 150


class SelfTraining:
    """Looks every second; what is remembered lies in the catalogue, so that a restart forgets nothing."""

    def __init__(self, store: Store, jobs: Jobs, budget_s: int) -> None:
        self._store, self._jobs, self._budget_s = store, jobs, budget_s
        self.watch = Watch("self-training", store, LOOK_EVERY_S, self._look)

    def _look(self, collection: Collection) -> None:
        points = collection.count()
        for vector, codes in collection.config.codes.items():
            if codes.auto is not None and points >= codes.auto.next_at:
                job = self._jobs.begin(TRAIN, collection.name, self._parameters(collection, vector, codes.auto, points))
                logger.info("Training a codec for '%s' with its %d points: job %s", collection.name, points, job.id)

    def _parameters(self, collection: Collection, vector: str, auto: Settings, points: int) -> dict[str, object]:
        return {
            "using": "" if vector == DEFAULT else vector,
            "bytes": auto.bytes,
            "preset": PRESET,
            "time_budget_s": float(self._budget_s),
            "name": self._free_name(f"{collection.name[:_LONGEST_PREFIX]}.auto-{points}"),
            "apply": True,
            "by_itself": True,
        }

    def _free_name(self, name: str) -> str:
        taken = {record.name for record in self._store.models()}
        return next(one for one in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))) if one not in taken)
