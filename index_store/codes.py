"""What jobs do with the codes of a collection: cut them, make them anew, measure how well they are searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index_store import querying, recall, reencoding, rewrite, sample, targets
from index_store.answers import Float32
from index_store.config import DEFAULT_VECTOR, CodesConfig
from index_store.holdings import Holdings
from index_store.measured import Measured, OperatingPoint
from index_store.recall import Recall
from index_store.vector_index import VectorIndex

if TYPE_CHECKING:
    from model import Codec

Report = Callable[[float], None]
"""Hears the share that is done; what it raises stops the work."""


class Codes:
    """Of one collection; any thread may call any method, which raises InvalidConfig for a vector that there is not."""

    def __init__(
        self,
        held: Holdings,
        index_of: Callable[[str], VectorIndex],
        recent: Mapping[str, Sequence[Float32]],
        max_pending: int,
    ) -> None:
        """index_of: raises when the collection was closed · recent: the last queries [dim] to each vector"""
        self._held, self._index, self._recent, self._max_pending = held, index_of, recent, max_pending

    def check_steps(self, steps: int, using: str = DEFAULT_VECTOR) -> None:
        """Raise InvalidConfig, StepsOutOfRange or AlreadyFewerSteps unless `keep_steps` is possible."""
        rewrite.check_steps(self._index(using), steps)

    def keep_steps(self, steps: int, using: str, report: Report) -> None:
        """Cut every code to its first steps: less RAM and less recall, for ever. Encoding waits meanwhile.

        What `report` raises stops the work, and all is as before.
        Raises also what `check_steps` does, DiskFull, ReadOnly.
        """
        rewrite.keep_steps(self._held, self._index(using), steps, self._while_open(using, report))

    def check_encode_anew(self, codec: Codec, codes: CodesConfig, using: str = DEFAULT_VECTOR) -> None:
        """Raise InvalidConfig, DimensionMismatch or UnsupportedOption unless `encode_anew` is possible."""
        reencoding.check(self._index(using), codec, codes)

    def encode_anew(self, codec: Codec, codes: CodesConfig, using: str, report: Report) -> None:
        """Encode all vectors from their originals by another codec; served by the old codes until all is there.

        codes   the model's name, and what beam and candidates to encode with
        report  what it raises stops the work, which a later call takes up
        Raises also what `check_encode_anew` does, DiskFull, ReadOnly.
        """
        index, told = self._index(using), self._while_open(using, report)
        reencoding.encode_anew(self._held, index, codec, codes, self._max_pending, told)

    def forget_encoding_anew(self, using: str = DEFAULT_VECTOR) -> None:
        """Give up codes that were being made anew, if any were."""
        self._index(using)
        reencoding.drop(self._held, using)

    def write_samples(self, using: str, counts: dict[Path, int], seed: int) -> dict[Path, int]:
        """Write so many random live vectors to each .npy file, none to two; returns how many each got.

        Raises InvalidConfig where no originals are kept.
        """
        return sample.write_samples(self._held, self._index(using), counts, seed)

    def measure_recall(
        self, using: str, limit: int, sample: int, report: Report = lambda share: None
    ) -> Measured | None:
        """Measure recall of the `limit` nearest, and what it takes to reach more or less of it; remembered.

        None where there is nothing to measure. Raises InvalidConfig without originals to compare with.
        """
        recent = np.array(self._recent[using], np.float32)
        return targets.measure(self._held, self._index(using), limit, sample, recent, report)

    def recall_is_due(self, using: str) -> bool:
        """Whether so much has changed since recall was measured that it should be again: points grew by half."""
        return targets.is_due(self._held, self._index(using))

    def operating_point(self, using: str, target: float, wanted: int) -> tuple[Measured, OperatingPoint] | None:
        """The cheapest numbers that reached a recall when last measured, for so many hits; None when none are known."""
        return targets.operating_point(self._held, self._index(using), target, wanted)

    def own_recall(self, using: str = DEFAULT_VECTOR) -> Recall | None:
        """Recall on a sample of its own points; None without originals to compare with, or with too few points."""
        index = self._index(using)
        return querying.while_stripes_go(self._held, lambda: recall.of_own_points(self._held, index))

    def codecs(self) -> list[Codec]:
        """What they are read with, those that are being made anew included."""
        indexes = (*self._held.indexes.values(), *self._held.next.values())
        return [index.codec for index in indexes if index.codec is not None]

    def models_needed(self) -> set[str]:
        """The SHA-256 of each checkpoint that they are of, or will be."""
        return {codec.sha256 for codec in self.codecs()}

    def _while_open(self, using: str, report: Report) -> Report:
        """The same, and stops work on a collection that was closed."""

        def told(share: float) -> None:
            self._index(using)
            report(share)

        return told
