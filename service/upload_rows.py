"""The rows of one upload as they arrive: written in durable chunks, or passed over where they are stored already."""

import asyncio
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
import numpy as np
import orjson

from index_store import Collection, PointId, UploadProgress
from index_store.errors import PendingFull
from index_store.storage import as_bytes
from service.encoding_worker import EncodingWorker
from service.errors import OutOfRange, UploadConflict
from service.point_ids import LARGEST_ID
from service.points_json import Ids, Points
from service.reservations import Reservations
from service.vector_names import DEFAULT

# One durable write: large enough that its sync does not matter, small enough to hold in RAM for each upload.
CHUNK_BYTES = 16 * 1024 * 1024
# Between two looks at whether pending rows leave room again.
BACK_PRESSURE_S = 0.05
_HALVES, _WHOLE = struct.Struct("<II"), struct.Struct("<q")


@dataclass
class Upload:
    """An upload into one collection, of which a request's body brings the rows from `offset` on.

    key     its name, by which it can be resumed; None: it cannot
    before  how far earlier requests have brought it
    """

    collection: Collection
    worker: EncodingWorker
    max_rows: int
    key: str | None = None
    offset: int = 0
    before: UploadProgress | None = None
    read: int = 0
    stored: int = field(init=False)
    _total: int = field(init=False, default=0)
    _is_numbered: bool = field(init=False, default=False)
    _first_id: PointId | None = field(init=False)
    _last_id: PointId | None = field(init=False)
    _operation_id: int | None = field(init=False)
    _checksum: int = field(init=False)
    _passed_over: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        before = self.before
        self.stored = 0 if before is None else before.stored
        self._first_id = None if before is None else before.first_id
        self._last_id = None if before is None else before.last_id
        self._operation_id = None if before is None else before.operation_id
        self._checksum = 0 if before is None else before.checksum

    def summary(self) -> dict[str, Any]:
        return {
            "points": self.stored,
            "first_id": self._first_id,
            "last_id": self._last_id,
            "operation_id": self._operation_id,
        }

    @property
    def dim(self) -> int:
        """Of the one unnamed vector that arrays are of."""
        return self.collection.config.vectors[DEFAULT].size

    @property
    def chunk_rows(self) -> int:
        numbers = sum(vector.size for vector in self.collection.config.vectors.values())
        return max(1, min(CHUNK_BYTES // (4 * numbers), self.max_rows))

    def begin(self, n: int) -> None:
        """The body has n rows; raises UploadConflict unless they go on with what is stored."""
        self._total = self.offset + n
        if self.offset > self.stored:
            raise UploadConflict(
                f"Of upload '{self.key}' {self.stored} points are stored: send it from there, or from an earlier "
                f"offset; {self.offset} would leave a gap."
            )
        if self.before is not None and self.before.total != self._total:
            raise UploadConflict(
                f"Upload '{self.key}' is one of {self.before.total} points; with this body it would have "
                f"{self._total}. Send the same again, or another name."
            )

    def numbers(self, n: int, first_id: int | None, reservations: Reservations) -> range:
        """Ids in a row for the body's n rows; raises OutOfRange where they would end beyond the largest."""
        self._is_numbered = True
        before = self.before
        if before is not None and (not before.is_numbered or first_id not in (None, before.first_id)):
            told = f"is numbered from {before.first_id} on" if before.is_numbered else "brings ids of its own"
            raise UploadConflict(f"Upload '{self.key}' {told}: send the same again.")
        if before is not None:
            first = int(before.first_id)  # type: ignore[arg-type]  # numbers, not UUIDs
        else:
            first = reservations.take(self.collection, n) if first_id is None else first_id
        if first + self._total - 1 > LARGEST_ID:
            told = f"leave no room for {self._total} points; the largest id is {LARGEST_ID}"
            raise OutOfRange(f"Ids from {first} on {told}.")
        return range(first + self.offset, first + self._total)

    async def write(self, points: Points) -> None:
        """Durably writes one chunk; while too many vectors are pending, waits, and the body is not read."""
        place, rows = self.offset + self.read, len(points.ids)
        self.read += rows
        known = min(rows, max(0, self.stored - place))
        if known:
            await self._pass_over(points.part(0, known))
        if known < rows:
            await self._write(points.part(known, rows))

    async def _write(self, points: Points) -> None:
        first_id = _plain(points.ids[0]) if self._first_id is None else self._first_id
        last_id = _plain(points.ids[-1])
        stored, checksum, progress = self.stored + len(points.ids), 0, None
        if self.key is not None:
            checksum = await anyio.to_thread.run_sync(_checksum, points, self._is_numbered, self._checksum)
            progress = UploadProgress(self.key, stored, self._total, first_id, last_id, self._is_numbered, checksum)
        while True:
            try:
                self._operation_id = await anyio.to_thread.run_sync(self._upsert, points, progress)
                break
            except PendingFull:
                self.worker.wake()
                await asyncio.sleep(BACK_PRESSURE_S)
        self.worker.wake()
        self._first_id, self._last_id, self.stored, self._checksum = first_id, last_id, stored, checksum

    def _upsert(self, points: Points, progress: UploadProgress | None) -> int:
        return self.collection.upsert(points.ids, points.vectors, points.payloads, points.places, upload=progress)

    async def _pass_over(self, points: Points) -> None:
        """Compares rows that are stored already with what was stored, where the body begins with the first of all."""
        if self.offset or self.before is None:
            return
        self._passed_over = await anyio.to_thread.run_sync(_checksum, points, self._is_numbered, self._passed_over)
        if self.read >= self.before.stored and self._passed_over != self.before.checksum:
            raise UploadConflict(
                f"Upload '{self.key}' began with other vectors, ids or payloads than this body: send the same again, "
                "or another name."
            )


class WriteBehind:
    """Writes a chunk of an upload while the next one arrives; each is begun when the one before is durable."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._writing: asyncio.Task[None] | None = None

    async def write(self, points: Points) -> None:
        """Begin to write; raises what was wrong with the chunk before."""
        await self.finish()
        self._writing = asyncio.create_task(self._upload.write(points))

    async def finish(self) -> None:
        """Wait until what was begun is durable; raises what was wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing


def _checksum(points: Points, is_numbered: bool, before: int) -> int:
    """Goes on with that of all rows before these: two CRC-32 in one signed number of 64 bits.

    The lower one is of the vectors, the upper one of ids and payloads that came along: row by row, so that it does not
    matter which rows arrived together.
    """
    vectors, others = _HALVES.unpack(_WHOLE.pack(before))
    vectors = _of_vectors(points, vectors)
    if points.payloads is not None:
        for id, payload in zip(points.ids, points.payloads, strict=True):
            others = zlib.crc32(orjson.dumps([_plain(id), payload], option=orjson.OPT_SORT_KEYS), others)
    elif isinstance(points.ids, list):
        for id in points.ids:
            others = zlib.crc32(orjson.dumps([id]), others)
    elif not is_numbered:
        others = zlib.crc32(as_bytes(points.ids), others)
    return int(_WHOLE.unpack(_HALVES.pack(vectors, others))[0])


def vectors_checksum(progress: UploadProgress) -> int:
    """The CRC-32 of an upload's vectors that are stored, as float32: who sent them can compare it with their own."""
    return int(_HALVES.unpack(_WHOLE.pack(progress.checksum))[0])


def _of_vectors(points: Points, before: int) -> int:
    """The CRC-32 of all vectors, those of a row by their names, after that of the rows before."""
    if points.places is None and list(points.vectors) == [DEFAULT]:
        return zlib.crc32(as_bytes(points.vectors[DEFAULT]), before)
    told = [b""] * len(points.ids)
    for name, vectors in sorted(points.vectors.items()):
        places = range(len(told)) if points.places is None else points.places[name].tolist()
        for place, vector in zip(places, vectors, strict=True):
            told[place] += (b"" if name == DEFAULT else name.encode()) + vector.tobytes()
    return zlib.crc32(b"".join(told), before)


def _plain(id: Any) -> PointId:
    return int(id) if isinstance(id, np.uint64) else id


def part_of(ids: range | Ids, start: int, end: int) -> Ids:
    """Some of the ids; a range of numbers as uint64."""
    part = ids[start:end]
    return np.arange(part.start, part.stop, dtype=np.uint64) if isinstance(part, range) else part
