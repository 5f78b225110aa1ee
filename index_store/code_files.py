"""The files of one vector's codes: segments, centroids of lists, shortlist decoders; they count once they are named.

A file gets a name that no other has had; a transaction of the points database names it, or forgets it, and what no
transaction named is deleted at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from index_store import lists, segment
from index_store.answers import Float32
from index_store.code_tables import SegmentEntry
from index_store.errors import DamagedData
from index_store.row_slots import RowSlots
from index_store.segment import Segment
from index_store.storage import Storage

if TYPE_CHECKING:
    from model import Codec

LISTS = "lists.bin"
LISTS_SUFFIX = ".lists"


class CodeFiles:
    """Below the folder of a named vector; two indexes over the same originals share it, and name other files."""

    def __init__(self, storage: Storage, folder: Path, is_beside: bool) -> None:
        """is_beside: the codes are made anew beside those that serve, whose centroids stay where they are"""
        self.storage = storage
        self._folder = folder
        self._segments = folder / "segments"
        self.tables_folder = folder / "shortlist"
        self.lists_file = f"{uuid4().hex}{LISTS_SUFFIX}" if is_beside else LISTS
        self.row_slots = RowSlots(storage, folder / "slots")
        storage.make_folder(self._segments)

    def write_segment(self, made: Segment) -> None:
        """Put a segment on disk."""
        segment.write(self.storage, self._segments, made)
        self.row_slots.make(made)

    def load_segment(self, entry: SegmentEntry, codec: Codec, list_count: int) -> Segment:
        """What the database names, read and compared with it; raises DamagedData, OSError."""
        loaded = segment.load(self.storage, self._segments, entry.file, entry.first_row, entry.stop_row)
        if loaded.model != codec.sha256:
            raise DamagedData(f"Segment {entry.file} was made by another checkpoint than the collection's.")
        if loaded.codes.shape[1] != codec.steps:
            raise DamagedData(f"Segment {entry.file} holds codes of another length than the collection's.")
        if len(loaded) != entry.count or len(loaded.offsets) != list_count + 1:
            raise DamagedData(f"Segment {entry.file} holds {len(loaded)} codes, not the {entry.count} of its entry.")
        has_room_for_more = np.iinfo(loaded.codes.dtype).max >= codec.codewords
        if has_room_for_more and loaded.codes.size and loaded.codes.max() >= codec.codewords:
            raise DamagedData(f"Segment {entry.file} holds codes that the collection's checkpoint does not have.")
        return replace(loaded, is_draft=bool(entry.draft))

    def put_aside(self, file: str) -> None:
        """Keep a damaged segment under another name."""
        if (self._segments / file).exists():
            self.storage.rename(self._segments / file, self._segments / f"{file}.damaged")

    def save_lists(self, centroids: Float32) -> None:
        """Write the centroids of lists that were trained here."""
        lists.save(self.storage, self._folder / self.lists_file, centroids)

    def load_lists(self) -> Float32:
        """Read them back; raises DamagedData."""
        return lists.load(self.storage, self._folder / self.lists_file)

    def remove_segments(self, files: Iterable[str]) -> None:
        """Delete segments that the database has forgotten."""
        for file in files:
            self.storage.remove(self._segments / file)
            self.row_slots.remove(file)

    def remove_tables(self, file: str | None) -> None:
        """Delete a file of shortlist decoders that the database has forgotten."""
        if file is not None:
            self.storage.remove(self.tables_folder / file)

    def remove_lists(self) -> None:
        """Delete the centroids, once the database has forgotten the codes."""
        self.storage.remove(self._folder / self.lists_file)

    def remove_unnamed(self, named: set[str]) -> None:
        """Delete the files that no transaction named."""
        for folder in (self._segments, self.tables_folder):
            for file in self.storage.names(folder):
                if file not in named and not file.endswith(".damaged"):
                    self.storage.remove(folder / file)
        self.row_slots.keep([file for file in named if (self._segments / file).exists()])
        for file in self.storage.names(self._folder):
            if file.endswith(LISTS_SUFFIX) and file not in named:
                self.storage.remove(self._folder / file)

    def disk_bytes(self, segments: Iterable[Segment]) -> int:
        """The size of these segments, and of the files that say where rows lie in them."""
        return sum(self.storage.size(self._segments / one.file) for one in segments) + self.row_slots.disk_bytes()
