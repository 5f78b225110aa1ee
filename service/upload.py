"""Uploads of arrays: each kind of body read as it arrives, checked, and handed on in chunks."""

import logging

import anyio.to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from model.errors import QincoError
from service.bodies import content_type, read_json, refuse_encodings
from service.errors import MalformedRequest, NotServed, UnsupportedMedia
from service.npy import NpyStream
from service.points_json import Points, check_finite, numbered, read_points
from service.reservations import Reservations
from service.unpacking import KINDS as TABLES
from service.upload_form import open_form
from service.upload_rows import Upload, WriteBehind, part_of
from service.upload_table import open_table
from service.vector_names import DEFAULT

logger = logging.getLogger(__name__)


async def receive(
    request: Request, upload: Upload, first_id: int | None, max_bytes: int, reservations: Reservations
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
        name = upload.collection.name
        logger.info("An upload into %s broke off; its first %d points are stored", name, upload.stored)
        raise
    except QincoError as error:
        if not upload.stored:
            raise
        resumable = "" if upload.key is None else f" Sent again as '{upload.key}' it goes on from there."
        raise type(error)(f"{error} The first {upload.stored} points of this upload are stored.{resumable}") from error


async def _receive_json(request: Request, upload: Upload) -> None:
    body = await read_json(request)
    points = await anyio.to_thread.run_sync(read_points, body, upload.collection.config, True)
    for option in ("update_mode", "update_filter"):
        if body.get(option) is not None:
            raise NotServed(f"Parameter '{option}' is not served in uploads, which write all points: use PUT …/points.")
    n = len(points.ids)
    upload.begin(n)
    for start in range(0, n, upload.chunk_rows):
        await upload.write(points.part(start, start + upload.chunk_rows))


async def _receive_npy(
    request: Request, upload: Upload, first_id: int | None, max_bytes: int, reservations: Reservations
) -> None:
    announced = request.headers.get("content-length")
    stream = NpyStream(aiter(request.stream()))
    header = await stream.header(upload.dim, max_bytes, int(announced) if announced else None)
    n = header.shape[0]
    upload.begin(n)
    ids = upload.numbers(n, first_id, reservations)
    start, behind = 0, WriteBehind(upload)
    try:
        async for vectors in stream.chunks(header, upload.chunk_rows):
            await anyio.to_thread.run_sync(check_finite, vectors, numbered("Point", upload.offset + start))
            await behind.write(Points(part_of(ids, start, start + len(vectors)), {DEFAULT: vectors}))
            start += len(vectors)
    finally:
        await behind.finish()


async def _receive_form(request: Request, upload: Upload, first_id: int | None, reservations: Reservations) -> None:
    async with open_form(request, upload.dim, upload.chunk_rows) as form:
        if form.ids is not None and first_id is not None:
            raise MalformedRequest("Parameter 'first_id' and the part 'ids' are both given; give one.")
        upload.begin(form.n)
        ids = upload.numbers(form.n, first_id, reservations) if form.ids is None else form.ids
        while upload.read < form.n:
            vectors = await anyio.to_thread.run_sync(form.next_vectors)
            start, end = upload.read, upload.read + len(vectors)
            payloads = None if form.payloads is None else form.payloads[start:end]
            await upload.write(Points(part_of(ids, start, end), {DEFAULT: vectors}, payloads))


async def _receive_table(
    request: Request, upload: Upload, kind: str, first_id: int | None, reservations: Reservations
) -> None:
    async with open_table(request, kind, upload.dim) as table:
        if table.has_ids and first_id is not None:
            raise MalformedRequest("Parameter 'first_id' and the column 'id' are both given; give one.")
        upload.begin(table.n)
        numbers = None if table.has_ids else upload.numbers(table.n, first_id, reservations)
        batches = table.batches(upload.chunk_rows)
        while (points := await anyio.to_thread.run_sync(next, batches, None)) is not None:
            rows = len(points.vectors[DEFAULT])
            ids = points.ids if numbers is None else part_of(numbers, upload.read, upload.read + rows)
            if rows:
                await upload.write(Points(ids, points.vectors, points.payloads))


READERS = ("application/json", "application/x-npy", "multipart/form-data", *TABLES)
