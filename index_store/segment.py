"""An immutable, checksummed file of codes grouped by list, and the same in RAM.

0     8 bytes   magic "QINCOSEG"
8     u32       format version
12    u32       length of the header
16    header    JSON: model (SHA-256 of its checkpoint), count, steps, lists, norm_low, norm_step, `lengths` of the
                vectors (null where an older version wrote the file), and `blocks`: name → dtype, shape, offset, crc32
…     u32       CRC-32 of everything before
then the blocks, each at a multiple of 64 bytes:
      offsets   i64 [lists + 1]     where each list's slots begin
      codes     u8 or u16 [count, steps]
      rows      u32 [count]         ascending within a list
      norms     u16 [count]         squared norm of the additive reconstruction = norm_low + norm_step · value
"""

import json
import math
import struct
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32, Rows
from index_store.errors import DamagedData
from index_store.lengths import Lengths
from index_store.scan import processor
from index_store.storage import Storage, as_bytes

_MAGIC = b"QINCOSEG"
_FORMAT = 1
_HEAD = struct.Struct("<8sII")
_ALIGNMENT = 64
_LARGEST_NORM = 65_535
_LONGEST_HEADER = 1 << 20
_LONGEST_VECTOR = 1e19
_DTYPES = {"offsets": ("<i8",), "codes": ("|u1", "<u2"), "rows": ("<u4",), "norms": ("<u2",)}

Codes = NDArray[np.unsignedinteger]  # uint8, or uint16 for more than 256 codewords
Blocks = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Segment:
    """Codes in RAM, sorted by list, rows ascending within a list. A code's place in the arrays is its slot.

    is_draft: found with a small beam, to be found again; the database remembers it, not the file
    lengths: of the vectors that the codes were made of, where they are known
    In RAM `codes` lie as the scan of this processor reads them: each of the M columns by itself where it looks up 64 at
    a time, otherwise each code, as in the file. A segment equals itself alone, so that what is made of one can be kept
    beside it.
    """

    file: str
    model: str
    first_row: int
    stop_row: int
    offsets: NDArray[np.int64]
    codes: Codes
    rows: Rows
    norms: NDArray[np.uint16]
    norm_low: float
    norm_step: float
    is_draft: bool = False
    lengths: Lengths | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", laid_out(self.codes))

    def __len__(self) -> int:
        return len(self.rows)

    def lists_of(self, slots: NDArray[np.integer]) -> NDArray[np.int64]:
        """The list of each slot."""
        return np.searchsorted(self.offsets, slots, side="right") - 1

    def ram_bytes(self) -> int:
        """The bytes of all arrays."""
        return self.offsets.nbytes + self.codes.nbytes + self.rows.nbytes + self.norms.nbytes


def new_name() -> str:
    """A file name that no other segment has had."""
    return f"{uuid4().hex}.seg"


def laid_out(codes: Codes) -> Codes:
    """Codes [n, M] as the scan of this processor reads them."""
    return np.asfortranarray(codes) if processor.has_byte_lookups() else np.ascontiguousarray(codes)


def group_by_list(
    file: str,
    model: str,
    rows_between: tuple[int, int],
    lists: NDArray[np.integer],
    codes: Codes,
    rows: Rows,
    norms: Float32,
    list_count: int,
) -> Segment:
    """A segment of codes [n, M] with their lists [n], rows [n] and squared norms [n], in any order."""
    order = np.lexsort((rows, lists))
    offsets = np.zeros(list_count + 1, np.int64)
    np.cumsum(np.bincount(lists, minlength=list_count), out=offsets[1:])
    low, step = norm_range(float(norms.min()), float(norms.max())) if len(norms) else (0.0, 0.0)
    first, stop = rows_between
    values = norms_to_values(norms[order], low, step)
    return Segment(file, model, first, stop, offsets, codes[order], rows[order], values, low, step)


def norm_range(low: float, high: float) -> tuple[float, float]:
    """The smallest norm and the step between two stored values."""
    return low, (high - low) / _LARGEST_NORM


def norms_to_values(norms: NDArray[np.floating], low: float, step: float) -> NDArray[np.uint16]:
    """Norms as stored: off by at most half a step."""
    if step == 0:
        return np.zeros(len(norms), np.uint16)
    return np.clip(np.rint((norms.astype(np.float64) - low) / step), 0, _LARGEST_NORM).astype(np.uint16)


def write(storage: Storage, folder: Path, segment: Segment) -> None:
    """Write a segment's file and make it last; it counts only once a transaction names it."""
    blocks = {"offsets": segment.offsets, "codes": segment.codes, "rows": segment.rows, "norms": segment.norms}
    head, places = _header(segment, blocks)
    path = folder / segment.file
    unfinished = path.with_suffix(".tmp")
    storage.remove(unfinished)
    storage.write_at(unfinished, 0, memoryview(head))
    for name, block in blocks.items():
        if block.size:
            storage.write_at(unfinished, places[name], as_bytes(block))
    storage.sync(unfinished)
    storage.rename(unfinished, path)
    storage.sync_folder(folder)


def load(storage: Storage, folder: Path, file: str, first_row: int, stop_row: int) -> Segment:
    """Read a segment into RAM and check every byte; raises DamagedData naming the file and the block.

    Checksums say that a file is as it was written, not by whom: a snapshot may bring any. So what is said in it is
    compared as well, since a scan follows the offsets without looking.
    """
    path = folder / file
    header = _read_header(storage, path)
    blocks = {name: _read_block(storage, path, name, header["blocks"][name]) for name in _DTYPES}
    offsets, codes, rows, norms = (blocks[name] for name in _DTYPES)
    _check_places(path, offsets, codes, rows, norms)
    if len(rows) and not first_row <= rows.min() <= rows.max() < stop_row:
        raise DamagedData(f"Segment {file} holds rows that are not between {first_row} and {stop_row}.", path)
    norm_low, norm_step = header["norm_low"], header["norm_step"]
    lengths = Lengths(*header["lengths"]) if header.get("lengths") else None
    return Segment(
        file, header["model"], first_row, stop_row, offsets, codes, rows, norms, norm_low, norm_step, lengths=lengths
    )


def _check_places(path: Path, offsets: NDArray[Any], codes: Codes, rows: NDArray[Any], norms: NDArray[Any]) -> None:
    shapes = [array.ndim for array in (offsets, codes, rows, norms)]
    if shapes != [1, 2, 1, 1] or not len(codes) == len(rows) == len(norms):
        raise DamagedData(f"Segment {path.name}: its blocks are not of one length.", path)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(rows) or (offsets[1:] < offsets[:-1]).any():
        raise DamagedData(f"Segment {path.name}: its lists do not lie one after another.", path)


def _header(segment: Segment, blocks: Blocks) -> tuple[bytes, dict[str, int]]:
    """The head of the file with its checksum, and where each block goes."""
    steps = segment.codes.shape[1]
    told = {
        "model": segment.model,
        "count": len(segment),
        "steps": steps,
        "lists": len(segment.offsets) - 1,
        "norm_low": segment.norm_low,
        "norm_step": segment.norm_step,
        "lengths": None if segment.lengths is None else astuple(segment.lengths),
    }
    table: dict[str, dict[str, Any]] = {
        name: {"dtype": block.dtype.str, "shape": block.shape, "crc32": zlib.crc32(as_bytes(block))}
        for name, block in blocks.items()
    }
    room = _aligned(_HEAD.size + len(json.dumps({**told, "blocks": table})) + 40 * len(table))
    places = {}
    for name, block in blocks.items():
        places[name] = room
        table[name]["offset"] = room
        room = _aligned(room + block.nbytes)
    text = json.dumps({**told, "blocks": table}).encode()
    head = _HEAD.pack(_MAGIC, _FORMAT, len(text)) + text
    return head + struct.pack("<I", zlib.crc32(head)), places


def _read_header(storage: Storage, path: Path) -> dict[str, Any]:
    start = storage.read(path, 0, _HEAD.size)
    if len(start) < _HEAD.size or not start.startswith(_MAGIC):
        raise DamagedData(f"{path.name} is not a segment: it begins with other bytes.", path, 0)
    _, version, length = _HEAD.unpack(start)
    if version != _FORMAT:
        raise DamagedData(f"{path.name} is of format {version}; this version reads format {_FORMAT}.", path, 8)
    head = storage.read(path, 0, _HEAD.size + min(length, _LONGEST_HEADER) + 4)
    if len(head) < _HEAD.size + length + 4 or struct.unpack("<I", head[-4:])[0] != zlib.crc32(head[:-4]):
        raise DamagedData(f"Segment {path.name}: the header does not match its checksum.", path, 0)
    try:
        header: dict[str, Any] = json.loads(head[_HEAD.size : -4])
        is_whole = all(_describes(header["blocks"][name], dtypes) for name, dtypes in _DTYPES.items())
        norms = math.isfinite(header["norm_low"]) and math.isfinite(header["norm_step"])
        if is_whole and norms and isinstance(header["model"], str) and _are_lengths(header.get("lengths")):
            return header
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass
    raise DamagedData(f"Segment {path.name}: the header does not say what a segment's says.", path, _HEAD.size)


def _describes(block: dict[str, Any], dtypes: tuple[str, ...]) -> bool:
    """Whether a header's entry says where an array of one of these types lies."""
    numbers = [*block["shape"], block["offset"], block["crc32"]]
    return block["dtype"] in dtypes and all(type(one) is int and one >= 0 for one in numbers)


def _are_lengths(told: Any) -> bool:
    """Whether a header's entry is that of `Lengths`, or none."""
    if told is None:
        return True
    return len(told) == 5 and all(type(one) in (int, float) and 0 <= one <= _LONGEST_VECTOR for one in told)


def _read_block(storage: Storage, path: Path, name: str, block: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(block["dtype"])
    nbytes = math.prod(block["shape"]) * dtype.itemsize
    if nbytes > storage.size(path) - block["offset"]:
        raise DamagedData(f"Segment {path.name}: the block '{name}' is not within the file.", path, block["offset"])
    array = np.empty(block["shape"], dtype)
    read = storage.read_into(path, block["offset"], as_bytes(array)) if array.size else 0
    if read != array.nbytes or zlib.crc32(as_bytes(array)) != block["crc32"]:
        raise DamagedData(
            f"Segment {path.name}: the block '{name}' does not match its checksum.", path, block["offset"]
        )
    return array


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
