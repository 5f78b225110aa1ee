"""Every metric, declared in one table; each series is there at zero from the start."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

from index_store import CollectionInfo, Measured
from index_store.jobs import STATES
from service.tally import Observations, Tally

# Collections beyond the cap share this label, which is there before any collection is, and which none can be named.
OTHER = "(other)"


@dataclass(frozen=True)
class Declaration:
    """One metric: its labels, the values that are known beforehand, and a histogram's buckets."""

    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    start: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = field(default=())


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STAGES = ("total", "probe", "scan", "pairwise", "neural", "exact", "pending", "payload")
COLLECTION = (("collection",), ((OTHER,),))

TABLE: dict[str, Declaration] = {
    "qinco_queries_total": Declaration("counter", "Query vectors answered.", *COLLECTION),
    "qinco_query_seconds": Declaration(
        "histogram",
        "Time that a stage of the pipeline took for a batch of queries, or all of them together; seconds.",
        ("stage",),
        tuple((stage,) for stage in STAGES),
        SECONDS,
    ),
    "qinco_query_batch_size": Declaration("histogram", "Query vectors answered by one pass.", (), (), BATCHES),
    "qinco_queued_queries": Declaration("gauge", "Query vectors that wait for a pass."),
    "qinco_points": Declaration("gauge", "Points.", *COLLECTION),
    "qinco_pending_points": Declaration(
        "gauge", "Points that wait for encoding and are searched exactly.", *COLLECTION
    ),
    "qinco_encoded_total": Declaration("counter", "Vectors encoded.", *COLLECTION),
    "qinco_encode_seconds": Declaration(
        "histogram", "Time to encode and publish one batch; seconds.", *COLLECTION, SECONDS
    ),
    "qinco_encode_relative_error": Declaration(
        "gauge",
        "Squared error of the vectors encoded of late, over that of the model on data like its training's: "
        "1 as trained, 0 not known.",
        *COLLECTION,
    ),
    "qinco_encode_failures_total": Declaration(
        "counter", "Batches whose encoding failed; they are tried again.", *COLLECTION
    ),
    "qinco_merged_segments_total": Declaration("counter", "Segments merged into larger ones.", *COLLECTION),
    "qinco_ram_bytes": Declaration("gauge", "Memory that a collection's codes and rows take.", *COLLECTION),
    "qinco_disk_bytes": Declaration("gauge", "Disk that a collection takes.", *COLLECTION),
    "qinco_segments": Declaration("gauge", "Segments.", *COLLECTION),
    "qinco_tombstones": Declaration("gauge", "Deleted rows that merging has not dropped yet.", *COLLECTION),
    "qinco_collection_recall": Declaration(
        "gauge", "Recall of default queries as measured last, 0 to 1; 0 before that.", *COLLECTION
    ),
    "qinco_unindexed_filters_total": Declaration(
        "counter", "Filters with a key that no payload index could answer for: payloads were read.", *COLLECTION
    ),
    "qinco_jobs": Declaration("gauge", "Jobs of late, by their state.", ("state",), tuple((one,) for one in STATES)),
    "qinco_rejected_total": Declaration(
        "counter",
        "Requests refused, by the status they got.",
        ("status",),
        tuple(
            (status,) for status in ("400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503", "507")
        ),
    ),
    "qinco_http_requests_total": Declaration("counter", "Requests answered.", ("method", "route", "status")),
    "qinco_http_seconds": Declaration("histogram", "Time to answer a request; seconds.", ("route",), (), SECONDS),
    "qinco_ready": Declaration("gauge", "1 when /readyz says so."),
}


class Metrics:
    """The metrics of one app. Attribute names are the metrics' without `qinco_`: `metrics["queries_total"]`."""

    def __init__(self, max_collections: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._metrics = {name: _make(name, one, self.registry) for name, one in TABLE.items()}
        self._children: dict[tuple[str, tuple[str, ...]], MetricWrapperBase | Observations | Tally] = {}
        self._max_collections = max_collections
        self._labelled: set[str] = set()
        self._lock = threading.Lock()
        self._unindexed: dict[str, int] = {}  # filters counted so far, by collection

    def counter(self, name: str, *labels: str) -> Counter:
        return self._child(name, labels)  # type: ignore[return-value]

    def gauge(self, name: str, *labels: str) -> Gauge:
        return self._child(name, labels)  # type: ignore[return-value]

    def histogram(self, name: str, *labels: str) -> Observations:
        return self._child(name, labels)  # type: ignore[return-value]

    def collection_label(self, name: str) -> str:
        """The collection's own label while there are few, else `other`."""
        with self._lock:
            if name not in self._labelled and len(self._labelled) < self._max_collections:
                self._labelled.add(name)
                for metric, declared in TABLE.items():
                    if declared.labels == ("collection",):
                        self._metrics[metric].labels(name)
            return name if name in self._labelled else OTHER

    def forget_collection(self, name: str) -> None:
        """Takes a deleted collection's series away."""
        with self._lock:
            self._unindexed.pop(name, None)
            if name in self._labelled:
                self._labelled.remove(name)
                for metric, declared in TABLE.items():
                    if declared.labels == ("collection",):
                        self._metrics[metric].remove(name)
                        self._children.pop((metric, (name,)), None)

    def know_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Puts the series of each (method, path) at zero."""
        for method, path in routes:
            self.counter("qinco_http_requests_total", method, path, "200")
            self.histogram("qinco_http_seconds", path)

    def exposition(self, infos: dict[str, CollectionInfo]) -> bytes:
        """The text that Prometheus reads, with the gauges of the collections as they are now."""
        sums: dict[str, dict[str, int]] = {}
        drifts: dict[str, float] = {}
        for name, info in infos.items():
            total = sums.setdefault(self.collection_label(name), dict.fromkeys(_GAUGES, 0))
            for metric, value in _GAUGES.items():
                total[metric] += int(getattr(info, value))
            label = self.collection_label(name)
            drifts[label] = max(drifts.get(label, 0.0), relative_error(info) or 0.0)
            self._show_recall(name, info.recall)
            self._count_unindexed(name, info.unindexed_filters)
        for label, values in sums.items():
            for metric, number in values.items():
                self.gauge(metric, label).set(number)
        for label, drift in drifts.items():
            self.gauge("qinco_encode_relative_error", label).set(drift)
        return generate_latest(self.registry)

    def _show_recall(self, name: str, measured: Measured | None) -> None:
        if measured is not None and self.collection_label(name) == name:  # several have no recall together
            self.gauge("qinco_collection_recall", name).set(measured.default)

    def _count_unindexed(self, name: str, filters: int) -> None:
        before = self._unindexed.get(name, 0)
        self._unindexed[name] = filters
        self.counter("qinco_unindexed_filters_total", self.collection_label(name)).inc(max(0, filters - before))

    def _child(self, name: str, labels: tuple[str, ...]) -> MetricWrapperBase | Observations | Tally:
        found = self._children.get((name, labels))  # `labels` takes a lock and checks; each query counts ten times
        if found is None:
            metric = self._metrics[name]
            found = self._children[name, labels] = metric.labels(*labels) if labels else metric
        return found


def relative_error(info: CollectionInfo) -> float | None:
    """The error of vectors encoded of late, as a multiple of that on data like the model's training's."""
    if info.recent_mse is None or not info.training_mse:
        return None
    return info.recent_mse / info.training_mse


_GAUGES = {
    "qinco_points": "points",
    "qinco_pending_points": "pending",
    "qinco_segments": "segments",
    "qinco_tombstones": "tombstones",
    "qinco_ram_bytes": "ram_bytes",
    "qinco_disk_bytes": "disk_bytes",
}


def _make(name: str, one: Declaration, registry: CollectorRegistry) -> MetricWrapperBase | Tally:
    metric = _metric(name, one, registry)
    for labels in one.start:
        metric.labels(*labels)
    return metric


def _metric(name: str, one: Declaration, registry: CollectorRegistry) -> MetricWrapperBase | Tally:
    if one.kind == "histogram":
        tally = Tally(name, one.meaning, one.labels, one.buckets)
        registry.register(tally)
        return tally
    kind = Counter if one.kind == "counter" else Gauge
    return kind(name, one.meaning, one.labels, registry=registry)
