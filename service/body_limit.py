"""A cap on every body, counted while it streams, so that a chunked one cannot go round it; and on its pauses."""

import asyncio
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answers import refusal
from service.errors import BodyTooLarge, BodyTooSlow

UPLOADS = re.compile(r"/collections/[^/]+/points/upload")
SNAPSHOTS = re.compile(r"/collections/[^/]+/snapshots/upload")
MODELS = re.compile(r"/models/[^/]+")

# A client that still sends when the connection is closed may never see the answer; this much is read and thrown away.
DRAINED_BYTES = 8 * 1024 * 1024
DRAINED_S = 2.0


class BodyLimit:
    """Middleware that answers 413 to a body beyond its limit: at once if it says so, else when it gets there.

    A body that stops coming is answered with 408.
    """

    def __init__(self, app: ASGIApp, max_body: int, max_upload: int, body_timeout: float) -> None:
        self.app = app
        self.body_timeout = body_timeout
        self.max_body = max_body
        self.max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        limit = self._limit(scope["path"], headers.get("content-type", ""))
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            await refusal(scope, 413, _sentence(limit), {"Connection": "close"})(
                scope, receive, _then_drain(receive, send)
            )
        else:
            await self.app(scope, _counted(receive, limit, self.body_timeout), send)

    def _limit(self, path: str, content_type: str) -> int:
        """Uploads of arrays, models and snapshots stream to disk and may be long; JSON is read whole."""
        is_json = content_type.partition(";")[0].strip() in ("", "application/json")
        streams = MODELS.fullmatch(path) or SNAPSHOTS.fullmatch(path) or (UPLOADS.fullmatch(path) and not is_json)
        return self.max_upload if streams else self.max_body


def _counted(receive: Receive, limit: int, pause_s: float) -> Receive:
    received, is_whole = 0, False

    async def counted() -> Message:
        nonlocal received, is_whole
        if is_whole:  # whoever listens now waits for the client to go away
            return await receive()
        try:
            async with asyncio.timeout(pause_s):  # `wait_for` would make a task of every message
                message = await receive()
        except TimeoutError as error:
            raise BodyTooSlow(f"Nothing of the body came for {pause_s:g} s: send it again.") from error
        is_whole = not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(_sentence(limit))
        return message

    return counted


def _then_drain(receive: Receive, send: Send) -> Send:
    async def send_and_drain(message: Message) -> None:
        if message["type"] == "http.response.body":
            await send({**message, "more_body": True})
            await _drain(receive)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return send_and_drain


async def _drain(receive: Receive) -> None:
    drained, until = 0, time.monotonic() + DRAINED_S
    while drained < DRAINED_BYTES and time.monotonic() < until:
        try:
            message = await asyncio.wait_for(receive(), until - time.monotonic())
        except TimeoutError:
            return
        drained += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _sentence(limit: int) -> str:
    return f"The body is over the limit of {limit} bytes; send less at a time, or arrays to …/points/upload as .npy."
