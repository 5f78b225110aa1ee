"""Which web pages may ask: by default none, since a page of anybody's, open in a browser here, could reach us.

Browsers show a page no answer of another origin, and ask before they send JSON, unless the service says that the
page's origin may (CORS). Forms and bodies without a type they send unasked: a service without keys refuses them.
"""

import re

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.answers import refusal

ANY = "*"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SHOWN = ("Retry-After", "X-Request-Id", "X-Vectors", "Content-Disposition")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def origins(told: str) -> tuple[str, ...]:
    """The origins of a list with commas, as browsers write them; raises ValueError for what is none."""
    found = tuple(one.strip() for one in told.split(","))
    for one in found:
        if one != ANY and _ORIGIN.fullmatch(one) is None:
            raise ValueError(
                f"cors_origins has {one!r}: an origin is a scheme, a host and perhaps a port, in lower case and with "
                "nothing behind, as https://app.example.com or http://localhost:3000; or * for every one"
            )
    return found


def allowing(app: ASGIApp, told: str | None) -> ASGIApp:
    """An app that tells browsers which origins may ask; the same app where none is told."""
    if told is None:
        return app
    return CORSMiddleware(
        app, allow_origins=origins(told), allow_methods=METHODS, allow_headers=("*",), expose_headers=SHOWN
    )


class PageCheck:
    """Middleware for a service without keys: pages of other origins than those told may send it nothing."""

    def __init__(self, app: ASGIApp, told: str | None) -> None:
        self.app = app
        self._allowed = () if told is None else origins(told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._objection(scope) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def _objection(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or scope["method"] in ("GET", "HEAD", "OPTIONS") or ANY in self._allowed:
            return None
        if origin in self._allowed or origin.partition("://")[2] == headers.get("host"):
            return None
        return refusal(
            scope,
            403,
            f"A web page of {origin!r} may send nothing to this service, which has no key: QINCO_CORS_ORIGINS names "
            "the origins that may.",
            {"Connection": "close"},
        )
