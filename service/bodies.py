"""From a request's body to checked values: JSON, its content type, and pydantic's verdict as a sentence."""

from typing import Any, TypeVar

import anyio.to_thread
import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.answers import invalid
from service.errors import MalformedRequest, OutOfRange, UnsupportedMedia
from service.repeated_keys import repeated_key

Model = TypeVar("Model", bound=BaseModel)

# Parsing more than this would keep the event loop from other requests for milliseconds.
PARSED_ON_THE_LOOP_BYTES = 64 * 1024


async def read_json(request: Request) -> Any:
    """The body as JSON values; raises UnsupportedMedia, MalformedRequest."""
    refuse_encodings(request)
    if content_type(request) not in ("", "application/json"):
        raise UnsupportedMedia(f"Content-Type '{content_type(request)}' is not read here; send application/json.")
    body = await request.body()
    if len(body) <= PARSED_ON_THE_LOOP_BYTES:
        return parse_json(body)
    return await anyio.to_thread.run_sync(parse_json, body)


def parse_json(body: bytes) -> Any:
    """JSON values; raises MalformedRequest, also for NaN and Infinity, which JSON does not know, and repeated keys."""
    try:
        value = orjson.loads(body)
        repeated = repeated_key(body, value)
    except (orjson.JSONDecodeError, RecursionError) as error:
        why = "it is empty" if not body else "it nests too deep" if isinstance(error, RecursionError) else error
        raise MalformedRequest(f"The body is not JSON: {why}.") from error
    if repeated is not None:
        raise MalformedRequest(f"The body has the key '{repeated}' twice in one object: one of the two would be lost.")
    return value


async def read_body(request: Request, kind: type[Model]) -> Model:
    """The body as a checked model."""
    return checked(kind, await read_json(request))


def checked(kind: type[Model], value: Any, where: tuple[str | int, ...] = ()) -> Model:
    """`value` as a model; raises MalformedRequest or OutOfRange naming the parameter, which lies at `where`."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first: dict[str, Any] = {**error.errors(include_url=False, include_input=False)[0]}
        status, sentence = invalid([first | {"loc": where + first["loc"]}])
        raise (OutOfRange if status == 422 else MalformedRequest)(sentence) from error


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_encodings(request: Request) -> None:
    """Compressed bodies are not read: their size would be known only after they are unpacked."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"Content-Encoding '{encoding}' is not read here; send the body as it is.")
