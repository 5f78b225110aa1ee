"""Each reader under the fuzzer: whether bytes are read; refused with the error that it promises; all else is a bug."""

import io
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson

from index_store import segment
from index_store.errors import DamagedData, InvalidFilter
from index_store.filters import Filter
from index_store.filters.point import Point
from index_store.storage import Storage
from model.checkpoint import ours, qinco1, qinco2, torch_archive
from model.errors import DimensionMismatch, InvalidCheckpoint
from service.errors import BodyTooLarge, MalformedRequest
from service.npy import NpyStream, header_of_file, next_rows

DIM = 4
MAX_BYTES = 1 << 20
PAYLOADS: list[dict[str, Any]] = [
    {},
    {"a": 1, "b": ["x", None, {"c": 2.5}], "at": "2024-01-02T03:04:05Z", "place": {"lon": 13.4, "lat": 52.5}},
    {"a": ["one two", True], "n": {"m": [{"k": 1}, {"k": [2, 3]}]}, "empty": [], "none": None},
]


def npy(data: bytes) -> bool:
    """As an upload and as a file."""
    stream = NpyStream(_pieces(data))
    try:
        _without_waiting(stream.header(DIM, MAX_BYTES, len(data)))
        file = io.BytesIO(data)
        header = header_of_file(file, len(data), "fuzz")
        rows = next_rows(file, header, 10)
        assert rows.shape == (min(10, header.shape[0]), DIM)
        assert rows.dtype == np.float32
        return True
    except (MalformedRequest, DimensionMismatch, BodyTooLarge):
        return False


def filter(data: bytes) -> bool:
    """Parsed, and matched against points."""
    try:
        parsed = Filter.parse(orjson.loads(data))
    except (orjson.JSONDecodeError, InvalidFilter):
        return False
    for id, payload in enumerate(PAYLOADS):
        assert parsed.matches(Point(id, payload)) in (True, False)
    return True


def segments(data: bytes) -> bool:
    """Of one whose writer computes the checksums to fit, as a snapshot may bring it."""
    try:
        with patch("zlib.crc32", return_value=_Fits(0)):
            read = segment.load(_Bytes(data), Path(), "fuzz.seg", 0, 1000)
    except DamagedData:
        return False
    assert read.codes.ndim == 2
    assert len(read.codes) == len(read.rows) == len(read.norms) == read.offsets[-1]
    assert read.offsets[0] == 0
    assert (np.diff(read.offsets) >= 0).all()
    assert (read.rows < 1000).all()
    return True


def checkpoint(data: bytes) -> bool:
    """Ours, and by its first bytes the authors'; what is read can decode."""
    with tempfile.NamedTemporaryFile(dir=_MEMORY) as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        try:
            codec = _authors(path) if data.startswith(b"PK\x03\x04") else ours.load(path, "cpu", "")
        except InvalidCheckpoint:
            return False
        first = np.zeros((1, codec.steps + bool(codec.ivf_lists)), np.int64)
        assert codec.decode(first).shape == (1, codec.dim)
        return True


READERS: dict[str, Callable[[bytes], bool]] = {
    "npy": npy,
    "filter": filter,
    "segment": segments,
    "checkpoint": checkpoint,
}

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _authors(path: Path) -> Any:
    content = torch_archive.read(path)
    reader = qinco1 if isinstance(content, torch_archive.Module) else qinco2
    return reader.load(content, "cpu", "")


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


def _without_waiting(work: Any) -> Any:
    """What a coroutine gives that never waits."""
    try:
        work.send(None)
    except StopIteration as over:
        return over.value
    raise AssertionError("it waits")


class _Bytes(Storage):
    """A storage whose every file is these bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def read(self, path: Path, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    def read_into(self, path: Path, offset: int, target: memoryview) -> int:
        found = self._data[offset : offset + len(target)]
        target[: len(found)] = found
        return len(found)

    def size(self, path: Path) -> int:
        return len(self._data)


class _Fits(int):
    """Equals every number."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False
