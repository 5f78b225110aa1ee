"""A collection: points and their vector indexes; the one class that the service calls."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index_store import backup, commit, metric, recall, reencoding, rewrite, upkeep
from index_store.answers import CollectionInfo, Float32, Hit, Payload, PointId, Record
from index_store.candidates import Found
from index_store.config import DEFAULT_VECTOR, CodesConfig, CollectionConfig
from index_store.errors import CollectionNotFound, DamagedData, InvalidConfig, InvalidPoints, PendingFull
from index_store.filters import Filter
from index_store.holdings import NEXT, Holdings
from index_store.models import Models
from index_store.plan import SearchPlan, SearchTrace
from index_store.points import PointEntry, payload_texts, stored_ids
from index_store.recall import Recall
from index_store.vector_index import Machine, VectorIndex
from index_store.view import View
from index_store.writer import Write, Writer
from model import Codec

TRIES = 5
MOST_SEGMENTS = 64
_RATE_MEMORY = 0.7


class Collection:
    """Points, found again by their vectors. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        folder: Path,
        config: CollectionConfig,
        machine: Machine,
        models: Models,
        max_pending: int,
    ) -> None:
        """Open a collection's folder, or make it. Raises DamagedData."""
        self.name, self._config = name, config
        self._max_pending = max_pending
        self._held = _opened(folder, config, machine, models)
        self._is_closed = False
        self._waiting_rows = 0
        self._admission = threading.Lock()
        self._rate: float | None = None
        self._devices: dict[str, str] = {}
        self._writer = Writer(name, lambda group: commit.commit(self._held, group))

    @property
    def config(self) -> CollectionConfig:
        """What it is declared to hold, with the models that its codes are of now."""
        codes = {
            name: replace(self._config.codes_of(name), model=index.codes.model)
            for name, index in self._held.indexes.items()
        }
        return replace(self._config, codes=codes)

    def upsert(
        self,
        ids: Sequence[PointId] | NDArray[np.uint64],
        vectors: Mapping[str, Float32],
        payloads: Sequence[Payload | None] | None = None,
    ) -> int:
        """Write points; returns the operation's id once they are durable and queries see them.

        Of an id that is repeated the last counts. Raises InvalidPoints, InvalidVectors, DimensionMismatch, PendingFull,
        DiskFull, ReadOnly; then nothing was written.
        """
        request = self._checked(ids, vectors, payloads)
        self._admit(len(request.ids))
        try:
            return self._write(request)
        finally:
            self._admit(-len(request.ids))

    def delete(self, ids: Sequence[PointId] | NDArray[np.uint64]) -> int:
        """Delete points; ids that are not there are no error. Returns the operation's id."""
        return self._write(Write(stored_ids(ids)))

    def delete_matching(self, condition: Filter) -> int:
        """Delete the points that a filter matches. Returns the operation's id."""
        return self._write(Write([], condition=condition))

    def largest_id(self) -> int | None:
        """The largest integer id; None when there is none."""
        return self._held.points.largest_id()

    def retrieve(self, ids: Sequence[PointId], with_payload: bool = True, with_vector: bool = False) -> list[Record]:
        """The points with these ids, in this order; those that are not there are left out."""
        keys = stored_ids(ids)
        with self._held.lock if with_vector else nullcontext():  # a vector's row must not move meanwhile
            with self._held.points.snapshot() as reader:
                rows = self._held.points.rows_of(keys, reader)
                entries = self._held.points.entries(list(rows.values()), with_payload, reader)
            found = [entries[rows[key]] for key in keys if key in rows]
            vectors = {name: self._vectors(name, found) for name in self._held.indexes} if with_vector else {}
        return [
            Record(
                entry.id, entry.version, entry.payload,
                {name: some[place] for name, some in vectors.items()} if with_vector else None,
            )
            for place, entry in enumerate(found)
        ]  # fmt: skip

    def count(self, condition: Filter | None = None) -> int:
        """How many points there are, or match."""
        if condition is None:
            return self._held.count
        return len(self._held.rows_matching(condition))

    def query(
        self,
        queries: Float32,
        plan: SearchPlan,
        using: str = DEFAULT_VECTOR,
        filter: Filter | None = None,
        with_payload: bool = False,
        with_vector: bool = False,
        trace: SearchTrace | None = None,
    ) -> list[list[Hit]]:
        """The nearest points to each of the queries float32 [q, dim], nearest first.

        A point that went between the search and the look at its id makes its query run again on a newer view, so that
        no deleted point is answered, and none is missing for it.

        Raises InvalidVectors, DimensionMismatch, InvalidConfig, UnsupportedOption.
        """
        index = self._index(using)
        prepared = index.prepare_queries(queries)
        trace = trace or SearchTrace()
        hits: list[list[Hit]] = [[] for _ in range(len(prepared))]
        left = np.arange(len(prepared))
        for attempt in range(TRIES):
            if not len(left):
                break
            view, skipped, survivors = self._held.look(using, filter)
            try:
                found = index.search(view, prepared[left], plan, skipped, survivors, self._held.count, trace)
            except FileNotFoundError as error:  # a stripe of originals that this view still had is gone
                if attempt == TRIES - 1:
                    raise DamagedData(f"A file of the collection '{self.name}' is gone.") from error
                self._wait_for_commit()
                continue
            with trace.stage("payload"):
                answers = self._answers(index, view, found, plan, with_payload, with_vector)
            for place, answer in zip(left, answers, strict=True):
                hits[place] = [hit for hit in answer if hit is not None]
            left = np.array([place for place, answer in zip(left, answers, strict=True) if None in answer], np.int64)
            if len(left) and attempt < TRIES - 1:
                self._wait_for_commit()
        self._devices.update(trace.devices)
        return [_within(index.config.distance, some[plan.offset :], plan.score_threshold) for some in hits]

    def info(self, using: str = DEFAULT_VECTOR) -> CollectionInfo:
        """What it holds and costs."""
        index, held = self._index(using), self._held
        view = held.views[using]
        made_anew = held.next.get(using)
        pending = 0 if index.codec is None else view.stop - view.watermark
        pending = pending if made_anew is None else view.stop - made_anew.watermark
        code_bytes = index.code_bytes()
        return CollectionInfo(
            points=held.count,
            pending=pending,
            segments=len(view.segments),
            state="encoding" if pending or made_anew else "exact" if index.codec is None else "ready",
            model=index.codes.model,
            sha256=None if index.codec is None else index.codec.sha256,
            steps=0 if index.codec is None else index.codec.steps,
            code_bytes=code_bytes,
            ram_bytes_per_vector=code_bytes + 6 if code_bytes else 0,
            float32_bytes=4 * index.config.size,
            encoding_rate=self._rate,
            tombstones=len(view.dead),
            disk_bytes=held.points.disk_bytes() + index.disk_bytes(),
            ram_bytes=index.ram_bytes() + view.dead.bits.nbytes,
            devices=dict(self._devices),
            read_only_because=held.read_only_because,
        )

    def encode_pending(self, max_rows: int) -> int:
        """Encode one batch of the oldest pending rows; returns how many rows left the pending state."""
        rows, seconds = upkeep.encode_pending(self._held, max_rows)
        if max(len(view.segments) for view in self._held.views.values()) > MOST_SEGMENTS:
            self.merge()  # vectors may come so steadily that nobody finds the time to call it
        if rows:
            rate = rows / seconds
            self._rate = rate if self._rate is None else _RATE_MEMORY * self._rate + (1 - _RATE_MEMORY) * rate
            self._devices["encode"] = str(self.codecs()[0].device)
        return rows

    def merge(self) -> int:
        """One step of compaction, or of fitting shortlist decoders anew; returns how many segments went into it."""
        return upkeep.merge_segments(self._held) or rewrite.refit_where_grown(self._held)

    def check_steps(self, steps: int, using: str = DEFAULT_VECTOR) -> None:
        """Raise InvalidConfig, StepsOutOfRange or AlreadyFewerSteps unless `keep_steps` is possible."""
        rewrite.check_steps(self._index(using), steps)

    def keep_steps(self, steps: int, using: str, report: Callable[[float], None]) -> None:
        """Cut every code to its first steps: less RAM and less recall, for ever. Encoding waits meanwhile.

        `report` hears the share that is done; what it raises stops the work, and all is as before.
        Raises also what `check_steps` does, DiskFull, ReadOnly.
        """

        def report_while_open(share: float) -> None:
            self._index(using)
            report(share)

        rewrite.keep_steps(self._held, self._index(using), steps, report_while_open)

    def check_encode_anew(self, codec: Codec, codes: CodesConfig, using: str = DEFAULT_VECTOR) -> None:
        """Raise InvalidConfig, DimensionMismatch or UnsupportedOption unless `encode_anew` is possible."""
        reencoding.check(self._index(using), codec, codes)

    def encode_anew(self, codec: Codec, codes: CodesConfig, using: str, report: Callable[[float], None]) -> None:
        """Encode all vectors from their originals by another codec; served by the old codes until all is there.

        codes   the model's name, and what beam and candidates to encode with
        report  hears the share that is done; what it raises stops the work, which a later call takes up
        Raises also what `check_encode_anew` does, DiskFull, ReadOnly.
        """

        def report_while_open(share: float) -> None:
            self._index(using)
            report(share)

        reencoding.encode_anew(self._held, self._index(using), codec, codes, self._max_pending, report_while_open)

    def forget_encoding_anew(self, using: str = DEFAULT_VECTOR) -> None:
        """Give up codes that were being made anew, if any were."""
        self._index(using)
        reencoding.drop(self._held, using)

    def own_recall(self, using: str = DEFAULT_VECTOR) -> Recall | None:
        """Recall on a sample of its own points; None without originals to compare with, or with too few points."""
        for _ in range(TRIES - 1):
            try:
                return recall.of_own_points(self._held, self._index(using))
            except FileNotFoundError:  # a stripe of originals was deleted meanwhile
                self._wait_for_commit()
        return recall.of_own_points(self._held, self._index(using))

    def verify(self) -> None:
        """Compare all originals with their checksums; raises DamagedData."""
        with self._held.upkeep:
            self._held.check_originals(first=0)

    def capture(self, folder: Path) -> backup.Files:
        """Second names for its files of one moment, in an empty folder; writes wait for an instant. Raises DiskFull."""
        return backup.capture(self._held, folder)

    def view(self, using: str = DEFAULT_VECTOR) -> View:
        """What a query sees now."""
        return self._held.views[using]

    def codecs(self) -> list[Codec]:
        """The codecs that its codes are read with."""
        held = self._held
        return [index.codec for index in (*held.indexes.values(), *held.next.values()) if index.codec is not None]

    def models_needed(self) -> set[str]:
        """The SHA-256 of each checkpoint that its codes are of, or will be."""
        return {codec.sha256 for codec in self.codecs()}

    def close(self) -> None:
        """Finish the writes that wait, and close the files."""
        if not self._is_closed:
            self._is_closed = True
            self._writer.close()
            self._held.close()

    def _checked(
        self,
        ids: Sequence[PointId] | NDArray[np.uint64],
        vectors: Mapping[str, Float32],
        payloads: Sequence[Payload | None] | None,
    ) -> Write:
        """An upsert ready to be written: all that can be wrong with it has been looked for."""
        keys = stored_ids(ids)
        if set(vectors) != set(self._held.indexes):
            raise InvalidPoints(f"Points have the vectors {sorted(self._held.indexes)}; these have {sorted(vectors)}.")
        prepared = {name: self._held.indexes[name].prepare(some) for name, some in vectors.items()}
        for name, some in prepared.items():
            if len(some) != len(keys):
                raise InvalidPoints(f"There are {len(keys)} ids and {len(some)} vectors '{name}'; give one a point.")
        texts = None if payloads is None else payload_texts(payloads)
        if texts is not None and len(texts) != len(keys):
            raise InvalidPoints(f"There are {len(keys)} ids and {len(texts)} payloads; give one a point, or none.")
        last = {key: place for place, key in enumerate(keys)}
        if len(last) < len(keys):
            kept = sorted(last.values())
            keys = [keys[place] for place in kept]
            prepared = {name: some[kept] for name, some in prepared.items()}
            texts = None if texts is None else [texts[place] for place in kept]
        return Write(keys, prepared, texts)

    def _admit(self, rows: int) -> None:
        """Count rows in (or out again, when negative); raises PendingFull when they would be too many."""
        with self._admission:
            pending = self._held.pending() + self._waiting_rows
            if rows > 0 and pending and pending + rows > self._max_pending:
                raise PendingFull(
                    f"{pending} vectors wait to be encoded, at most {self._max_pending} may: try again in a moment."
                )
            self._waiting_rows += rows

    def _write(self, request: Write) -> int:
        if self._is_closed:
            raise CollectionNotFound(f"The collection '{self.name}' is closed.")
        return self._writer.write(request)

    def _index(self, using: str) -> VectorIndex:
        if self._is_closed:
            raise CollectionNotFound(f"The collection '{self.name}' is closed.")
        if using not in self._held.indexes:
            raise InvalidConfig(f"Collection '{self.name}' has no vector '{using}', but {sorted(self._held.indexes)}.")
        return self._held.indexes[using]

    def _wait_for_commit(self) -> None:
        """Return once a commit that is under way has published its view."""
        with self._held.lock:
            pass

    def _vectors(self, name: str, entries: list[PointEntry]) -> Float32:
        rows = np.array([entry.row for entry in entries], np.int64)
        return self._held.indexes[name].vectors_of(rows, self._held.views[name])

    def _answers(
        self, index: VectorIndex, view: View, found: Found, plan: SearchPlan, with_payload: bool, with_vector: bool
    ) -> list[list[Hit | None]]:
        """For each query its hits, None in the place of a row that is no point any more."""
        wanted = np.unique(found.rows[found.rows >= 0])
        with self._held.points.snapshot() as reader:
            entries = self._held.points.entries(wanted.tolist(), with_payload, reader)
        vectors = index.vectors_of(wanted, view) if with_vector else None
        place = {row: at for at, row in enumerate(wanted.tolist())}
        scores = metric.scores(index.config.distance, found.distances)
        return [
            [
                None if row not in entries else Hit(
                    entries[row].id, entries[row].version, score, entries[row].payload,
                    None if vectors is None else vectors[place[row]],
                )
                for row, score in zip(rows, own, strict=True) if row >= 0
            ]
            for rows, own in zip(found.rows.tolist(), scores.tolist(), strict=True)
        ]  # fmt: skip


def _opened(folder: Path, config: CollectionConfig, machine: Machine, models: Models) -> Holdings:
    """A collection's holdings, cut back, checked, loaded, damaged segments rebuilt, and published."""
    held = Holdings(folder, config, machine, models)
    held.cut_back()
    for name, index in held.indexes.items():
        reencoding.take_up(held, name, models)
        index.remove_unnamed(held.points.files_of(name) | held.points.files_of(name + NEXT))
        damaged = index.load(held.points.watermark(name), held.points.segments(name), held.points.coding(name))
        upkeep.rebuild(held, index, damaged)
    held.check_originals()
    held.publish()
    return held


def _within(distance: str, hits: list[Hit], threshold: float | None) -> list[Hit]:
    return hits if threshold is None else [hit for hit in hits if metric.reaches(distance, hit.score, threshold)]
