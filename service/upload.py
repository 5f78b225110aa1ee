"""Uploads of arrays: read as they arrive, written in durable chunks, slowed down to the rate of encoding."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import anyio.to_thread
import numpy as np
from fastapi import Request
from starlette.requests import ClientDisconnect

from index_store import Collection, PointId
from index_store.errors import PendingFull
from model.errors import QincoError
from service.bodies import content_type, read_json, refuse_encodings
from service.encoding_worker import EncodingWorker
from service.errors import MalformedRequest, NotServed, OutOfRange, UnsupportedMedia
from service.npy import NpyStream
from service.point_ids import LARGEST_ID
from service.points_json import DEFAULT, Ids, Points, check_finite, read_points
from service.upload_form import open_form
from service.upload_table import KINDS as TABLES
from service.upload_table import open_table

logger = logging.getLogger(__name__)

# One durable write: large enough that its sync does not matter, small enough to hold in RAM for each upload.
CHUNK_BYTES = 16 * 1024 * 1024
# Between two looks at whether pending rows leave room again.
BACK_PRESSURE_S = 0.05


@dataclass
class Upload:
    """One upload into one collection, and how far it has come."""

    collection: Collection
    worker: EncodingWorker
    max_rows: int
    written: int = 0
    first_id: PointId | None = None
    last_id: PointId | None = None
    operation_id: int | None = None

    def summary(self) -> dict[str, Any]:
        return {
            "points": self.written,
            "first_id": self.first_id,
            "last_id": self.last_id,
            "operation_id": self.operation_id,
        }

    @property
    def dim(self) -> int:
        return self.collection.config.vectors[DEFAULT].size

    @property
    def chunk_rows(self) -> int:
        return max(1, min(CHUNK_BYTES // (4 * self.dim), self.max_rows))

    async def write(self, points: Points) -> None:
        """Durably writes one chunk; while too many vectors are pending, waits, and the body is not read."""
        while True:
            try:
                written = await anyio.to_thread.run_sync(
                    self.collection.upsert, points.ids, points.vectors, points.payloads
                )
                break
            except PendingFull:
                self.worker.wake()
                await asyncio.sleep(BACK_PRESSURE_S)
        self.worker.wake()
        self.operation_id = written
        self.written += len(points.ids)
        self.first_id = _plain(points.ids[0]) if self.first_id is None else self.first_id
        self.last_id = _plain(points.ids[-1])


async def receive(
    request: Request, upload: Upload, first_id: int | None, max_bytes: int, reservations: "Reservations"
) -> None:
    """Reads the body by its content type and writes it; an error says how many points are stored already."""
    kind = content_type(request)
    if kind not in READERS:
        raise UnsupportedMedia(f"Content-Type '{kind}' is not read here; uploads come as {', '.join(READERS)}.")
    if kind == "application/json" and first_id is not None:
        raise MalformedRequest("Parameter 'first_id' numbers arrays; this body brings ids of its own.")
    refuse_encodings(request)
    try:
        if kind == "application/json":
            await _receive_json(request, upload)
        elif upload.collection.config.vectors.keys() != {DEFAULT}:
            raise NotServed("Arrays are uploaded to collections of one unnamed vector; send named vectors as JSON.")
        elif kind == "application/x-npy":
            await _receive_npy(request, upload, first_id, max_bytes, reservations)
        elif kind in TABLES:
            await _receive_table(request, upload, kind, first_id, reservations)
        else:
            await _receive_form(request, upload, first_id, reservations)
    except ClientDisconnect:
        logger.info(
            "An upload into %s broke off; its first %d points are stored", upload.collection.name, upload.written
        )
        raise
    except QincoError as error:
        if not upload.written:
            raise
        raise type(error)(f"{error} The first {upload.written} points of this upload are stored.") from error


async def _receive_json(request: Request, upload: Upload) -> None:
    body = await read_json(request)
    points = await anyio.to_thread.run_sync(read_points, body, upload.collection.config, True)
    for start in range(0, len(points.ids), upload.chunk_rows):
        part = slice(start, start + upload.chunk_rows)
        payloads = None if points.payloads is None else points.payloads[part]
        await upload.write(
            Points(points.ids[part], {name: rows[part] for name, rows in points.vectors.items()}, payloads)
        )


async def _receive_npy(
    request: Request, upload: Upload, first_id: int | None, max_bytes: int, reservations: "Reservations"
) -> None:
    announced = request.headers.get("content-length")
    stream = NpyStream(aiter(request.stream()))
    header = await stream.header(upload.dim, max_bytes, int(announced) if announced else None)
    ids = _numbers(upload, first_id, header.shape[0], reservations)
    async for vectors in stream.chunks(header, upload.chunk_rows):
        await anyio.to_thread.run_sync(partial(check_finite, vectors, first=upload.written))
        part = _part(ids, upload.written, upload.written + len(vectors))
        await upload.write(Points(part, {DEFAULT: vectors}, None))


async def _receive_form(request: Request, upload: Upload, first_id: int | None, reservations: "Reservations") -> None:
    async with open_form(request, upload.dim, upload.chunk_rows) as form:
        if form.ids is not None and first_id is not None:
            raise MalformedRequest("Parameter 'first_id' and the part 'ids' are both given; give one.")
        ids = _numbers(upload, first_id, form.n, reservations) if form.ids is None else form.ids
        while upload.written < form.n:
            vectors = await anyio.to_thread.run_sync(form.next_vectors)
            start, end = upload.written, upload.written + len(vectors)
            payloads = None if form.payloads is None else form.payloads[start:end]
            await upload.write(Points(_part(ids, start, end), {DEFAULT: vectors}, payloads))


async def _receive_table(
    request: Request, upload: Upload, kind: str, first_id: int | None, reservations: "Reservations"
) -> None:
    async with open_table(request, kind, upload.dim) as table:
        if table.has_ids and first_id is not None:
            raise MalformedRequest("Parameter 'first_id' and the column 'id' are both given; give one.")
        numbers = None if table.has_ids else _numbers(upload, first_id, table.n, reservations)
        batches = table.batches(upload.chunk_rows)
        while (points := await anyio.to_thread.run_sync(next, batches, None)) is not None:
            rows = len(points.vectors[DEFAULT])
            ids = points.ids if numbers is None else _part(numbers, upload.written, upload.written + rows)
            if rows:
                await upload.write(Points(ids, points.vectors, points.payloads))


def _numbers(upload: Upload, first_id: int | None, n: int, reservations: "Reservations") -> range:
    """n ids in a row; raises OutOfRange where they would end beyond the largest."""
    first = reservations.take(upload.collection, n) if first_id is None else first_id
    if first + n - 1 > LARGEST_ID:
        raise OutOfRange(f"Ids from {first} on leave no room for {n} points; the largest id is {LARGEST_ID}.")
    return range(first, first + n)


def _part(ids: range | Ids, start: int, end: int) -> Ids:
    part = ids[start:end]
    return np.arange(part.start, part.stop, dtype=np.uint64) if isinstance(part, range) else part


def _plain(id: Any) -> PointId:
    return int(id) if isinstance(id, np.uint64) else id


class Reservations:
    """Which ids are promised to uploads that are under way, so that two of them never number alike."""

    def __init__(self) -> None:
        self._next: WeakKeyDictionary[Collection, int] = WeakKeyDictionary()

    def take(self, collection: Collection, n: int) -> int:
        """The first of n ids after the collection's largest and after every id taken before."""
        largest = collection.largest_id()
        first = max(0 if largest is None else largest + 1, self._next.get(collection, 0))
        self._next[collection] = first + n
        return first


READERS = ("application/json", "application/x-npy", "multipart/form-data", *TABLES)
