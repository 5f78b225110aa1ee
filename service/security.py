"""Keys: who may ask, decided before a byte of the body is read."""

import hmac
import re

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.answers import refusal

OPEN = {("GET", "/"), ("GET", "/healthz"), ("GET", "/livez"), ("GET", "/readyz")}
# Calls that read, though they are POST; everything that is neither GET nor here changes something.
READS = re.compile(
    r"/collections/[^/]+/(facet|points(/count|/scroll|/query(/batch|/groups|/array)?|/search/matrix/(pairs|offsets)"
    r"|/(search|recommend)(/batch|/groups)?|/discover(/batch)?)?)"
)


class KeyCheck:
    """Middleware that lets a request through when its key may do what it asks; without keys everybody may."""

    def __init__(self, app: ASGIApp, api_key: SecretStr | None, read_only_api_key: SecretStr | None) -> None:
        self.app = app
        self.api_key = _bytes(api_key)
        self.read_only_api_key = _bytes(read_only_api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self.objection(scope) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def objection(self, scope: Scope) -> ASGIApp | None:
        """What answers a request that may not do what it asks; None where it may."""
        if self.api_key is None or (_as_get(scope["method"]), scope["path"]) in OPEN:
            return None
        given = _given_key(Headers(scope=scope))
        if hmac.compare_digest(given, self.api_key):
            return None
        # Connection: close, so that the body that nobody may send is not read to its end.
        if self.read_only_api_key is None or not hmac.compare_digest(given, self.read_only_api_key):
            return PlainTextResponse(
                "This service asks for a key, in the header 'api-key' or as 'Authorization: Bearer'.",
                401,
                {"Connection": "close", "WWW-Authenticate": "Bearer"},
            )
        if _only_reads(scope["method"], scope["path"]):
            return None
        return refusal(
            scope, 403, f"A read-only key may not {scope['method']} {scope['path']}.", {"Connection": "close"}
        )


def _only_reads(method: str, path: str) -> bool:
    return _as_get(method) == "GET" or (method == "POST" and READS.fullmatch(path) is not None)


def _as_get(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _given_key(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = headers.get("api-key") or (token if scheme.lower() == "bearer" else "")
    return key.encode("latin-1")


def _bytes(key: SecretStr | None) -> bytes | None:
    return key.get_secret_value().encode() if key else None
