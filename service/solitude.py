"""Whether a query has come alone, and may be searched by the event loop itself instead of by a thread.

Handing a query to a thread and taking back its hits costs about as much as half of a search; it pays where others come
meanwhile. So the loop searches for a query of a kind that was answered quickly the last time, while nobody else has
come for a while. As it cannot see who comes while it searches, it looks afterwards: a request that lay there already is
read within the loop's next rounds, one by the same client only after the loop has sent its answer and slept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

QUICK_S = 0.003
"""A search that took longer goes to a thread the next time: its disk may be slow, or it does much."""

COMPANY_S = 0.05
"""So long after one that had company, queries are taken to have some."""

ROUNDS = 2
MOST_KINDS = 256


class Solitude:
    """What is known of the queries of late. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[Hashable, float] = OrderedDict()  # a query took when last asked
        self.had_company = False  # the query that came last, or one of late
        self._last_company = -COMPANY_S
        self._looking = 0  # searches whose rounds are not over

    def holds_for(self, kind: Hashable, others: bool) -> bool:
        """Whether a query of such a kind that comes now is alone, and quick; `others` are known to be there."""
        now = time.monotonic()
        if others or self._looking:
            self._last_company = now
        self.had_company = now - self._last_company < COMPANY_S
        return not self.had_company and self._seconds.get(kind, QUICK_S) < QUICK_S

    def note(self, kind: Hashable, seconds: float) -> None:
        """Remember what a query of a kind took."""
        self._seconds[kind] = seconds
        self._seconds.move_to_end(kind)
        if len(self._seconds) > MOST_KINDS:
            self._seconds.popitem(last=False)

    def look_who_came(self) -> None:
        """After a search on the loop: who comes within its next rounds was there before."""
        self._looking += 1
        after_rounds(ROUNDS, self._stop_looking)

    def _stop_looking(self) -> None:
        self._looking -= 1


def after_rounds(rounds: int, do: Callable[[], None]) -> None:
    """Call a function once the event loop has taken up, so many times, all that had come."""
    loop = asyncio.get_running_loop()
    if rounds:
        loop.call_soon(after_rounds, rounds - 1, do)
    else:
        do()
