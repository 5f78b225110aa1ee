"""What every route needs: the open store, the encoding worker, the query batcher, jobs, and whether they are ready."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np

from index_store import Collection, SearchPlan, Store
from index_store.storage import Storage
from model.errors import QincoError
from service.encoding_worker import EncodingWorker
from service.errors import NotReady
from service.jobs import Jobs
from service.metrics import Metrics
from service.plain_query import PlainQueries
from service.query_batcher import QueryBatcher
from service.reservations import Reservations
from service.self_measuring import SelfMeasuring
from service.self_training import SelfTraining
from service.settings import Settings
from service.work import Workplace

logger = logging.getLogger(__name__)

# Two passes at once keep the cores busy while one of them waits for the disk.
QUERY_THREADS = 2
# What NVIDIA's driver shows, on Linux and in its subsystem on Windows; without it PyTorch need not be asked for a GPU.
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
# Model files arrive under this name in the data folder; a kill may leave one behind.
INCOMING = ".incoming-"


class Serving:
    """From `open` to `close`; before, between and after, `store` raises NotReady."""

    def __init__(self, settings: Settings, on_failure: Callable[[BaseException], None]) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.metrics_collections)
        self.reservations = Reservations()
        self.plain_queries = PlainQueries(settings.max_limit)
        self.is_stopping = False
        self.progress = "the store is not open yet"
        self.settle: Callable[[], object] = lambda: None  # called once all is loaded and warm
        self._on_failure = on_failure
        self._store: Store | None = None
        self._worker: EncodingWorker | None = None
        self._batcher: QueryBatcher | None = None
        self._jobs: Jobs | None = None
        self._self_training: SelfTraining | None = None
        self._self_measuring: SelfMeasuring | None = None
        self._opening: asyncio.Task[None] | None = None
        self._kept: set[asyncio.Future[Any]] = set()

    @property
    def is_ready(self) -> bool:
        return self._store is not None and not self.is_stopping

    @property
    def store(self) -> Store:
        if self._store is None:
            raise NotReady(f"The service is starting: {self.progress}.")
        return self._store

    @property
    def worker(self) -> EncodingWorker:
        assert self._worker is not None, "there is a worker once there is a store"
        return self._worker

    @property
    def batcher(self) -> QueryBatcher:
        assert self._batcher is not None, "there is a batcher once there is a store"
        return self._batcher

    @property
    def jobs(self) -> Jobs:
        if self._jobs is None:
            raise NotReady(f"The service is starting: {self.progress}.")
        return self._jobs

    def collection(self, name: str) -> Collection:
        """The collection of this name; raises NotReady, CollectionNotFound, DamagedData."""
        return self.store.collection(name)

    def open(self) -> None:
        """Begins to open the store, in the background."""
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def close(self) -> None:
        """Stops the worker after its batch, and closes the store."""
        self.is_stopping = True
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._kept:
            await asyncio.wait(self._kept)
        if self._store is not None:
            await anyio.to_thread.run_sync(self._close)
            logger.info("Closed the data folder")

    def keep(self, work: "asyncio.Future[Any]") -> None:
        """Lets work go on that nobody waits for: the log tells if it fails, and `close` waits for it."""
        self._kept.add(work)
        work.add_done_callback(self._let_go)

    def _let_go(self, work: "asyncio.Future[Any]") -> None:
        self._kept.discard(work)
        if not work.cancelled() and (error := work.exception()):
            logger.error("Work in the background failed: %s", error)

    async def _open(self) -> None:
        from service.warm_up import warm_up  # which knows what is built over this

        started, settings = time.perf_counter(), self.settings
        try:
            store = await anyio.to_thread.run_sync(self._open_store)
            pace = await warm_up(store, settings, self.plain_queries)
        except BaseException as error:
            self._on_failure(error)
            return
        self.settle()
        self._batcher = QueryBatcher(
            QUERY_THREADS, settings.query_batch, settings.max_queued, settings.query_timeout, self.metrics, pace
        )
        self._worker = EncodingWorker(store, settings.encode_batch, self.metrics)
        self._worker.start()
        place = Workplace(store, settings.data / "jobs", settings.threads, _device(settings.device), self._worker.wake)
        self._jobs = await anyio.to_thread.run_sync(Jobs, store, self.metrics, place)
        self._self_training = SelfTraining(store, self._jobs, settings.train_budget)
        self._self_training.watch.start()
        self._self_measuring = SelfMeasuring(store, lambda: self.batcher.asked)
        self._self_measuring.watch.start()
        self._store = store
        self.metrics.gauge("qinco_ready").set(1)
        logger.info("Ready after %.1f s: %d collections", time.perf_counter() - started, len(store.collections()))

    def _open_store(self) -> Store:
        settings = self.settings
        self.progress = "collections are being loaded"
        storage = Storage(settings.disk_reserve)
        store = Store.open(
            settings.data,
            _device(settings.device),
            settings.threads,
            settings.max_pending,
            storage,
            settings.recent_queries,
            settings.pair_table,
        )
        for left_behind in settings.data.glob(INCOMING + "*"):
            left_behind.unlink()
        names = store.collections()
        for done, name in enumerate(names):
            self.progress = f"kernels are being warmed, {done} of {len(names)} collections"
            _warm(store, name)
        return store

    def _close(self) -> None:
        assert self._self_training is not None, "it begins with the store"
        self._self_training.watch.stop()
        if self._self_measuring is not None:
            self._self_measuring.watch.stop()
        self.jobs.close()
        self.worker.stop()
        self.batcher.close()
        store, self._store = self.store, None
        store.close()


def _warm(store: Store, name: str) -> None:
    """Runs the pipeline once with originals and once by codes alone: the first query is not to wait for compilation."""
    try:
        collection = store.collection(name)
        for using, vector in collection.config.vectors.items():
            for rescore in (None, False):
                collection.query(np.ones((1, vector.size), np.float32), SearchPlan(1, rescore=rescore), using=using)
    except QincoError as error:  # told by its own routes; the others are served
        logger.error("Could not load collection %s: %s", name, error)


def _device(chosen: str) -> str:
    if chosen != "auto":
        return chosen
    if not any(Path(driver).exists() for driver in DRIVERS):
        return "cpu"
    from torch import cuda  # heavy; this runs in the thread that opens the store

    return "cuda" if cuda.is_available() else "cpu"
