"""Snapshots of collections: taken while writes go on, downloaded, and put in a collection's place."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, BinaryIO, Literal

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from index_store import SnapshotRecord
from model.errors import QincoError
from service.answers import answer
from service.bodies import read_body, refuse_encodings
from service.errors import MalformedRequest, NotServed
from service.parameters import Served
from service.routes.collections import CollectionName
from service.schemas.body import SHA256
from service.schemas.snapshots import RecoverSnapshot
from service.serving import INCOMING, Serving

router = APIRouter(tags=["snapshots"])

SnapshotName = Annotated[str, Path(alias="snapshot_name")]
Wait = Annotated[bool, Query(description="False: 202 at once; GET /jobs lists the work when it has ended.")]
Checksum = Annotated[str | None, Query(pattern=SHA256, description="SHA-256 that the archive must have.")]
Priority = Annotated[
    Literal["snapshot", "no_sync"] | None,
    Query(description="Accepted; there is one copy, and the snapshot takes its place."),
]
RECOVER_BODY = {"requestBody": {"content": {"application/json": {"schema": RecoverSnapshot.model_json_schema()}}}}
UPLOAD_BODY = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"snapshot": {"type": "string", "format": "binary"}}}
            }
        }
    }
}
WHOLE_STORAGE = (
    "Snapshots of the whole storage are not served: take one of each collection, by POST /collections/NAME/snapshots. "
    "Each brings the models that it needs."
)
COPIED_BYTES = 1 << 20
PATH = "/collections/{collection_name}/snapshots"


@router.post(PATH, summary="Take a snapshot of a collection")
async def create(request: Request, serving: Served, name: CollectionName, wait: Wait = True) -> Response:
    serving.collection(name)
    return await _done(request, serving, wait, partial(_created, serving, name))


@router.get(PATH, summary="The snapshots of a collection")
async def list_all(request: Request, serving: Served, name: CollectionName) -> Response:
    """Also of one that was deleted: its snapshots stay."""
    records = await anyio.to_thread.run_sync(serving.store.snapshots.all, name)
    if not records:
        serving.collection(name)
    return answer(request, [_json(one) for one in records])


@router.put(PATH + "/recover", summary="Put a snapshot in a collection's place", openapi_extra=RECOVER_BODY)
async def recover(request: Request, serving: Served, name: CollectionName, wait: Wait = True) -> Response:
    body = await read_body(request, RecoverSnapshot)
    of, _, snapshot = body.location.rpartition("/")
    archive = await anyio.to_thread.run_sync(serving.store.snapshots.path, of or name, snapshot)
    return await _done(request, serving, wait, partial(_restored, serving, name, archive, body.checksum))


@router.post(PATH + "/upload", summary="Put an uploaded snapshot in a collection's place", openapi_extra=UPLOAD_BODY)
async def upload(
    request: Request,
    serving: Served,
    name: CollectionName,
    wait: Wait = True,
    checksum: Checksum = None,
    priority: Priority = None,
) -> Response:
    refuse_encodings(request)
    del priority
    serving.store.snapshots.all(name)  # a name that cannot be is told before the archive is read
    async with request.form(max_files=1, max_fields=0) as form:
        part = form.get("snapshot")
        if not isinstance(part, UploadFile):
            raise MalformedRequest("The form has no file 'snapshot'.")
        archive = await anyio.to_thread.run_sync(_kept, serving, part.file)
    return await _done(request, serving, wait, partial(_restored_once, serving, name, archive, checksum))


@router.get(PATH + "/{snapshot_name}", summary="Download a snapshot")
async def download(serving: Served, name: CollectionName, snapshot: SnapshotName) -> Response:
    path = await anyio.to_thread.run_sync(serving.store.snapshots.path, name, snapshot)
    return FileResponse(path, media_type="application/x-tar", filename=path.name)


@router.delete(PATH + "/{snapshot_name}", summary="Delete a snapshot")
async def delete(
    request: Request, serving: Served, name: CollectionName, snapshot: SnapshotName, wait: Wait = True
) -> Response:
    await anyio.to_thread.run_sync(serving.store.snapshots.delete, name, snapshot)
    return answer(request, True)


@router.post("/snapshots", summary="Refused: take one of each collection")
async def create_full(serving: Served, wait: Wait = True) -> Response:
    raise NotServed(WHOLE_STORAGE)


@router.get("/snapshots", summary="Snapshots of the whole storage: none")
async def list_full(request: Request, serving: Served) -> Response:
    return answer(request, [])


async def _done(request: Request, serving: Serving, wait: bool, work: Callable[[], Any]) -> Response:
    """The answer once `work` is done, or 202 at once, while it goes on in the background."""
    task = asyncio.ensure_future(anyio.to_thread.run_sync(work))
    if wait:
        return answer(request, await task)
    serving.keep(task)
    return answer(request, None, status=202)


def _created(serving: Serving, name: str) -> dict[str, Any]:
    with _noted(serving, "snapshot", name) as result:
        result |= _json(serving.store.create_snapshot(name))
    return result


def _restored(serving: Serving, name: str, archive: FilePath, sha256: str | None) -> bool:
    with _noted(serving, "restore", name):
        serving.store.restore_snapshot(name, archive, sha256)
    serving.worker.wake()
    return True


@contextmanager
def _noted(serving: Serving, kind: str, name: str) -> Iterator[dict[str, Any]]:
    """What is done inside is listed among the jobs, with the result that it fills in, or why it failed."""
    jobs, began, result = serving.store.jobs, time.time(), dict[str, Any]()
    try:
        yield result
    except QincoError as error:
        jobs.note_failed(kind, name, began, str(error))
        raise
    jobs.note_done(kind, name, began, result)


def _restored_once(serving: Serving, name: str, archive: FilePath, sha256: str | None) -> bool:
    try:
        return _restored(serving, name, archive, sha256)
    finally:
        archive.unlink()


def _kept(serving: Serving, uploaded: BinaryIO) -> FilePath:
    """An upload as a file in the data folder, which has the room for what it holds."""
    with tempfile.NamedTemporaryFile(dir=serving.settings.data, prefix=INCOMING, delete=False) as file:
        try:
            shutil.copyfileobj(uploaded, file, COPIED_BYTES)
        except BaseException:
            FilePath(file.name).unlink()
            raise
    return FilePath(file.name)


def _json(record: SnapshotRecord) -> dict[str, Any]:
    created = datetime.fromtimestamp(record.created, UTC).replace(microsecond=0, tzinfo=None)
    return {
        "name": record.name,
        "creation_time": created.isoformat(),
        "size": record.size_bytes,
        "checksum": record.sha256,
    }
