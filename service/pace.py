"""How fast queries of each kind are answered, as of late: quick ones are searched by the event loop itself."""

import sys
import time
from collections import OrderedDict
from collections.abc import Hashable

if sys.platform == "linux":  # only Linux tells a thread's own usage
    from resource import RUSAGE_THREAD, getrusage

FORGIVEN = 1 / 4
"""A slower pass counts at once, a faster one by this share: after a wait for the disk a few have to be quick again."""

MOST_KINDS = 256


class Pace:
    """Seconds a query by its kind. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[Hashable, float] = OrderedDict()  # the longest unused first

    def queries_within(self, kind: Hashable, seconds: float) -> int:
        """How many queries of a kind one pass answers in so many seconds; 0 where nothing is known of the kind."""
        each = self._seconds.get(kind)
        return 0 if each is None else int(seconds / max(each, 1e-6))

    def note(self, kind: Hashable, queries: int, seconds: float) -> None:
        """Remember what a pass took."""
        each, before = seconds / max(1, queries), self._seconds.get(kind, 0.0)
        self._seconds[kind] = each if each > before else before + FORGIVEN * (each - before)
        self._seconds.move_to_end(kind)
        if len(self._seconds) > MOST_KINDS:
            self._seconds.popitem(last=False)


class Stopwatch:
    """How long a pass would keep the event loop, from when this is made; read by the same thread.

    That is the time by the clock, but where the thread never slept: then it waited for a processor at most, as the loop
    would too, and its own time counts. One pass beside an upload would else send the next ones to threads, where they
    wait for the processors anew at each step. Where no thread's sleeps are told, the clock's alone.
    """

    def __init__(self) -> None:
        self._began, self._before = time.perf_counter(), _own_usage()

    def seconds(self) -> float:
        """So far."""
        (own_s, slept), (own_s_before, slept_before) = _own_usage(), self._before
        if slept is not None and slept == slept_before:
            return own_s - own_s_before
        return time.perf_counter() - self._began


def _own_usage() -> tuple[float, int | None]:
    """Seconds of processor that this thread has taken, and how often it went to sleep of itself, where that is told."""
    if sys.platform != "linux":
        return 0.0, None
    usage = getrusage(RUSAGE_THREAD)
    return usage.ru_utime + usage.ru_stime, usage.ru_nvcsw
