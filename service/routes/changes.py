"""What all calls that change points have in common: a body that is read and checked whole, then one durable change."""

from collections.abc import Callable
from typing import Any

import anyio.to_thread
from fastapi import Request, Response
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
    """What /openapi.json says of a call's body."""
    told = schema if isinstance(schema, dict) else schema.model_json_schema()
    return {"requestBody": {"content": {"application/json": {"schema": told}}}}
