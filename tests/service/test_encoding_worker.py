"""The worker encodes what is pending, survives errors, and stops when told."""

import threading
from typing import Any

import pytest

from service import encoding_worker
from service.encoding_worker import EncodingWorker
from service.metrics import Metrics
from tests.service.service_in_process import READY_S, wait_until


class _Collection:
    """Has some rows pending; the first batches fail."""

    def __init__(self, pending: int, failures: int) -> None:
        self.pending, self.failures, self.merged = pending, failures, threading.Event()
        self.largest = 0

    def encode_pending(self, max_rows: int) -> int:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("out of luck")
        encoded = min(self.pending, max_rows)
        self.pending -= encoded
        self.largest = max(self.largest, max_rows)
        return encoded

    def index_payloads(self) -> int:
        return 0

    def refine(self, max_rows: int) -> int:
        return 0

    def merge(self) -> int:
        self.merged.set()
        return 0


class _Store:
    def __init__(self, **collections: _Collection) -> None:
        self._collections = collections

    def collections(self) -> list[str]:
        return list(self._collections)

    def collection(self, name: str) -> _Collection:
        return self._collections[name]


def _worker(store: _Store, metrics: Metrics) -> EncodingWorker:
    untyped: Any = store
    return EncodingWorker(untyped, 10, metrics)


def test_it_encodes_everything_then_merges_and_wakes_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding_worker, "IDLE_S", 60.0)
    a, b, metrics = _Collection(95, 0), _Collection(5, 0), Metrics(10)
    worker = _worker(_Store(a=a, b=b), metrics)
    worker.start()
    assert a.merged.wait(READY_S)
    assert (a.pending, b.pending) == (0, 0)
    a.pending = 30
    worker.wake()
    wait_until(lambda: a.pending == 0)
    worker.stop()
    assert not worker.is_alive
    assert metrics.registry.get_sample_value("qinco_encoded_total", {"collection": "a"}) == 125


def test_a_collection_that_fails_is_tried_again_and_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoding_worker, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(encoding_worker, "IDLE_S", 0.01)
    unlucky, other, metrics = _Collection(5, 3), _Collection(50, 0), Metrics(10)
    worker = _worker(_Store(a=unlucky, b=other), metrics)
    worker.start()
    wait_until(lambda: unlucky.pending == other.pending == 0)
    worker.stop()
    assert caplog.text.count("Encoding of collection a failed") == 3
    assert metrics.registry.get_sample_value("qinco_encode_failures_total", {"collection": "a"}) == 3


def test_batches_grow_to_what_the_machine_does_in_the_time_they_may_take() -> None:
    collection = _Collection(1_000_000, 0)
    worker = EncodingWorker(_Store(c=collection), 100_000, Metrics(10))  # type: ignore[arg-type]
    worker.start()
    wait_until(lambda: collection.pending == 0)
    worker.stop()
    assert collection.largest == 100_000
