"""A histogram whose observations cost next to nothing: noted at once, counted when somebody looks or there are many.

Each query observes eight values; prometheus_client's own histogram takes a dozen calls and two locks for each.
"""

import threading
from collections import deque
from collections.abc import Iterable

import numpy as np
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

MOST_NOTED = 4096


class Observations:
    """Of one series of a histogram. Any thread may observe."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = np.array([*buckets, np.inf])
        self._counts, self._sum = np.zeros(len(self._bounds), np.int64), 0.0
        self._noted: deque[float] = deque()
        self._counting = threading.Lock()

    def observe(self, value: float) -> None:
        """Note a value."""
        self._noted.append(value)
        if len(self._noted) > MOST_NOTED:
            self.counted()

    def counted(self) -> tuple[list[tuple[str, float]], float]:
        """How many values are at most as large as each bucket's bound, and the sum of all."""
        with self._counting:
            values = np.array([self._noted.popleft() for _ in range(len(self._noted))], np.float64)
            places = np.searchsorted(self._bounds, values)  # NaN lies beyond infinity; nobody observes it
            self._counts += np.bincount(places, minlength=len(self._bounds))
            self._sum += float(values.sum())
            upto = np.cumsum(self._counts).tolist()
            return list(zip(map(floatToGoString, self._bounds), upto, strict=True)), self._sum


class Tally(Collector):
    """A histogram by labels."""

    def __init__(self, name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> None:
        self._name, self._meaning, self._labels, self._buckets = name, meaning, labels, buckets
        self._series: dict[tuple[str, ...], Observations] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Observations:
        """The series of these values, made when it is asked for first."""
        found = self._series.get(values)
        return found if found is not None else self._series.setdefault(values, Observations(self._buckets))

    def remove(self, *values: str) -> None:
        """Forget a series."""
        self._series.pop(values, None)

    def observe(self, value: float) -> None:
        """Note a value of the only series."""
        self._series[()].observe(value)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is told."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, series in list(self._series.items()):
            buckets, total = series.counted()
            family.add_metric(values, buckets, total)
        yield family
