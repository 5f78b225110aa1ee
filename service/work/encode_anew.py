"""A job that encodes a collection by another model, or with another beam, while it serves by the codes it has."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from index_store import CodesConfig, Collection, JobRecord
from index_store.errors import CollectionNotFound
from service.vector_names import DEFAULT
from service.work.workplace import Report, Workplace

STAGE = "encoding"


@dataclass(frozen=True)
class EncodeAnew:
    """told: the model, and what candidates and beam to encode with (None: as the collection does)"""

    place: Workplace
    collection: str
    using: str
    told: dict[str, Any]
    goes_on = True

    @classmethod
    def of(cls, record: JobRecord, place: Workplace) -> "EncodeAnew":
        return cls(place, record.collection, record.parameters["using"] or DEFAULT, record.parameters)

    @classmethod
    def with_model(cls, place: Workplace, collection: str, using: str, model: str) -> "EncodeAnew":
        """The work of encoding as the collection does, with another model."""
        return cls(place, collection, using, {"model": model, "candidates": None, "beam": None})

    def run(self, report: Report) -> dict[str, Any]:
        store = self.place.store
        before = store.collection(self.collection).info(self.using)
        codes = codes_to_be(store.collection(self.collection), self.using, self.told)
        store.reencode(self.collection, self.using, codes, _Speed(report, before.points))
        self.place.wake()
        collection = store.collection(self.collection)
        now, recall = collection.info(self.using), collection.codes.own_recall(self.using)
        return {
            "model": {"before": before.model, "after": now.model},
            "code_bytes": {"before": before.code_bytes, "after": now.code_bytes},
            "recall": None if recall is None else {"queries": "own points", **asdict(recall)},
        }

    def give_up(self) -> None:
        with suppress(CollectionNotFound):  # deleted, and its codes with it
            self.place.store.collection(self.collection).codes.forget_encoding_anew(self.using)


def codes_to_be(collection: Collection, using: str, told: dict[str, Any]) -> CodesConfig:
    """The codes that a job's parameters ask for: what they leave open the collection's config says, else the model."""
    collection.info(using)  # raises InvalidConfig where there is no such vector
    codes = collection.config.codes_of(using)
    chosen = {key: told[key] for key in ("candidates", "beam") if told[key] is not None}
    return replace(codes, model=told["model"], **chosen)


class _Speed:
    """Adds to the share that is done how fast it goes, and how long it will take."""

    def __init__(self, report: Report, points: int) -> None:
        self._report, self._points = report, points
        self._began, self._first = time.monotonic(), -1.0

    def __call__(self, share: float) -> None:
        self._first = share if self._first < 0 else self._first
        gone_s = max(1e-3, time.monotonic() - self._began)
        speed = max(1e-9, (share - self._first) / gone_s)
        eta_s = (1 - share) / speed if share > self._first else None
        self._report(share, {"stage": STAGE, "vectors_per_s": speed * self._points, "eta_s": eta_s})


def is_encoding(job: JobRecord) -> bool:
    """Whether a job that runs has come to encoding."""
    return job.figures is not None and job.figures["stage"] == STAGE
