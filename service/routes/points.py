"""Writing, reading, counting and deleting points, and uploads of whole arrays."""

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response

from index_store import Collection
from index_store.filters import Filter
from service.answers import answer
from service.bodies import read_body, read_json
from service.errors import MalformedRequest, PointNotFound
from service.parameters import Consistency, Ordering, Served, Timeout, Wait, within
from service.payload_selection import wants_payload
from service.point_ids import LARGEST_ID, point_id_in_path, point_ids
from service.points_json import read_points
from service.questions import record_json, vectors_are_decoded, wants_vector
from service.routes.collections import CollectionName
from service.schemas import Count, DeletePoints, Retrieve
from service.upload import READERS, Upload, receive

router = APIRouter(tags=["points"], prefix="/collections/{collection_name}/points")

FirstId = Annotated[
    int | None, Query(ge=0, le=LARGEST_ID, description="Id of the first vector; by default after the largest.")
]


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


POINTS_BODY = _json_body(
    {"type": "object", "description": "points: [{id, vector, payload}], or batch: {ids, vectors, payloads}"}
)
UPLOAD_BODY = {
    "requestBody": {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in READERS}}
}


@router.put("", summary="Write points", openapi_extra=POINTS_BODY)
async def upsert(
    request: Request,
    serving: Served,
    name: CollectionName,
    wait: Wait = False,
    ordering: Ordering = None,
    timeout: Timeout = None,
) -> Response:
    collection = serving.collection(name)
    body = await read_json(request)
    operation_id = await within(timeout, anyio.to_thread.run_sync(_upsert, collection, body))
    serving.worker.wake()
    return answer(request, {"operation_id": operation_id, "status": "completed"})


def _upsert(collection: Collection, body: Any) -> int:
    points = read_points(body, collection.config)
    return collection.upsert(points.ids, points.vectors, points.payloads)


@router.post("/upload", summary="Write points from an array", openapi_extra=UPLOAD_BODY)
async def upload(
    request: Request, serving: Served, name: CollectionName, first_id: FirstId = None, wait: Wait = False
) -> Response:
    settings = serving.settings
    one = Upload(serving.collection(name), serving.worker, settings.max_pending // 4)
    await receive(request, one, first_id, settings.max_upload, serving.reservations)
    return answer(request, one.summary())


@router.post("", summary="Read points by their ids", openapi_extra=_json_body(Retrieve.model_json_schema()))
async def retrieve(
    request: Request, serving: Served, name: CollectionName, consistency: Consistency = None, timeout: Timeout = None
) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Retrieve)
    shown = await within(timeout, anyio.to_thread.run_sync(_retrieve, collection, body))
    return answer(request, shown, _decoded_header(collection, wants_vector(body.with_vector, collection)))


def _retrieve(collection: Collection, body: Retrieve) -> list[dict[str, Any]]:
    with_vector = wants_vector(body.with_vector, collection)
    records = collection.retrieve(point_ids(body.ids), wants_payload(body.with_payload), with_vector)
    return [record_json(record, body.with_payload, body.with_vector) for record in records]


@router.post(
    "/count", summary="How many points there are, or match", openapi_extra=_json_body(Count.model_json_schema())
)
async def count(
    request: Request, serving: Served, name: CollectionName, consistency: Consistency = None, timeout: Timeout = None
) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Count)
    condition = None if body.filter is None else Filter.parse(body.filter)
    counted = await within(timeout, anyio.to_thread.run_sync(collection.count, condition))
    return answer(request, {"count": counted})


@router.post(
    "/delete", summary="Delete points by ids or filter", openapi_extra=_json_body(DeletePoints.model_json_schema())
)
async def delete(
    request: Request,
    serving: Served,
    name: CollectionName,
    wait: Wait = False,
    ordering: Ordering = None,
    timeout: Timeout = None,
) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, DeletePoints)
    operation_id = await within(timeout, anyio.to_thread.run_sync(_delete, collection, body))
    return answer(request, {"operation_id": operation_id, "status": "completed"})


def _delete(collection: Collection, body: DeletePoints) -> int:
    if (body.points is None) == (body.filter is None):
        raise MalformedRequest("Give either 'points' or 'filter', to say which points to delete.")
    if body.points is not None:
        return collection.delete(point_ids(body.points, "points"))
    return collection.delete_matching(Filter.parse(body.filter))


@router.get("/{id}", summary="Read one point")
async def get(
    request: Request,
    serving: Served,
    name: CollectionName,
    id: Annotated[str, Path()],
    consistency: Consistency = None,
    timeout: Timeout = None,
) -> Response:
    collection = serving.collection(name)
    wanted = point_id_in_path(id)
    found = await within(timeout, anyio.to_thread.run_sync(collection.retrieve, [wanted], True, True))
    if not found:
        raise PointNotFound(f"There is no point {wanted} in collection '{name}'.")
    return answer(request, record_json(found[0], True, True), _decoded_header(collection, True))


def _decoded_header(collection: Collection, with_vector: bool) -> dict[str, str] | None:
    return {"X-Vectors": "decoded"} if with_vector and vectors_are_decoded(collection) else None
