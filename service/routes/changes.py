"""What all calls that change points have in common: a body that is read and checked whole, then one durable change."""

from collections.abc import Callable, Iterable
from typing import Any

import anyio.to_thread
from fastapi import Request, Response
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel

from index_store import Collection
from service.answers import answer
from service.bodies import read_json
from service.operations import Operation
from service.parameters import HowToChange, within
from service.serving import Serving


async def change(
    request: Request,
    serving: Serving,
    name: str,
    how: HowToChange,
    read: Callable[[Collection, Any], Operation],
) -> Response:
    """Make the change that the body says, as `read` understands it; answered once it is durable and visible."""
    collection = serving.collection(name)
    body = await read_json(request)
    operation_id = await within(how.timeout, anyio.to_thread.run_sync(lambda: read(collection, body)()))
    return answer(request, {"operation_id": operation_id, "status": "completed"})


def json_body(schema: dict[str, Any] | type[BaseModel]) -> dict[str, Any]:
    """What /openapi.json says of a call's body; of a model its name, which `tell_bodies` puts its schema for."""
    if not isinstance(schema, dict):
        name = f"{schema.__module__}.{schema.__qualname__}"
        _MODELS[name] = schema
        schema = {_NAMED: name}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


def tell_bodies(calls: Iterable[dict[str, Any]]) -> None:
    """Put the schemas of bodies into the calls of an OpenAPI document that name them.

    Not when the routes are made: to derive all of them takes a twentieth of a start, and few ask for the document.
    """
    for call in calls:
        content = call.get("requestBody", {}).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get(_NAMED)
        if name is not None:
            # Nulls are left out, as FastAPI does of all that it writes.
            content["schema"] = jsonable_encoder(_MODELS[name].model_json_schema(), exclude_none=True)


_NAMED = "x-model"
_MODELS: dict[str, type[BaseModel]] = {}
