"""Making, describing, listing and deleting collections."""

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response

from index_store.errors import CollectionNotFound
from service.answers import answer
from service.bodies import read_body
from service.collection_changes import changed
from service.collection_config import describe, describe_damaged, to_store
from service.parameters import Served, Timeout, within
from service.schemas.body import Name
from service.schemas.collections import CreateCollection, UpdateCollection

router = APIRouter(tags=["collections"])

CollectionName = Annotated[Name, Path(alias="collection_name")]
PATCH = {"requestBody": {"content": {"application/json": {"schema": UpdateCollection.model_json_schema()}}}}
BODY = {"requestBody": {"content": {"application/json": {"schema": CreateCollection.model_json_schema()}}}}


@router.put("/collections/{collection_name}", summary="Make a collection", openapi_extra=BODY)
async def create(request: Request, serving: Served, name: CollectionName, timeout: Timeout = None) -> Response:
    config = to_store(await read_body(request, CreateCollection), serving.settings.train_at)
    await within(timeout, anyio.to_thread.run_sync(serving.store.create_collection, name, config))
    return answer(request, True)


@router.patch(
    "/collections/{collection_name}", summary="Change how a collection is searched and encoded", openapi_extra=PATCH
)
async def update(request: Request, serving: Served, name: CollectionName, timeout: Timeout = None) -> Response:
    body = await read_body(request, UpdateCollection)
    change = partial(changed, body=body)
    await within(timeout, anyio.to_thread.run_sync(serving.store.reconfigure, name, change))
    return answer(request, True)


@router.get("/collections/{collection_name}", summary="What a collection holds and costs")
async def info(request: Request, serving: Served, name: CollectionName) -> Response:
    damage = await anyio.to_thread.run_sync(serving.store.damage, name)
    if damage is not None:
        return answer(request, describe_damaged(*damage))
    collection = serving.collection(name)
    return answer(request, await anyio.to_thread.run_sync(lambda: describe(collection, serving.jobs.all())))


@router.get("/collections", summary="The names of all collections")
async def list_all(request: Request, serving: Served) -> Response:
    return answer(request, {"collections": [{"name": name} for name in serving.store.collections()]})


@router.get("/collections/{collection_name}/exists", summary="Whether a collection exists")
async def exists(request: Request, serving: Served, name: CollectionName) -> Response:
    return answer(request, {"exists": name in serving.store.collections() or name in serving.store.aliases()})


@router.delete("/collections/{collection_name}", summary="Delete a collection and its files")
async def delete(request: Request, serving: Served, name: CollectionName, timeout: Timeout = None) -> Response:
    """False when there was none, as Qdrant answers: its clients delete before they create."""
    try:
        await within(timeout, anyio.to_thread.run_sync(serving.store.delete_collection, name))
    except CollectionNotFound:
        return answer(request, False)
    serving.metrics.forget_collection(name)
    return answer(request, True)
