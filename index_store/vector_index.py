"""One named vector of the points as it stands: originals, coding, lists and segments, and the views made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from index_store import coding as codings
from index_store import metric
from index_store.code_files import LISTS, CodeFiles
from index_store.code_tables import CodingEntry, SegmentEntry
from index_store.coding import Coding, prefix_of
from index_store.config import CodesConfig, VectorConfig
from index_store.drift import Drift
from index_store.errors import DamagedData
from index_store.lengths import together
from index_store.lists import Lists
from index_store.machine import Machine
from index_store.originals import STRIPE_ROWS, Originals, Piece
from index_store.row_set import RowSet
from index_store.search import Searched, is_host
from index_store.segment import Segment
from index_store.vector_forms import VectorForms
from index_store.view import View
from index_store.warming import warm

if TYPE_CHECKING:
    from index_store.many_lists import ManyLists
    from model import Codec


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
        self.keeps_originals = codes.originals != "none"
        dtype = codes.originals if self.keeps_originals else "float32"
        self.originals = originals or Originals(machine.storage, folder / "originals", config.size, dtype)
        self.forms = VectorForms(name, config, dtype)
        self.files = CodeFiles(machine.storage, folder, is_beside=originals is not None)
        self.watermark = 0
        self.is_catching_up = False
        self.drift = Drift({})
        self.segments: tuple[Segment, ...] = ()
        if codec is not None and is_host(codec.device):
            warm()
        self.searched = Searched(
            config.distance, self.originals, self.keeps_originals, self.forms.as_searched, self.forms.normalises_late,
            self.files.row_slots, machine.pool, machine.threads,
        )  # fmt: skip
        by_inner_product = metric.is_inner_product(config.distance)
        self.lists = None if codec is None else _lists_of(codec, by_inner_product)

    @property
    def codec(self) -> Codec | None:
        """What vectors are encoded with from now on."""
        return None if self.coding is None else self.coding.codec

    def load(self, watermark: int, entries: list[SegmentEntry], coding: CodingEntry | None) -> list[SegmentEntry]:
        """Take up what the database names; returns the entries whose files are damaged, put aside as `.damaged`."""
        self.watermark = watermark
        if coding is not None and self.coding is not None:
            self.files.lists_file = coding.lists or LISTS
            self.coding = self._coding_of(coding, self.coding.codec)
        if self.codec is not None and not self.codec.ivf_lists and entries:
            self.lists = Lists(self.files.load_lists(), metric.is_inner_product(self.config.distance))
        sound, damaged = [], []
        for entry in entries:
            assert self.codec is not None and self.lists is not None
            try:
                sound.append(self.files.load_segment(entry, self.codec, len(self.lists)))
            except (DamagedData, OSError) as error:
                if not self.keeps_originals:
                    raise DamagedData(f"{error} There are no originals to rebuild it from.") from error
                self.files.put_aside(entry.file)
                damaged.append(entry)
        self.segments = tuple(sound)
        return damaged

    def view_at(self, version: int, stop: int, dead: RowSet, mapped: tuple[Piece, ...]) -> View:
        """What queries see from now on; takes over what is `mapped` already."""
        pending = self.map_pending(stop, mapped)
        lists = self.lists.seen_in(self.segments) if self.lists and self.segments else None
        if self.codec is not None and not is_host(self.codec.device):
            from index_store.scan.resident import residents

            residents(self.codec.device).hold(self.segments)  # before a query has to wait for it
        return View(version, self.watermark, stop, self.segments, pending, dead, lists, self.coding, self._length())

    def _length(self) -> float | None:
        """The one that all encoded vectors have, as searched."""
        if self.config.distance == "Cosine":
            return 1.0
        known = together(one.lengths for one in self.segments)
        return None if known is None else known.one

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

    def entry_of(self, coding: Coding) -> CodingEntry:
        """How codes are read, as the database notes it."""
        codec, lists_file = coding.codec, self.files.lists_file
        has_lists_here = not codec.ivf_lists and lists_file != LISTS
        return CodingEntry(codec.steps, coding.file, codec.sha256, lists_file if has_lists_here else None)

    def remove_codes(self) -> None:
        """Delete all files that belong to its codes, once the database has forgotten them."""
        self.files.remove_segments([one.file for one in self.segments])
        self.files.remove_tables(None if self.coding is None else self.coding.file)
        self.files.remove_lists()

    def disk_bytes(self) -> int:
        """Originals and segments."""
        return self.originals.disk_bytes() + self.files.disk_bytes(self.segments)

    def ram_bytes(self) -> int:
        """Segments and lists; codecs are counted by the store."""
        return sum(one.ram_bytes() for one in self.segments) + (self.lists.ram_bytes() if self.lists else 0)

    def code_bytes(self) -> int:
        """The bytes of one code."""
        return 0 if self.coding is None else self.coding.code_bytes

    def _coding_of(self, entry: CodingEntry, model: Codec) -> Coding:
        """What the database's entry says of this model; raises DamagedData, StepsOutOfRange."""
        is_whole = entry.steps == model.steps
        codec = model if is_whole else prefix_of(model, entry.steps)[0]
        if entry.tables is None:
            return Coding(codec)
        path = self.files.tables_folder / entry.tables
        return codings.load(self.files.storage, path, codec, model if is_whole else None)


def _lists_of(codec: Codec, by_inner_product: bool) -> Lists | ManyLists | None:
    """Those that the codec brings."""
    from index_store.many_lists import ManyLists, has_many
    from model import NetworkCodec

    if isinstance(codec, NetworkCodec) and has_many(codec):
        return ManyLists(codec, by_inner_product)
    return None if codec.centroids is None else Lists(codec.centroids, by_inner_product)
