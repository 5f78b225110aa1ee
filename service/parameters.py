"""Query parameters that many routes share, and the refusal of those that a route does not know."""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from service.errors import MalformedRequest, TookTooLong
from service.serving import Serving

Result = TypeVar("Result")

# A change is answered when it is durable and visible, whether or not the client would wait for it.
Wait = Annotated[bool, Query(description="Accepted; a change is always answered when it is durable and visible.")]
Ordering = Annotated[
    Literal["weak", "medium", "strong"] | None,
    Query(description="Accepted; there is one writer, so that order is always strong."),
]
Consistency = Annotated[
    int | Literal["majority", "quorum", "all"] | None,
    Query(description="Accepted; there is one copy, which every answer comes from."),
]
Timeout = Annotated[int | None, Query(ge=1, le=3600, description="Seconds until the answer is 503 instead.")]


async def _serving(request: Request) -> Serving:  # not a plain function: FastAPI would run that in another thread
    serving: Serving = request.app.state.serving
    return serving


@dataclass(frozen=True)
class HowToChange:
    """What every call that changes points takes in its URL."""

    wait: bool
    ordering: str | None
    timeout: int | None


@dataclass(frozen=True)
class HowToRead:
    """What every call that reads points takes in its URL."""

    consistency: int | str | None = None
    timeout: int | None = None


async def _how_to_change(wait: Wait = False, ordering: Ordering = None, timeout: Timeout = None) -> HowToChange:
    return HowToChange(wait, ordering, timeout)


async def _how_to_read(consistency: Consistency = None, timeout: Timeout = None) -> HowToRead:
    return HowToRead(consistency, timeout)


Changing = Annotated[HowToChange, Depends(_how_to_change)]
Reading = Annotated[HowToRead, Depends(_how_to_read)]
Served = Annotated[Serving, Depends(_serving)]


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every route: a misspelt query parameter is an error."""
    known = set(_query_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise MalformedRequest(f"Unknown parameter '{name}'; this call takes {', '.join(sorted(known)) or 'none'}.")


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


async def within(timeout_s: int | None, change: Awaitable[Result]) -> Result:
    """The outcome of a change; a change that takes longer goes on, but the client is told."""
    task: asyncio.Future[Any] = asyncio.ensure_future(change)
    try:
        return await asyncio.wait_for(asyncio.shield(task), timeout_s)  # type: ignore[no-any-return]
    except TimeoutError as error:
        task.add_done_callback(lambda done: done.exception())  # nobody is left to raise it to
        raise TookTooLong(f"The change was not durable within {timeout_s} s; it may still become so.") from error
