"""Finding points: one query, several, in groups, and the nearness of a sample's points to each other."""

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from service import matrix
from service.answers import answer
from service.bodies import read_body
from service.parameters import HowToRead, Reading, Served
from service.query_answers import answer_batch, answer_groups, answer_query
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas.queries import Matrix, Query, QueryBatch, QueryGroups
from service.serving import Serving

router = APIRouter(tags=["query"], prefix="/collections/{collection_name}/points")


@router.post("/query", summary="The best points for a query", openapi_extra=json_body(Query))
async def query(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    return await answer_query(request, serving, collection, await read_body(request, Query), how)


@router.post("/query/batch", summary="Several queries at once", openapi_extra=json_body(QueryBatch))
async def batch(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, QueryBatch)
    return await answer_batch(request, serving, collection, body.searches, how)


@router.post("/query/groups", summary="The best groups of points", openapi_extra=json_body(QueryGroups))
async def groups(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    return await answer_groups(request, serving, collection, await read_body(request, QueryGroups), how)


@router.post("/search/matrix/pairs", summary="Pairs of near points", openapi_extra=json_body(Matrix))
async def matrix_pairs(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    found = await _matrix(request, serving, name, how)
    return answer(request, {"pairs": [{"a": a, "b": b, "score": score} for a, b, score in found.pairs()]})


@router.post("/search/matrix/offsets", summary="The same by places", openapi_extra=json_body(Matrix))
async def matrix_offsets(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    found = await _matrix(request, serving, name, how)
    told = {"offsets_row": found.rows, "offsets_col": found.columns, "scores": found.scores, "ids": found.ids}
    return answer(request, told)


async def _matrix(request: Request, serving: Serving, name: str, how: HowToRead) -> matrix.Matrix:
    collection = serving.collection(name)
    body = await read_body(request, Matrix)
    work = await anyio.to_thread.run_sync(matrix.prepared, collection, body, serving.settings.max_limit)
    return await serving.batcher.run(collection.name, work, how.timeout)
