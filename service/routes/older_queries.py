"""Qdrant's older search calls, for clients that are older than its `query`: the same search in other words.

`result` is the list of hits itself, where a query has it under `points`.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.bodies import read_body
from service.parameters import Reading, Served
from service.query_answers import HitsJson, answer_batch, answer_groups, answer_query
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas.older_queries import (
    Batch,
    DiscoverPoints,
    Grouped,
    OneList,
    RecommendGroups,
    RecommendPoints,
    Search,
    SearchGroups,
)

router = APIRouter(tags=["older search calls"], prefix="/collections/{collection_name}/points")


def as_they_are(hits: HitsJson) -> Any:
    """Hits as an older call shows them."""
    return hits


def serve(call: str, meaning: str, one: type[OneList], grouped: type[Grouped] | None = None) -> None:
    """Routes for an older call, alone, in batches and, where there is such a body, by groups."""
    several: type[Batch[Any]] = Batch[one]  # type: ignore[valid-type]

    @router.post(f"/{call}", summary=meaning, name=call, openapi_extra=json_body(one))
    async def alone(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
        collection = serving.collection(name)
        body = await read_body(request, one)
        return await answer_query(request, serving, collection, body.as_query(), how, as_they_are)

    @router.post(
        f"/{call}/batch", summary=f"{meaning}, several", name=f"{call}_batch", openapi_extra=json_body(several)
    )
    async def batch(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
        collection = serving.collection(name)
        queries = [body.as_query() for body in (await read_body(request, several)).searches]
        return await answer_batch(request, serving, collection, queries, how, as_they_are)

    if grouped is None:
        return

    @router.post(
        f"/{call}/groups", summary=f"{meaning}, by groups", name=f"{call}_groups", openapi_extra=json_body(grouped)
    )
    async def groups(request: Request, serving: Served, name: CollectionName, how: Reading) -> Response:
        collection = serving.collection(name)
        body = await read_body(request, grouped)
        return await answer_groups(request, serving, collection, body.as_query(), how)


serve("search", "The points nearest to a vector", Search, SearchGroups)
serve("recommend", "Points like some and unlike others", RecommendPoints, RecommendGroups)
serve("discover", "Points near a target, on the better side of pairs", DiscoverPoints)
