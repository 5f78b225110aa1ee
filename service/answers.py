"""The envelope of every answer: {"result", "status": "ok", "time"}, or {"status": {"error": sentence}, "time"}."""

import logging
import time
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from index_store.faults import FULL
from model.errors import QincoError
from service.errors import RETRY_AFTER_S, status_of
from service.schemas.body import PATTERNS
from service.unserved import why_unserved

logger = logging.getLogger(__name__)

# What pydantic calls a value of the right type in the wrong place; everything else is malformed.
RANGE_ERRORS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "too_long",
    "too_short",
    "string_too_long",
    "string_too_short",
    "finite_number",
}

JSON_WORDS = {
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "list_type": "Input should be an array",
    "bool_type": "Input should be true or false",
}


def answer(
    request: Request,
    result: Any,
    headers: dict[str, str] | None = None,
    status: int = 200,
    usage: dict[str, Any] | None = None,
) -> Response:
    """The result, by default with 200; NumPy arrays and UUIDs in it become JSON. `usage`: what it took, if told."""
    body = {"result": result, "status": "ok", "time": elapsed(request.scope)}
    if usage is not None:
        body["usage"] = usage
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json", headers=headers
    )


def refusal(scope: Any, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An error in the envelope."""
    body = {"status": {"error": sentence}, "time": elapsed(scope)}
    return Response(orjson.dumps(body), status, media_type="application/json", headers=headers)


def told(scope: Any, error: QincoError) -> Response:
    """One of our errors in the envelope, with its status."""
    status = status_of(error)
    if status >= 500:
        logger.warning("Answered %d to %s: %s", status, scope["path"], error)
    # Without an end to the connection, a client would go on sending the body that was refused.
    headers = {
        429: {"Retry-After": str(RETRY_AFTER_S)},
        413: {"Connection": "close"},
        408: {"Connection": "close"},
    }.get(status)
    return refusal(scope, status, str(error), headers)


def answer_errors_with_sentences(app: FastAPI) -> None:
    """Registers what turns each kind of error into an answer."""

    @app.exception_handler(QincoError)
    async def known(request: Request, error: QincoError) -> Response:
        return told(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(request: Request, error: RequestValidationError) -> Response:
        found = [told | {"loc": told["loc"][1:]} for told in error.errors()]  # less where FastAPI took it from
        return refusal(request.scope, *invalid(found))

    @app.exception_handler(ValidationError)
    async def invalid_body(request: Request, error: ValidationError) -> Response:
        return refusal(request.scope, *invalid(error.errors(include_url=False, include_input=False)))

    @app.exception_handler(HTTPException)
    async def no_such_route(request: Request, error: HTTPException) -> Response:
        unserved = why_unserved(request.scope["path"]) if error.status_code in (404, 405) else None
        if unserved is not None:
            return refusal(request.scope, 400, unserved)
        sentences = {
            404: f"There is no {request.scope['path']} here; /openapi.json lists what there is.",
            405: f"{request.scope['path']} does not take {request.method}.",
        }
        return refusal(
            request.scope,
            error.status_code,
            sentences.get(error.status_code, str(error.detail)),
            dict(error.headers or {}),
        )

    @app.exception_handler(OSError)
    async def no_room(request: Request, error: OSError) -> Response:
        """A body that rests in a temporary file meets a full disk before the store does."""
        if error.errno not in FULL:
            raise error
        return refusal(request.scope, 507, "The disk is full: nothing of this request was kept. Free some space first.")

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        return failed(request.scope, error)


def failed(scope: Any, error: BaseException) -> Response:
    """The answer to a request that nothing is known to be wrong with."""
    return refusal(scope, 500, f"The service failed on this request ({type(error).__name__}); its log says more.")


def invalid(errors: Any) -> tuple[int, str]:
    """Status and sentence for what pydantic found; the first error is told, with the parameter's name."""
    first = errors[0]
    where = _where(first["loc"])
    status = 422 if first["type"] in RANGE_ERRORS else 400
    if first["type"] == "extra_forbidden":
        return status, f"Unknown parameter '{where}'."
    if first["type"] == "missing":
        return status, f"Parameter '{where}' is missing."
    message = _in_words(first)
    if first["type"] == "value_error":
        return status, f"Parameter '{where}': {message}" if where else message
    return status, f"Parameter '{where}': {message[0].lower()}{message[1:]}." if where else f"The body: {message}."


def _in_words(error: Any) -> str:
    """What pydantic says of a value, in JSON's words where it uses Python's."""
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] in PATTERNS:
        return f"Input should be {PATTERNS[error['ctx']['pattern']]}"
    return JSON_WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def _where(location: tuple[Any, ...]) -> str:
    """`('params', 'nprobe')` → `params.nprobe`, without the names that pydantic gives to a union's members."""
    return ".".join(str(part) for part in location if not _names_a_type(part))


def _names_a_type(part: Any) -> bool:
    return isinstance(part, str) and (
        part[:1].isupper() or "[" in part or part in ("int", "str", "bool", "float", "uuid")
    )


def elapsed(scope: Any) -> float:
    """Seconds since the request came."""
    return round(time.perf_counter() - scope.get("qinco.started", time.perf_counter()), 6)
