"""A job that trains a codec on a sample of a collection's vectors, stores it, and encodes the collection with it.

What it needs lies in a folder of its own; run again after a restart, it goes on from what it finds there: the sample,
the training's state, the trained checkpoint, the stored model.
"""

from __future__ import annotations

import base64
import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index_store import Collection, JobRecord, ModelRecord
from index_store.errors import CollectionNotFound, ModelExists
from service.training.process import MODEL, VECTORS, train_apart
from service.vector_names import DEFAULT
from service.work.encode_anew import EncodeAnew
from service.work.workplace import REPORT, Report, Workplace

if TYPE_CHECKING:
    from model import Codec
    from model.training import Recipe

MOST_VECTORS = 200_000
MOST_SAMPLE_BYTES = 256 << 20
VECTORS_A_LIST = 16
COMPARED_VECTORS = 2000
TRAINING_SHARE = 0.9
"""Of the progress bar, where encoding follows."""

GROWTH, GROWTH_AFTER_FAILURE = 10, 2
"""How many times as many points a collection has when it trains by itself again."""

COMPARED = "compared.npy"


@dataclass(frozen=True)
class Train:
    """bytes, preset, time_budget_s: of the recipe · name: of the model · apply: whether to encode with it
    by_itself: nobody asked for it but the collection, which then keeps the better codec, by vectors that the new one
    was not trained on
    """

    place: Workplace
    folder: Path
    collection: str
    using: str
    bytes: int
    preset: str
    time_budget_s: float
    name: str
    apply: bool
    by_itself: bool
    goes_on = True

    @classmethod
    def of(cls, record: JobRecord, place: Workplace) -> Train:
        told = record.parameters | {"using": record.parameters["using"] or DEFAULT}
        return cls(place, place.folder / record.id, record.collection, **told)

    def run(self, report: Report) -> dict[str, Any]:
        collection = self.place.store.collection(self.collection)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MODEL).exists():
            report(0.0, {"stage": "sampling"})
            self._sample(collection)
            self._train(collection, report)
        stored = self._stored()
        result = {"model": self.name, "sha256": stored.sha256} | self._comparison(collection, stored)
        is_wanted = self.apply and not (self.by_itself and result.get("is_better") is False)
        if is_wanted and not self._is_in_force(collection, stored.sha256):
            encode = EncodeAnew.with_model(self.place, self.collection, self.using, self.name)
            done = encode.run(lambda share, figures=None: report(self._share_of_encoding(share), figures))
            result |= {"recall": done["recall"]}
        if self.by_itself:
            next_at = GROWTH * collection.count()
            self.place.store.note_self_training(self.collection, self.using, next_at, self.name)
        return result | {"applied": self._is_in_force(collection, stored.sha256)}

    def give_up(self) -> None:
        EncodeAnew.with_model(self.place, self.collection, self.using, self.name).give_up()
        if self.by_itself:
            with suppress(CollectionNotFound):
                next_at = GROWTH_AFTER_FAILURE * self.place.store.collection(self.collection).count()
                self.place.store.note_self_training(self.collection, self.using, next_at, self.name)

    def _sample(self, collection: Collection) -> None:
        if (self.folder / VECTORS).exists():
            return
        size = collection.config.vectors[self.using].size
        most = min(MOST_VECTORS, MOST_SAMPLE_BYTES // (4 * size))
        counts = {self.folder / VECTORS: most}
        if collection.info(self.using).sha256 is not None:
            kept = min(COMPARED_VECTORS, collection.count() // 10)
            counts = {self.folder / COMPARED: kept, self.folder / VECTORS: most}
        collection.codes.write_samples(self.using, counts, seed=0)

    def _train(self, collection: Collection, report: Report) -> None:
        done = 0.0

        def hear(said: dict[str, Any]) -> None:
            nonlocal done
            if "stage" in said:
                report(0.0, {"stage": said["stage"]})
                return
            figures = dict(said["progress"])
            done = figures.pop("share") * (TRAINING_SHARE if self.apply else 1.0)
            report(done, {"stage": "training", **figures})

        place = self.place
        told = train_apart(
            self.folder, self._recipe(collection), place.threads, place.device, hear, lambda: report(done)
        )
        from model.training.report import markdown, report_paths

        picture = base64.b64encode(report_paths(self.folder / MODEL)[1].read_bytes()).decode()
        page = markdown(told, self.name, f"data:image/png;base64,{picture}")
        (self.folder / REPORT).write_text(page, encoding="utf-8")

    def _recipe(self, collection: Collection) -> Recipe:
        from model.training import Recipe, list_count

        sampled = len(np.load(self.folder / VECTORS, mmap_mode="r"))
        lists = min(list_count(collection.count()), 1 << int(math.log2(max(1, sampled // VECTORS_A_LIST))))
        return Recipe(
            steps=self.bytes, preset=self.preset, lists=lists, time_budget_s=self.time_budget_s, allow_constant=True
        )

    def _stored(self) -> ModelRecord:
        """The trained model, stored under its name; it may be from before a restart."""
        store = self.place.store
        try:
            return store.put_model(self.name, self.folder / MODEL)
        except ModelExists:
            record = store.model(self.name)
            if record.sha256 != _sha256(self.folder / MODEL):
                raise
            return record

    def _comparison(self, collection: Collection, stored: ModelRecord) -> dict[str, Any]:
        """Its error and that of the codec in force, on vectors that this one was not trained on."""
        path = self.folder / COMPARED
        now = collection.info(self.using)
        if not path.exists() or now.sha256 in (None, stored.sha256):
            return {}
        vectors = np.load(path, allow_pickle=False)
        codes = collection.config.codes_of(self.using)
        store = self.place.store

        def error(codec: Codec) -> float:
            decoded = codec.decode(codec.encode(vectors, codes.candidates, codes.beam))
            return float(np.square(decoded - vectors).sum(axis=1).mean())

        mse = {"before": error(store.codec(now.model)), "after": error(store.codec(stored.name))}
        return {"mse": mse, "is_better": mse["after"] < mse["before"]}

    def _share_of_encoding(self, share: float) -> float:
        return TRAINING_SHARE + (1 - TRAINING_SHARE) * share

    def _is_in_force(self, collection: Collection, sha256: str) -> bool:
        return collection.info(self.using).sha256 == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
