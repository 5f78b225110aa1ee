"""Middleware that answers plain queries, alone and in batches, past FastAPI: it takes longer than the search.

It reads the body; if it can answer, it does so in one hop to a thread that searches, and writes the answer's bytes.
Anything else goes on to FastAPI with its body as it came, so that what is unusual or wrong is dealt with in one place.
"""

from typing import Any

import anyio.to_thread
import numpy as np
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from index_store import Collection, Hit
from model.errors import QincoError
from service.answers import elapsed, told
from service.bodies import PARSED_ON_THE_LOOP_BYTES, parse_json
from service.plain_query import PlainQueries, PlainQuery
from service.query_answers import PORTION
from service.questions import hit_json
from service.serving import Serving

BEFORE, QUERY, BATCH = "/collections/", "/points/query", "/points/query/batch"
JSON = b"application/json"


class PlainRoutes:
    """Within the middleware that counts requests, checks keys and bounds bodies."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self.app = app
        self.serving = serving
        self._queries = PlainQueries(serving.settings.max_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _route_of(scope)
        if route is None or not self.serving.is_ready:
            return await self.app(scope, receive, send)
        name = scope["path"][len(BEFORE) : -len(route)]
        came: list[Message] = []
        if not await _receive_all(came, receive):
            return await self.app(scope, _again(came, receive), send)
        try:
            collection = self.serving.collection(name)
            body = await _parsed(b"".join(message.get("body", b"") for message in came))
            queries = self._read(collection, body, is_batch=route == BATCH)
        except QincoError:
            queries = None
        if queries is None:
            return await self.app(scope, _again(came, receive), send)
        scope["route"] = ROUTES[route]
        try:
            answers = [{"points": hits} for hits in await self._hits(collection, queries)]
        except QincoError as error:
            return await told(scope, error)(scope, receive, send)
        result = answers if route == BATCH else answers[0]
        sent = {"result": result, "status": "ok", "time": elapsed(scope)}
        await _send_json(send, orjson.dumps(sent))

    def _read(self, collection: Collection, body: Any, is_batch: bool) -> list[PlainQuery] | None:
        if not is_batch:
            one = self._queries.read(collection, body)
            return None if one is None else [one]
        if type(body) is not dict or body.keys() != {"searches"} or type(body["searches"]) is not list:
            return None
        queries: list[PlainQuery] = []
        for asked in body["searches"]:
            one = self._queries.read(collection, asked)
            if one is None:
                return None
            queries.append(one)
        return queries

    async def _hits(self, collection: Collection, queries: list[PlainQuery]) -> list[list[dict[str, Any]]]:
        """Those of each query; queries that differ in their vectors alone are searched together."""
        groups: dict[int, list[int]] = {}
        for place, one in enumerate(queries):
            groups.setdefault(id(one.surroundings), []).append(place)
        hits: list[list[dict[str, Any]]] = [[]] * len(queries)
        for places in groups.values():
            asked = queries[places[0]].surroundings
            for start in range(0, len(places), PORTION):
                some = places[start : start + PORTION]
                vectors = np.array([queries[place].vector for place in some])  # [q, dim]
                found = await self.serving.batcher.query(collection, asked.question, vectors, asked.filter)
                for place, own in zip(some, found, strict=True):
                    hits[place] = shown(own, asked.with_payload)
        return hits


class _Route:
    """What metrics name it by."""

    def __init__(self, path: str) -> None:
        self.path = path


ROUTES = {end: _Route(f"{BEFORE}{{collection_name}}{end}") for end in (QUERY, BATCH)}


def _route_of(scope: Scope) -> str | None:
    """The end of its path, of a call that may be a plain query."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return None
    path = scope["path"]
    end = QUERY if path.endswith(QUERY) else BATCH if path.endswith(BATCH) else None
    if end is None or not path.startswith(BEFORE) or "/" in path[len(BEFORE) : -len(end)]:
        return None
    for name, value in scope["headers"]:
        if name == b"content-encoding" or (name == b"content-type" and value != JSON):
            return None
    return end


async def _receive_all(came: list[Message], receive: Receive) -> bool:
    """Whether a whole body came; appends its messages, and what was raised in the place of one as `raised`."""
    while True:
        try:
            message = await receive()
        except QincoError as error:  # too long, or too slow
            came.append({"type": "raised", "error": error})
            return False
        came.append(message)
        if message["type"] != "http.request":
            return False
        if not message.get("more_body", False):
            return True


def _again(came: list[Message], receive: Receive) -> Receive:
    """The messages once more, then those that come."""
    left = iter(came)

    async def received() -> Message:
        message = next(left, None)
        if message is None:
            return await receive()
        if message["type"] == "raised":
            raise message["error"]
        return message

    return received


async def _parsed(body: bytes) -> Any:
    if len(body) <= PARSED_ON_THE_LOOP_BYTES:
        return parse_json(body)
    return await anyio.to_thread.run_sync(parse_json, body)


def shown(hits: list[Hit], with_payload: Any) -> list[dict[str, Any]]:
    """Hits as JSON objects."""
    if with_payload:
        return [hit_json(hit, with_payload) for hit in hits]
    return [{"id": hit.id, "version": hit.version, "score": hit.score, "payload": None} for hit in hits]


async def _send_json(send: Send, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", JSON)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
