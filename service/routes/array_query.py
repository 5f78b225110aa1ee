"""An array of queries, and their answers as arrays: for evaluation and bulk work."""

import asyncio
import io
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray

from index_store import Collection, Hit
from service.bodies import checked, content_type, refuse_encodings
from service.collection_changes import with_defaults
from service.errors import MalformedRequest, NotServed, UnsupportedMedia
from service.npy import NpyStream
from service.parameters import Served
from service.points_json import check_finite, numbered
from service.query_batcher import Question
from service.questions import plan_of
from service.routes.collections import CollectionName
from service.schemas.queries import SearchParams
from service.vector_names import DEFAULT

router = APIRouter(tags=["query"], prefix="/collections/{collection_name}/points/query")

# Many queries at once wait among the others in portions, so that they do not keep single ones waiting.
PORTION = 64
LARGEST_NPZ_ID = 2**63 - 1
ARRAY_BODY = {"requestBody": {"content": {"application/x-npy": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/array", summary="Queries as .npy, answers as .npz", openapi_extra=ARRAY_BODY)
async def array(
    request: Request,
    serving: Served,
    name: CollectionName,
    limit: Annotated[int, Query(ge=1)] = 10,
    nprobe: int | None = None,
    shortlist: int | None = None,
    rerank: int | None = None,
    exact: bool | None = None,
    rescore: bool | None = None,
    oversampling: float | None = None,
) -> Response:
    collection = serving.collection(name)
    if collection.config.vectors.keys() != {DEFAULT}:
        raise NotServed(
            "Arrays are searched in collections of one unnamed vector; send queries for named vectors as JSON."
        )
    given = {
        "nprobe": nprobe,
        "shortlist": shortlist,
        "rerank": rerank,
        "exact": exact,
        "quantization": {"rescore": rescore, "oversampling": oversampling},
    }
    params = with_defaults(checked(SearchParams, given), collection.config)
    question = Question(name, plan_of(params, limit, 0, serving.settings.max_limit))
    queries = await _read_queries(request, collection, serving.settings.max_body)
    hits: list[list[Hit]] = []
    for start in range(0, len(queries), PORTION):
        hits += await serving.batcher.query(collection, question, queries[start : start + PORTION])
    return Response(await asyncio.to_thread(_npz, hits, limit), media_type="application/x-npz")


async def _read_queries(request: Request, collection: Collection, max_bytes: int) -> NDArray[np.float32]:
    refuse_encodings(request)
    if content_type(request) not in ("", "application/x-npy", "application/octet-stream"):
        raise UnsupportedMedia(f"Content-Type '{content_type(request)}' is not read here; send application/x-npy.")
    announced = request.headers.get("content-length")
    dim = collection.config.vectors[DEFAULT].size
    stream = NpyStream(aiter(request.stream()))
    header = await stream.header(dim, max_bytes, int(announced) if announced else None)
    chunks = [chunk async for chunk in stream.chunks(header, max(1, header.shape[0]))]
    queries = np.concatenate([np.empty((0, dim), np.float32), *chunks])  # [q, dim]
    check_finite(queries, numbered("Query"))
    return queries


def _npz(answers: Sequence[Sequence[Hit]], limit: int) -> bytes:
    ids = np.full((len(answers), limit), -1, np.int64)  # [q, limit]
    scores = np.full((len(answers), limit), np.nan, np.float32)  # [q, limit]
    for row, hits in enumerate(answers):
        for place, hit in enumerate(hits):
            if not isinstance(hit.id, int) or hit.id > LARGEST_NPZ_ID:
                raise MalformedRequest(
                    f"The array form gives ids as int64, which '{hit.id}' does not fit; query as JSON."
                )
            ids[row, place], scores[row, place] = hit.id, hit.score
    file = io.BytesIO()
    np.savez(file, ids=ids, scores=scores)
    return file.getvalue()
