"""One named vector of the points: its originals, codec, lists and segments, and the views made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from index_store import coding as codings
from index_store import directions, few, metric, segment
from index_store import lists as coarse
from index_store.answers import Float32
from index_store.candidates import Found
from index_store.code_tables import CodingEntry, SegmentEntry
from index_store.coding import Coding, fitted, prefix_of
from index_store.config import CodesConfig, VectorConfig
from index_store.drift import Drift
from index_store.errors import DamagedData
from index_store.lists import Lists
from index_store.originals import STRIPE_ROWS, Originals, Piece, as_stored
from index_store.plan import SearchPlan, SearchTrace, resolve
from index_store.row_set import RowSet
from index_store.row_slots import RowSlots
from index_store.search import BLOCK_FLOATS, Searched, codes_of, search, search_exactly
from index_store.segment import Segment
from index_store.storage import Storage
from index_store.survivors import Survivors
from index_store.view import View
from index_store.warming import warm
from model.errors import DimensionMismatch, InvalidVectors, UnsupportedOption

if TYPE_CHECKING:
    from index_store.many_lists import ManyLists
    from model import Codec

MOST_TRAINING_VECTORS = 1 << 16
DRAFT_BEAM = 1
DRAFT_BACKLOG = 32_768
"""Pending rows from which on vectors are first encoded with a small beam."""
LISTS = "lists.bin"
LISTS_SUFFIX = ".lists"


@dataclass(frozen=True)
class Machine:
    """What all collections of a store share: file access, a pool of threads for scans, its size, queries remembered."""

    storage: Storage
    pool: Executor | None = None
    threads: int = 1
    recent_queries: int = 0


class VectorIndex:
    """Knows files and codes, not ids. Its collection says which rows count, and serialises whoever changes it."""

    def __init__(
        self,
        name: str,
        config: VectorConfig,
        codes: CodesConfig,
        folder: Path,
        machine: Machine,
        codec: Codec | None,
        originals: Originals | None = None,
    ) -> None:
        """name: what the database calls its codes · originals: those of the index that this one is to replace"""
        self.name, self.config, self.codes = name, config, codes
        self.coding = None if codec is None else Coding(codec)
        self.model_steps = 0 if codec is None else codec.steps
        self._machine = machine
        self._folder = folder
        self.keeps_originals = codes.originals != "none"
        dtype = codes.originals if self.keeps_originals else "float32"
        self.originals = originals or Originals(machine.storage, folder / "originals", config.size, dtype)
        self._normalises_late = config.distance == "Cosine" and dtype in ("uint8", "int8")
        self.watermark = 0
        self.is_catching_up = False
        self.drift = Drift({})
        self.segments: tuple[Segment, ...] = ()
        self.lists: Lists | ManyLists | None = None
        self.lists_file = LISTS if originals is None else f"{uuid4().hex}{LISTS_SUFFIX}"
        machine.storage.make_folder(folder / "segments")
        self.row_slots = RowSlots(machine.storage, folder / "slots")
        if codec is not None and codec.device.type == "cpu":
            warm()
        self.searched = Searched(
            config.distance, self.originals, self.as_searched, self._normalises_late, machine.pool, machine.threads
        )
        by_inner_product = metric.is_inner_product(config.distance)
        if codec is not None:
            self.lists = _lists_of(codec, by_inner_product)

    @property
    def codec(self) -> Codec | None:
        """What vectors are encoded with from now on."""
        return None if self.coding is None else self.coding.codec

    def prepare(self, vectors: Float32) -> NDArray[np.generic]:
        """Vectors [n, dim] as they will be stored; raises DimensionMismatch, InvalidVectors, InvalidPoints."""
        vectors = self._checked(vectors)
        compared = self._compared(vectors)
        return as_stored(vectors if self._normalises_late else compared, self.originals.dtype.name)

    def prepare_queries(self, queries: Float32) -> Float32:
        """Queries [q, dim] as they are compared; raises the same."""
        queries = np.require(self._checked(queries), requirements="W")  # PyTorch warns of read-only arrays
        return self._compared(queries)

    def _compared(self, vectors: Float32) -> Float32:
        return metric.normalised(vectors) if self.config.distance == "Cosine" else metric.comparable(vectors)

    def as_searched(self, stored: NDArray[np.generic]) -> Float32:
        """Stored vectors as float32 [n, dim] of the kind that queries are compared with."""
        vectors = np.asarray(stored, np.float32)
        return metric.normalised(vectors) if self._normalises_late else vectors

    def view_at(self, version: int, stop: int, dead: RowSet, mapped: tuple[Piece, ...]) -> View:
        """What queries see from now on; takes over what is `mapped` already."""
        pending = self.map_pending(stop, mapped)
        lists = self.lists.seen_in(self.segments) if self.lists and self.segments else None
        if self.codec is not None and self.codec.device.type != "cpu":
            from index_store.scan.resident import residents

            residents(self.codec.device).hold(self.segments)  # before a query has to wait for it
        return View(version, self.watermark, stop, self.segments, pending, dead, lists, self.coding)

    def search(
        self,
        view: View,
        queries: Float32,
        plan: SearchPlan,
        survivors: Survivors | None,
        points: int,
        trace: SearchTrace,
    ) -> Found:
        """The nearest rows to prepared queries [q, dim], `limit` + `offset` of them; `survivors` pass the filter."""
        if view.coding is None or plan.exact:
            if not self.keeps_originals:
                raise UnsupportedOption("This collection keeps no originals, so 'exact' is not possible: leave it out.")
            with trace.stage("exact"):
                return self._exactly(view, queries, plan.limit + plan.offset, survivors)
        wanted = plan.limit + plan.offset
        list_count = len(view.lists) if view.lists else 1
        count = None if survivors is None else len(survivors)
        effort = resolve(plan, list_count, self.keeps_originals, count, points)
        picked = None
        if survivors is not None and survivors.are_few():
            with trace.stage("probe"):
                picked = survivors.picked_in(view, self.row_slots)
        skipped = view.dead
        if survivors is not None and (picked is None or view.pending):
            skipped = survivors.skipped_in(view)
        found = search(self.searched, view, queries, effort, skipped, trace, picked)
        if picked is not None:
            return found
        if effort.nprobe == list_count:
            return found
        short = np.flatnonzero((found.rows[:, :wanted] >= 0).sum(axis=1) < min(wanted, _or(count, points)))
        if len(short):  # the lists read held too few that count: read them all
            everywhere = replace(effort, nprobe=list_count)
            fuller = search(self.searched, view, queries[short], everywhere, skipped, SearchTrace())
            found = _replaced(found, short, fuller)
        return found

    def _exactly(self, view: View, queries: Float32, wanted: int, survivors: Survivors | None) -> Found:
        if survivors is None:
            return search_exactly(self.searched, view, queries, wanted, view.dead)
        if survivors.are_few():
            rows = survivors.rows_in(view)
            if rows.size * self.config.size <= BLOCK_FLOATS:
                vectors = self.as_searched(self.originals.read(rows))
                return few.exactly(self.config.distance, queries, rows, vectors, wanted)
        return search_exactly(self.searched, view, queries, wanted, survivors.skipped_in(view))

    def vectors_of(self, rows: NDArray[np.int64], view: View) -> Float32:
        """The vectors of live rows [n], float32 [n, dim]: originals, or decoded codes where those are not kept."""
        if self.keeps_originals:
            return self.as_searched(self.originals.read(rows))
        vectors = np.empty((len(rows), self.config.size), np.float32)
        for first, stored in view.pending:
            here = np.flatnonzero((rows >= first) & (rows < first + len(stored)))
            vectors[here] = self.as_searched(stored[rows[here] - first])
        for number, one in enumerate(view.segments):
            here = np.flatnonzero((rows >= one.first_row) & (rows < one.stop_row))
            if len(here) and view.coding is not None:
                slots = self.row_slots.of(one, rows[here])
                codes = codes_of(view, view.coding.codec, np.full(len(here), number, np.int32), slots)
                decoded = view.coding.codec.decode(codes)
                vectors[here] = directions.at_length_one(decoded) if self.config.distance == "Cosine" else decoded
        return vectors

    def stored_vectors(self, rows: NDArray[np.int64], view: View) -> NDArray[np.generic]:
        """The vectors of live rows [n] as they would be stored again: unchanged where originals are kept."""
        if self.keeps_originals:
            return as_stored(self.originals.read(rows), self.originals.dtype.name)
        return self.prepare(self.vectors_of(rows, view))

    def fillers(self, n: int) -> NDArray[np.generic]:
        """What is stored in the rows of points that lack this vector; never looked at."""
        return self.prepare(np.ones((n, self.config.size), np.float32))

    def encode(
        self, pieces: tuple[Piece, ...], first: int, stop: int, dead: RowSet, as_draft: bool = False
    ) -> tuple[Segment | None, Coding | None]:
        """A segment, written, of the live rows first..stop−1 mapped in `pieces`, None when there are none; its coding.

        The first vectors of a model without shortlist decoders are what those are fitted to.
        """
        assert self.coding is not None
        rows, vectors = self._live(pieces, first, stop, dead)
        if not len(rows):
            return None, self.coding
        if self.lists is None:
            self._train_lists(pieces, dead)
        assert self.lists is not None
        codec, coding = self.coding.codec, self.coding
        codes = codec.encode(vectors, self.codes.candidates, DRAFT_BEAM if as_draft else self.codes.beam)
        if not as_draft:
            self.drift.note(codec, vectors, codes)
        if not coding.is_fitted:
            coding = fitted(self.storage, self.tables_folder, codec, vectors, codes, model=codec)
        additive = coding.codec.decode_additive(codes)
        norms = np.einsum("nd,nd->n", additive, additive)
        assigned = self.lists.assign(vectors) if isinstance(self.lists, Lists) and not codec.ivf_lists else codes[:, 0]
        symbols: segment.Codes = codes[:, -codec.steps :].astype(np.uint8 if codec.codewords <= 256 else np.uint16)
        made = segment.group_by_list(
            new_name(), codec.sha256, (first, stop), assigned, symbols, rows, norms, len(self.lists)
        )
        made = replace(made, is_draft=as_draft)
        try:
            self.write_segment(made)
        except BaseException:
            self.remove_tables(coding.file if coding is not self.coding else None)
            raise
        return made, coding

    def is_worth_a_draft(self, backlog: int) -> bool:
        """Whether so many pending rows are first to be encoded with a small beam: they can be encoded again."""
        if self.coding is None or not self.keeps_originals or not self.coding.is_fitted:
            return False
        beam = self.codes.beam if self.codes.beam is not None else self.coding.codec.default_beam
        return backlog > DRAFT_BACKLOG and beam > DRAFT_BEAM

    def load(self, watermark: int, entries: list[SegmentEntry], coding: CodingEntry | None) -> list[SegmentEntry]:
        """Take up what the database names; returns the entries whose files are damaged, put aside as `.damaged`."""
        self.watermark = watermark
        folder, storage = self._folder / "segments", self._machine.storage
        self._load_coding(coding)
        self._load_lists(bool(entries))
        sound, damaged = [], []
        for entry in entries:
            try:
                sound.append(self._load_segment(entry))
            except (DamagedData, OSError) as error:
                if not self.keeps_originals:
                    raise DamagedData(f"{error} There are no originals to rebuild it from.") from error
                if (folder / entry.file).exists():
                    storage.rename(folder / entry.file, folder / f"{entry.file}.damaged")
                damaged.append(entry)
        self.segments = tuple(sound)
        return damaged

    def remove_unnamed(self, named: set[str]) -> None:
        """Delete the files of segments, shortlist decoders and lists that no transaction named."""
        storage = self._machine.storage
        for folder in (self._folder / "segments", self.tables_folder):
            for file in storage.names(folder):
                if file not in named and not file.endswith(".damaged"):
                    storage.remove(folder / file)
        self.row_slots.keep([file for file in named if (self._folder / "segments" / file).exists()])
        for file in storage.names(self._folder):
            if file.endswith(LISTS_SUFFIX) and file not in named:
                storage.remove(self._folder / file)

    def remove_codes(self) -> None:
        """Delete all files that belong to its codes, once the database has forgotten them."""
        self.remove_segments([one.file for one in self.segments])
        self.remove_tables(None if self.coding is None else self.coding.file)
        self.storage.remove(self._folder / self.lists_file)

    def entry_of(self, coding: Coding) -> CodingEntry:
        """How codes are read, as the database notes it."""
        codec = coding.codec
        has_lists_here = not codec.ivf_lists and self.lists_file != LISTS
        return CodingEntry(codec.steps, coding.file, codec.sha256, self.lists_file if has_lists_here else None)

    def write_segment(self, made: Segment) -> None:
        """Put a segment on disk."""
        segment.write(self._machine.storage, self._folder / "segments", made)
        self.row_slots.make(made)

    @property
    def storage(self) -> Storage:
        """What its files are written with."""
        return self._machine.storage

    @property
    def tables_folder(self) -> Path:
        """Where the shortlist decoders that were fitted here lie."""
        return self._folder / "shortlist"

    def remove_tables(self, file: str | None) -> None:
        """Delete a file of shortlist decoders that the database has forgotten."""
        if file is not None:
            self.storage.remove(self.tables_folder / file)

    def remove_segments(self, files: Mapping[str, object] | list[str]) -> None:
        """Delete segment files that the database has forgotten."""
        for file in files:
            self._machine.storage.remove(self._folder / "segments" / file)
            self.row_slots.remove(file)

    def disk_bytes(self) -> int:
        """Originals and segments."""
        folder = self._folder / "segments"
        codes = sum(self._machine.storage.size(folder / one.file) for one in self.segments)
        return self.originals.disk_bytes() + codes + self.row_slots.disk_bytes()

    def ram_bytes(self) -> int:
        """Segments and lists; codecs are counted by the store."""
        return sum(one.ram_bytes() for one in self.segments) + (self.lists.ram_bytes() if self.lists else 0)

    def code_bytes(self) -> int:
        """The bytes of one code."""
        return 0 if self.coding is None else self.coding.code_bytes

    def _checked(self, vectors: Float32) -> Float32:
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
            told = f"{vectors.dtype} {list(vectors.shape)}"
            raise InvalidVectors(f"Vectors come as numbers [n, {self.config.size}], not as {told}.")
        if vectors.shape[1] != self.config.size:
            raise DimensionMismatch(
                f"The vector '{self.name}' has {self.config.size} numbers; this request sent {vectors.shape[1]}."
            )
        vectors = np.ascontiguousarray(vectors, np.float32)
        if not math.isfinite(np.vdot(vectors, vectors)):  # or the sum of their squares is beyond float32
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                raise InvalidVectors(f"Vector {int(finite.argmin())} of the request holds NaN or infinity.")
        return vectors

    def map_pending(self, stop: int, held: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """Maps of the pending rows below `stop`, taken from those `held` where they reach. Raises DiskUnavailable."""
        first = self.watermark
        by_stripe = {start // STRIPE_ROWS: (start, rows) for start, rows in held}
        pieces: list[Piece] = []
        for stripe_first, stripe_stop in self.originals.stripes():
            start, end = max(first, stripe_first), min(stop, stripe_stop)
            if start >= end:
                continue
            held_first, rows = by_stripe.get(stripe_first // STRIPE_ROWS, (stop, None))
            if rows is not None and held_first <= start and held_first + len(rows) >= end:
                pieces.append((start, rows[start - held_first : end - held_first]))
            else:
                pieces.extend(self.originals.map(start, end))
        return tuple(pieces)

    def _live(
        self, pieces: tuple[Piece, ...], first: int, stop: int, dead: RowSet
    ) -> tuple[NDArray[np.uint32], Float32]:
        """Rows first..stop−1 that are not dead, and their vectors."""
        rows, vectors = [np.zeros(0, np.uint32)], [np.zeros((0, self.config.size), np.float32)]
        for start, stored in pieces:
            begin, end = max(first, start), min(stop, start + len(stored))
            if begin < end:
                alive = np.flatnonzero(~dead.between(begin, end))
                rows.append((begin + alive).astype(np.uint32))
                vectors.append(self.as_searched(stored[begin - start + alive]))
        return np.concatenate(rows), np.concatenate(vectors)

    def _train_lists(self, pieces: tuple[Piece, ...], dead: RowSet) -> None:
        """Centroids of all that is pending, not of one batch alone: their number follows from how much there is."""
        alive = [np.flatnonzero(~dead.between(first, first + len(stored))) for first, stored in pieces]
        pending = sum(map(len, alive))
        step = -(-pending // MOST_TRAINING_VECTORS)
        sample = np.concatenate(
            [self.as_searched(stored[own[::step]]) for own, (_, stored) in zip(alive, pieces, strict=True)]
        )
        centroids = coarse.train(sample, coarse.lists_for(pending))
        coarse.save(self._machine.storage, self._folder / self.lists_file, centroids)
        self.lists = Lists(centroids, metric.is_inner_product(self.config.distance))

    def _load_lists(self, are_needed: bool) -> None:
        if self.codec is None or self.codec.ivf_lists or not are_needed:
            return
        centroids = coarse.load(self._machine.storage, self._folder / self.lists_file)
        self.lists = Lists(centroids, metric.is_inner_product(self.config.distance))

    def _load_coding(self, entry: CodingEntry | None) -> None:
        if entry is not None and self.coding is not None:
            self.lists_file = entry.lists or LISTS
            model = self.coding.codec
            is_whole = entry.steps == model.steps
            codec = model if is_whole else prefix_of(model, entry.steps)[0]
            self.coding = Coding(codec)
            if entry.tables is not None:
                path = self.tables_folder / entry.tables
                self.coding = codings.load(self.storage, path, codec, model if is_whole else None)

    def _load_segment(self, entry: SegmentEntry) -> Segment:
        assert self.codec is not None and self.lists is not None
        folder = self._folder / "segments"
        loaded = segment.load(self._machine.storage, folder, entry.file, entry.first_row, entry.stop_row)
        if loaded.model != self.codec.sha256:
            raise DamagedData(f"Segment {entry.file} was made by another checkpoint than the collection's.")
        if loaded.codes.shape[1] != self.codec.steps:
            raise DamagedData(f"Segment {entry.file} holds codes of another length than the collection's.")
        if len(loaded) != entry.count or len(loaded.offsets) != len(self.lists) + 1:
            raise DamagedData(f"Segment {entry.file} holds {len(loaded)} codes, not the {entry.count} of its entry.")
        has_room_for_more = np.iinfo(loaded.codes.dtype).max >= self.codec.codewords
        if has_room_for_more and loaded.codes.size and loaded.codes.max() >= self.codec.codewords:
            raise DamagedData(f"Segment {entry.file} holds codes that the collection's checkpoint does not have.")
        return replace(loaded, is_draft=bool(entry.draft))


def _lists_of(codec: Codec, by_inner_product: bool) -> Lists | ManyLists | None:
    """Those that the codec brings."""
    from index_store.many_lists import ManyLists, has_many
    from model import NetworkCodec

    if isinstance(codec, NetworkCodec) and has_many(codec):
        return ManyLists(codec, by_inner_product)
    return None if codec.centroids is None else Lists(codec.centroids, by_inner_product)


def check_codec(codec: Codec, config: VectorConfig) -> None:
    """Raise DimensionMismatch unless vectors of this config can be searched by this codec's codes."""
    if codec.dim != config.size:
        raise DimensionMismatch(f"The model is for vectors of {codec.dim} numbers; the collection's are {config.size}.")


def check_effort(codec: Codec, codes: CodesConfig) -> None:
    """Raise UnsupportedOption unless a codec encodes with these candidates and this beam."""
    codec.encode(np.ones((1, codec.dim), np.float32), codes.candidates, codes.beam)


def new_name() -> str:
    """A file name for a segment that no other has had."""
    return f"{uuid4().hex}.seg"


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def _replaced(found: Found, queries: NDArray[np.int64], fuller: Found) -> Found:
    """`found` with the rows of some queries taken from `fuller`."""
    width = max(found.rows.shape[1], fuller.rows.shape[1])
    distances = np.full((len(found.rows), width), np.inf, np.float32)
    rows = np.full((len(found.rows), width), -1, np.int64)
    distances[:, : found.rows.shape[1]], rows[:, : found.rows.shape[1]] = found.distances, found.rows
    distances[queries], rows[queries] = np.inf, -1
    distances[queries, : fuller.rows.shape[1]] = fuller.distances
    rows[queries, : fuller.rows.shape[1]] = fuller.rows
    return Found(distances, rows)
