"""Finding points: one query, several, in groups, and the nearness of a sample's points to each other."""

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from index_store import Collection, Hit
from model.errors import QincoError
from service import matrix
from service.answers import answer
from service.bodies import read_body
from service.finding import Finder, Wanted
from service.groups import grouped, looked_up
from service.parameters import HowToRead, Reading, Served
from service.payload_selection import check_selection, wants_payload
from service.questions import DEFAULT_LIMIT, hit_json, record_json, vectors_are_decoded, wanted_vectors
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas.queries import Matrix, Query, QueryBatch, QueryGroups, WithLookup
from service.serving import Serving

router = APIRouter(tags=["query"], prefix="/collections/{collection_name}/points")

# Many queries at once wait among the others in portions, so that they do not keep single ones waiting.
PORTION = 64


@router.post("/query", summary="The best points for a query", openapi_extra=json_body(Query))
async def query(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Query)
    finder = Finder(serving, collection, how.timeout)
    hits = await _hits(finder, collection, body)
    return answer(request, {"points": hits}, _decoded_header(collection, [body]), usage=_usage(finder.usage))


@router.post("/query/batch", summary="Several queries at once", openapi_extra=json_body(QueryBatch))
async def batch(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, QueryBatch)
    answers: list[Any] = []
    finders = [Finder(serving, collection, how.timeout) for _ in body.searches]
    for start in range(0, len(finders), PORTION):
        some = zip(finders[start : start + PORTION], body.searches[start : start + PORTION], strict=True)
        places = enumerate(some, start)
        answers += await asyncio.gather(*(_hits_of(place, *one, collection) for place, one in places))
    usages = [finder.usage for finder in finders]
    return answer(
        request,
        [{"points": hits} for hits in answers],
        _decoded_header(collection, body.searches),
        usage=_usage(usages if any(usages) else None),
    )


@router.post("/query/groups", summary="The best groups of points", openapi_extra=json_body(QueryGroups))
async def groups(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, QueryGroups)
    finder, wanted = Finder(serving, collection, how.timeout), _wanted(collection, body)
    found = await grouped(finder, body, wanted, serving.settings.max_limit)
    shown: list[dict[str, Any]] = [
        {"id": value, "hits": [hit_json(hit, body.with_payload) for hit in hits]} for value, hits in found.items()
    ]
    if body.with_lookup is not None:
        lookup = body.with_lookup
        lookup = WithLookup(collection=lookup) if isinstance(lookup, str) else lookup
        other = serving.collection(lookup.collection)
        check_selection(lookup.with_payload)
        names = wanted_vectors(lookup.with_vectors, other)
        records = await looked_up(found, other, wants_payload(lookup.with_payload), names)
        for group in shown:
            if group["id"] in records:
                group["lookup"] = record_json(records[group["id"]], lookup.with_payload)
    return answer(request, {"groups": shown}, _decoded_header(collection, [body]), usage=_usage(finder.usage))


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


def _usage(chosen: Any) -> dict[str, Any] | None:
    """In the place where Qdrant tells what a request took."""
    return None if chosen is None else {"hardware": None, "inference": None, "search": chosen}


async def _hits(finder: Finder, collection: Collection, query: Query) -> list[dict[str, Any]]:
    wanted = _wanted(collection, query, query.limit or DEFAULT_LIMIT, query.offset or 0)
    hits: list[Hit] = await finder.find(query, wanted)
    return [hit_json(hit, query.with_payload) for hit in hits]


async def _hits_of(place: int, finder: Finder, query: Query, collection: Collection) -> list[dict[str, Any]]:
    """Those of one of several queries, whose place is told where it cannot be answered."""
    try:
        return await _hits(finder, collection, query)
    except QincoError as error:
        raise type(error)(f"searches[{place}]: {error}") from error


def _wanted(collection: Collection, query: Query | QueryGroups, limit: int = 0, offset: int = 0) -> Wanted:
    check_selection(query.with_payload)
    return Wanted(limit, offset, wants_payload(query.with_payload), wanted_vectors(query.with_vector, collection))


def _decoded_header(collection: Collection, queries: Sequence[Query | QueryGroups]) -> dict[str, str] | None:
    shows = any(one.with_vector for one in queries)
    return {"X-Vectors": "decoded"} if shows and vectors_are_decoded(collection) else None
