"""Calls that are made thousands of times a second, past FastAPI where there is nothing for it to check.

FastAPI finds a route among all, and its parameters one by one, for half a millisecond a call. A single query mostly
comes without parameters in its URL: then it goes straight to the same function. With parameters FastAPI serves it, and
FastAPI describes it in /openapi.json either way.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from service.parameters import HowToRead
from service.routes import query
from service.serving import Serving

Endpoint = Callable[[Request, Serving, str, HowToRead], Awaitable[Response]]


class DirectRoute(Route):
    """A POST of /collections/{collection_name}/… whose URL has no parameters."""

    def __init__(self, path: str, call: Endpoint) -> None:
        async def endpoint(request: Request) -> Response:
            name = request.path_params["collection_name"]
            return await call(request, request.app.state.serving, name, HowToRead())

        super().__init__(path, endpoint, methods=["POST"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["query_string"] or scope["method"] != "POST":
            return Match.NONE, {}
        match, found = super().matches(scope)
        return match, {**found, "route": self}  # as FastAPI's routes do: metrics name it


def direct_routes() -> list[Any]:
    """To stand before all others."""
    path = query.router.prefix + "/query"
    return [DirectRoute(path, query.query), DirectRoute(path + "/batch", query.batch)]
