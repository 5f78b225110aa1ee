"""Vectors as they came, addressed by row, on disk: stripes of 2^16 rows.

A stripe `00000000.vec` is a header of 64 bytes, then its rows one after another; a row's place follows from its number:

    0   8 bytes   magic "QINCOVEC"
    8   u32       format version
    12  u32       dim
    16  8 bytes   dtype, padded with zeros
    24  u64       first row
    60  u32       CRC-32 of the first 60 bytes
    64            rows [count, dim]
"""

import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.errors import DamagedData, InvalidPoints
from index_store.storage import OpenFile, Storage, as_bytes

STRIPE_ROWS = 1 << 16
MOST_OPEN = 64
"""Files a vector index holds open, of the 1024 that a process may by default."""
_HEADER = struct.Struct("<8sII8sQ28x")
_MAGIC = b"QINCOVEC"
_FORMAT = 1
HEADER_BYTES = 64
_CHECKED_BYTES = 4 << 20

Piece = tuple[int, NDArray[np.generic]]  # first row, rows [count, dim] as stored


class Opened:
    """Files open at one moment, as descriptors by stripe, −1 for none; they stay open as long as this lives."""

    def __init__(self, files: dict[int, OpenFile]) -> None:
        self.descriptors = np.full(max(files, default=0) + 1, -1, np.int32)
        for stripe, file in files.items():
            self.descriptors[stripe] = file.descriptor
        self._files = files


class Originals:
    """The stripes of one vector index. One writer at a time; readers any."""

    def __init__(self, storage: Storage, folder: Path, dim: int, dtype: str) -> None:
        """dtype: what a row's numbers are stored as (float32, float16, uint8, int8)."""
        self._storage = storage
        self._folder = folder
        self._dim = dim
        self.dtype = np.dtype(dtype)
        self.row_bytes = dim * self.dtype.itemsize
        self._opening = Lock()
        self._open_files: OrderedDict[int, OpenFile] = OrderedDict()  # by stripe, the longest unused first
        self._opened = Opened({})
        storage.make_folder(folder)
        self._stripes = sorted(int(name[:8]) for name in storage.names(folder) if name.endswith(".vec"))

    def append(self, first: int, vectors: NDArray[np.generic]) -> None:
        """Write vectors [n, dim] (of `dtype`) as the rows from `first` on, and sync; raises DiskFull, OSError."""
        for stripe, start, stop in _by_stripe(first, first + len(vectors)):
            path = self._path(stripe)
            if stripe not in self._stripes:
                self._storage.write_at(path, 0, memoryview(self._header(stripe)))
                self._storage.sync_folder(self._folder)
                self._stripes.append(stripe)
            self._storage.write_at(path, self._offset(start), as_bytes(vectors[start - first : stop - first]))
            self._storage.sync(path)

    def cut_back(self, stop: int) -> None:
        """Cut away what lies at row `stop` and beyond: the rest of a write that was never committed."""
        for stripe in list(self._stripes):
            path = self._path(stripe)
            if stripe * STRIPE_ROWS >= stop:
                self._remove_file(stripe)
                self._stripes.remove(stripe)
            elif self._storage.size(path) > self._offset(min(stop, (stripe + 1) * STRIPE_ROWS), stripe):
                self._storage.cut(path, self._offset(min(stop, (stripe + 1) * STRIPE_ROWS), stripe))

    def check(self, stop: int) -> None:
        """Raise DamagedData unless every stripe has a sound header and all its rows below `stop`."""
        for path, size in self.sizes_below(stop).items():
            self.check_stripe(path, size)

    def check_stripe(self, path: Path, size: int) -> None:
        """Raise DamagedData unless a stripe has a sound header and at least so many bytes."""
        if self._storage.read(path, 0, HEADER_BYTES) != self._header(int(path.stem)):
            raise DamagedData(f"The header of {path.name} of the originals is not the one that was written.", path, 0)
        if self._storage.size(path) < size:
            row = int(path.stem) * STRIPE_ROWS + (size - HEADER_BYTES) // self.row_bytes - 1
            raise DamagedData(f"{path.name} of the originals ends before row {row}.", path, self._storage.size(path))

    def read(self, rows: NDArray[np.integer]) -> Float32:
        """The vectors of `rows` [n], float32 [n, dim]; read, not mapped, so that they do not count as our memory.

        Raises FileNotFoundError when a row's stripe has been deleted since.
        """
        return np.asarray(self.read_stored(rows), np.float32)

    def read_stored(self, rows: NDArray[np.integer]) -> NDArray[np.generic]:
        """The same as stored, [n, dim]."""
        wanted = np.asarray(rows, np.int64)
        raw = np.empty((len(wanted), self.row_bytes), np.uint8)
        stripes, places = np.divmod(wanted, STRIPE_ROWS)
        held = self._opened  # whatever becomes of the files meanwhile, these stay open while they are read
        descriptors = held.descriptors.take(stripes, mode="clip")
        if len(wanted) and (descriptors.min() < 0 or int(stripes.max()) >= len(held.descriptors)):
            files = {stripe: self._open(stripe) for stripe in set(stripes.tolist())}
            descriptors = np.array([files[stripe].descriptor for stripe in stripes.tolist()], np.int32)
        whole = self._storage.read_places(descriptors, HEADER_BYTES + places * self.row_bytes, raw)
        if whole != len(wanted):
            raise DamagedData(f"A stripe of the originals ends early: row {wanted[whole]} cannot be read.")
        return raw.view(self.dtype)

    def opened(self) -> Opened:
        """The files that are open at this moment: all of them, or the most recently read ones.

        Raises FileNotFoundError when one has been deleted meanwhile.
        """
        if len(self._open_files) < min(MOST_OPEN, len(self._stripes)):
            for stripe in self._stripes[-MOST_OPEN:]:
                self._open(stripe)
        return self._opened

    def map(self, first: int, stop: int) -> tuple[Piece, ...]:
        """Private views of the rows first..stop−1, a piece a stripe; stripes that were deleted are left out."""
        return tuple(
            (start, self._storage.map(self._path(stripe), self._offset(start), (end - start, self._dim), self.dtype))
            for stripe, start, end in _by_stripe(first, stop)
            if stripe in self._stripes
        )

    def checksum(self, first: int, count: int) -> int:
        """CRC-32 of rows as they lie on disk, fewer where a stripe ends early; raises FileNotFoundError."""
        value = 0
        rows = max(1, _CHECKED_BYTES // self.row_bytes)
        for stripe, start, end in _by_stripe(first, first + count):
            for row in range(start, end, rows):
                size = (min(row + rows, end) - row) * self.row_bytes
                value = zlib.crc32(self._storage.read(self._path(stripe), self._offset(row), size), value)
        return value

    def place(self, row: int) -> tuple[Path, int]:
        """The file that a row lies in, and its offset there."""
        return self._path(row // STRIPE_ROWS), self._offset(row)

    def holds(self, first: int, count: int) -> bool:
        """Whether the stripes of so many rows from `first` on are all there."""
        return set(range(first // STRIPE_ROWS, (first + count - 1) // STRIPE_ROWS + 1)) <= set(self._stripes)

    def missing(self, stop: int) -> list[tuple[int, int]]:
        """First row and end of each stripe below `stop` that there is not."""
        held = set(self._stripes)
        every = range(-(-stop // STRIPE_ROWS))
        return [(one * STRIPE_ROWS, min(stop, (one + 1) * STRIPE_ROWS)) for one in every if one not in held]

    def stripes(self) -> list[tuple[int, int]]:
        """First row and end of each stripe that there is."""
        return [(stripe * STRIPE_ROWS, (stripe + 1) * STRIPE_ROWS) for stripe in self._stripes]

    def sizes_below(self, stop: int) -> dict[Path, int]:
        """Of each stripe's file, the bytes that hold rows below `stop`: those never change."""
        return {
            self._path(stripe): self._offset(min(stop, (stripe + 1) * STRIPE_ROWS), stripe)
            for stripe in list(self._stripes)
            if stripe * STRIPE_ROWS < stop
        }

    def remove_stripe(self, first: int) -> None:
        """Delete the stripe that begins at row `first`; who has it mapped keeps it."""
        stripe = first // STRIPE_ROWS
        self._stripes.remove(stripe)
        self._remove_file(stripe)

    def disk_bytes(self) -> int:
        """The size of all stripes."""
        return sum(self._storage.size(self._path(stripe)) for stripe in list(self._stripes))

    def _open(self, stripe: int) -> OpenFile:
        """A stripe's file; some stay open, since opening one costs more than ten reads of a row."""
        with self._opening:
            file = self._open_files.pop(stripe, None)
            is_new = file is None
            file = file or self._storage.open(self._path(stripe))
            self._open_files[stripe] = file
            if len(self._open_files) > MOST_OPEN:
                self._open_files.popitem(last=False)
            if is_new:
                self._opened = Opened(dict(self._open_files))
            return file

    def _remove_file(self, stripe: int) -> None:
        self._storage.remove(self._path(stripe))
        with self._opening:  # only now, when nobody can open it anew
            self._open_files.pop(stripe, None)
            self._opened = Opened(dict(self._open_files))

    def _path(self, stripe: int) -> Path:
        return self._folder / f"{stripe:08d}.vec"

    def _offset(self, row: int, stripe: int | None = None) -> int:
        stripe = row // STRIPE_ROWS if stripe is None else stripe
        return HEADER_BYTES + (row - stripe * STRIPE_ROWS) * self.row_bytes

    def _header(self, stripe: int) -> bytes:
        name = self.dtype.name.encode().ljust(8, b"\0")
        head = _HEADER.pack(_MAGIC, _FORMAT, self._dim, name, stripe * STRIPE_ROWS)
        return head + struct.pack("<I", zlib.crc32(head))


def as_stored(vectors: Float32, dtype: str) -> NDArray[np.generic]:
    """Vectors as the numbers that are kept, or InvalidPoints naming the first that cannot be."""
    if dtype == "float32":
        return np.ascontiguousarray(vectors, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = vectors.astype(dtype)
    if dtype == "float16":
        bad = ~np.isfinite(stored)
        why = "overflows float16, as which this collection keeps its originals"
    else:
        bad = stored.astype(np.float32) != vectors
        why = f"is not a whole number that {dtype} holds, as which this collection keeps its originals"
    if bad.any():
        point, place = np.argwhere(bad)[0]
        raise InvalidPoints(f"Point {point} of the request: number {place} ({vectors[point, place]:g}) {why}.")
    return stored


def by_stripe(first: int, vectors: NDArray[np.generic]) -> list[tuple[int, NDArray[np.generic]]]:
    """(first row, vectors) of each stripe that `vectors` [n, dim] lie in, as the rows from `first` on."""
    places = _by_stripe(first, first + len(vectors))
    return [(start, vectors[start - first : stop - first]) for _, start, stop in places]


def _by_stripe(first: int, stop: int) -> list[tuple[int, int, int]]:
    """(stripe, first row, end) of each stripe that the rows first..stop−1 lie in."""
    return [
        (stripe, max(first, stripe * STRIPE_ROWS), min(stop, (stripe + 1) * STRIPE_ROWS))
        for stripe in range(first // STRIPE_ROWS, -(-stop // STRIPE_ROWS))
    ]
