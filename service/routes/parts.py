"""Changing parts of points: their payloads, and single vectors."""

from fastapi import APIRouter, Request, Response

from service import operations
from service.parameters import Changing, Served
from service.routes.changes import change, json_body
from service.routes.collections import CollectionName
from service.schemas.points import (
    ClearPayload,
    DeletePayload,
    DeleteVectors,
    OverwritePayload,
    SetPayload,
    UpdateVectors,
)

router = APIRouter(tags=["points"], prefix="/collections/{collection_name}/points")


@router.post("/payload", summary="Set keys of payloads", openapi_extra=json_body(SetPayload))
async def set_payload(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.set_payload)


@router.put("/payload", summary="Overwrite payloads", openapi_extra=json_body(OverwritePayload))
async def overwrite_payload(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.overwrite_payload)


@router.post("/payload/delete", summary="Delete keys of payloads", openapi_extra=json_body(DeletePayload))
async def delete_payload(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.delete_payload)


@router.post("/payload/clear", summary="Delete payloads", openapi_extra=json_body(ClearPayload))
async def clear_payload(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.clear_payload)


@router.put("/vectors", summary="Give points other vectors", openapi_extra=json_body(UpdateVectors))
async def update_vectors(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    response = await change(request, serving, name, how, operations.update_vectors)
    serving.worker.wake()
    return response


@router.post("/vectors/delete", summary="Take vectors away", openapi_extra=json_body(DeleteVectors))
async def delete_vectors(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.delete_vectors)
