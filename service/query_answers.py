"""From queries that were read and checked to the answers that show their hits."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request, Response

from index_store import Collection, Hit
from model.errors import QincoError
from service.answers import answer
from service.finding import Finder, Wanted
from service.groups import grouped, looked_up
from service.parameters import HowToRead
from service.payload_selection import check_selection, wants_payload
from service.questions import DEFAULT_LIMIT, hit_json, record_json, vectors_are_decoded, wanted_vectors
from service.schemas.queries import Query, QueryGroups, WithLookup
from service.serving import Serving

HitsJson = list[dict[str, Any]]

# Many queries at once wait among the others in portions, so that they do not keep single ones waiting.
PORTION = 64


def in_points(hits: HitsJson) -> Any:
    """Hits as the result of a query shows them."""
    return {"points": hits}


async def answer_query(
    request: Request, serving: Serving, collection: Collection, query: Query, how: HowToRead,
    shown: Callable[[HitsJson], Any] = in_points,
) -> Response:  # fmt: skip
    finder = Finder(serving, collection, how.timeout)
    hits = await _hits(finder, collection, query)
    return answer(request, shown(hits), _decoded_header(collection, [query]), usage=_usage(finder.usage))


async def answer_batch(
    request: Request, serving: Serving, collection: Collection, queries: Sequence[Query], how: HowToRead,
    shown: Callable[[HitsJson], Any] = in_points,
) -> Response:  # fmt: skip
    answers: list[HitsJson] = []
    finders = [Finder(serving, collection, how.timeout) for _ in queries]
    for start in range(0, len(finders), PORTION):
        some = zip(finders[start : start + PORTION], queries[start : start + PORTION], strict=True)
        places = enumerate(some, start)
        answers += await asyncio.gather(*(_hits_of(place, *one, collection) for place, one in places))
    usages = [finder.usage for finder in finders]
    return answer(
        request,
        [shown(hits) for hits in answers],
        _decoded_header(collection, queries),
        usage=_usage(usages if any(usages) else None),
    )


async def answer_groups(
    request: Request, serving: Serving, collection: Collection, query: QueryGroups, how: HowToRead
) -> Response:
    finder, wanted = Finder(serving, collection, how.timeout), _wanted(collection, query)
    found = await grouped(finder, query, wanted, serving.settings.max_limit)
    shown: list[dict[str, Any]] = [
        {"id": value, "hits": [hit_json(hit, query.with_payload) for hit in hits]} for value, hits in found.items()
    ]
    if query.with_lookup is not None:
        lookup = query.with_lookup
        lookup = WithLookup(collection=lookup) if isinstance(lookup, str) else lookup
        other = serving.collection(lookup.collection)
        check_selection(lookup.with_payload)
        names = wanted_vectors(lookup.with_vectors, other)
        records = await looked_up(found, other, wants_payload(lookup.with_payload), names)
        for group in shown:
            if group["id"] in records:
                group["lookup"] = record_json(records[group["id"]], lookup.with_payload)
    return answer(request, {"groups": shown}, _decoded_header(collection, [query]), usage=_usage(finder.usage))


def _usage(chosen: Any) -> dict[str, Any] | None:
    """In the place where Qdrant tells what a request took."""
    return None if chosen is None else {"hardware": None, "inference": None, "search": chosen}


async def _hits(finder: Finder, collection: Collection, query: Query) -> HitsJson:
    wanted = _wanted(collection, query, query.limit or DEFAULT_LIMIT, query.offset or 0)
    hits: list[Hit] = await finder.find(query, wanted)
    return [hit_json(hit, query.with_payload) for hit in hits]


async def _hits_of(place: int, finder: Finder, query: Query, collection: Collection) -> HitsJson:
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
