"""Connections that send no whole head of a request are closed: a thousand of them must not keep others out."""

import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


class HalfOpen:
    """Looks over uvicorn's connections now and then. Idle ones between requests have a time limit of uvicorn's own."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[Any, float] = {}

    def close_overdue(self, connections: Iterable[Any], now: float) -> None:
        """Close those that have waited for a head for longer than the limit, `now` in seconds of any clock."""
        waiting = [one for one in connections if _waits_for_a_head(one)]
        self._since = {one: self._since.get(one, now) for one in waiting}
        overdue = [one for one in waiting if now - self._since[one] > self._limit_s]
        for one in overdue:
            one.transport.close()
        if overdue:
            logger.info("Closed %d connections that sent no request in %g s", len(overdue), self._limit_s)


def _waits_for_a_head(connection: Any) -> bool:
    """Whether nothing came, or a part of a head: no request is under way, and uvicorn's own clock does not run."""
    cycle = getattr(connection, "cycle", None)
    return (cycle is None or cycle.response_complete) and connection.timeout_keep_alive_task is None
