"""Builds the HTTP app from Settings; its lifespan opens and closes everything behind it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from service import __version__
from service.answers import answer_errors_with_sentences
from service.api_document import describe_calls
from service.body_limit import BodyLimit
from service.browsers import PageCheck, allowing
from service.direct_routes import direct_routes
from service.http_metrics import HttpMetrics
from service.parameters import refuse_unknown_parameters
from service.plain_routes import PlainRoutes
from service.query_admission import AdmitQueries, QueryAdmission
from service.quick_queries import QuickQueries
from service.routes import (
    aliases,
    array_query,
    collections,
    health,
    indexes,
    jobs,
    models,
    older_queries,
    parts,
    points,
    query,
    snapshots,
)
from service.security import KeyCheck
from service.serving import Serving
from service.settings import Settings

logger = logging.getLogger(__name__)

ROUTERS = (
    health.router,
    aliases.router,
    collections.router,
    indexes.router,
    query.router,
    older_queries.router,
    array_query.router,
    points.router,
    points.facets,
    parts.router,
    models.router,
    jobs.router,
    snapshots.router,
)
ROUTES = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]


def _log_failure(error: BaseException) -> None:
    logger.error("Could not open the data folder: %s", error)


def create_app(settings: Settings, on_failure: Callable[[BaseException], None] = _log_failure) -> FastAPI:
    """The app. The port opens at once, the store in the background; `on_failure` hears why it cannot be opened."""
    serving = Serving(settings, on_failure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving.open()
        yield
        await serving.close()

    app = _App(
        settings.cors_origins,
        title="Qinco Server",
        version=__version__,
        description="Vector search over QINCo2 codes; the paths and words are Qdrant's.",
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_parameters)],
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it looks for exporters at each request
    )
    app.state.serving = serving
    app.router.routes.extend(direct_routes())
    for router in ROUTERS:
        app.include_router(router)
    answer_errors_with_sentences(app)
    app.openapi = cache(lambda: describe_calls(app))  # type: ignore[method-assign]
    app.add_exception_handler(ClientDisconnect, _nobody_reads_it)
    admission = QueryAdmission(settings.max_wait / 1000)
    keys = {"api_key": settings.api_key, "read_only_api_key": settings.read_only_api_key}
    app.state.quick_queries = QuickQueries(serving, admission, KeyCheck(app, **keys))
    # The last one added is the outermost.
    app.add_middleware(PlainRoutes, serving=serving)
    app.add_middleware(AdmitQueries, admission=admission)
    app.add_middleware(
        BodyLimit,
        max_body=settings.max_body,
        max_upload=settings.max_upload,
        body_timeout=settings.body_timeout,
    )
    app.add_middleware(KeyCheck, **keys)
    if settings.api_key is None:
        app.add_middleware(PageCheck, told=settings.cors_origins)
    app.add_middleware(HttpMetrics, metrics=serving.metrics)
    serving.metrics.know_routes(ROUTES)
    return app


class _App(FastAPI):
    """One that tells browsers who may ask outside of everything else, so that they show all of its errors, too."""

    def __init__(self, cors_origins: str | None, **named: Any) -> None:
        self._cors_origins = cors_origins
        super().__init__(**named)

    def build_middleware_stack(self) -> ASGIApp:
        """What is between a connection and the routes."""
        return allowing(super().build_middleware_stack(), self._cors_origins)


async def _nobody_reads_it(request: Request, error: Exception) -> Response:
    logger.info("A client broke off while sending to %s", request.scope["path"])
    return Response(status_code=400)
