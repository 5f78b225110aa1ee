"""Storing, listing and deleting models: the checkpoints that collections encode with."""

import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from index_store import ModelRecord
from service.answers import answer
from service.bodies import refuse_encodings
from service.parameters import Served
from service.schemas.body import SHA256, Name
from service.serving import INCOMING, Serving

router = APIRouter(tags=["models"])

ModelName = Annotated[Name, Path(alias="model_name")]
Sha256 = Annotated[str | None, Query(pattern=SHA256, description="SHA-256 that the file must have.")]
BODY = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@router.put("/models/{model_name}", summary="Store a checkpoint under a name", openapi_extra=BODY)
async def put(request: Request, serving: Served, name: ModelName, sha256: Sha256 = None) -> Response:
    refuse_encodings(request)
    with tempfile.NamedTemporaryFile(dir=serving.settings.data, prefix=INCOMING) as file:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)
        file.flush()
        digest = sha256.lower() if sha256 else None
        record = await anyio.to_thread.run_sync(serving.store.put_model, name, FilePath(file.name), digest)
    return answer(request, _json(serving, record))


@router.get("/models", summary="All models")
async def list_all(request: Request, serving: Served) -> Response:
    return answer(request, {"models": [_json(serving, record) for record in serving.store.models()]})


@router.get("/models/{model_name}", summary="One model")
async def get(request: Request, serving: Served, name: ModelName) -> Response:
    return answer(request, _json(serving, serving.store.model(name)))


@router.get("/models/{model_name}/file", summary="A model's checkpoint")
async def file(serving: Served, name: ModelName) -> Response:
    path = serving.store.model_path(name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


@router.delete("/models/{model_name}", summary="Delete a model that no collection uses")
async def delete(request: Request, serving: Served, name: ModelName) -> Response:
    await anyio.to_thread.run_sync(serving.store.delete_model, name)
    return answer(request, True)


def _json(serving: Serving, record: ModelRecord) -> dict[str, Any]:
    graph = serving.store.list_graph(record.name)
    return {**asdict(record), "graph": None if graph is None else asdict(graph)}
