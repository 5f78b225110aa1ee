"""Single plain queries from the bytes of a body to those of an answer, past ASGI, which takes longer than reading them.

What the middleware of `app.py` does for others is done here in one piece: the key, the body's limit, admission, the id,
metrics. Whatever is unusual or wrong before the search is left to the general way, which knows what to say.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from functools import partial

import orjson
from starlette.responses import Response
from starlette.types import Scope

from model.errors import QincoError
from service.answers import elapsed, failed, refusal, told
from service.bodies import PARSED_ON_THE_LOOP_BYTES, parse_json
from service.errors import NotReady
from service.http_metrics import count
from service.logs import new_request_id, request_id
from service.plain_routes import BEFORE, JSON, QUERY, ROUTES, shown
from service.query_admission import RETRY, QueryAdmission
from service.query_batcher import Outcome
from service.schemas.points import WithPayload
from service.security import KeyCheck
from service.serving import Serving

logger = logging.getLogger(__name__)

PATH = re.compile(rb"/collections/([A-Za-z0-9_.-]+)/points/query")
# Browsers name an origin, and are told whether it may ask.
_ELSEWHERE = {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"origin"}
Headers = list[tuple[bytes, bytes]]
Answer = Callable[[int, Headers, bytes], None]
"""Sends a status, headers and a body."""


class QuickQueries:
    """One for a service."""

    def __init__(self, serving: Serving, admission: QueryAdmission, keys: KeyCheck) -> None:
        self._serving, self._admission, self._keys = serving, admission, keys
        self._queries = serving.plain_queries
        self.longest_body = min(serving.settings.max_body, PARSED_ON_THE_LOOP_BYTES)

    def may_answer(self, method: bytes, url: bytes, headers: Headers) -> bool:
        """Whether a request may be a query that is answered here, by its head."""
        if method != b"POST" or PATH.fullmatch(url) is None or not self._serving.is_ready:
            return False
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value) if value.isdigit() else None
            elif name in _ELSEWHERE or (name == b"content-type" and value != JSON):
                return False
        return length is not None and length <= self.longest_body

    def begin(self, url: bytes, headers: Headers, body: bytes, answered: float, answer: Answer) -> bool:
        """Whether it is answered here, in a later turn of the event loop.

        answered: when the request before it was, by `time.monotonic`
        """
        scope: Scope = {"type": "http", "method": "POST", "path": url.decode(), "headers": headers}
        scope["qinco.started"] = time.perf_counter()
        if self._keys.objection(scope) is not None:
            return False
        unheard_s = self._serving.batcher.unheard_s(answered)
        if not self._admission.may_enter(unheard_s):
            response = refusal(scope, 429, self._admission.refusal(unheard_s), RETRY)
            id = new_request_id(headers)
            asyncio.get_running_loop().call_soon(self._send, scope, answer, id, *_parts(response))
            return True
        try:
            collection = self._serving.collection(scope["path"][len(BEFORE) : -len(QUERY)])
            query = self._queries.read(collection, parse_json(body))
            if query is None:
                return False
            about = query.surroundings
            deliver = partial(self._deliver, scope, answer, self._admission.under_way, about.with_payload)
            self._serving.batcher.ask(collection, about.question, query.vector[None], about.filter, deliver)
        except QincoError:
            return False
        self._admission.enter()
        return True

    def _deliver(self, scope: Scope, answer: Answer, found: int, with_payload: WithPayload, outcome: Outcome) -> None:
        """Answer with what was found, by a request that had found so many others under way."""
        id = new_request_id(scope["headers"])
        try:
            status, headers, body = _success(scope, outcome, with_payload)
        except BaseException as error:  # nobody else would answer this client
            request_id.set(id)
            status, headers, body = _parts(_failure(scope, error))
        self._admission.leave(found, time.perf_counter() - scope["qinco.started"] if status == 200 else None)
        self._send(scope, answer, id, status, headers, body)

    def _send(self, scope: Scope, answer: Answer, id: str, status: int, headers: Headers, body: bytes) -> None:
        scope["route"] = ROUTES[QUERY]
        answer(status, [*headers, (b"x-request-id", id.encode())], body)
        count(self._serving.metrics, scope, status)


def _success(scope: Scope, outcome: Outcome, with_payload: WithPayload) -> tuple[int, Headers, bytes]:
    """Raises the outcome where it is no list of hits."""
    if not isinstance(outcome, list):
        raise outcome
    sent = {"result": {"points": shown(outcome[0], with_payload)}, "status": "ok", "time": elapsed(scope)}
    body = orjson.dumps(sent)
    return 200, [(b"content-length", b"%d" % len(body)), (b"content-type", JSON)], body


def _parts(response: Response) -> tuple[int, Headers, bytes]:
    return response.status_code, response.raw_headers, bytes(response.body)


def _failure(scope: Scope, error: BaseException) -> Response:
    if isinstance(error, QincoError):
        return told(scope, error)
    if isinstance(error, asyncio.CancelledError):
        return told(scope, NotReady("The service is stopping."))
    logger.error("Answering a query failed", exc_info=error)
    return failed(scope, error)
