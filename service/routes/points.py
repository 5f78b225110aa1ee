"""Writing, reading, counting and deleting points, and uploads of whole arrays."""

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response

from index_store import Collection
from index_store.filters import Filter
from index_store.json_path import parse_path
from service import operations
from service.answers import answer
from service.bodies import read_body, read_json
from service.errors import MalformedRequest, OutOfRange, PointNotFound, UploadNotFound
from service.ordering import order_of
from service.parameters import Changing, Reading, Served, Wait, within
from service.payload_selection import check_selection, wants_payload
from service.point_ids import LARGEST_ID, point_id, point_id_in_path, point_ids
from service.questions import DEFAULT_LIMIT, record_json, vectors_are_decoded, wanted_vectors
from service.routes.changes import change, json_body
from service.routes.collections import CollectionName
from service.schemas.body import NAME
from service.schemas.points import Batch, Count, DeletePoints, Facet, Retrieve, Scroll, WithVector
from service.upload import READERS, receive
from service.upload_rows import Upload, vectors_checksum

router = APIRouter(tags=["points"], prefix="/collections/{collection_name}/points")
facets = APIRouter(tags=["points"], prefix="/collections/{collection_name}/facet")

FirstId = Annotated[
    int | None, Query(ge=0, le=LARGEST_ID, description="Id of the first vector; by default after the largest.")
]
UploadKey = Annotated[
    str | None,
    Query(alias="upload", pattern=NAME, description="A name for the upload, by which it is resumed if it breaks off."),
]
Offset = Annotated[int, Query(ge=0, description="Which of a named upload's rows the body begins with.")]
POINTS_BODY = json_body(
    {"type": "object", "description": "points: [{id, vector, payload}], or batch: {ids, vectors, payloads}"}
)
UPLOAD_BODY = {
    "requestBody": {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in READERS}}
}


@router.put("", summary="Write points", openapi_extra=POINTS_BODY)
async def upsert(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    response = await change(request, serving, name, how, operations.upsert)
    serving.worker.wake()
    return response


@router.post("/upload", summary="Write points from an array", openapi_extra=UPLOAD_BODY)
async def upload(
    request: Request,
    serving: Served,
    name: CollectionName,
    first_id: FirstId = None,
    key: UploadKey = None,
    offset: Offset = 0,
    wait: Wait = False,
) -> Response:
    """An upload with a name notes how far it came; sent again, what is stored is passed over."""
    if key is None and offset:
        raise MalformedRequest("Parameter 'offset' goes with 'upload', the name of the upload that is resumed.")
    settings, collection = serving.settings, serving.collection(name)
    with serving.reservations.name(collection, key):
        before = None if key is None else await anyio.to_thread.run_sync(collection.upload_progress, key)
        one = Upload(collection, serving.worker, settings.max_pending // 4, key, offset, before)
        await receive(request, one, first_id, settings.max_upload, serving.reservations)
    return answer(request, one.summary())


@router.get("/upload", summary="How far an upload has come")
async def upload_progress(
    request: Request,
    serving: Served,
    name: CollectionName,
    key: Annotated[str, Query(alias="upload", pattern=NAME, description="Its name.")],
) -> Response:
    """`points` of `total` are stored: the `offset` to go on from."""
    collection = serving.collection(name)
    found = await anyio.to_thread.run_sync(collection.upload_progress, key)
    if found is None:
        raise UploadNotFound(f"Nothing of an upload '{key}' is stored in '{name}': send it from the beginning.")
    told = {"points": found.stored, "total": found.total, "first_id": found.first_id, "last_id": found.last_id}
    return answer(request, told | {"operation_id": found.operation_id, "vectors_crc32": vectors_checksum(found)})


@router.post("", summary="Read points by their ids", openapi_extra=json_body(Retrieve))
async def retrieve(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Retrieve)
    shown = await within(how.timeout, anyio.to_thread.run_sync(_retrieve, collection, body))
    return answer(request, shown, _decoded_header(collection, body.with_vector))


def _retrieve(collection: Collection, body: Retrieve) -> list[dict[str, Any]]:
    check_selection(body.with_payload)
    ids, vectors = point_ids(body.ids), wanted_vectors(body.with_vector, collection)
    records = collection.retrieve(ids, wants_payload(body.with_payload), vectors)
    return [record_json(record, body.with_payload) for record in records]


@router.post("/scroll", summary="Points by their ids, page by page", openapi_extra=json_body(Scroll))
async def scroll(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Scroll)
    if (body.limit or 0) > serving.settings.max_limit:
        raise OutOfRange(f"limit is {body.limit}; at most {serving.settings.max_limit} points are given at a time.")
    page = await within(how.timeout, anyio.to_thread.run_sync(_scroll, collection, body))
    return answer(request, page, _decoded_header(collection, body.with_vector))


def _scroll(collection: Collection, body: Scroll) -> dict[str, Any]:
    check_selection(body.with_payload)
    start = None if body.offset is None else point_id(body.offset, "offset")
    condition = None if body.filter is None else Filter.parse(body.filter)
    vectors = wanted_vectors(body.with_vector, collection)
    limit = body.limit or DEFAULT_LIMIT
    if body.order_by is not None:
        if start is not None:
            raise MalformedRequest("'offset' is an id, which says nothing in the order of a value: use 'start_from'.")
        found = collection.ordered(order_of(body.order_by), limit, condition, wants_payload(body.with_payload), vectors)
        points = [record_json(record, body.with_payload) | {"order_value": value} for record, value in found]
        return {"points": points, "next_page_offset": None}
    records, following = collection.scroll(limit, start, condition, wants_payload(body.with_payload), vectors)
    points = [record_json(record, body.with_payload) for record in records]
    return {"points": points, "next_page_offset": following}


@facets.post("", summary="The values that most points have", openapi_extra=json_body(Facet))
async def facet(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Facet)
    path, condition = parse_path(body.key), None if body.filter is None else Filter.parse(body.filter)
    limit = min(body.limit or DEFAULT_LIMIT, serving.settings.max_limit)
    found = await within(how.timeout, anyio.to_thread.run_sync(collection.facet, path, limit, condition))
    return answer(request, {"hits": [{"value": value, "count": count} for value, count in found]})


@router.post("/count", summary="How many points there are, or match", openapi_extra=json_body(Count))
async def count(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Count)
    condition = None if body.filter is None else Filter.parse(body.filter)
    counted = await within(how.timeout, anyio.to_thread.run_sync(collection.count, condition))
    return answer(request, {"count": counted})


@router.post("/delete", summary="Delete points by ids or filter", openapi_extra=json_body(DeletePoints))
async def delete(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    return await change(request, serving, name, how, operations.delete)


@router.post("/batch", summary="Several changes in order", openapi_extra=json_body(Batch))
async def batch(request: Request, serving: Served, name: CollectionName, how: Changing) -> Response:
    collection = serving.collection(name)
    body = await read_json(request)
    made = await within(how.timeout, anyio.to_thread.run_sync(operations.batch, collection, body))
    serving.worker.wake()
    return answer(request, [{"operation_id": one, "status": "completed"} for one in made])


@router.get("/{id}", summary="Read one point")
async def get(
    request: Request, serving: Served, name: CollectionName, id: Annotated[str, Path()], how: Reading
) -> Response:
    collection = serving.collection(name)
    wanted = point_id_in_path(id)
    found = await within(how.timeout, anyio.to_thread.run_sync(collection.retrieve, [wanted], True, True))
    if not found:
        raise PointNotFound(f"There is no point {wanted} in collection '{name}'.")
    return answer(request, record_json(found[0], True), _decoded_header(collection, True))


def _decoded_header(collection: Collection, with_vector: WithVector) -> dict[str, str] | None:
    return {"X-Vectors": "decoded"} if with_vector and vectors_are_decoded(collection) else None
