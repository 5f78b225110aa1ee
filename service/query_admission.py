"""How many requests that search may be under way: those that would wait for long are refused at once.

Without it a service that is asked for more than it can do answers everybody late, and in the end nobody in time. A
request that found `n` others under way and took `t` says that one takes about `t / (n + 1)`, whatever searches, parses
or waits for the processor meanwhile. From that follows how long the next would wait; who finds nobody waits for nobody.
Who came while the event loop itself was searching was not heard meanwhile, and may have waited as long as that took.
"""

import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answers import refusal
from service.errors import RETRY_AFTER_S

SEARCHES = re.compile(
    r"/collections/[^/]+/points/(query(/batch|/groups|/array)?|search/matrix/(pairs|offsets)"
    r"|(search|recommend)(/batch|/groups)?|discover(/batch)?)"
)
# One request says little: a first one waits for the disk, another is a batch of a hundred.
MOST_CHANGE = 1 / 8
FIRST_GUESS_S = 0.001
RETRY = {"Retry-After": str(RETRY_AFTER_S)}


class QueryAdmission:
    """Counts requests under way, and learns from each how long the next would wait."""

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._each_s = FIRST_GUESS_S
        self.under_way = 0

    @property
    def wait_s(self) -> float:
        """How long one more would wait for those that are under way."""
        return self.under_way * self._each_s

    def may_enter(self, unheard_s: float = 0.0) -> bool:
        """Whether one more may, which may have waited so long already."""
        return self.wait_s + unheard_s <= self._max_wait_s

    def refusal(self, unheard_s: float = 0.0) -> str:
        """Why one more may not, as a sentence."""
        if not self.under_way:
            return f"Others were searched for in the last {unheard_s * 1000:.0f} ms. Ask again in a second."
        return (
            f"{self.under_way} searches are under way already, and this one would wait for "
            f"{(self.wait_s + unheard_s) * 1000:.0f} ms. Ask again in a second."
        )

    def enter(self) -> int:
        """Returns how many were under way before."""
        self.under_way += 1
        return self.under_way - 1

    def leave(self, found: int, took_s: float | None) -> None:
        """One that found so many under way is over, and was answered after so long if it was."""
        self.under_way -= 1
        if took_s is not None:
            change = took_s / (found + 1) / self._each_s - 1
            self._each_s *= 1 + MOST_CHANGE * min(1.0, change)


class AdmitQueries:
    """Middleware that answers 429 to a search that would wait for too long, before its body is read.

    A search counts from when its body is whole, until its answer begins: nobody holds a place by sending slowly.
    """

    def __init__(self, app: ASGIApp, admission: QueryAdmission) -> None:
        self.app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not SEARCHES.fullmatch(scope["path"]):
            return await self.app(scope, receive, send)
        if not self._admission.may_enter():
            return await refusal(scope, 429, self._admission.refusal(), RETRY)(scope, receive, send)
        await _Search(self._admission).run(self.app, scope, receive, send)


class _Search:
    """One that was let in."""

    def __init__(self, admission: QueryAdmission) -> None:
        self._admission = admission
        self._found: int | None = None  # under way when it came; none before and after
        self._began = 0.0

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting() -> Message:
            message = await receive()
            if self._found is None and not self._began and not message.get("more_body", False):
                self._found, self._began = self._admission.enter(), time.perf_counter()
            return message

        async def leaving(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._leave(message["status"])
            await send(message)

        try:
            await app(scope, counting, leaving)
        finally:
            self._leave(500)

    def _leave(self, status: int) -> None:
        if self._found is not None:
            found, self._found = self._found, None
            took_s = time.perf_counter() - self._began if status == 200 else None  # refusals say nothing of searches
            self._admission.leave(found, took_s)
