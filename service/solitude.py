"""Whether a query has come alone, and may be searched by the event loop itself instead of by a thread.

Handing a query to a thread and taking back its hits costs about as much as half of a search; it pays where others come
meanwhile. So the loop searches for a query of a kind that was answered quickly the last time, while nobody else has
come for a while. As it cannot see who comes while it searches, it looks afterwards: a request that lay there already is
read within the loop's next rounds, one by the same client only after the loop has sent its answer and slept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Hashable

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
        self._had_company = -COMPANY_S
        self._rounds_left = 0

    def holds_for(self, kind: Hashable, others: bool) -> bool:
        """Whether a query of such a kind that comes now is alone, and quick; `others` are known to be there."""
        now = time.monotonic()
        if others or self._rounds_left:
            self._had_company = now
        return now - self._had_company >= COMPANY_S and self._seconds.get(kind, QUICK_S) < QUICK_S

    def note(self, kind: Hashable, seconds: float) -> None:
        """Remember what a query of a kind took."""
        self._seconds[kind] = seconds
        self._seconds.move_to_end(kind)
        if len(self._seconds) > MOST_KINDS:
            self._seconds.popitem(last=False)

    def look_who_came(self) -> None:
        """After a search on the loop: who comes within its next rounds was there before."""
        if not self._rounds_left:
            asyncio.get_running_loop().call_soon(self._next_round)
        self._rounds_left = ROUNDS

    def _next_round(self) -> None:
        self._rounds_left -= 1
        if self._rounds_left:
            asyncio.get_running_loop().call_soon(self._next_round)
