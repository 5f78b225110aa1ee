"""A collection: points and their vector indexes; the one class that the service calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from index_store import (
    backup,
    commit,
    drafts,
    payload_values,
    querying,
    reading,
    reencoding,
    rewrite,
    scrub,
    upkeep,
    uploads,
)
from index_store.admission import Admission
from index_store.answers import CollectionInfo, Float32, Hit, Payload, PointId, Record
from index_store.changes import Change, ChangePayload, Delete, Selection, TakeVectors
from index_store.checked import Ids, Places, checked_upsert, checked_vectors
from index_store.codes import Codes
from index_store.coding import check_effort
from index_store.commit import Deferred
from index_store.config import DEFAULT_VECTOR, CollectionConfig
from index_store.deferred import ConditionalUpsert, UpdateMode
from index_store.description import described
from index_store.errors import CollectionNotFound, InvalidConfig, InvalidPoints
from index_store.examples import Examples
from index_store.filters import Filter
from index_store.holdings import NEXT, Holdings
from index_store.json_path import Path as JsonPath
from index_store.machine import Machine
from index_store.models import Models
from index_store.payload_change import PayloadChange
from index_store.payload_indexes import IndexSchema
from index_store.payload_values import FacetValue, Order, Value
from index_store.plan import SearchPlan, SearchTrace
from index_store.reading import Shown
from index_store.uploads import UploadProgress
from index_store.vector_index import VectorIndex
from index_store.view import View
from index_store.writer import Writer

Vectors = bool | Sequence[str]

MOST_SEGMENTS = 64


class Collection:
    """Points, found again by their vectors; `codes` is what jobs do with their codes. Any thread may call any method.

    All that can be asked of points stands here, each with what it promises and raises; how it is done is a line or two
    over the file that does it.
    """

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
        self._shown_config: tuple[CollectionConfig | None, list[str], CollectionConfig] = None, [], config
        self._held = _opened(folder, config, machine, models)
        self._is_closed = False
        self._admission = Admission(self._held, max_pending)
        self._recent = {name: deque[Float32](maxlen=machine.recent_queries) for name in config.vectors}
        self.codes = Codes(self._held, self._index, self._recent, max_pending)
        self._writer = Writer(name, lambda group: commit.commit(self._held, group))

    @property
    def config(self) -> CollectionConfig:
        """What it is declared to hold, with the models that its codes are of now."""
        declared, models = self._config, [index.codes.model for index in self._held.indexes.values()]
        of, with_models, shown = self._shown_config
        if of is not declared or with_models != models:  # each query asks several times: remembered
            codes = {
                name: replace(declared.codes_of(name), model=model)
                for name, model in zip(self._held.indexes, models, strict=True)
            }
            shown = replace(declared, codes=codes)
            self._shown_config = declared, models, shown
        return shown

    def check_encoding(self, config: CollectionConfig) -> None:
        """Raise UnsupportedOption unless the codecs encode with the beam and candidates that a config says."""
        for name, index in self._held.indexes.items():
            codes = config.codes_of(name)
            if index.codec is not None:
                check_effort(index.codec, codes)

    def reconfigure(self, config: CollectionConfig) -> None:
        """Take over another config's metadata, and its beam and candidates for what is encoded from now on."""
        for name, index in self._held.indexes.items():
            codes = config.codes_of(name)
            index.codes = replace(index.codes, beam=codes.beam, candidates=codes.candidates)
        self._config = config

    def upsert(
        self,
        ids: Ids,
        vectors: Mapping[str, Float32],
        payloads: Sequence[Payload | None] | None = None,
        places: Places | None = None,
        mode: UpdateMode = "upsert",
        condition: Filter | None = None,
        upload: UploadProgress | None = None,
    ) -> int:
        """Write points; returns the operation's id once they are durable and queries see them.

        Of an id that is repeated the last counts. `places` says for points that lack some vectors of which points
        those of a name are. `mode` and `condition` spare points: those that are there, those that are not, those
        there that do not match. `upload` is noted with them, for a plain upsert. Raises InvalidPoints, InvalidVectors,
        DimensionMismatch, PendingFull, DiskFull, ReadOnly; then nothing was written.
        """
        is_plain = mode == "upsert" and condition is None
        with self._admission.of(len(ids)):  # first: an upload asks again and again whether there is room
            request = replace(checked_upsert(self._held.indexes, ids, vectors, payloads, places), upload=upload)
            return self._write(request if is_plain else ConditionalUpsert(request, mode, condition))

    def replace_vectors(
        self, ids: Ids, vectors: Mapping[str, Float32], places: Places, condition: Filter | None = None
    ) -> int:
        """Give points other vectors: `vectors[name]` [m, dim] to those at `places[name]` [m] of the ids.

        All else stays, and so do points that a condition does not match. Raises what `upsert` does, and UnknownPoint.
        """
        for name in vectors:
            self._index(name)
        with self._admission.of(len(ids)):
            return self._write(checked_vectors(self._held.indexes, ids, vectors, places, condition))

    def take_vectors(self, chosen: Ids | Filter, names: Sequence[str]) -> int:
        """Take named vectors away from points, which keep all else; raises UnknownPoint, InvalidPoints."""
        if not names:
            raise InvalidPoints("The change names no vectors: give at least one.")
        for name in names:
            self._index(name)
        return self._write(TakeVectors(Selection.of(chosen), names))

    def change_payloads(self, chosen: Ids | Filter, change: PayloadChange) -> int:
        """Change the payloads of points, in one of the ways of `payload_change`; raises UnknownPoint, InvalidPoints."""
        return self._write(ChangePayload(Selection.of(chosen), change))

    def delete(self, chosen: Ids | Filter) -> int:
        """Delete points; ids that are not there are no error. Returns the operation's id."""
        return self._write(Delete(Selection.of(chosen)))

    def largest_id(self) -> int | None:
        """The largest integer id; None when there is none."""
        return self._held.points.largest_id()

    def upload_progress(self, key: str) -> UploadProgress | None:
        """How far an upload has come; None when nothing of it is stored."""
        with self._held.points.snapshot() as reader:
            return uploads.find(reader, key)

    def end_of_promised_ids(self) -> int:
        """The id after all that uploads which broke off were to number."""
        with self._held.points.snapshot() as reader:
            return uploads.end_of_promised_ids(reader)

    def retrieve(self, ids: Sequence[PointId], with_payload: bool = True, with_vector: Vectors = False) -> list[Record]:
        """The points with these ids, in this order; those that are not there are left out.

        `with_vector`: true for all vectors that each has, or the names of some.
        """
        return reading.retrieve(self._held, ids, self._shown(with_payload, with_vector))

    def scroll(
        self,
        limit: int,
        start: PointId | None = None,
        condition: Filter | None = None,
        with_payload: bool = True,
        with_vector: Vectors = False,
    ) -> tuple[list[Record], PointId | None]:
        """The first points from the id `start` on, by id (integers, then UUIDs), and the id that comes next."""
        return reading.scroll(self._held, limit, start, condition, self._shown(with_payload, with_vector))

    def ordered(
        self,
        order: Order,
        limit: int,
        condition: Filter | None = None,
        with_payload: bool = True,
        with_vector: Vectors = False,
    ) -> list[tuple[Record, Value]]:
        """The first points by a value of their payloads, each with that value."""
        return payload_values.ordered(self._held, order, limit, condition, self._shown(with_payload, with_vector))

    def facet(self, path: JsonPath, limit: int, condition: Filter | None = None) -> list[tuple[FacetValue, int]]:
        """The values at a path of payloads that most points have, and how many do."""
        return payload_values.facet(self._held, path, limit, condition)

    def sample(
        self, limit: int, condition: Filter | None = None, with_payload: bool = True, with_vector: Vectors = False
    ) -> list[Record]:
        """Some points, chosen at random."""
        return reading.sample(self._held, limit, condition, self._shown(with_payload, with_vector))

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
        with_vector: Vectors = False,
        trace: SearchTrace | None = None,
    ) -> list[list[Hit]]:
        """The nearest points to each of the queries float32 [q, dim], nearest first.

        A point that went between the search and the look at its id makes its query run again on a newer view, so that
        no deleted point is answered, and none is missing for it.

        Raises InvalidVectors, DimensionMismatch, InvalidConfig, UnsupportedOption.
        """
        prepared = self._index(using).forms.prepare_queries(queries)
        if self._recent[using].maxlen:
            self._recent[using].extend(prepared.copy())
        trace = trace or SearchTrace()
        hits = querying.nearest(
            self._held, using, prepared, plan, filter, self._shown(with_payload, with_vector), trace
        )
        self._held.observed.devices.update(trace.devices)
        return hits

    def query_by_examples(
        self,
        examples: Examples,
        plan: SearchPlan,
        using: str = DEFAULT_VECTOR,
        filter: Filter | None = None,
        with_payload: bool = False,
        with_vector: Vectors = False,
    ) -> list[Hit]:
        """The points that several examples judge best, best first; raises what `query` does."""
        self._index(using)
        return querying.by_examples(self._held, using, examples, plan, filter, self._shown(with_payload, with_vector))

    def info(self, using: str = DEFAULT_VECTOR) -> CollectionInfo:
        """What it holds and costs."""
        return described(self._held, self._index(using))

    def encode_pending(self, max_rows: int) -> int:
        """Encode one batch of the oldest pending rows; returns how many rows left the pending state."""
        rows = upkeep.encode_pending(self._held, max_rows)
        if max(len(view.segments) for view in self._held.views.values()) > MOST_SEGMENTS:
            self.merge()  # vectors may come so steadily that nobody finds the time to call it
        return rows

    def refine(self, max_rows: int) -> int:
        """Find better codes for vectors that were encoded in haste, at most so many; returns for how many."""
        return drafts.refine(self._held, max_rows)

    def merge(self) -> int:
        """One step of compaction, or of fitting shortlist decoders anew; returns how many segments went into it.

        With none of that to do, some originals are compared with their checksums.
        """
        done = upkeep.merge_segments(self._held) or rewrite.refit_where_grown(self._held)
        if not done:
            scrub.check_some(self._held)
        return done

    def create_payload_index(self, key: str, schema: IndexSchema) -> None:
        """Declare an index on a key of the payloads, instead of one it had. Raises InvalidFilter for a bad key.

        It is built by `index_payloads`; filters are right all along, and faster as it grows.
        """
        self._index(next(iter(self._held.indexes)))
        self._held.payloads.create(key, schema)

    def delete_payload_index(self, key: str) -> bool:
        """Forget an index; False when the key had none."""
        return self._held.payloads.delete(key)

    def payload_indexes(self) -> dict[str, tuple[IndexSchema, int]]:
        """Each indexed key's schema, and how many points have a value there."""
        return self._held.payloads.described()

    def index_payloads(self) -> int:
        """One step of building payload indexes; returns how many rows went into it, 0 when there is nothing to do."""
        if self._is_closed or self._held.read_only_because is not None:
            return 0
        return self._held.payloads.step()

    def verify(self) -> None:
        """Compare all originals with their checksums; raises DamagedData."""
        with self._held.upkeep:
            scrub.check_all(self._held)

    def capture(self, folder: Path) -> tuple[backup.Files, CollectionConfig]:
        """Second names for its files of one moment, in an empty folder, and its config of then; raises DiskFull.

        Writes wait for an instant.
        """
        return backup.capture(self._held, folder, lambda: self.config)

    def view(self, using: str = DEFAULT_VECTOR) -> View:
        """What a query sees now."""
        return self._held.views[using]

    def close(self) -> None:
        """Finish the writes that wait, and close the files."""
        if not self._is_closed:
            self._is_closed = True
            self._writer.close()
            self._held.close()

    def abandon(self) -> None:
        """The same of one whose files are to be removed: nothing is written any more, so no disk can refuse it."""
        if not self._is_closed:
            self._is_closed = True
            self._writer.close()
            self._held.abandon()

    def forget_queries(self) -> None:
        """Let recall be measured as if nobody had asked since the start."""
        for queries in self._recent.values():
            queries.clear()

    def _write(self, change: Change | Deferred) -> int:
        if self._is_closed:
            raise CollectionNotFound(f"The collection '{self.name}' is closed.")
        return self._writer.write(change)[0]

    def _shown(self, with_payload: bool, with_vector: Vectors) -> Shown:
        if isinstance(with_vector, bool):
            return Shown(with_payload, tuple(self._held.indexes) if with_vector else ())
        for name in with_vector:
            self._index(name)
        return Shown(with_payload, tuple(with_vector))

    def _index(self, using: str) -> VectorIndex:
        if self._is_closed:
            raise CollectionNotFound(f"The collection '{self.name}' is closed.")
        if using not in self._held.indexes:
            raise InvalidConfig(f"Collection '{self.name}' has no vector '{using}', but {sorted(self._held.indexes)}.")
        return self._held.indexes[using]


def _opened(folder: Path, config: CollectionConfig, machine: Machine, models: Models) -> Holdings:
    """A collection's holdings, cut back, checked, loaded, damaged segments rebuilt, and published."""
    held = Holdings(folder, config, machine, models)
    try:
        _take_up(held, models)
    except BaseException:
        held.abandon()
        raise
    return held


def _take_up(held: Holdings, models: Models) -> None:
    held.cut_back()
    codes = held.points.codes
    for name, index in held.indexes.items():
        reencoding.take_up(held, name, models)
        index.files.remove_unnamed(codes.files_of(name) | codes.files_of(name + NEXT))
        damaged = index.load(codes.watermark(name), codes.segments(name), codes.coding(name))
        upkeep.rebuild(held, index, damaged)
    scrub.check_newest(held)
    held.publish()
