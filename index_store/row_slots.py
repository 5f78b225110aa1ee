"""From rows to their slots in a segment: a file beside it, mapped, so that it takes disk and no memory of ours.

0    8 bytes   magic "QINCOROW"
8    u32       format version
12   u32       CRC-32 of what follows
16   u32 [stop_row − first_row]   slot + 1 of each row that the segment covers; 0: it holds no such row

All of it follows from the segment: a file that is missing or damaged is made anew. It costs four bytes a row on disk.
"""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from index_store.segment import Segment
from index_store.storage import Storage, as_bytes

if TYPE_CHECKING:
    from index_store.scan.slots import Places

_MAGIC = b"QINCOROW"
_FORMAT = 1
_HEAD = struct.Struct("<8sII")
_PART = 1 << 22
SUFFIX = ".rows"


class RowSlots:
    """The files of one vector index, and the maps of those that were asked for. Any thread may call it."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._maps: dict[str, NDArray[np.uint32]] = {}
        self._making = threading.Lock()
        self._places: tuple[tuple[Segment, ...], Places] | None = None

    def of(self, segment: Segment, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """The slot of each of `rows` [n], which lie between the segment's first and stop row; −1: it holds it not."""
        found: NDArray[np.int64] = self._map(segment)[rows - segment.first_row].astype(np.int64)
        return found - 1

    def places(self, segments: tuple[Segment, ...]) -> Places:
        """The maps of some segments for a compiled function; those of the last are kept."""
        from index_store.scan.slots import places_of

        known = self._places
        if known is None or known[0] is not segments:
            between = [(one.first_row, one.stop_row) for one in segments]
            made = places_of([self._map(one) for one in segments], between, [len(one) for one in segments])
            known = self._places = segments, made
        return known[1]

    def make(self, segment: Segment) -> None:
        """Write a segment's file."""
        self._storage.make_folder(self._folder)
        path = self._path(segment.file)
        unfinished = path.with_name(f"{uuid4().hex}.tmp")
        checksum = 0
        for first in range(segment.first_row, segment.stop_row, _PART):
            part = _slots_between(segment, first, min(first + _PART, segment.stop_row))
            checksum = zlib.crc32(as_bytes(part), checksum)
            self._storage.write_at(unfinished, _HEAD.size + 4 * (first - segment.first_row), as_bytes(part))
        self._storage.write_at(unfinished, 0, memoryview(_HEAD.pack(_MAGIC, _FORMAT, checksum)))
        self._storage.rename(unfinished, path)

    def remove(self, file: str) -> None:
        """Forget a segment."""
        self._maps.pop(file, None)
        self._places = None
        self._storage.remove(self._path(file))

    def keep(self, files: list[str]) -> None:
        """Forget all segments but these."""
        kept = {self._path(file).name for file in files}
        for name in self._storage.names(self._folder):
            if name not in kept:
                self._storage.remove(self._folder / name)

    def disk_bytes(self) -> int:
        """The size of all files."""
        return sum(self._storage.size(self._folder / name) for name in self._storage.names(self._folder))

    def _map(self, segment: Segment) -> NDArray[np.uint32]:
        found = self._maps.get(segment.file)
        if found is None:
            with self._making:
                found = self._maps.get(segment.file)
                if found is None:
                    found = self._maps[segment.file] = self._checked(segment)
        return found

    def _checked(self, segment: Segment) -> NDArray[np.uint32]:
        """The map of a file whose bytes match their checksum."""
        path, count = self._path(segment.file), segment.stop_row - segment.first_row
        head = self._storage.read(path, 0, _HEAD.size) if self._storage.size(path) == _HEAD.size + 4 * count else b""
        if len(head) == _HEAD.size and head.startswith(_MAGIC):
            mapped = np.asarray(self._storage.map(path, _HEAD.size, (count,), np.uint32), np.uint32)
            if _HEAD.unpack(head) == (_MAGIC, _FORMAT, zlib.crc32(as_bytes(mapped))):
                return mapped
        self.make(segment)
        return np.asarray(self._storage.map(path, _HEAD.size, (count,), np.uint32), np.uint32)

    def _path(self, file: str) -> Path:
        return self._folder / f"{file}{SUFFIX}"


def _slots_between(segment: Segment, first: int, stop: int) -> NDArray[np.uint32]:
    """slot + 1 of each row from `first` to `stop` − 1, 0 where there is none."""
    slots = np.flatnonzero((segment.rows >= first) & (segment.rows < stop))
    found = np.zeros(stop - first, np.uint32)
    found[segment.rows[slots] - np.uint32(first)] = slots + 1
    return found
