"""Declaring and forgetting payload indexes."""

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response

from index_store import Collection, IndexSchema
from service.answers import answer
from service.bodies import read_body
from service.parameters import Changing, Served, within
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas.points import CreateFieldIndex

router = APIRouter(tags=["payload indexes"], prefix="/collections/{collection_name}/index")


@router.put("", summary="Index a key of the payloads", openapi_extra=json_body(CreateFieldIndex))
async def create(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    """With `wait` answered once the index covers all points; else it is built in the background."""
    collection = serving.collection(name)
    body = await read_body(request, CreateFieldIndex)
    schema = IndexSchema.parse(body.field_schema)
    make = _build if how.wait else _declare
    await within(how.timeout, anyio.to_thread.run_sync(make, collection, body.field_name, schema))
    serving.worker.wake()
    return answer(request, _told(collection, "completed" if how.wait else "acknowledged"))


@router.delete("/{field_name}", summary="Forget an index")
async def delete(
    request: Request,
    serving: Served,
    name: CollectionName,
    how: Changing,
    field: Annotated[str, Path(alias="field_name")],
) -> Response:
    """A key without an index is no error, as in Qdrant."""
    collection = serving.collection(name)
    await within(how.timeout, anyio.to_thread.run_sync(collection.delete_payload_index, field))
    return answer(request, _told(collection, "completed"))


def _declare(collection: Collection, key: str, schema: IndexSchema) -> None:
    collection.create_payload_index(key, schema)


def _build(collection: Collection, key: str, schema: IndexSchema) -> None:
    collection.create_payload_index(key, schema)
    while collection.index_payloads():
        pass


def _told(collection: Collection, status: str) -> dict[str, Any]:
    return {"operation_id": collection.view(next(iter(collection.config.vectors))).version, "status": status}
