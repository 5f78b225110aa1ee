"""Middleware that times and counts every request, and gives it an id; also the clock behind an answer's `time`."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import new_request_id, request_id
from service.metrics import Metrics

UNMATCHED = "unmatched"


class HttpMetrics:
    """Outermost, so that what the other middleware refuses is counted too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope["qinco.started"] = time.perf_counter()
        id = new_request_id(scope["headers"])
        request_id.set(id)
        status = 500

        async def noting_the_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noting_the_status)
        finally:
            count(self.metrics, scope, status)


def count(metrics: Metrics, scope: Scope, status: int) -> None:
    """Note that a request was answered, and after how long."""
    route = getattr(scope.get("route"), "path", UNMATCHED)
    method = scope["method"] if route != UNMATCHED else "any"  # a made-up method would be a label of its own
    metrics.counter("qinco_http_requests_total", method, route, str(status)).inc()
    metrics.histogram("qinco_http_seconds", route).observe(time.perf_counter() - scope["qinco.started"])
    if status >= 400:
        metrics.counter("qinco_rejected_total", str(status)).inc()
