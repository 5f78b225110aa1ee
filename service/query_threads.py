"""A few threads for searching: the event loop hands them work, and the outcome comes back to it in one step.

`ThreadPoolExecutor` would do: a future of its own beside the loop's, and two callbacks to join them, cost every query
a tenth of what the loop spends on it.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class QueryThreads:
    """Work is begun in the order in which it came."""

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._is_closed = False
        self._threads = [threading.Thread(target=self._serve, name=f"query_{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """The outcome of `work`; cancelled when the threads are closed before its turn."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        self._work.put((work, outcome, loop))
        return outcome

    def close(self) -> None:
        """Waits for what has begun; what has not is cancelled."""
        self._is_closed = True
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (one := self._work.get()) is not None:
            work, outcome, loop = one
            result, error, is_cancelled = None, None, self._is_closed
            if not is_cancelled:
                try:
                    result = work()
                except BaseException as raised:  # handed to whoever waits, whatever it is
                    error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_deliver, outcome, result, error, is_cancelled)
            del one, work, outcome, result, error  # or they would live until the next query


_Work = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


def _deliver(outcome: "asyncio.Future[Any]", result: Any, error: BaseException | None, is_cancelled: bool) -> None:
    if outcome.done():
        return
    if is_cancelled:
        outcome.cancel()
    elif error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
